"""Annotations of objects, spectra and points of photometry.

Not called ``annotations``: that name of the package is taken by ``from __future__``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Path, Request, Response
from pydantic import Field

from firstlight.services.objects.annotations_from_catalogs import StarWish
from firstlight.web.api.portal_parameters import Groups, ObjectName, PortalRequest, RowId
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.envelope import shows, success

router = APIRouter(prefix="/api", tags=["annotations"])

Kind = Annotated[
    Literal["sources", "spectra", "photometry"], Path(description="What is annotated.")
]
Which = Annotated[str, Path(max_length=128, description="Name of the object, or a number.")]

_ANNOTATION: dict[str, Any] = {
    "id": 1,
    "created_at": "2026-08-21T12:35:30.123456",
    "modified": "2026-08-21T12:35:30.123456",
    "data": {"period": 1.234},
    "origin": "periods",
    "author_id": 1,
    "author": {"id": 1, "username": "ada", "first_name": "Ada", "last_name": "L", "is_bot": False},
    "groups": [{"id": 1, "name": "Observers"}],
    "obj_id": "FL1",
    "spectrum_id": None,
    "photometry_id": None,
    "type": "source",
}


class AnnotationRequest(PortalRequest):
    """An annotation to be added."""

    origin: str = Field(examples=["periods"])
    data: dict[str, Any] = Field(examples=[{"period": 1.234}])
    group_ids: Groups = None


class AnnotationChange(PortalRequest):
    """What takes the place of an annotation."""

    data: dict[str, Any] = Field(examples=[{"period": 1.235}])
    origin: str | None = None
    group_ids: Groups = None


@router.get("/{kind}/{which}/annotations", responses=shows([_ANNOTATION], 400, 404))
def list_annotations(request: Request, asker: Asker, kind: Kind, which: Which) -> Response:
    """All annotations of an object, a spectrum or a point of photometry."""
    return success(services_of(request).annotations.list(asker, kind, which))


@router.post(
    "/{kind}/{which}/annotations",
    responses=shows({"annotation_id": 1}, 400, 401, 403, 404, 409),
)
def add_annotation(
    request: Request,
    asker: Asker,
    kind: Kind,
    which: Which,
    body: Annotated[AnnotationRequest, Body()],
) -> Response:
    """Annotate. There is one annotation of each origin: a second one is refused."""
    number = services_of(request).annotations.add(
        asker, kind, which, body.origin, body.data, group_ids=body.group_ids
    )
    return success({"annotation_id": number})


@router.get("/{kind}/{which}/annotations/{annotation_id}", responses=shows(_ANNOTATION, 404))
def get_annotation(
    request: Request, asker: Asker, kind: Kind, which: Which, annotation_id: RowId
) -> Response:
    """One annotation."""
    return success(services_of(request).annotations.get(asker, kind, which, annotation_id))


@router.put(
    "/{kind}/{which}/annotations/{annotation_id}",
    responses=shows({}, 400, 401, 403, 404, 409),
)
def change_annotation(
    request: Request,
    asker: Asker,
    kind: Kind,
    which: Which,
    annotation_id: RowId,
    body: Annotated[AnnotationChange, Body()],
) -> Response:
    """Replace the facts of one's own annotation."""
    services_of(request).annotations.change(
        asker,
        kind,
        which,
        annotation_id,
        body.data,
        origin=body.origin,
        group_ids=body.group_ids,
    )
    return success({})


@router.delete("/{kind}/{which}/annotations/{annotation_id}", responses=shows({}, 401, 403, 404))
def remove_annotation(
    request: Request, asker: Asker, kind: Kind, which: Which, annotation_id: RowId
) -> Response:
    """Take one's own annotation away."""
    services_of(request).annotations.remove(asker, kind, which, annotation_id)
    return success({})


@router.get("/internal/annotations_info", responses=shows({"periods": [{"period": "number"}]}, 401))
def known_annotations(request: Request, asker: Asker) -> Response:
    """Of each origin, the keys in use and the kind of their values."""
    return success(services_of(request).annotations.known_keys(asker))


class StarsRequest(PortalRequest):
    """Which stars of a catalogue are wanted next to an object."""

    catalog: str | None = Field(default=None, max_length=128, description="As settings name it.")
    radius: float | None = Field(default=None, alias="crossmatchRadius", examples=[2.0])
    faintest: float | None = Field(default=None, alias="crossmatchLimmag", examples=[20.0])
    number: int | None = Field(default=None, alias="crossmatchNumber", examples=[1])
    detections: int | None = Field(
        default=None, alias="crossmatchMinDetections", description="Of no effect."
    )
    group_ids: Groups = None


@router.post(
    "/sources/{name}/annotations/{survey}",
    responses=shows({"annotation_ids": [1]}, 400, 401, 403, 404, 409),
)
def annotate_from_catalog(
    request: Request,
    asker: Asker,
    name: ObjectName,
    survey: Annotated[
        Literal["gaia", "irsa", "vizier", "datalab", "ps1"], Path(description="Who is asked.")
    ],
    body: Annotated[StarsRequest | None, Body()] = None,
) -> Response:
    """Annotate an object with the nearest stars of a reference catalogue.

    Gaia and Pan-STARRS have one of their own; others are named as the settings name them.
    """
    body = body or StarsRequest()
    wish = StarWish(
        catalog=body.catalog,
        radius_arcsec=body.radius,
        faintest=body.faintest,
        number=body.number,
        group_ids=body.group_ids,
    )
    made = services_of(request).catalog_annotations.add(asker, name, survey, wish)
    return success({"annotation_ids": made})
