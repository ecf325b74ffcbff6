"""Accounts, their roles and permissions: SkyPortal's routes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from firstlight.services.accounts.facts import checked_moment
from firstlight.services.accounts.permissions import ACLS, ROLES
from firstlight.services.accounts.user_listing import UserQuery
from firstlight.services.accounts.users import NewUser
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.envelope import shows, success

__all__ = ["GroupId", "Number", "UserId", "router"]

router = APIRouter(prefix="/api", tags=["users"])

MOST = 2**31 - 1
Number = Annotated[int, Field(ge=1, le=MOST)]
UserId = Annotated[int, Path(ge=1, le=MOST, description="Number of the account.")]
GroupId = Annotated[int, Path(ge=1, le=MOST, description="Number of the group.")]

_USER: dict[str, Any] = {
    "id": 2,
    "created_at": "2026-08-24T20:15:00",
    "modified": "2026-08-24T20:15:00",
    "username": "ada",
    "first_name": "Ada",
    "last_name": "L",
    "bio": None,
    "affiliations": [],
    "contact_email": "ada@observatory.example",
    "contact_phone": None,
    "oauth_uid": None,
    "is_bot": False,
    "expiration_date": None,
    "permissions": ["Annotate", "Classify", "Comment", "Run Analyses", "Upload data"],
    "roles": ["Full user"],
    "acls": [],
}


class UserPost(BaseModel):
    """An account to be made."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"username": "ada", "roles": ["Full user"], "groupIDsAndAdmin": [[3, False]]}
        },
    )

    username: str = Field(min_length=1, max_length=128)
    first_name: str | None = Field(default=None, max_length=128)
    last_name: str | None = Field(default=None, max_length=128)
    affiliations: list[str] | None = None
    contact_email: str | None = Field(default=None, max_length=254)
    contact_phone: str | None = Field(default=None, max_length=32)
    oauth_uid: str | None = Field(default=None, max_length=254)
    roles: list[str] | None = None
    groupIDsAndAdmin: list[tuple[Number, bool]] = Field(default=[], max_length=100)  # noqa: N815, the client's name


class UserPatch(BaseModel):
    """What is to be changed; null to forget a date."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"expirationDate": "2030-01-01"}}
    )

    expirationDate: str | None = None  # noqa: N815, the client's name


class AclsPost(BaseModel):
    """Permissions to be given."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"aclIds": ["Comment"]}}
    )

    aclIds: list[str]  # noqa: N815, the client's name


class RolesPost(BaseModel):
    """Roles to be given."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"roleIds": ["Full user"]}}
    )

    roleIds: list[str]  # noqa: N815, the client's name


class PasswordPut(BaseModel):
    """A new password; the old one for one's own account."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"password": "a long new one", "current": "the old one"}},
    )

    password: str = Field(max_length=1024)
    current: str | None = Field(default=None, max_length=1024)


class UsersQuery(BaseModel):
    """Which accounts are listed; texts are parts of what is looked for."""

    pageNumber: int = Field(default=1, ge=1, le=MOST)  # noqa: N815, the client's name
    numPerPage: int | None = Field(default=None, ge=1, le=100_000)  # noqa: N815, the client's name
    firstName: str | None = Field(default=None, max_length=128)  # noqa: N815, the client's name
    lastName: str | None = Field(default=None, max_length=128)  # noqa: N815, the client's name
    username: str | None = Field(default=None, max_length=128)
    email: str | None = Field(default=None, max_length=254)
    role: str | None = Field(default=None, max_length=64)
    acl: str | None = Field(default=None, max_length=64)
    group: str | None = Field(default=None, max_length=128)
    includeExpired: bool = False  # noqa: N815, the client's name
    sortBy: str = Field(default="username", max_length=50)  # noqa: N815, the client's name
    sortOrder: Literal["asc", "desc"] = "asc"  # noqa: N815, the client's name


@router.get("/user", responses=shows({"users": [_USER], "totalMatches": 1}, 400, 401, 403))
def list_users(request: Request, asker: Asker, asked: Annotated[UsersQuery, Query()]) -> Response:
    """Accounts. Without `numPerPage`, all of them."""
    query = UserQuery(
        first_name=asked.firstName,
        last_name=asked.lastName,
        username=asked.username,
        email=asked.email,
        role=asked.role,
        acl=asked.acl,
        group=asked.group,
        include_expired=asked.includeExpired,
        sort_by=asked.sortBy,
        descending=asked.sortOrder == "desc",
        page=asked.pageNumber,
        per_page=asked.numPerPage,
    )
    users, total = services_of(request).users.list(asker, query)
    return success({"users": users, "totalMatches": total})


