"""Invitations: SkyPortal's routes. Nothing is mailed; the link is shown once."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from firstlight import __version__
from firstlight.errors import InvalidInput
from firstlight.services.accounts.facts import checked_moment
from firstlight.services.accounts.invitations import Admission, InvitationQuery
from firstlight.services.accounts.permissions import FULL_USER
from firstlight.web.addresses import absolute
from firstlight.web.api.users import Number
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.envelope import json_response, shows, success

router = APIRouter(prefix="/api", tags=["users"])

InvitationId = Annotated[int, Path(ge=1, le=2**31 - 1, description="Number of the invitation.")]
Text = Annotated[str | None, Query(max_length=254)]

_INVITATION: dict[str, Any] = {
    "id": 1,
    "created_at": "2026-08-24T20:15:00",
    "modified": "2026-08-24T20:15:00",
    "user_email": "ada@observatory.example",
    "role_id": "Full user",
    "used": False,
    "groups": [],
}


class InvitationPost(BaseModel):
    """An invitation to be made; lists are as long as that of the groups."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"userEmail": "ada@observatory.example", "groupIDs": [3]}},
    )

    userEmail: str = Field(min_length=3, max_length=254)  # noqa: N815, the client's name
    groupIDs: list[Number]  # noqa: N815, the client's name
    role: str = FULL_USER
    streamIDs: list[int] | None = None  # noqa: N815, the client's name; there are no streams
    groupAdmin: list[bool] | None = None  # noqa: N815, the client's name
    canSave: list[bool] | None = None  # noqa: N815, the client's name
    canSharePhotometry: list[bool] | None = None  # noqa: N815, the client's name
    userExpirationDate: str | None = None  # noqa: N815, the client's name


class InvitationPatch(BaseModel):
    """What is to be changed."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"role": "View only"}})

    groupIDs: list[Number] | None = None  # noqa: N815, the client's name
    streamIDs: list[int] | None = None  # noqa: N815, the client's name; there are no streams
    role: str | None = None
    userExpirationDate: str | None = None  # noqa: N815, the client's name


@router.get(
    "/invitations",
    responses=shows({"invitations": [_INVITATION], "totalMatches": 1}, 400, 401, 403),
)
def list_invitations(
    request: Request,
    asker: Asker,
    page: Annotated[int, Query(alias="pageNumber", ge=1, le=2**31 - 1)] = 1,
    per_page: Annotated[int, Query(alias="numPerPage", ge=1, le=1000)] = 25,
    include_used: Annotated[bool, Query(alias="includeUsed")] = False,
    email: Text = None,
    group: Text = None,
    invited_by: Annotated[Text, Query(alias="invitedBy")] = None,
) -> Response:
    """Invitations that one has made; all, for who may do everything."""
    query = InvitationQuery(
        include_used=include_used,
        email=email,
        group=group,
        invited_by=invited_by,
        page=page,
        per_page=per_page,
    )
    found, total = services_of(request).invitations.list(asker, query)
    return success({"invitations": found, "totalMatches": total})


@router.post("/invitations", responses=shows({"id": 1}, 400, 401, 403, 404))
def invite(request: Request, asker: Asker, body: Annotated[InvitationPost, Body()]) -> Response:
    """Make an invitation.

    Beside `data`, the answer has `link`: the address at which the invited person makes the
    account. It works once, and is shown in this answer and never again.
    """
    made = services_of(request).invitations.invite(
        asker,
        body.userEmail,
        role=body.role,
        groups=_admissions(body),
        user_expires_at=checked_moment(body.userExpirationDate, "userExpirationDate"),
    )
    return json_response(
        {
            "status": "success",
            "data": {"id": made.number},
            "link": absolute(request, f"/join/{made.secret}"),
            "version": __version__,
        }
    )


@router.patch("/invitations/{invitation_id}", responses=shows({}, 400, 401, 403, 404))
def change_invitation(
    request: Request,
    asker: Asker,
    invitation_id: InvitationId,
    body: Annotated[InvitationPatch, Body()],
) -> Response:
    """Change an invitation that was not used yet."""
    services_of(request).invitations.change(
        asker,
        invitation_id,
        role=body.role,
        group_ids=body.groupIDs,
        user_expires_at=checked_moment(body.userExpirationDate, "userExpirationDate"),
    )
    return success({})


@router.delete("/invitations/{invitation_id}", responses=shows({}, 401, 403, 404))
def withdraw_invitation(request: Request, asker: Asker, invitation_id: InvitationId) -> Response:
    """Take an invitation back."""
    services_of(request).invitations.withdraw(asker, invitation_id)
    return success({})


def _admissions(body: InvitationPost) -> list[Admission]:
    count = len(body.groupIDs)
    columns = (
        body.groupAdmin or [False] * count,
        body.canSave or [True] * count,
        body.canSharePhotometry or [False] * count,
    )
    if any(len(column) != count for column in columns):
        raise InvalidInput(field="groupIDs", found=count, expected="lists of one length")
    return [Admission(*row) for row in zip(body.groupIDs, *columns, strict=True)]
