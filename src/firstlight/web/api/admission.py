"""Wishes to be let into a group: SkyPortal's routes."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from firstlight.web.api.users import Number
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.envelope import shows, success

router = APIRouter(prefix="/api", tags=["groups"])

RequestId = Annotated[int, Path(ge=1, le=2**31 - 1, description="Number of the request.")]

_REQUEST: dict[str, Any] = {
    "id": 1,
    "created_at": "2026-08-24T20:15:00",
    "modified": "2026-08-24T20:15:00",
    "user_id": 2,
    "group_id": 3,
    "status": "pending",
}


class AdmissionPost(BaseModel):
    """A wish to be let in."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"groupID": 3, "userID": 2}}
    )

    groupID: Number  # noqa: N815, the client's name
    userID: Number  # noqa: N815, the client's name


class AdmissionPatch(BaseModel):
    """The answer to it."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"status": "accepted"}})

    status: str = Field(max_length=16)


@router.get("/group_admission_requests", responses=shows([_REQUEST], 401, 403))
def list_admissions(
    request: Request,
    asker: Asker,
    group_id: Annotated[int | None, Query(alias="groupID", ge=1, le=2**31 - 1)] = None,
) -> Response:
    """One's own requests, and those to groups that one administers."""
    return success(services_of(request).admissions.list(asker, group_id=group_id))


@router.get("/group_admission_requests/{request_id}", responses=shows(_REQUEST, 401, 403, 404))
def show_admission(request: Request, asker: Asker, request_id: RequestId) -> Response:
    """One request."""
    return success(services_of(request).admissions.one(asker, request_id))


@router.post("/group_admission_requests", responses=shows({"id": 1}, 400, 401, 403, 404, 409))
def ask_admission(
    request: Request, asker: Asker, body: Annotated[AdmissionPost, Body()]
) -> Response:
    """Ask for admission of oneself."""
    number = services_of(request).admissions.ask(asker, body.groupID, body.userID)
    return success({"id": number})


@router.patch("/group_admission_requests/{request_id}", responses=shows({}, 400, 401, 403, 404))
def settle_admission(
    request: Request, asker: Asker, request_id: RequestId, body: Annotated[AdmissionPatch, Body()]
) -> Response:
    """Accept or decline a request."""
    services_of(request).admissions.settle(asker, request_id, body.status)
    return success({})


@router.delete("/group_admission_requests/{request_id}", responses=shows({}, 401, 403, 404))
def withdraw_admission(request: Request, asker: Asker, request_id: RequestId) -> Response:
    """Take a request back."""
    services_of(request).admissions.withdraw(asker, request_id)
    return success({})
