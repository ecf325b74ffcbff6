"""Observations: sequences of exposures of one field by one camera."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request, Response

from firstlight.services.finding.observations import ObservationQuery
from firstlight.web.addresses import absolute
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.envelope import asks, shows, success
from firstlight.web.file_answers import attached

router = APIRouter(prefix="/api", tags=["observations"])

_LINKS_LAST = timedelta(days=1)  # a list of files takes its time to load
Named = Annotated[
    str, Path(description="Id, or the camera's own name of the sequence.", max_length=200)
]
_OBSERVATION: dict[str, Any] = {
    "id": "PAN001_14d3bd_20180113T052458",
    "observation_id": "5c3ad5d5-6a3f-8e6b-9f51-0a4f7be2a2f0",
    "unit_id": "PAN001",
    "camera_id": "14d3bd",
    "start_date": "2018-01-13T05:24:58Z",
    "exptime": 120.0,
    "state": "done",
    "field": "HAT-P-20",
    "image_count": 43,
    "total_exptime": 5160.0,
}
_WEEK = {
    "year": 2018,
    "week": 2,
    "unit": "PAN001",
    "num_observations": 4,
    "num_images": 161,
    "total_minutes_exptime": 322.0,
    "observations": ["PAN001_14d3bd_20180113T052458"],
}
_CONDITIONS: dict[str, tuple[str, str]] = {
    "days": ("Of the last so many nights.", "21"),
    "since": ("First night.", "2018-01-01"),
    "until": ("Last night.", "2018-01-31"),
    "min_images": ("Fewest exposures.", "5"),
    "unit": ("Site, unit or telescope.", "PAN001"),
    "field": ("Part of the target's name.", "HAT-P"),
    "status": ("received, partial, done or failed.", "done"),
    "ra": ("Degrees; with dec and radius.", "111.9"),
    "dec": ("Degrees.", "24.3"),
    "radius": ("Degrees.", "15"),
    "limit": ("Most observations of one page.", "100"),
    "cursor": ("`next` of the page before.", ""),
}
_SEARCH = asks(_CONDITIONS)


@router.get(
    "/observations",
    responses=shows({"items": [_OBSERVATION], "total": 1, "next": None}, 400, 401, 403),
    openapi_extra=_SEARCH,
)
def find_observations(request: Request, asker: Asker) -> Response:
    """Observations that fit the conditions, the newest night first."""
    found = services_of(request).observations.find(_query(request), asker.sites())
    return success(found.as_dict())


@router.get("/observations/weeks", responses=shows([_WEEK], 400, 401, 403), openapi_extra=_SEARCH)
def count_weeks(request: Request, asker: Asker) -> Response:
    """Totals of each week and unit, of all observations that fit the conditions."""
    return success(services_of(request).observations.weeks(_query(request), asker.sites()))


@router.get(
    "/observations/{name}",
    responses=shows({"items": {"sequence": _OBSERVATION, "images": []}, "total": 5}, 401, 403, 404),
)
def get_observation(request: Request, asker: Asker, name: Named) -> Response:
    """One observation with its images and files."""
    observations = services_of(request).observations
    return success(observations.one(name, asker.sites(), link=_links(request)))


@router.get(
    "/observations/{name}/files.txt",
    responses={
        **shows(None, 401, 403, 404),
        200: {"description": "Addresses", "content": {"text/plain": {"example": "https://..."}}},
    },
    response_class=Response,
)
def list_observation_files(
    request: Request,
    asker: Asker,
    name: Named,
    kind: Annotated[list[str] | None, Query(description="Only files that end so: fz.")] = None,
) -> Response:
    """Addresses of all files of an observation, one a line, for `wget -i`."""
    observations = services_of(request).observations
    listed = observations.file_list(name, asker.sites(), link=_links(request), kinds=kind or ())
    headers = {"Content-Disposition": attached(listed.name)}
    return Response(listed.text, headers=headers, media_type="text/plain")


def _query(request: Request) -> ObservationQuery:
    return ObservationQuery.of(
        **{name: text for name, text in request.query_params.items() if text}
    )


def _links(request: Request) -> Callable[[str], str]:
    files = services_of(request).served_files

    def link(key: str) -> str:
        signed = files.link(key, _LINKS_LAST)
        if signed and "/api/files/" in signed:
            signed += "/" + quote(key.rpartition("/")[2])  # what wget calls the file
        return absolute(request, signed) if signed else ""

    return link
