"""Analysis services: programs that analyse objects."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request, Response

from firstlight.web.api.portal_parameters import RowId
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.envelope import shows, success

__all__ = ["SERVICE", "router"]

router = APIRouter(prefix="/api", tags=["analysis services"])

SERVICE: dict[str, Any] = {
    "id": 1,
    "created_at": "2026-11-21T12:35:30.123456",
    "modified": "2026-11-21T12:35:30.123456",
    "name": "My Awesome RR Lyrae Fitter",
    "display_name": "RR Lyrae",
    "description": "We fit RR Lyrae stars to templates.",
    "version": "1.0",
    "contact_name": "I. M. Astronomer",
    "contact_email": None,
    "url": "https://amazing.analysis.example:6801/analysis/rrl_analysis",
    "optional_analysis_parameters": {"rrl_type": ["ab", "c", "d", "e"]},
    "authentication_type": "header_token",
    "enabled": True,
    "analysis_type": "lightcurve_fitting",
    "input_data_types": ["photometry", "redshift"],
    "timeout": 60.0,
    "upload_only": False,
    "display_on_resource_dropdown": True,
    "is_summary": False,
    "groups": [{"id": 2, "name": "Observers"}],
}
_DETAILS: dict[str, Any] = {
    "input_format": "csv",
    "fields": [{"name": "rrl_type", "type": "choice", "choices": ["ab", "c", "d", "e"]}],
    "owner_id": 1,
    "has_authinfo": True,
    "may_change": True,
}
_NEW: dict[str, Any] = {
    "name": "My Awesome RR Lyrae Fitter",
    "display_name": "RR Lyrae",
    "url": "https://amazing.analysis.example:6801/analysis/rrl_analysis",
    "authentication_type": "header_token",
    "_authinfo": {"header_token": {"Authorization": "Bearer MY_TOKEN"}},
    "analysis_type": "lightcurve_fitting",
    "input_data_types": ["photometry", "redshift"],
    "optional_analysis_parameters": {"rrl_type": ["ab", "c", "d", "e"]},
    "timeout": 60,
    "group_ids": [2],
}

NewService = Annotated[dict[str, Any], Body(examples=[_NEW])]
Change = Annotated[dict[str, Any], Body(examples=[{"version": "1.1", "enabled": False}])]


@router.post("/analysis_service", responses=shows({"id": 1}, 400, 401, 403, 409))
def add_service(request: Request, asker: Asker, body: NewService) -> Response:
    """Register a service.

    `_authinfo` and `optional_analysis_parameters` are objects, or JSON of them, as old clients
    send. `_authinfo` is encrypted and never shown again. `url` is `local:NAME` for a service that
    is installed here and runs in a worker. `input_format` is `csv`, as SkyPortal sends, or `json`.
    """
    return success({"id": services_of(request).analysis_services.create(asker, body)})


@router.get("/analysis_service", responses=shows([SERVICE]))
def list_services(request: Request, asker: Asker) -> Response:
    """Services that you may see."""
    return success(services_of(request).analysis_services.list(asker))


@router.get("/analysis_service/{service_id}", responses=shows({**SERVICE, **_DETAILS}, 404))
def get_service(
    request: Request,
    asker: Asker,
    service_id: RowId,
    include_details: Annotated[
        bool, Query(alias="includeDetails", description="Also what SkyPortal has no names for.")
    ] = False,
) -> Response:
    """One service; never what it wants to see of us."""
    known = services_of(request).analysis_services
    facts = known.get(asker, service_id)
    if include_details:
        facts |= known.details(asker, service_id)
    return success(facts)


@router.patch("/analysis_service/{service_id}", responses=shows({}, 400, 401, 403, 404, 409))
def change_service(request: Request, asker: Asker, service_id: RowId, body: Change) -> Response:
    """Change a service; what is not given stays. `_authinfo` does not follow to another host."""
    services_of(request).analysis_services.change(asker, service_id, body)
    return success({})


@router.delete("/analysis_service/{service_id}", responses=shows({}, 401, 403, 404))
def remove_service(request: Request, asker: Asker, service_id: RowId) -> Response:
    """Take a service away. What it has found stays; runs that wait for it are cancelled."""
    services_of(request).analysis_services.remove(asker, service_id)
    return success({})
