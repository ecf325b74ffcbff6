"""Pages of the archive: sites, one site, its sky, one exposure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Path, Request, Response

from firstlight.services.finding.exposure_forms import ExposureRow, FileRow, start_of
from firstlight.services.finding.search_query import ExposureQuery
from firstlight.web.addresses import exposure_address, file_address
from firstlight.web.api.exposures import named
from firstlight.web.api.sites import pinned
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.pages.rendering import render

router = APIRouter(include_in_schema=False)

_EXPOSURES = 60
_UPLOADS = 30
_PICTURES = ("jpg_medium", "colour_jpg", "thumbnail")
_SMALL = ("thumbnail", "colour_jpg", "jpg_medium")
_FACTS = {
    "site": "Site",
    "camera": "Camera",
    "telescope": "Telescope",
    "target": "Target",
    "filter": "Filter",
    "exp_time": "Exposure, s",
    "ra": "RA, deg",
    "dec": "Dec, deg",
    "altitude": "Altitude, deg",
    "azimuth": "Azimuth, deg",
    "airmass": "Airmass",
    "username": "Observer",
    "smart_stack": "Smart stack",
    "reduction_state": "Reduction",
}
_ROLES = {
    "header_text": "Header",
    "fits_large": "Large FITS",
    "fits_small": "Small FITS",
    "jpg_medium": "Picture",
    "thumbnail": "Thumbnail",
    "raw": "Raw",
    "cr2": "Camera raw",
    "red_fits": "Red",
    "green_fits": "Green",
    "blue_fits": "Blue",
    "colour_jpg": "Colour picture",
}
_WITH_PIXELS = ("fits_large", "fits_small", "raw", "red_fits", "green_fits", "blue_fits")
_PACKED = (".fz", ".gz", ".bz2")
SiteName = Annotated[str, Path(max_length=128)]


@router.get("/")
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
def show_site(request: Request, asker: Asker, site: SiteName) -> Response:
    """One site: thumbnails, what is pinned, latest exposures, the upload log."""
    asker.require("read", site)
    services = services_of(request)
    query = ExposureQuery(site=(site,), collection=("data",))
    rows = services.search.exposures(query, [site], limit=_EXPOSURES).rows
    facts = {
        "site": site,
        "exposures": [view(row) for row in rows],
        "pinned": [_info_view(image) for image in pinned(request, site)],
        "uploads": services.upload_log.page([site], limit=_UPLOADS).entries,
    }
    return render(request, "site.html", facts)


@router.get("/sites/{site}/allsky")
def show_sky(request: Request, asker: Asker, site: SiteName) -> Response:
    """The latest picture of the whole sky over a site, and those before it."""
    asker.require("read", site)
    search = services_of(request).search
    rows = search.latest(site, _EXPOSURES, [site], collection="allsky")
    return render(request, "allsky.html", {"site": site, "exposures": [view(row) for row in rows]})


@router.get("/exposures/{which}")
def show_exposure(
    request: Request, asker: Asker, which: Annotated[str, Path(max_length=200)]
) -> Response:
    """One exposure: its picture, what is known of it, its files and its header."""
    search = services_of(request).search
    row = search.exposure(named(which), asker.sites(), with_headers=True)
    facts = {
        "exposure": view(row),
        "facts": _facts(row.columns),
        "files": [_file_view(row, file) for file in row.files],
        "cards": row.cards or (),
    }
    return render(request, "exposure.html", facts)


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
        "picture": _address(row, _PICTURES),
        "thumbnail": _address(row, _SMALL),
        **{
            name: columns[name]
            for name in (
                "site", "night", "camera", "target", "filter", "exp_time", "data_type", "kind",
                "reduction_state",
            )
        },
    }  # fmt: skip


def _address(row: ExposureRow, roles: tuple[str, ...]) -> str | None:
    file = row.file(*roles)
    return None if file is None else file_address(row.id, file.name)


def _facts(columns: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts = []
    if columns["mjd"] is not None:
        facts.append(("Start", f"{start_of(columns):%Y-%m-%d %H:%M:%S}"))
    if columns["night"] is not None:
        facts.append(("Night", str(columns["night"])))
    for name, title in _FACTS.items():
        value = columns[name]
        if value not in (None, "", "none"):
            facts.append((title, f"{value:.6g}" if isinstance(value, float) else str(value)))
    if columns["expires_at"] is not None:
        facts.append(("Expires", f"{columns['expires_at']:%Y-%m-%d %H:%M}"))
    return facts


def _file_view(row: ExposureRow, file: FileRow) -> dict[str, Any]:
    plain, picture = None, None
    if file.role in _WITH_PIXELS:
        asked = f"?name={quote(file.name, safe='')}"
        packed = file.name.lower().endswith(_PACKED)
        plain = f"{exposure_address(row.id)}/fits{asked}" if packed else None
        picture = f"{exposure_address(row.id)}/tiff{asked}"
    return {
        "title": _ROLES.get(file.role, "File"),
        "name": file.name,
        "size": file.size,
        "url": file_address(row.id, file.name),
        "plain": plain,
        "picture": picture,
    }


def _info_view(image: dict[str, Any]) -> dict[str, Any]:
    first = next(iter(image["files"]), {"url": None})
    return {
        "channel": image["channel"],
        "base_filename": image["base_filename"],
        "picture": image.get("jpg_url") or image.get("jpg_small_url"),
        "thumbnail": image.get("jpg_small_url") or image.get("jpg_url"),
        "file": first["url"],
    }
