"""Streams of alerts and filters on them: there are none here, and clients are told so."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from firstlight.services.objects.not_offered import NotOffered
from firstlight.web.auth import Asker
from firstlight.web.envelope import shows, success

router = APIRouter(prefix="/api", tags=["streams"])

_CHANGING = ["GET", "POST", "PUT", "PATCH", "DELETE"]


@router.get("/streams", responses=shows([], 401))
def list_streams(asker: Asker) -> Response:
    """Streams of alerts: none."""
    del asker
    return success([])


@router.get("/filters", responses=shows([], 401))
def list_filters(asker: Asker) -> Response:
    """Filters on streams of alerts (not of light): none."""
    del asker
    return success([])


@router.post("/streams", include_in_schema=False)
@router.post("/filters", include_in_schema=False)
@router.api_route("/streams/{rest:path}", methods=_CHANGING, include_in_schema=False)
@router.api_route("/filters/{rest:path}", methods=_CHANGING, include_in_schema=False)
@router.get("/instrument/{rest}/external_api", include_in_schema=False)
def refuse(request: Request, asker: Asker) -> Response:
    """Say that there is no such thing."""
    del asker
    raise NotOffered(subject=request.url.path[:200])
