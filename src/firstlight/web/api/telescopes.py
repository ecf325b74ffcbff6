"""Telescopes, and when it is night there."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request, Response
from pydantic import Field

from firstlight.web.api.portal_parameters import PortalRequest, RowId
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.envelope import shows, success

router = APIRouter(prefix="/api", tags=["telescopes"])

_TELESCOPE: dict[str, Any] = {
    "id": 1,
    "created_at": "2026-08-21T12:35:30.123456",
    "modified": "2026-08-21T12:35:30.123456",
    "name": "Palomar 1.5m",
    "nickname": "P60",
    "lat": 33.3633,
    "lon": -116.8361,
    "elevation": 1870.0,
    "mpc_obscode": None,
    "diameter": 1.5,
    "skycam_link": None,
    "weather_link": None,
    "robotic": True,
    "fixed_location": True,
}
_NIGHT = {
    "is_night_astronomical": False,
    "morning": "2026-08-21 12:00:00.000",
    "evening": "2026-08-22 03:30:00.000",
    "allocations": [],
}
Bound = Annotated[float | None, Query(description="Degrees.")]


class TelescopeChange(PortalRequest):
    """What is to be changed of a telescope."""

    name: str | None = Field(default=None, examples=["Palomar 1.5m"])
    nickname: str | None = Field(default=None, examples=["P60"])
    diameter: float | None = Field(default=None, examples=[1.5])
    lat: float | None = Field(default=None, examples=[33.3633])
    lon: float | None = Field(default=None, examples=[-116.8361])
    elevation: float | None = Field(default=None, examples=[1870.0])
    skycam_link: str | None = None
    weather_link: str | None = None
    robotic: bool | None = None
    fixed_location: bool | None = None


class TelescopeRequest(TelescopeChange):
    """A telescope to be added."""

    name: str = Field(examples=["Palomar 1.5m"])
    nickname: str = Field(examples=["P60"])
    diameter: float = Field(examples=[1.5])


@router.get("/telescope", responses=shows([{**_TELESCOPE, **_NIGHT}], 400, 401))
def list_telescopes(
    request: Request,
    asker: Asker,
    name: str | None = None,
    latitude_min: Annotated[Bound, Query(alias="latitudeMin")] = None,
    latitude_max: Annotated[Bound, Query(alias="latitudeMax")] = None,
    longitude_min: Annotated[Bound, Query(alias="longitudeMin")] = None,
    longitude_max: Annotated[Bound, Query(alias="longitudeMax")] = None,
) -> Response:
    """All telescopes, with the next ends of astronomical night: false where there is none."""
    found = services_of(request).telescopes.list(
        asker,
        name=name,
        latitudes=(latitude_min, latitude_max),
        longitudes=(longitude_min, longitude_max),
    )
    return success(found)


@router.post("/telescope", responses=shows({"id": 1}, 400, 401, 403, 409))
def add_telescope(
    request: Request, asker: Asker, body: Annotated[TelescopeRequest, Body()]
) -> Response:
    """Add a telescope."""
    given = body.model_dump(exclude_none=True)
    return success({"id": services_of(request).telescopes.add(asker, given)})


@router.get(
    "/telescope/{telescope_id}",
    responses=shows({**_TELESCOPE, "instruments": [], "allocations": []}, 401, 404),
)
def get_telescope(request: Request, asker: Asker, telescope_id: RowId) -> Response:
    """One telescope with its instruments."""
    return success(services_of(request).telescopes.get(asker, telescope_id))


@router.put("/telescope/{telescope_id}", responses=shows({}, 400, 401, 403, 404, 409))
def change_telescope(
    request: Request, asker: Asker, telescope_id: RowId, body: Annotated[TelescopeChange, Body()]
) -> Response:
    """Change a telescope."""
    given = body.model_dump(exclude_none=True)
    services_of(request).telescopes.change(asker, telescope_id, given)
    return success({})


@router.delete("/telescope/{telescope_id}", responses=shows({}, 401, 403, 404, 409))
def remove_telescope(request: Request, asker: Asker, telescope_id: RowId) -> Response:
    """Remove a telescope that has no instruments."""
    services_of(request).telescopes.remove(asker, telescope_id)
    return success({})
