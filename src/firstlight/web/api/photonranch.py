"""The routes of photonranch-api, for its clients: same shapes, same statuses.

Right ascension is in decimal hours here, and dates are milliseconds since 1970. Answers have no
envelope; errors do. Unlike there, what one may see depends on who asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Request, Response

from firstlight.services.access import Viewer
from firstlight.services.finding.exposure_forms import ExposureRow, photonranch_row
from firstlight.services.finding.search import LONGEST_PAGE
from firstlight.services.finding.search_query import ExposureQuery
from firstlight.services.intake.uploads import UploadBadChannel, UploadBadDirectory, UploadRequest
from firstlight.web.addresses import absolute, file_address
from firstlight.web.api.exposures import asked_query
from firstlight.web.api.sites import pinned
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.envelope import failure, json_response

__all__ = ["described", "router"]

router = APIRouter(prefix="/photonranch", tags=["photonranch"])

Base = Annotated[str, Path(description="Base filename.", max_length=200)]
Site = Annotated[str, Path(max_length=128)]

_IMAGE: dict[str, Any] = {
    "image_id": 10442,
    "base_filename": "tst-kb001ms-20220629-00010442",
    "site": "tst",
    "capture_date": 1656562500000,
    "right_ascension": 14.053,
    "declination": 54.349,
    "filter_used": "rp",
    "exposure_time": 60.0,
    "fits_01_exists": True,
    "jpg_medium_exists": True,
    "s3_directory": "data",
    "SMARTSTK": "no",
    "jpg_url": "https://archive.example/api/files/WyJk...",
}
_FORM: dict[str, Any] = {
    "url": "https://archive.example/api/uploads/WyJp...",
    "fields": {"key": "inbox/5a1e/tst-kb001ms-20220629-00010442-EX10.jpg"},
}
_LOG = {
    "site": "tst",
    "upload_timestamp_s": 1656562503,
    "expire_timestamp_s": 1656735303,
    "filename": "data/tst-kb001ms-20220629-00010442-EX10.jpg",
    "size_bytes": 183204,
}
_PICTURES = {"jpg_url": ("jpg_medium",), "jpg_thumbnail_url": ("thumbnail",)}


def described(example: Any, *errors: int) -> dict[int | str, dict[str, Any]]:
    """Describe the answers of a route without an envelope."""
    told: dict[int | str, dict[str, Any]] = {
        code: {"description": HTTPStatus(code).phrase} for code in (401, *errors)
    }
    told[200] = {
        "description": "Success",
        "content": {"application/json": {"example": example}},
    }
    return told


@router.post("/upload", responses=described(_FORM, 400, 403))
def upload(request: Request, asker: Asker, body: Annotated[UploadRequest, Body()]) -> Response:
    """Leave to upload one file: post a form with these fields, and last `file`, there."""
    try:
        form = services_of(request).uploads.request(body, asker)
    except (UploadBadDirectory, UploadBadChannel) as fault:
        answer = failure(fault)
        answer.status_code = HTTPStatus.FORBIDDEN  # as Photon Ranch has it
        return answer
    return json_response({**form, "url": absolute(request, str(form["url"]))})


@router.get("/image/{base_filename}", responses=described(_IMAGE, 404))
def image(request: Request, asker: Asker, base_filename: Base) -> Response:
    """One exposure. One without a picture is not there yet, as its clients expect."""
    search = services_of(request).search
    row = search.exposure(base_filename, asker.sites(), with_headers=True)
    if row.file("jpg_medium") is None:
        return json_response({"error": "there is no picture yet"}, HTTPStatus.NOT_FOUND)
    return json_response(_package(request, row))


@router.get("/fitsheader/{base_filename}", responses=described({"OBJECT": "M 101"}, 404))
def fits_header(request: Request, asker: Asker, base_filename: Base) -> Response:
    """The header of an exposure, keyword by keyword."""
    cards = services_of(request).search.header(base_filename, asker.sites())
    return json_response({str(card[0]): card[1] for card in reversed(cards)})


@router.get("/latest_image_all_sites/", responses=described({"tst": _IMAGE["jpg_url"]}))
def latest_image_all_sites(request: Request, asker: Asker) -> Response:
    """The latest picture of each site."""
    latest = services_of(request).search.latest_of_all_sites(asker.sites())
    return json_response(
        {site: _link(request, row, ("jpg_medium",)) for site, row in sorted(latest.items())}
    )


@router.get("/filtered_images", responses=described([_IMAGE], 400))
def filtered_images(
    request: Request,
    asker: Asker,
    cursor: Annotated[str | None, Query(description="Header `X-Next-Cursor` before.")] = None,
    limit: Annotated[int, Query(ge=1, le=LONGEST_PAGE)] = LONGEST_PAGE,
) -> Response:
    """Exposures with a picture, the newest first.

    Conditions: username, user_id, site, filter, exposure_time_min, exposure_time_max,
    start_date, end_date, filename (with % and _ as in SQL), and all those of `/api/exposures`.
    """
    query = asked_query(request, frozenset({"cursor", "limit", "has"}), has="jpg_medium")
    page = services_of(request).search.exposures(
        query, asker.sites(), cursor=cursor, limit=limit, with_headers=True
    )
    headers = {"X-Next-Cursor": page.next_cursor} if page.next_cursor else {}
    return json_response([_package(request, row) for row in page.rows], headers=headers)


@router.get("/infoimage/{site}/{channel}", responses=described({"channel": 1}, 204))
def info_image(
    request: Request, asker: Asker, site: Site, channel: Annotated[int, Path(ge=1, le=3)]
) -> Response:
    """What a channel of a site shows; an answer without content where that is nothing."""
    asker.require("read", site)
    shown = [each for each in pinned(request, site, signed=True) if each["channel"] == channel]
    return json_response(shown[0]) if shown else Response(status_code=HTTPStatus.NO_CONTENT)


@router.get("/recentuploads", responses=described([_LOG], 404))
def recent_uploads(
    request: Request,
    asker: Asker,
    site: Annotated[str, Query(description="A site, or `all`.", max_length=128)] = "",
) -> Response:
    """The upload log of a site, the newest first."""
    if not site:
        return json_response({"error": "no site was named"}, HTTPStatus.NOT_FOUND)
    page = services_of(request).upload_log.page(_places(asker, site), limit=LONGEST_PAGE)
    return json_response(
        [
            {
                "site": entry["site"],
                "upload_timestamp_s": int(entry["received_at"].timestamp()),
                "expire_timestamp_s": _seconds(entry["expires_at"]),
                "filename": entry["name"],
                "size_bytes": entry["size"],
            }
            for entry in page.entries
        ]
    )


@router.get("/{site}/latest_images/{count}", responses=described([_IMAGE], 400))
def latest_images(
    request: Request,
    asker: Asker,
    site: Site,
    count: Annotated[int, Path(ge=1, le=LONGEST_PAGE)],
    userid: Annotated[str | None, Query(description="Of this user only.")] = None,
) -> Response:
    """The latest exposures of a site that have a picture."""
    asker.require("read", site)
    query = ExposureQuery(
        site=(site,),
        user_id=(userid,) if userid else (),
        collection=("data",),
        has="jpg_medium",
    )
    search = services_of(request).search
    page = search.exposures(query, [site], limit=count, with_headers=True)
    return json_response([_package(request, row) for row in page.rows])


def _places(asker: Viewer, site: str) -> Sequence[str] | None:
    if site == "all":
        places = asker.sites()
        return None if places is None else sorted(places)
    asker.require("read", site)
    return [site]


def _package(request: Request, row: ExposureRow) -> dict[str, Any]:
    facts = photonranch_row(row)
    del facts["header"]
    return {**facts, **{name: _link(request, row, roles) for name, roles in _PICTURES.items()}}


def _link(request: Request, row: ExposureRow, roles: Sequence[str]) -> str:
    """Return an address that a browser may load; empty where there is no such file."""
    file = row.file(*roles)
    if file is None:
        return ""
    signed = services_of(request).served_files.link(file.key)
    return absolute(request, signed or file_address(row.id, file.name))


def _seconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp())
