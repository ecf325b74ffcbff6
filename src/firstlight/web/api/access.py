"""Tokens."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from firstlight.services.accounts.permissions import SCOPES
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.envelope import shows, success

router = APIRouter(prefix="/api", tags=["access"])

_EXAMPLE: dict[str, Any] = {
    "id": "1e1f6f0c-6f39-4f0e-9b07-3f6d1f0e7c11",
    "name": "camera of tst",
    "prefix": "fl_q3Xk9aB",
    "scopes": ["upload"],
    "sites": ["tst"],
    "created_at": "2026-08-24T20:15:00+00:00",
    "expires_at": None,
    "revoked_at": None,
}


class TokenRequest(BaseModel):
    """A token to be made."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"name": "camera of tst", "scopes": ["upload"], "sites": ["tst"]}
        },
    )

    name: str = Field(min_length=1, max_length=128)
    scopes: list[str] = Field(json_schema_extra={"items": {"enum": list(SCOPES)}})
    sites: list[str] | None = None
    expires_at: AwareDatetime | None = None


@router.get("/me", responses=shows({"name": "camera of tst", "scopes": ["upload"]}, 401))
def tell_who_asks(asker: Asker) -> Response:
    """Who asks, and what they may do."""
    token_sites, public = asker.token_sites, asker.public_sites
    return success(
        {
            "name": asker.name,
            "username": asker.username or None,
            "scopes": sorted(asker.scopes),
            "sites": None if token_sites is None else sorted(token_sites),
            "public_sites": None if public is None else sorted(public),
        }
    )


@router.get("/tokens", responses=shows([_EXAMPLE], 401, 403))
def list_tokens(request: Request, asker: Asker) -> Response:
    """All tokens, without what would let one in."""
    asker.require("admin")
    return success(services_of(request).access.list())


@router.post("/tokens", status_code=201, responses=shows(_EXAMPLE, 400, 401, 403, 409, status=201))
def make_token(request: Request, asker: Asker, body: Annotated[TokenRequest, Body()]) -> Response:
    """Make a token. It is shown in this answer and never again."""
    asker.require("admin")
    expires: datetime | None = body.expires_at
    made = services_of(request).access.make(
        body.name, body.scopes, sites=body.sites, expires_at=expires
    )
    return success({**made.facts, "token": made.token}, 201)


@router.delete("/tokens/{name}", responses=shows(_EXAMPLE, 401, 403, 404))
def revoke_token(request: Request, asker: Asker, name: Annotated[str, Path()]) -> Response:
    """Make a token worthless."""
    asker.require("admin")
    return success(services_of(request).access.revoke(name))
