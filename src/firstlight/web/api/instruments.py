"""Instruments to which photometry and spectra belong."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request, Response
from pydantic import Field

from firstlight.web.api.portal_parameters import PortalRequest, RowId
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.envelope import shows, success

router = APIRouter(prefix="/api", tags=["instruments"])

_INSTRUMENT: dict[str, Any] = {
    "id": 1,
    "created_at": "2026-08-21T12:35:30.123456",
    "modified": "2026-08-21T12:35:30.123456",
    "name": "ZTF",
    "type": "imager",
    "band": "optical",
    "telescope_id": 1,
    "telescope": {"id": 1, "name": "Palomar 1.2m", "nickname": "P48"},
    "filters": ["ztfg", "ztfr"],
    "last_status_update": None,
    "has_fields": False,
    "has_region": False,
}
_LOG = {
    "id": 1,
    "created_at": "2026-08-21T12:35:30.123456",
    "instrument_id": 1,
    "start_date": "2026-01-01T00:00:00",
    "end_date": "2026-01-02T00:00:00",
    "log": {"logs": []},
}


class InstrumentChange(PortalRequest):
    """What is to be changed of an instrument."""

    name: str | None = Field(default=None, examples=["ZTF"])
    type: str | None = Field(default=None, examples=["imager"])
    telescope_id: int | None = Field(default=None, examples=[1])
    band: str | None = Field(default=None, examples=["optical"])
    filters: list[str] | None = Field(default=None, examples=[["ztfg", "ztfr"]])
    sensitivity_data: dict[str, Any] | None = None
    configuration_data: dict[str, Any] | None = None
    api_classname: str | None = None
    api_classname_obsplan: str | None = None
    listener_classname: str | None = None
    treasuremap_id: int | None = None
    tns_id: int | None = None
    across_id: str | None = None
    region: str | None = None
    field_data: dict[str, list[Any]] | str | None = Field(default=None, description="Not kept.")
    field_region: str | None = Field(default=None, description="Not kept.")
    field_fov_type: str | None = Field(default=None, description="Not kept.")
    field_fov_attributes: list[float] | float | None = Field(default=None, description="Not kept.")
    references: dict[str, list[Any]] | str | None = Field(default=None, description="Not kept.")


class InstrumentRequest(InstrumentChange):
    """An instrument to be added."""

    name: str = Field(examples=["ZTF"])
    type: str = Field(examples=["imager"])
    telescope_id: int = Field(examples=[1])


class LogRequest(PortalRequest):
    """What an instrument did in a period."""

    start_date: str = Field(examples=["2026-01-01"])
    end_date: str = Field(examples=["2026-01-02"])
    log: dict[str, Any] | str = Field(examples=[{"logs": []}])


class StatusRequest(PortalRequest):
    """What an instrument says of itself."""

    status: dict[str, Any] | None = Field(default=None, examples=[{"camera": "cold"}])


@router.get("/instrument", responses=shows([_INSTRUMENT], 400, 401))
def list_instruments(request: Request, asker: Asker, name: str | None = None) -> Response:
    """All instruments with their telescopes; the cameras that reduce here are among them."""
    return success(services_of(request).instruments.list(asker, name=name))


@router.post("/instrument", responses=shows({"id": 1}, 400, 401, 403, 409))
def add_instrument(
    request: Request, asker: Asker, body: Annotated[InstrumentRequest, Body()]
) -> Response:
    """Add an instrument."""
    given = body.model_dump(exclude_none=True)
    return success({"id": services_of(request).instruments.add(asker, given)})


@router.get(
    "/instrument/{instrument_id}",
    responses=shows({**_INSTRUMENT, "status": None, "log_exists": False}, 401, 404),
)
def get_instrument(
    request: Request,
    asker: Asker,
    instrument_id: RowId,
    with_region: Annotated[bool, Query(alias="includeRegion")] = False,
) -> Response:
    """One instrument, with its status."""
    found = services_of(request).instruments.get(asker, instrument_id, with_region=with_region)
    return success(found)


@router.put("/instrument/{instrument_id}", responses=shows({}, 400, 401, 403, 404, 409))
def change_instrument(
    request: Request, asker: Asker, instrument_id: RowId, body: Annotated[InstrumentChange, Body()]
) -> Response:
    """Change an instrument."""
    given = body.model_dump(exclude_none=True)
    services_of(request).instruments.change(asker, instrument_id, given)
    return success({})


@router.delete("/instrument/{instrument_id}", responses=shows({}, 401, 403, 404, 409))
def remove_instrument(request: Request, asker: Asker, instrument_id: RowId) -> Response:
    """Remove an instrument to which nothing belongs."""
    services_of(request).instruments.remove(asker, instrument_id)
    return success({})


@router.delete("/instrument/{instrument_id}/fields", responses=shows({}, 401, 403, 404))
def remove_fields(request: Request, asker: Asker, instrument_id: RowId) -> Response:
    """Forget the tiling of the sky of an instrument: none is kept."""
    services_of(request).instruments.check(asker, instrument_id)
    return success({})


@router.get("/instrument/{instrument_id}/log", responses=shows([_LOG], 400, 401, 404))
def list_logs(
    request: Request,
    asker: Asker,
    instrument_id: RowId,
    start: Annotated[str | None, Query(alias="startDate", description="UTC.")] = None,
    end: Annotated[str | None, Query(alias="endDate", description="UTC.")] = None,
) -> Response:
    """Logs of an instrument that touch a period."""
    return success(
        services_of(request).instruments.logs(asker, instrument_id, start=start, end=end)
    )


@router.post("/instrument/{instrument_id}/log", responses=shows({"id": 1}, 400, 401, 403, 404))
def add_log(
    request: Request, asker: Asker, instrument_id: RowId, body: Annotated[LogRequest, Body()]
) -> Response:
    """Keep a log of an instrument. The 200 newest are kept."""
    number = services_of(request).instruments.add_log(
        asker, instrument_id, body.start_date, body.end_date, body.log
    )
    return success({"id": number})


@router.put("/instrument/{instrument_id}/status", responses=shows({}, 400, 401, 403, 404))
def set_status(
    request: Request, asker: Asker, instrument_id: RowId, body: Annotated[StatusRequest, Body()]
) -> Response:
    """Remember what an instrument says of itself."""
    services_of(request).instruments.set_status(asker, instrument_id, body.status)
    return success({})
