"""Tokens of accounts: SkyPortal's routes."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from firstlight.services.accounts.permissions import ACLS, checked_acls
from firstlight.web.api.users import Number
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.envelope import shows, success

router = APIRouter(prefix="/api/internal", tags=["users"])

# Called `token`, so that the log leaves it out: it may be the secret itself.
TokenId = Annotated[
    str, Path(alias="token", max_length=200, description="Its number, or the token itself.")
]

_TOKEN: dict[str, Any] = {
    "id": "1e1f6f0c-6f39-4f0e-9b07-3f6d1f0e7c11",
    "created_at": "2026-08-24T20:15:00",
    "modified": "2026-08-24T20:15:00",
    "created_by_id": 2,
    "name": "notebook",
    "acls": [{"id": "Comment"}],
}


class TokenPost(BaseModel):
    """A token to be made."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"name": "notebook", "acls": ["Comment"]}}
    )

    name: str = Field(min_length=1, max_length=100)
    acls: list[str]
    user_id: Number | None = None


class TokenPut(BaseModel):
    """What is to be changed; a token stays with its account."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"name": "laptop"}})

    name: str | None = Field(default=None, min_length=1, max_length=100)
    acls: list[str] | None = None
    user_id: Number | None = None


@router.get("/tokens", responses=shows([_TOKEN], 401, 403, 404))
def list_user_tokens(
    request: Request,
    asker: Asker,
    user_id: Annotated[int | None, Query(alias="userID", ge=1, le=2**31 - 1)] = None,
) -> Response:
    """One's own tokens, without what would let one in."""
    return success(services_of(request).user_tokens.list(asker, user_id=user_id))


@router.get("/tokens/{token}", responses=shows(_TOKEN, 401, 403, 404))
def show_user_token(request: Request, asker: Asker, token_id: TokenId) -> Response:
    """One token."""
    return success(services_of(request).user_tokens.one(asker, token_id))


@router.post("/tokens", responses=shows({"token_id": "fl_q3Xk9aB..."}, 400, 401, 403, 404, 409))
def make_user_token(request: Request, asker: Asker, body: Annotated[TokenPost, Body()]) -> Response:
    """Make a token. It is shown in this answer and never again."""
    scopes = {ACLS[name] for name in checked_acls(body.acls)}
    made = services_of(request).user_tokens.make(asker, body.name, scopes, user_id=body.user_id)
    return success({"token_id": made.token})


@router.put("/tokens/{token}", responses=shows({}, 400, 401, 403, 404, 409))
def change_user_token(
    request: Request, asker: Asker, token_id: TokenId, body: Annotated[TokenPut, Body()]
) -> Response:
    """Change a token's name or what it allows."""
    scopes = None if body.acls is None else {ACLS[name] for name in checked_acls(body.acls)}
    services_of(request).user_tokens.change(asker, token_id, name=body.name, scopes=scopes)
    return success({})


@router.delete("/tokens/{token}", responses=shows({}, 401, 403, 404))
def remove_user_token(request: Request, asker: Asker, token_id: TokenId) -> Response:
    """Make a token worthless."""
    services_of(request).user_tokens.remove(asker, token_id)
    return success({})
