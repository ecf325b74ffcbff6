"""What programs may ask of the portal itself."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.envelope import shows, success

__all__ = ["router"]

router = APIRouter(prefix="/api", tags=["system"])

_WORDS: dict[str, Any] = {"ALLOWED_MAGSYSTEMS": ["ab", "vega"], "ALLOWED_BANDPASSES": ["ztfg"]}


@router.get("/sysinfo", responses=shows({"gitlog": []}))
def system_info() -> Response:
    """The history of the installed version, which is not told."""
    return success({"gitlog": []})


@router.get("/config", responses=shows({"publicGroupName": "Sitewide Group"}))
def configuration(request: Request, asker: Asker) -> Response:
    """What clients need to know to draw and to upload."""
    del asker
    return success(services_of(request).portal_facts.config())


@router.get("/enum_types", responses=shows(_WORDS))
def enum_types(request: Request, asker: Asker) -> Response:
    """Words that fields may have."""
    del asker
    return success(services_of(request).portal_facts.vocabulary())


@router.get("/internal/dbinfo", responses=shows({"source_table_empty": False}, 401))
def database_info(request: Request, asker: Asker) -> Response:
    """Which database it is, and whether there are any sources."""
    return success(services_of(request).portal_facts.database(asker))


@router.get("/internal/altdata_info", responses=shows({"keys": [{"dm": "number"}]}, 401))
def altdata_info(request: Request, asker: Asker) -> Response:
    """Keys of what programs keep beside objects, and the kinds of their values."""
    return success(services_of(request).portal_facts.altdata(asker))


@router.get("/internal/annotations_info", responses=shows({"gaia": [{"Plx": "number"}]}, 401))
def annotations_info(request: Request, asker: Asker) -> Response:
    """Keys of annotations and the kinds of their values, by origin."""
    return success(services_of(request).portal_facts.annotations(asker))


@router.get("/db_stats", responses=shows({"Number of objs": 1}, 401, 403))
def database_statistics(request: Request, asker: Asker) -> Response:
    """Rows of the tables."""
    return success(services_of(request).portal_facts.counts(asker))
