"""Objects themselves, whether a group has saved them or not."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from firstlight.services.objects.object_list import ObjectRow
from firstlight.services.objects.object_query import SORTS, ObjectQuery, Order
from firstlight.web.api.portal_parameters import ObjectName
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.envelope import shows, success

__all__ = ["router"]

router = APIRouter(prefix="/api", tags=["objects"])

_ROW: dict[str, Any] = {
    "name": "FL J020410.28+464116.2",
    "ra": 31.0428,
    "dec": 46.6878,
    "redshift": None,
    "origin": "light_curves",
    "n_points": 212,
    "n_detections": 212,
    "last_mag": 11.42,
    "last_filter": "G",
    "last_mjd": 61273.31,
    "peak_mag": 11.38,
    "mean_mag": 11.41,
    "classes": ["Exoplanet host"],
    "tags": [],
    "groups": ["Observers"],
}
Bound = Annotated[float | None, Query(description="Degrees, magnitudes or a redshift.")]


@router.get("/objects", responses=shows({"objects": [_ROW], "next_cursor": None}, 400))
def list_objects(  # noqa: PLR0913, parameters of a query
    request: Request,
    asker: Asker,
    *,
    name: Annotated[str | None, Query(max_length=128, description="Part of the name.")] = None,
    ra: Bound = None,
    dec: Bound = None,
    radius: Bound = None,
    classification: Annotated[list[str], Query(description="Has one of these.")] = [],  # noqa: B006, FastAPI copies it
    mag_min: Bound = None,
    mag_max: Bound = None,
    redshift_min: Bound = None,
    redshift_max: Bound = None,
    sort: Annotated[str, Query(description="One of " + ", ".join(SORTS))] = "created_at",
    descending: bool = True,
    cursor: Annotated[str | None, Query(description="next_cursor of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> Response:
    """All objects that you may see, page by page, whether a group has saved them or not."""
    place = (ra, dec, radius)
    query = ObjectQuery(
        name=name or None,
        cone=None if None in place else place,  # type: ignore[arg-type]  # none of them is None
        classifications=tuple(classification),
        last_mag=(mag_min, mag_max),
        redshift=(redshift_min, redshift_max),
    )
    found = services_of(request).object_list.search(
        asker, query, Order(sort, descending), cursor=cursor, limit=limit
    )
    rows = [_shown(row) for row in found.rows]
    return success({"objects": rows, "next_cursor": found.next_cursor})


@router.delete("/objs/{name}", responses=shows({}, 401, 403, 404, 409))
def remove_object(request: Request, asker: Asker, name: ObjectName) -> Response:
    """Remove an object of which nothing else is known."""
    services_of(request).objects.remove(asker, name)
    return success({})


def _shown(row: ObjectRow) -> dict[str, Any]:
    numbers = row.numbers or {}
    return {
        "name": row.name,
        "ra": row.ra,
        "dec": row.dec,
        "redshift": row.redshift,
        "origin": row.origin,
        "n_points": numbers.get("n_points", 0),
        "n_detections": numbers.get("n_detections", 0),
        "last_mag": numbers.get("last_detected_mag"),
        "last_filter": numbers.get("last_detected_filter"),
        "last_mjd": numbers.get("last_detected_mjd"),
        "peak_mag": numbers.get("peak_mag"),
        "mean_mag": numbers.get("mean_mag"),
        "classes": [name for name, _ in row.classes],
        "tags": [name for name, _ in row.tags],
        "groups": [name for _, name in row.groups],
    }
