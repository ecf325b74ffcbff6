"""Default analyses: services that run by themselves."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Request, Response

from firstlight.web.api.analysis_services import SERVICE
from firstlight.web.api.portal_parameters import RowId
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.envelope import shows, success

__all__ = ["router"]

router = APIRouter(prefix="/api", tags=["analysis services"])

_PATH = "/analysis_service/{service_id}/default_analysis"
_NEW: dict[str, Any] = {
    "default_analysis_parameters": {"source": "nugent-sn2p"},
    "source_filter": {"classifications": [{"name": "SN II", "probability": 0.9}]},
    "daily_limit": 10,
    "show_plots": True,
    "group_ids": [2],
}
_DEFAULT: dict[str, Any] = {
    "id": 1,
    "created_at": "2026-11-21T12:35:30.123456",
    "modified": "2026-11-21T12:35:30.123456",
    "analysis_service_id": 1,
    "author_id": 1,
    "show_parameters": True,
    "show_plots": True,
    "show_corner": True,
    "default_analysis_parameters": {"source": "nugent-sn2p"},
    "source_filter": {"classifications": [{"name": "SN II", "probability": 0.9}]},
    "stats": {"daily_limit": 10, "daily_count": 3, "last_run": "2026-11-21T12:35:30.123456"},
    "groups": [{"id": 2, "name": "Observers"}],
    "author": {"id": 1, "username": "ada"},
    "analysis_service": SERVICE,
}

Wish = Annotated[dict[str, Any], Body(examples=[_NEW])]


@router.get(_PATH, responses=shows([_DEFAULT], 404))
def list_default_analyses(request: Request, asker: Asker, service_id: RowId) -> Response:
    """What of a service runs by itself."""
    return success(services_of(request).default_analyses.list(asker, service_id))


@router.post(_PATH, responses=shows({"id": 1}, 400, 401, 403, 404))
def add_default_analysis(request: Request, asker: Asker, service_id: RowId, body: Wish) -> Response:
    """Let a service run by itself, as you, whenever an object is classified or saved to a group.

    `source_filter` is `{"classifications": [{"name", "probability"}]}` or `{"group_id"}`. It runs
    only on objects, and by classifications, that you may see; at most `daily_limit` times a day.
    """
    number = services_of(request).default_analyses.create(asker, service_id, body)
    return success({"id": number})


@router.get(_PATH + "/{number}", responses=shows(_DEFAULT, 404))
def get_default_analysis(
    request: Request, asker: Asker, service_id: RowId, number: RowId
) -> Response:
    """One of them."""
    return success(services_of(request).default_analyses.get(asker, service_id, number))


@router.patch(_PATH + "/{number}", responses=shows({}, 400, 401, 403, 404))
def change_default_analysis(
    request: Request, asker: Asker, service_id: RowId, number: RowId, body: Wish
) -> Response:
    """Change one of yours; what is not given stays."""
    services_of(request).default_analyses.change(asker, service_id, number, body)
    return success({})


@router.delete(_PATH + "/{number}", responses=shows({}, 401, 403, 404))
def remove_default_analysis(
    request: Request, asker: Asker, service_id: RowId, number: RowId
) -> Response:
    """Let it run no more. What it has run stays."""
    services_of(request).default_analyses.remove(asker, service_id, number)
    return success({})
