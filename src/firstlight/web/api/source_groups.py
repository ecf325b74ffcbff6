"""Lists of groups, and what is shared with them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Request, Response
from pydantic import Field

from firstlight.services.objects.wire_values import LARGEST_ID
from firstlight.web.api.portal_parameters import ObjectName, PortalRequest
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.envelope import shows, success

__all__ = ["router"]

router = APIRouter(prefix="/api", tags=["sources"])

GroupId = Annotated[int, Field(ge=1, le=LARGEST_ID)]
Many = 10_000


class SourceGroupsRequest(PortalRequest):
    """Groups that are to have an object in their list, and that are not."""

    objId: str = Field(min_length=1, max_length=128, examples=["FL1"])  # noqa: N815, the client's name
    inviteGroupIds: list[GroupId] = Field(default=[], max_length=1000, examples=[[1]])  # noqa: N815, the client's name
    unsaveGroupIds: list[GroupId] = Field(default=[], max_length=1000, examples=[[2]])  # noqa: N815, the client's name


class SourceGroupRequest(PortalRequest):
    """Whether an object is in the list of a group, and whether it is asked for."""

    groupID: GroupId  # noqa: N815, the client's name
    active: bool
    requested: bool


class SharingRequest(PortalRequest):
    """Rows that groups are to see."""

    groupIDs: list[GroupId] = Field(max_length=1000, examples=[[1]])  # noqa: N815, the client's name
    photometryIDs: list[int] = Field(default=[], max_length=Many, examples=[[1, 2]])  # noqa: N815, the client's name
    spectrumIDs: list[int] = Field(default=[], max_length=Many, examples=[[1]])  # noqa: N815, the client's name


@router.post("/source_groups", responses=shows({}, 400, 401, 403, 404))
def change_groups(
    request: Request, asker: Asker, body: Annotated[SourceGroupsRequest, Body()]
) -> Response:
    """Save an object to groups and take it off the lists of others.

    A group that you are not in is asked.
    """
    services_of(request).saved_objects.change(
        asker, body.objId, invite=body.inviteGroupIds, unsave=body.unsaveGroupIds
    )
    return success({})


@router.patch("/source_groups/{name}", responses=shows({}, 400, 401, 403, 404))
def decide_group(
    request: Request, asker: Asker, name: ObjectName, body: Annotated[SourceGroupRequest, Body()]
) -> Response:
    """Decide whether an object is in the list of a group of yours."""
    services_of(request).saved_objects.decide(
        asker, name, body.groupID, active=body.active, requested=body.requested
    )
    return success({})


@router.post("/sharing", responses=shows({}, 400, 401, 403, 404))
def share(request: Request, asker: Asker, body: Annotated[SharingRequest, Body()]) -> Response:
    """Let groups see points of light curves and spectra besides those who see them already."""
    services_of(request).row_sharing.share(
        asker,
        body.groupIDs,
        photometry_ids=body.photometryIDs,
        spectrum_ids=body.spectrumIDs,
    )
    return success({})
