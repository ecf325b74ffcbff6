"""Thumbnails of objects."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request, Response
from pydantic import Field

from firstlight.web.api.portal_parameters import Page, PerPage, PortalRequest, RowId
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.envelope import shows, success

router = APIRouter(prefix="/api", tags=["thumbnails"])

Types = Annotated[list[str] | None, Query(description="Of these types; of all without.")]

_THUMBNAIL: dict[str, Any] = {
    "id": 1,
    "created_at": "2026-08-21T12:35:30.123456",
    "modified": "2026-08-21T12:35:30.123456",
    "obj_id": "FL1",
    "type": "new",
    "file_uri": None,
    "public_url": "/api/thumbnail/1/picture.png",
    "origin": None,
    "survey": None,
    "is_grayscale": True,
}
_PATHS = {"totalMatches": 1, "inCorrectFolder": 1, "inWrongFolder": 0}


class ThumbnailRequest(PortalRequest):
    """A picture to be added: a PNG of 16 to 500 pixels on each side, in base64."""

    obj_id: str = Field(examples=["FL1"])
    data: str = Field(examples=["iVBORw0KGgo..."])
    ttype: str = Field(examples=["new"])
    survey: str | None = None


class ThumbnailChange(PortalRequest):
    """What is to be changed of a thumbnail."""

    obj_id: str | None = None
    type: str | None = Field(default=None, examples=["ref"])
    file_uri: str | None = Field(default=None, description="Cannot be chosen.")
    public_url: str | None = Field(default=None, description="Cannot be chosen.")
    origin: str | None = None
    is_grayscale: bool | None = None


@router.post("/thumbnail", responses=shows({"id": 1}, 400, 401, 403, 404))
def add_thumbnail(
    request: Request, asker: Asker, body: Annotated[ThumbnailRequest, Body()]
) -> Response:
    """Add a picture of an object. It is decoded and written anew: nothing else is kept."""
    number = services_of(request).thumbnails.add(
        asker, body.obj_id, body.data, body.ttype, survey=body.survey
    )
    return success({"id": number})


@router.get("/thumbnail/{thumbnail_id}", responses=shows(_THUMBNAIL, 404))
def get_thumbnail(request: Request, asker: Asker, thumbnail_id: RowId) -> Response:
    """Facts of one thumbnail; the picture is at its `public_url`."""
    return success(services_of(request).thumbnails.get(asker, thumbnail_id))


@router.get(
    "/thumbnail/{thumbnail_id}/picture.png",
    responses={
        200: {"description": "The picture", "content": {"image/png": {}}},
        404: {"description": "There is none, or none that you may see"},
    },
    response_class=Response,
)
def get_picture(request: Request, asker: Asker, thumbnail_id: RowId) -> Response:
    """The picture itself."""
    content = services_of(request).thumbnails.picture(asker, thumbnail_id)
    return Response(content, 200, {"X-Content-Type-Options": "nosniff"}, "image/png")


@router.put("/thumbnail/{thumbnail_id}", responses=shows({}, 400, 401, 403, 404))
def change_thumbnail(
    request: Request, asker: Asker, thumbnail_id: RowId, body: Annotated[ThumbnailChange, Body()]
) -> Response:
    """Change type, origin or object of a thumbnail."""
    given = body.model_dump(exclude_none=True)
    services_of(request).thumbnails.change(asker, thumbnail_id, given)
    return success({})


@router.delete("/thumbnail/{thumbnail_id}", responses=shows({}, 401, 403, 404))
def remove_thumbnail(request: Request, asker: Asker, thumbnail_id: RowId) -> Response:
    """Remove a thumbnail and its picture."""
    services_of(request).thumbnails.remove(asker, thumbnail_id)
    return success({})


@router.get("/thumbnailPath", responses=shows(_PATHS, 400, 401, 403))
def check_paths(request: Request, asker: Asker, types: Types = None) -> Response:
    """How many thumbnails are where they belong: all, since none was ever moved."""
    count = services_of(request).thumbnails.count(asker, types or ())
    return success({"totalMatches": count, "inCorrectFolder": count, "inWrongFolder": 0})


@router.patch("/thumbnailPath", responses=shows({**_PATHS, "numMoved": 0}, 400, 401, 403))
def move_paths(
    request: Request, asker: Asker, types: Types = None, page: Page = 1, per_page: PerPage = 10
) -> Response:
    """Move thumbnails to where they belong: there are none to be moved."""
    del page, per_page
    count = services_of(request).thumbnails.count(asker, types or ())
    found = {"totalMatches": count, "inCorrectFolder": count, "inWrongFolder": 0}
    return success({**found, "numMoved": 0})


@router.delete("/thumbnailPath", responses=shows({}, 401, 403))
def remove_folders(request: Request, asker: Asker) -> Response:
    """Remove empty folders: there are none in the store."""
    services_of(request).thumbnails.count(asker)
    return success({})
