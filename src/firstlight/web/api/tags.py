"""Tags, and the objects that have them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request, Response
from pydantic import Field

from firstlight.services.objects.wire_values import LARGEST_ID
from firstlight.web.api.portal_parameters import PortalRequest, RowId
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.envelope import shows, success

__all__ = ["router"]

router = APIRouter(prefix="/api", tags=["tags"])

GroupId = Annotated[int, Field(ge=1, le=LARGEST_ID)]
_TAG: dict[str, Any] = {"id": 1, "name": "TDE", "color": "#3a87ad"}
_MARK: dict[str, Any] = {"id": 1, "obj_id": "FL1", "objtagoption_id": 1, "author_id": 1}


class TagRequest(PortalRequest):
    """A tag."""

    name: str = Field(examples=["TDE"])
    color: str | None = Field(default=None, examples=["#3a87ad"])


class MarkRequest(PortalRequest):
    """A tag to be put on an object."""

    obj_id: str = Field(min_length=1, max_length=128, examples=["FL1"])
    objtagoption_id: int = Field(ge=0, le=LARGEST_ID, examples=[1])
    group_ids: list[GroupId] | None = Field(default=None, max_length=1000)


@router.get("/objtagoption", responses=shows([_TAG], 401))
def list_tags(request: Request, asker: Asker) -> Response:
    """All tags, by name."""
    return success(services_of(request).tags.list(asker))


@router.post("/objtagoption", responses=shows(_TAG, 400, 401, 403, 409))
def make_tag(request: Request, asker: Asker, body: Annotated[TagRequest, Body()]) -> Response:
    """Make a tag."""
    return success(services_of(request).tags.make(asker, body.name, body.color))


@router.patch("/objtagoption/{tag_id}", responses=shows({}, 400, 401, 403, 404, 409))
def change_tag(
    request: Request, asker: Asker, tag_id: RowId, body: Annotated[TagRequest, Body()]
) -> Response:
    """Give a tag another name or color."""
    services_of(request).tags.change(asker, tag_id, body.name, body.color)
    return success({})


@router.delete("/objtagoption/{tag_id}", responses=shows({}, 401, 403, 404))
def remove_tag(request: Request, asker: Asker, tag_id: RowId) -> Response:
    """Take a tag off all objects and away."""
    services_of(request).tags.remove(asker, tag_id)
    return success({})


@router.get("/objtag", responses=shows([{**_MARK, "name": "TDE"}], 401))
def list_marks(
    request: Request,
    asker: Asker,
    obj_id: Annotated[str | None, Query(max_length=128, description="Only of this object.")] = None,
    objtagoption_id: Annotated[int | None, Query(description="Only this tag.")] = None,
) -> Response:
    """Which tags are on which objects."""
    found = services_of(request).tags.on_objects(asker, name=obj_id or None, tag_id=objtagoption_id)
    return success(found)


@router.post("/objtag", responses=shows(_MARK, 400, 401, 403, 404))
def put_tag(request: Request, asker: Asker, body: Annotated[MarkRequest, Body()]) -> Response:
    """Put a tag on an object; without groups it is seen by whoever sees the object."""
    made = services_of(request).tags.put(asker, body.obj_id, body.objtagoption_id, body.group_ids)
    return success(made)


@router.delete("/objtag/{mark_id}", responses=shows({}, 401, 403, 404))
def take_tag_off(request: Request, asker: Asker, mark_id: RowId) -> Response:
    """Take a tag off an object."""
    services_of(request).tags.take_off(asker, mark_id)
    return success({})
