"""Sources: the objects that groups keep in their lists, as SkyPortal's clients know them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request, Response
from pydantic import Field

from firstlight.services.objects.not_offered import NotOffered
from firstlight.services.objects.photometry_reading import PhotometryForm
from firstlight.services.objects.wire_values import LARGEST_ID
from firstlight.web.api.portal_parameters import ObjectName, PortalRequest
from firstlight.web.api.source_parameters import (
    SOURCE_PARAMETERS,
    flag,
    one_source,
    source_list,
)
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.envelope import asks, shows, success

__all__ = ["router"]

router = APIRouter(prefix="/api", tags=["sources"])

GroupId = Annotated[int, Field(ge=1, le=LARGEST_ID)]

_SOURCE: dict[str, Any] = {
    "id": "FL1",
    "created_at": "2026-08-21T12:35:30.123456",
    "modified": "2026-08-21T12:35:30.123456",
    "ra": 120.5,
    "dec": -3.25,
    "redshift": None,
    "origin": "user",
    "gal_lon": 222.9,
    "gal_lat": 14.2,
    "groups": [],
    "annotations": [],
    "classifications": [],
    "tags": [],
}
_POSTED = {"id": "FL1", "saved_to_groups": [1]}
_STATISTICS = {"id": 1, "obj_id": "FL1", "num_obs_global": 2, "num_det_global": 1}
_FLAGS = (
    "includeThumbnails", "includePhotometry", "includePhotometryExists", "includeSpectrumExists",
    "includeCommentExists", "includeDetectionStats", "includePeriodExists", "includeComments",
    "includeTags", "includeRequested", "pendingOnly",
)  # fmt: skip


class GroupRequest(PortalRequest):
    """A group."""

    group_id: GroupId


class LabelRequest(PortalRequest):
    """Groups for which an object was looked at."""

    groupIds: list[GroupId] = Field(max_length=1000)  # noqa: N815, the client's name


@router.get(
    "/sources",
    responses=shows({"sources": [_SOURCE], "totalMatches": 1, "pageNumber": 1}, 400),
    openapi_extra=asks(SOURCE_PARAMETERS),
)
def list_sources(request: Request, asker: Asker) -> Response:
    """A page of the sources that groups of yours have saved, the last saved first."""
    wish = source_list(request.query_params, asker)
    services = services_of(request)
    if wish.entries_only:
        rows, total = services.saved_objects.page(asker, wish.saved, wish.page, wish.per_page)
    else:
        rows, total = services.object_list.page(
            asker,
            wish.query,
            wish.order,
            wish.include,
            page=wish.page,
            per_page=wish.per_page,
        )
    more = {"geojson": _geojson(rows)} if wish.as_geojson and not wish.entries_only else {}
    return success({"sources": rows, **wish.about(total), **more})


@router.post("/sources", responses=shows(_POSTED, 400, 401, 403))
def add_source(
    request: Request,
    asker: Asker,
    body: Annotated[
        dict[str, Any],
        Body(examples=[{"id": "FL1", "ra": 120.5, "dec": -3.25, "group_ids": [1]}]),
    ],
) -> Response:
    """Add an object, or change one that is there; and save it to groups."""
    return success(services_of(request).objects.post(asker, body))


@router.get(
    "/sources/{name}",
    responses=shows(_SOURCE, 404),
    openapi_extra=asks(dict.fromkeys(_FLAGS, ("Whether this is told too.", "true"))),
)
def get_source(request: Request, asker: Asker, name: ObjectName) -> Response:
    """An object with what is known of it, as far as you may see it."""
    given = request.query_params
    services = services_of(request)
    facts = services.objects.one(asker, name, one_source(given))
    if flag(given, "includePhotometry"):
        facts["photometry"] = services.photometry_reading.of_object(
            asker,
            name,
            PhotometryForm(form="both", deduplicate=flag(given, "deduplicatePhotometry")),
        )
    empty = ("duplicates", "followup_requests", "assignments", "associated_objs")
    return success({**facts, **{each: [] for each in empty}})


@router.patch("/sources/{name}", responses=shows({}, 400, 401, 403, 404))
def change_source(
    request: Request,
    asker: Asker,
    name: ObjectName,
    body: Annotated[dict[str, Any], Body(examples=[{"redshift": 0.1}])],
) -> Response:
    """Change what is known of an object; what is not named stays."""
    services_of(request).objects.change(asker, name, body)
    return success({})


@router.delete("/sources/{name}", responses=shows({}, 400, 401, 403, 404))
def unsave_source(
    request: Request, asker: Asker, name: ObjectName, body: Annotated[GroupRequest, Body()]
) -> Response:
    """Take an object off the list of a group."""
    services_of(request).saved_objects.take_off(asker, name, body.group_id)
    return success({})


@router.get("/sources/{name}/groups", responses=shows([{"id": 1, "name": "Observers"}], 404))
def list_saved_groups(request: Request, asker: Asker, name: ObjectName) -> Response:
    """Groups of yours that have the object in their list."""
    return success(services_of(request).saved_objects.groups(asker, name))


@router.post("/sources/{name}/labels", responses=shows({}, 400, 401, 403, 404))
def label_source(
    request: Request, asker: Asker, name: ObjectName, body: Annotated[LabelRequest, Body()]
) -> Response:
    """Note for groups that an object was looked at."""
    services_of(request).objects.label(asker, name, body.groupIds, put=True)
    return success({})


@router.delete("/sources/{name}/labels", responses=shows({}, 400, 401, 403, 404))
def remove_label(
    request: Request, asker: Asker, name: ObjectName, body: Annotated[LabelRequest, Body()]
) -> Response:
    """Take that back."""
    services_of(request).objects.label(asker, name, body.groupIds, put=False)
    return success({})


@router.get("/sources/{name}/phot_stat", responses=shows(_STATISTICS, 404))
def get_statistics(request: Request, asker: Asker, name: ObjectName) -> Response:
    """Statistics of the light curve, of the points that you may see."""
    return success(services_of(request).objects.statistics(asker, name))


@router.post("/sources/{name}/phot_stat", responses=shows({}, 401, 403, 404))
@router.put("/sources/{name}/phot_stat", responses=shows({}, 401, 403, 404))
def remake_statistics(request: Request, asker: Asker, name: ObjectName) -> Response:
    """Make the statistics anew. They are kept up to date without this."""
    services_of(request).objects.remake_statistics(asker, name)
    return success({})


@router.delete("/sources/{name}/phot_stat", responses=shows({}, 401, 403, 404))
def forget_statistics(request: Request, asker: Asker, name: ObjectName) -> Response:
    """Make the statistics anew: they belong to the light curve as long as there is one."""
    services_of(request).objects.remake_statistics(asker, name)
    return success({})


@router.get("/phot_stats", responses=shows({"totalWithPhotStats": 9, "totalWithoutPhotStats": 0}))
def count_statistics(request: Request, asker: Asker) -> Response:
    """How many objects that you may see have statistics of a light curve."""
    return success(services_of(request).objects.count_statistics(asker))


@router.post("/phot_stats", responses=shows({"totalMatches": 0}, 401, 403))
@router.patch("/phot_stats", responses=shows({"totalMatches": 0}, 401, 403))
def make_statistics(request: Request, asker: Asker) -> Response:
    """Make the statistics that are missing; returns of how many objects."""
    asker.require("admin")
    made = services_of(request).summaries.make_missing()
    return success({"totalMatches": made, "pageNumber": 1, "numPerPage": 100})


@router.get("/sources/{name}/position", responses=shows({"ra": 120.5, "dec": -3.25}, 404))
def get_position(request: Request, asker: Asker, name: ObjectName) -> Response:
    """Where an object is: equatorial and galactic, degrees."""
    return success(services_of(request).objects.position(asker, name))


@router.get("/sources/{name}/color_mag", responses=shows([], 404))
def get_color_mag(request: Request, asker: Asker, name: ObjectName) -> Response:
    """Places in the colour-magnitude diagram; none are known here."""
    services_of(request).objects.position(asker, name)
    return success([])


@router.get("/source_exists", responses=shows({"source_exists": True, "message": "..."}, 400))
def exists_somewhere(
    request: Request,
    asker: Asker,
    ra: Annotated[float | None, Query(description="Degrees.")] = None,
    dec: Annotated[float | None, Query(description="Degrees.")] = None,
    radius: Annotated[float | None, Query(description="Degrees.")] = None,
) -> Response:
    """Whether there is an object in a cone."""
    found = services_of(request).objects.exists(asker, ra=ra, dec=dec, radius=radius)
    return success(found)


@router.get("/source_exists/{name}", responses=shows({"source_exists": True, "message": "..."}))
def exists_by_name(
    request: Request,
    asker: Asker,
    name: ObjectName,
    *,
    ra: Annotated[float | None, Query(description="Degrees.")] = None,
    dec: Annotated[float | None, Query(description="Degrees.")] = None,
    radius: Annotated[float | None, Query(description="Degrees.")] = None,
) -> Response:
    """Whether there is an object of a name, or else one in a cone."""
    found = services_of(request).objects.exists(asker, name, ra=ra, dec=dec, radius=radius)
    return success(found)


@router.get("/finder_chart/facilities", responses=shows({}))
def list_facilities(asker: Asker) -> Response:
    """Telescopes for which finder charts are drawn: none."""
    del asker
    return success({})


@router.get("/sources/{name}/offsets", responses=shows({}, 404))
@router.get("/sources/{name}/finder", responses=shows({}, 404))
@router.get("/sources/{name}/observability", responses=shows({}, 404))
@router.get("/sources/{name}/tns", responses=shows({}, 404))
@router.post("/sources/{name}/host", responses=shows({}, 404))
@router.delete("/sources/{name}/host", responses=shows({}, 404))
@router.post("/sources/{name}/gcn_event", responses=shows({}, 404))
@router.post("/sources/{name}/mpc", responses=shows({}, 404))
@router.post("/sources/{name}/copy_photometry", responses=shows({}, 404))
def not_built(request: Request, asker: Asker, name: ObjectName) -> Response:
    """Something that SkyPortal does with a source, and firstlight does not."""
    services_of(request).objects.position(asker, name)
    raise NotOffered(subject=request.url.path.rpartition("/")[2])


def _geojson(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "geometry": {"type": "Point", "coordinates": [row["ra"], row["dec"]]},
                "properties": {"name": row["id"], "url": f"/source/{row['id']}"},
            }
            for row in rows
        ],
    }