@router.get("/user/{user_id}", responses=shows(_USER, 401, 403, 404))
def show_user(request: Request, asker: Asker, user_id: UserId) -> Response:
    """One account; all about it for the person and whoever manages accounts."""
    return success(services_of(request).users.one(asker, user_id))


@router.post("/user", responses=shows({"id": 2}, 400, 401, 403, 409))
def make_user(request: Request, asker: Asker, body: Annotated[UserPost, Body()]) -> Response:
    """Make an account. Nobody can give what they have not got."""
    profile = body.model_dump(exclude={"username", "roles", "groupIDsAndAdmin"}, exclude_none=True)
    new = NewUser(
        username=body.username, profile=profile, roles=body.roles, groups=body.groupIDsAndAdmin
    )
    return success({"id": services_of(request).users.create(asker, new)})


@router.patch("/user/{user_id}", responses=shows({}, 400, 401, 403, 404, 409))
def change_user(
    request: Request, asker: Asker, user_id: UserId, body: Annotated[UserPatch, Body()]
) -> Response:
    """Set when an account ends."""
    users = services_of(request).users
    if "expirationDate" in body.model_fields_set:
        moment = checked_moment(body.expirationDate, "expirationDate")
        users.set_expiry(asker, user_id, moment)
    else:
        asker.require("manage_users")
        users.one(asker, user_id)
    return success({})


@router.delete("/user/{user_id}", responses=shows({}, 400, 401, 403, 404, 409))
def remove_user(request: Request, asker: Asker, user_id: UserId) -> Response:
    """Remove an account; what it has written stays."""
    services_of(request).users.remove(asker, user_id)
    return success({})


@router.put("/user/{user_id}/password", responses=shows({}, 400, 401, 403, 404))
def set_password(
    request: Request, asker: Asker, user_id: UserId, body: Annotated[PasswordPut, Body()]
) -> Response:
    """Set a password, which signs the account out everywhere."""
    services_of(request).users.set_password(asker, user_id, body.password, current=body.current)
    return success({})


@router.get("/acls", responses=shows(["Annotate", "Comment"], 401))
def list_acls(asker: Asker) -> Response:
    """Names of all permissions."""
    asker.require_named()
    return success(sorted(ACLS))


@router.post("/user/{user_id}/acls", responses=shows({}, 400, 401, 403, 404))
def give_acls(
    request: Request, asker: Asker, user_id: UserId, body: Annotated[AclsPost, Body()]
) -> Response:
    """Give permissions to an account."""
    services_of(request).users.grant(asker, user_id, acls=body.aclIds)
    return success({})


@router.delete("/user/{user_id}/acls/{acl_id}", responses=shows({}, 400, 401, 403, 404))
def take_acl(request: Request, asker: Asker, user_id: UserId, acl_id: str) -> Response:
    """Take a permission away."""
    services_of(request).users.withdraw(asker, user_id, acls=[acl_id])
    return success({})


@router.get("/roles", responses=shows([{"id": "View only", "acls": []}], 401))
def list_roles(asker: Asker) -> Response:
    """All roles, and the permissions that each brings."""
    asker.require_named()
    return success([{"id": name, "acls": sorted(acls)} for name, acls in ROLES.items()])


@router.post("/user/{user_id}/roles", responses=shows({}, 400, 401, 403, 404))
def give_roles(
    request: Request, asker: Asker, user_id: UserId, body: Annotated[RolesPost, Body()]
) -> Response:
    """Give roles to an account."""
    services_of(request).users.grant(asker, user_id, roles=body.roleIds)
    return success({})


@router.delete("/user/{user_id}/roles/{role_id}", responses=shows({}, 400, 401, 403, 404, 409))
def take_role(request: Request, asker: Asker, user_id: UserId, role_id: str) -> Response:
    """Take a role away."""
    services_of(request).users.withdraw(asker, user_id, roles=[role_id])
    return success({})
