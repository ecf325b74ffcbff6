"""Taxonomies: trees of classes."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Request, Response
from pydantic import Field

from firstlight.web.api.portal_parameters import Groups, PortalRequest, RowId
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.envelope import shows, success

router = APIRouter(prefix="/api", tags=["taxonomies"])

_TREE = {"class": "Time-domain source", "subclasses": [{"class": "SN Ia"}, {"class": "RR Lyrae"}]}
_TAXONOMY: dict[str, Any] = {
    "id": 1,
    "created_at": "2026-08-21T12:35:30.123456",
    "modified": "2026-08-21T12:35:30.123456",
    "name": "Time-domain sources",
    "version": "1.0",
    "provenance": None,
    "isLatest": True,
    "hierarchy": _TREE,
    "groups": [{"id": 1, "name": "Observers"}],
}


class TaxonomyRequest(PortalRequest):
    """A taxonomy to be added: its hierarchy, or that as JSON text."""

    name: str = Field(examples=["Our classes"])
    version: str = Field(examples=["1.0"])
    hierarchy: dict[str, Any] | None = Field(default=None, examples=[_TREE])
    hierarchy_file: str | None = None
    group_ids: Groups = None
    provenance: str | None = None
    is_latest: bool = Field(default=True, alias="isLatest")


class TaxonomyChange(PortalRequest):
    """What is to be changed of a taxonomy; its classes cannot be."""

    name: str | None = Field(default=None, examples=["Our own classes"])
    version: str | None = None
    group_ids: Groups = None
    provenance: str | None = None
    is_latest: bool | None = Field(default=None, alias="isLatest")


@router.get("/taxonomy", responses=shows([_TAXONOMY], 401))
def list_taxonomies(request: Request, asker: Asker) -> Response:
    """All taxonomies, every version."""
    return success(services_of(request).taxonomies.list(asker))


@router.post("/taxonomy", responses=shows({"taxonomy_id": 1}, 400, 401, 403, 409))
def add_taxonomy(
    request: Request, asker: Asker, body: Annotated[TaxonomyRequest, Body()]
) -> Response:
    """Add a taxonomy, or a new version of one."""
    number = services_of(request).taxonomies.add(
        asker,
        body.name,
        body.version,
        body.hierarchy_file if body.hierarchy is None else body.hierarchy,
        provenance=body.provenance,
        is_latest=body.is_latest,
        group_ids=body.group_ids,
    )
    return success({"taxonomy_id": number})


@router.get("/taxonomy/{taxonomy_id}", responses=shows(_TAXONOMY, 404))
def get_taxonomy(request: Request, asker: Asker, taxonomy_id: RowId) -> Response:
    """One taxonomy."""
    return success(services_of(request).taxonomies.get(asker, taxonomy_id))


@router.put("/taxonomy/{taxonomy_id}", responses=shows({}, 400, 401, 403, 404, 409))
def change_taxonomy(
    request: Request, asker: Asker, taxonomy_id: RowId, body: Annotated[TaxonomyChange, Body()]
) -> Response:
    """Change name, version, provenance or groups of a taxonomy."""
    services_of(request).taxonomies.change(
        asker,
        taxonomy_id,
        name=body.name,
        version=body.version,
        provenance=body.provenance,
        is_latest=body.is_latest,
        group_ids=body.group_ids,
    )
    return success({})


@router.delete("/taxonomy/{taxonomy_id}", responses=shows({}, 401, 403, 404, 409))
def remove_taxonomy(request: Request, asker: Asker, taxonomy_id: RowId) -> Response:
    """Remove a taxonomy by which nothing is classified."""
    services_of(request).taxonomies.remove(asker, taxonomy_id)
    return success({})
