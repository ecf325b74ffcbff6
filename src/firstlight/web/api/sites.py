"""What belongs to a site: its upload log and the pictures pinned to its channels."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request, Response

from firstlight.services.finding.served_files import FileMissing
from firstlight.web.addresses import absolute
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.envelope import shows, success
from firstlight.web.file_answers import FILE_RESPONSES, file_answer

router = APIRouter(prefix="/api", tags=["sites"])

Site = Annotated[str, Path(description="Short name of the site.", max_length=128)]
Channel = Annotated[int, Path(ge=1, le=3)]
State = Literal["received", "archived", "known", "quarantined", "superseded"]

_UPLOADS: dict[str, Any] = {
    "uploads": [
        {
            "id": "0f8e6a3e-6a1e-8f0a-9c52-8b1f8a3f9a11",
            "name": "data/tst-kb001ms-20220629-00010442-EX10.jpg",
            "site": "tst",
            "origin": "upload",
            "collection": "data",
            "base_filename": "tst-kb001ms-20220629-00010442",
            "channel": None,
            "state": "archived",
            "size": 183204,
            "error": None,
            "received_at": "2026-08-24T20:15:00Z",
            "finished_at": "2026-08-24T20:15:01Z",
        }
    ],
    "next": None,
}
_INFO_IMAGE: dict[str, Any] = {
    "site": "tst",
    "channel": 1,
    "base_filename": "tst-kb001ms-20220629-00000003",
    "s3_directory": "info-images",
    "jpg_medium_exists": True,
    "jpg_url": "/api/sites/tst/info-images/1/files/tst-kb001ms-20220629-00000003-EX10.jpg",
    "header": {},
}


@router.get("/uploads", responses=shows(_UPLOADS, 400, 401, 403))
def list_all_uploads(
    request: Request,
    asker: Asker,
    state: State | None = None,
    cursor: Annotated[str | None, Query(description="`next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """What has come to all sites that one may see, the newest first."""
    log = services_of(request).upload_log
    return success(log.page(asker.sites(), state=state, cursor=cursor, limit=limit).as_dict())


@router.get("/sites/{site}/uploads", responses=shows(_UPLOADS, 400, 401, 403))
def list_uploads(
    request: Request,
    asker: Asker,
    site: Site,
    state: State | None = None,
    cursor: Annotated[str | None, Query(description="`next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """What has come to a site and what became of it, the newest first."""
    asker.require("read", site)
    log = services_of(request).upload_log
    return success(log.page([site], state=state, cursor=cursor, limit=limit).as_dict())


@router.get("/sites/{site}/info-images", responses=shows([_INFO_IMAGE], 401, 403))
def list_info_images(request: Request, asker: Asker, site: Site) -> Response:
    """What the three channels of a site show; empty ones are left out."""
    asker.require("read", site)
    return success(pinned(request, site))


@router.get("/sites/{site}/info-images/{channel}", responses=shows(_INFO_IMAGE, 401, 403, 404))
def get_info_image(request: Request, asker: Asker, site: Site, channel: Channel) -> Response:
    """What one channel shows."""
    asker.require("read", site)
    found = [each for each in pinned(request, site) if each["channel"] == channel]
    if not found:
        raise FileMissing("this channel shows nothing", subject=f"{site} {channel}")
    return success(found[0])


@router.get(
    "/sites/{site}/info-images/{channel}/files/{name}",
    responses=FILE_RESPONSES,
    response_class=Response,
)
def get_info_image_file(
    request: Request, asker: Asker, site: Site, channel: Channel, name: Annotated[str, Path()]
) -> Response:
    """One file of the picture that a channel shows."""
    asker.require("read", site)
    services = services_of(request)
    shown = services.info_images.show(site, channel, str, datetime.now(UTC))
    for file in (shown or {}).get("files", ()):
        if file["name"] == name:
            return file_answer(request, services.served_files.by_key(file["url"], name))
    raise FileMissing(subject=name)


def pinned(request: Request, site: str, *, signed: bool = False) -> list[dict[str, Any]]:
    """What the channels show, with addresses in this application, or signed ones where asked."""
    services = services_of(request)
    shown = services.info_images.all_of(site, str, datetime.now(UTC))
    files = services.served_files

    def signed_link(key: str) -> str | None:
        address = files.link(key)
        return absolute(request, address) if address else None

    return [_with_addresses(site, image, signed_link if signed else _no_link) for image in shown]


def _no_link(_key: str) -> str | None:
    return None


def _with_addresses(
    site: str, image: dict[str, Any], link: Callable[[str], str | None]
) -> dict[str, Any]:
    """Put addresses where the service was asked for keys."""
    below = f"/api/sites/{quote(site, safe='')}/info-images/{image['channel']}/files/"
    names = {file["url"]: file["name"] for file in image["files"]}

    def address(key: str) -> str:
        return link(key) or below + quote(names[key], safe="")

    told = {
        name: address(value) if name.endswith("_url") else value for name, value in image.items()
    }
    files = [{**file, "url": address(file["url"])} for file in image["files"]]
    return {**told, "files": files}
