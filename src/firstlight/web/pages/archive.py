"""Pages of the archive: sites, one site, its sky."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request, Response

from firstlight.services.finding.exposure_forms import ExposureRow, start_of
from firstlight.services.finding.search_query import ExposureQuery
from firstlight.web.addresses import file_address
from firstlight.web.api.sites import pinned
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.pages.rendering import render

router = APIRouter(include_in_schema=False)

_EXPOSURES = 60
_UPLOADS = 30
_PICTURES = ("jpg_medium", "colour_jpg", "thumbnail")
_SMALL = ("thumbnail", "colour_jpg", "jpg_medium")
PIXELS = ("fits_small", "raw", "fits_large", "green_fits")
"""Files of which a picture is made where none has come."""
SiteName = Annotated[str, Path(max_length=128)]


@router.get("/sites")
def show_sites(request: Request, asker: Asker) -> Response:
    """All sites, each with its latest picture."""
    search, allowed = services_of(request).search, asker.sites()
    found: dict[str, ExposureRow] = {}
    # What comes later counts: the latest picture rather than the latest exposure without one.
    for collection, role in (("allsky", None), ("data", None), ("data", "jpg_medium")):
        found |= search.latest_of_all_sites(allowed, collection=collection, role=role)
    sites = [{"name": name, "latest": view(row)} for name, row in sorted(found.items())]
    return render(request, "sites.html", {"sites": sites})


@router.get("/sites/{site}")
def show_site(
    request: Request, asker: Asker, site: SiteName, stacks: Literal["all", "final"] = "all"
) -> Response:
    """One site: thumbnails, what is pinned, latest exposures, the upload log for operators.

    With `stacks` only the last exposure that has come of each smart stack is shown.
    """
    asker.require("read", site)
    services = services_of(request)
    query = ExposureQuery(site=(site,), collection=("data",), final_only=stacks == "final")
    rows = services.search.exposures(query, [site], limit=_EXPOSURES).rows
    operates = asker.may("operate", site)
    uploads = services.upload_log.page([site], limit=_UPLOADS).entries if operates else None
    facts = {
        "site": site,
        "stacks": stacks,
        "exposures": [view(row) for row in rows],
        "pinned": [_info_view(image) for image in pinned(request, site)],
        "uploads": uploads,
    }
    return render(request, "site.html", facts)


@router.get("/sites/{site}/allsky")
def show_sky(request: Request, asker: Asker, site: SiteName) -> Response:
    """The latest picture of the whole sky over a site, and those before it."""
    asker.require("read", site)
    search = services_of(request).search
    rows = search.latest(site, _EXPOSURES, [site], collection="allsky")
    return render(request, "allsky.html", {"site": site, "exposures": [view(row) for row in rows]})


def view(row: ExposureRow) -> dict[str, Any]:
    """What pages show of an exposure."""
    columns = row.columns
    exp_time = columns["exp_time"]
    told = [
        columns["target"],
        columns["filter"],
        None if exp_time is None else f"{exp_time:g}\u00a0s",
    ]
    known = columns["mjd"] is not None
    return {
        "id": row.id,
        "name": columns["label"] or columns["base_filename"] or str(row.id),
        "time": f"{start_of(columns):%Y-%m-%d %H:%M:%S}" if known else None,
        "told": " · ".join(each for each in told if each),
        "picture": _address(row, _PICTURES, 1024),
        "thumbnail": _address(row, _SMALL, 256),
        **{
            name: columns[name]
            for name in (
                "site", "night", "camera", "target", "filter", "exp_time", "data_type", "kind",
                "reduction_state", "smart_stack", "stack_number", "stack_length", "ra", "dec",
            )
        },
    }  # fmt: skip


def _address(row: ExposureRow, roles: tuple[str, ...], side: int) -> str | None:
    file = row.file(*roles)
    if file is not None:
        return file_address(row.id, file.name)
    return f"/exposures/{row.id}/preview-{side}.jpg" if row.file(*PIXELS) else None


def _info_view(image: dict[str, Any]) -> dict[str, Any]:
    first = next(iter(image["files"]), {"url": None})
    return {
        "channel": image["channel"],
        "base_filename": image["base_filename"],
        "picture": image.get("jpg_url") or image.get("jpg_small_url"),
        "thumbnail": image.get("jpg_small_url") or image.get("jpg_url"),
        "file": first["url"],
    }
