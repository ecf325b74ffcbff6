"""Groups and their members: SkyPortal's routes, and the sites that a group may read."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from firstlight.web.api.users import GroupId, Number, UserId
from firstlight.web.auth import Asker, token_of
from firstlight.web.context import services_of
from firstlight.web.envelope import shows, success

router = APIRouter(prefix="/api", tags=["groups"])

_GROUP: dict[str, Any] = {
    "id": 3,
    "created_at": "2026-08-24T20:15:00",
    "modified": "2026-08-24T20:15:00",
    "name": "supernovae",
    "nickname": None,
    "description": None,
    "private": False,
    "auto_accept_requests": False,
    "single_user_group": False,
}


class _Details(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"name": "supernovae"}})

    name: str = Field(min_length=1, max_length=128)
    nickname: str | None = Field(default=None, max_length=64)
    description: str | None = Field(default=None, max_length=1000)
    private: bool | None = None
    auto_accept_requests: bool | None = None

    def details(self) -> dict[str, Any]:
        """What was sent beside the name."""
        return self.model_dump(exclude={"name", "group_admins"}, exclude_unset=True)


class GroupPost(_Details):
    """A group to be made."""

    group_admins: list[Number] = Field(default=[], max_length=100)


class GroupPut(_Details):
    """A group as it is to be."""


class MemberPost(BaseModel):
    """An account to become a member."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"userID": 2}})

    userID: Number  # noqa: N815, the client's name
    admin: bool = False
    canSave: bool = True  # noqa: N815, the client's name
    canSharePhotometry: bool = False  # noqa: N815, the client's name


class MemberPatch(BaseModel):
    """What a member may do."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"userID": 2, "canSave": False}}
    )

    userID: Number  # noqa: N815, the client's name
    admin: bool | None = None
    canSave: bool | None = None  # noqa: N815, the client's name
    canSharePhotometry: bool | None = None  # noqa: N815, the client's name


class SourcesPost(BaseModel):
    """Groups whose members are wanted."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"fromGroupIDs": [4]}})

    fromGroupIDs: list[Number]  # noqa: N815, the client's name


class SitePost(BaseModel):
    """A site to be read."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"site": "tst"}})

    site: str = Field(min_length=1, max_length=128)


@router.get(
    "/groups",
    responses=shows(
        {"user_groups": [_GROUP], "user_accessible_groups": [_GROUP], "all_groups": [_GROUP]},
        401,
        403,
    ),
)
def list_groups(
    request: Request,
    asker: Asker,
    name: Annotated[str | None, Query(max_length=128)] = None,
    include_single: Annotated[bool, Query(alias="includeSingleUserGroups")] = False,
) -> Response:
    """Groups that one may know of; with `name`, a list of those of exactly this name."""
    groups = services_of(request).groups
    if name is not None:
        return success(groups.named(asker, name))
    return success(groups.list(asker, with_single_user_groups=include_single))


@router.get("/groups/public", responses=shows(_GROUP, 401, 403))
def show_public_group(request: Request, asker: Asker) -> Response:
    """The group of all accounts."""
    return success(services_of(request).groups.public(asker))


@router.get(
    "/groups/{group_id}", responses=shows({**_GROUP, "group_users": [], "users": []}, 401, 403, 404)
)
def show_group(
    request: Request,
    asker: Asker,
    group_id: GroupId,
    with_users: Annotated[bool, Query(alias="includeGroupUsers")] = True,
) -> Response:
    """One group; with its members, for them and for those who administer it."""
    return success(services_of(request).groups.one(asker, group_id, with_users=with_users))


@router.post("/groups", responses=shows({"id": 3}, 400, 401, 403, 409))
def make_group(request: Request, asker: Asker, body: Annotated[GroupPost, Body()]) -> Response:
    """Make a group.

    Whoever makes it administers it; but with the token of one who administers every group, only
    those do who are named.
    """
    number = services_of(request).groups.create(
        asker,
        body.name,
        join=token_of(request) is None,
        admins=body.group_admins,
        details=body.details(),
    )
    return success({"id": number})


@router.put("/groups/{group_id}", responses=shows({}, 400, 401, 403, 404, 409))
def change_group(
    request: Request, asker: Asker, group_id: GroupId, body: Annotated[GroupPut, Body()]
) -> Response:
    """Change a group; what is not sent stays."""
    services_of(request).groups.change(asker, group_id, body.name, body.details())
    return success({})


@router.delete("/groups/{group_id}", responses=shows({}, 400, 401, 403, 404))
def remove_group(request: Request, asker: Asker, group_id: GroupId) -> Response:
    """Remove a group."""
    services_of(request).groups.remove(asker, group_id)
    return success({})


@router.post(
    "/groups/{group_id}/users",
    responses=shows({"group_id": 3, "user_id": 2, "admin": False}, 400, 401, 403, 404, 409),
)
def add_member(
    request: Request, asker: Asker, group_id: GroupId, body: Annotated[MemberPost, Body()]
) -> Response:
    """Make an account a member."""
    services_of(request).groups.add_member(
        asker,
        group_id,
        body.userID,
        admin=body.admin,
        can_save=body.canSave,
        can_share_photometry=body.canSharePhotometry,
    )
    return success({"group_id": group_id, "user_id": body.userID, "admin": body.admin})


@router.patch("/groups/{group_id}/users", responses=shows({}, 400, 401, 403, 404))
def change_member(
    request: Request, asker: Asker, group_id: GroupId, body: Annotated[MemberPatch, Body()]
) -> Response:
    """Change what a member may do."""
    sent = {
        "admin": body.admin,
        "can_save": body.canSave,
        "can_share_photometry": body.canSharePhotometry,
    }
    changes = {name: value for name, value in sent.items() if value is not None}
    services_of(request).groups.change_member(asker, group_id, body.userID, changes)
    return success({})


@router.delete("/groups/{group_id}/users/{user_id}", responses=shows({}, 400, 401, 403, 404))
def remove_member(request: Request, asker: Asker, group_id: GroupId, user_id: UserId) -> Response:
    """Take an account out of a group."""
    services_of(request).groups.remove_member(asker, group_id, user_id)
    return success({})


@router.post("/groups/{group_id}/usersFromGroups", responses=shows({}, 400, 401, 403, 404))
def add_members_of(
    request: Request, asker: Asker, group_id: GroupId, body: Annotated[SourcesPost, Body()]
) -> Response:
    """Make the members of other groups members of this one."""
    services_of(request).groups.add_members_of(asker, group_id, body.fromGroupIDs)
    return success({})


@router.get("/groups/{group_id}/sites", responses=shows(["tst"], 401, 403, 404))
def list_sites_of_group(request: Request, asker: Asker, group_id: GroupId) -> Response:
    """Sites whose archives the members may read."""
    return success(services_of(request).groups.sites(asker, group_id))


@router.post("/groups/{group_id}/sites", responses=shows({}, 400, 401, 403, 404))
def add_site(
    request: Request, asker: Asker, group_id: GroupId, body: Annotated[SitePost, Body()]
) -> Response:
    """Let the members read the archive of a site."""
    services_of(request).groups.add_site(asker, group_id, body.site)
    return success({})


@router.delete("/groups/{group_id}/sites/{site}", responses=shows({}, 401, 403, 404))
def remove_site(
    request: Request,
    asker: Asker,
    group_id: GroupId,
    site: Annotated[str, Path(max_length=128)],
) -> Response:
    """Let the members read it no more."""
    services_of(request).groups.remove_site(asker, group_id, site)
    return success({})
