"""One's own account: SkyPortal's routes."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from firstlight.web.api.users import UserId
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.envelope import shows, success

router = APIRouter(prefix="/api/internal", tags=["users"])


class ProfilePatch(BaseModel):
    """What is to be changed; preferences are merged with those there are."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"first_name": "Ada"}})

    username: str | None = Field(default=None, min_length=1, max_length=128)
    first_name: str | None = Field(default=None, max_length=128)
    last_name: str | None = Field(default=None, max_length=128)
    affiliations: list[str] | None = None
    contact_email: str | None = Field(default=None, max_length=254)
    contact_phone: str | None = Field(default=None, max_length=32)
    bio: str | None = Field(default=None, max_length=1000)
    is_bot: bool | None = None
    preferences: dict[str, Any] | None = None


@router.get(
    "/profile",
    responses=shows({"id": 2, "username": "ada", "tokens": [], "preferences": {}}, 401, 403),
)
def show_profile(request: Request, asker: Asker) -> Response:
    """All about one's own account."""
    services = services_of(request)
    tokens = [
        {
            "id": each["id"],
            "name": each["name"],
            "acls": [acl["id"] for acl in each["acls"]],
            "created_at": each["created_at"],
        }
        for each in services.user_tokens.list(asker)
    ]
    mine = [each for each in services.admissions.list(asker) if each["user_id"] == asker.user_id]
    return success(
        {
            **services.users.profile(asker),
            "tokens": tokens,
            "groupAdmissionRequests": mine,
            "gravatar_url": None,
            "streams": [],
            "is_anonymous": False,
        }
    )


@router.patch("/profile", responses=shows({}, 400, 401, 403, 409))
def change_profile(
    request: Request, asker: Asker, body: Annotated[ProfilePatch, Body()]
) -> Response:
    """Change one's own account."""
    return _change(request, asker, asker.require_user(), body)


@router.patch("/profile/{user_id}", responses=shows({}, 400, 401, 403, 404, 409))
def change_profile_of(
    request: Request, asker: Asker, user_id: UserId, body: Annotated[ProfilePatch, Body()]
) -> Response:
    """Change an account; another's, for whoever manages accounts."""
    return _change(request, asker, user_id, body)


def _change(request: Request, asker: Asker, user_id: int, body: ProfilePatch) -> Response:
    changes = body.model_dump(exclude_unset=True)
    services_of(request).users.change_profile(asker, user_id, changes)
    return success({})
