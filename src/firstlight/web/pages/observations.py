"""Observations: the explorer with its totals of weeks, and the page of one."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Path, Request, Response

from firstlight.errors import UserError
from firstlight.services.finding.observations import STATUSES, ObservationPage, ObservationQuery
from firstlight.web.addresses import file_address
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.envelope import status_of, told
from firstlight.web.pages.rendering import render

router = APIRouter(include_in_schema=False)

_PAGE = 60
_WEEKS = 12
_OWN = frozenset({"cursor"})
_FOLDED = frozenset({"days", "ra", "dec", "radius"})
_SMALL = ("thumbnail", "colour_jpg", "jpg_medium")
_PIXELS = frozenset({"fits_small", "raw", "fits_large", "green_fits"})
_COLOURS = (("red_fits", "R"), ("green_fits", "G"), ("blue_fits", "B"), ("colour_jpg", "JPG"))
_MORE = (("fits_large", "FITS"), ("fits_small", "small FITS"), ("raw", "raw"), ("cr2", "CR2"))
# A movie is played in the page.
_WITH_MOVIE = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "media-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)


@router.get("/observations")
def show_observations(request: Request, asker: Asker) -> Response:
    """Observations that fit the conditions in the address, and totals of their weeks."""
    allowed, service = asker.sites(), services_of(request).observations
    asked = {name: text.strip() for name, text in request.query_params.items() if text.strip()}
    page, weeks, fault = ObservationPage([], None), list[dict[str, Any]](), None
    try:
        query = ObservationQuery.of(**{"limit": _PAGE, **asked})
        page = service.find(query, allowed)
        if query.cursor is None and page.items:
            weeks = service.weeks(_lately(query, page), allowed)[:_WEEKS]
    except UserError as wrong:
        fault = wrong
    shown = {name: text for name, text in asked.items() if name not in _OWN}
    facts = {
        "observations": [_listed(each) for each in page.items],
        "weeks": weeks,
        "most_minutes": max((week["total_minutes_exptime"] for week in weeks), default=1.0) or 1.0,
        "asked": shown,
        "open_more": fault is not None or bool(_FOLDED & shown.keys()),
        "statuses": [("", "any"), *((name, name) for name in STATUSES)],
        "fault": None if fault is None else told(fault),
        "first": f"/observations?{urlencode(shown)}" if "cursor" in asked else None,
        "next": f"/observations?{urlencode({**shown, 'cursor': page.next})}" if page.next else None,
    }
    status = HTTPStatus.OK if fault is None else status_of(fault)
    return render(request, "observations.html", facts, status=status)


def _lately(query: ObservationQuery, page: ObservationPage) -> ObservationQuery:
    """The same from the oldest night of the page on: older weeks are on other pages."""
    oldest = page.items[-1]["night"]
    return ObservationQuery.of(**{**query.model_dump(exclude={"since", "cursor"}), "since": oldest})


def _listed(item: dict[str, Any]) -> dict[str, Any]:
    return {**item, "url": f"/observations/{quote(item['id'], safe='')}"}


@router.get("/observations/{name}")
def show_observation(
    request: Request, asker: Asker, name: Annotated[str, Path(max_length=200)]
) -> Response:
    """One observation: its images with links to their files, its movie, lists to download."""
    services = services_of(request)
    found = services.observations.one(
        name, asker.sites(), link=lambda key: services.served_files.link(key) or ""
    )["items"]
    images = [_image(each) for each in found["images"]]
    own = [file for file in found["files"] if file["url"]]
    movies = [file for file in own if file["name"].lower().endswith(".mp4")]
    sequence = found["sequence"]
    facts = {
        "observation": sequence,
        "title": sequence["field"] or sequence["id"],
        "images": images,
        "movie": movies[-1] if movies else None,
        "files": own,
        "list_url": f"/api/observations/{quote(name, safe='')}/files.txt",
        "kinds": sorted(kind for kind, links in found["sequence_files"].items() if kind and links),
    }
    answer = render(request, "observation.html", facts)
    if movies:
        answer.headers["Content-Security-Policy"] = _WITH_MOVIE
    return answer


def _image(image: dict[str, Any]) -> dict[str, Any]:
    """What the page shows of one image; links are to this application, for who may see them."""
    files = image["files"]

    def address(role: str) -> str:
        return file_address(image["exposure_id"], files[role]["name"])

    thumbnail = next((address(role) for role in _SMALL if role in files), None)
    if thumbnail is None and _PIXELS & files.keys():
        thumbnail = f"/exposures/{image['exposure_id']}/preview-256.jpg"
    return {
        **image,
        "thumbnail": thumbnail,
        "colours": [(label, address(role)) for role, label in _COLOURS if role in files],
        "more": [(label, address(role)) for role, label in _MORE if role in files],
    }
