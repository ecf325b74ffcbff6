"""Exposures: the search with its map, and the page of one."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Query, Request, Response
from starlette.responses import RedirectResponse

from firstlight.errors import MissingError, UserError
from firstlight.services.access import Viewer
from firstlight.services.finding.exposure_forms import ExposureRow, FileRow, start_of
from firstlight.services.finding.exposure_view import SectionView, Source, TrendPoint
from firstlight.services.finding.search import Page
from firstlight.services.finding.search_query import ExposureQuery, query_from_parameters
from firstlight.services.finding.sky_map import all_sky, field_map
from firstlight.web.addresses import exposure_address, file_address
from firstlight.web.api.exposures import Which, named
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.envelope import status_of, told
from firstlight.web.file_answers import file_answer
from firstlight.web.pages.archive import view
from firstlight.web.pages.plots import Mark, Plot, draw_graph, scatter_plot
from firstlight.web.pages.rendering import read_together, render

router = APIRouter(include_in_schema=False)

_PAGE = 60
_COUNTED = 1000  # counting farther takes longer than anybody looks
_OWN = frozenset({"cursor", "view", "q"})
_FIRST = frozenset({"site", "target", "filter", "night", "cone", "name"})
_DRAWN = 500  # sources on the picture; all of them are in the file
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
# The viewer's library compiles WebAssembly, styles its own elements, and loads its own pictures.
_VIEWER_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self'; "
    "connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
Side = Literal["256", "1024"]


@router.get("/exposures")
def show_exposures(
    request: Request,
    asker: Asker,
    cursor: str | None = None,
    shown_as: Annotated[Literal["cards", "table", "map"], Query(alias="view")] = "cards",
    q: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """Search exposures; what is asked for stands in the address."""
    allowed = asker.sites()
    asked = {name: request.query_params.getlist(name) for name in request.query_params}
    search = {name: values for name, values in asked.items() if name not in _OWN}
    if q and q.strip() and not "".join(search.get("name", ())).strip():
        search["name"] = [q.strip()]
    page, fault, count = Page((), None), None, None
    try:
        query = query_from_parameters(search)
        page = services_of(request).search.exposures(query, allowed, cursor=cursor, limit=_PAGE)
        if cursor is None and page.next_cursor is not None:
            count = services_of(request).search.count(query, allowed, at_most=_COUNTED)
    except UserError as wrong:
        query, fault = ExposureQuery(), wrong
    given = {name for name, values in search.items() if "".join(values).strip()}
    facts = {
        "rows": page.rows,
        "exposures": [view(row) for row in page.rows],
        "asked": {name: ", ".join(values) for name, values in search.items()},
        "is_asked": bool(given),
        "open_more": fault is not None or bool(given - _FIRST),
        "shown_as": shown_as,
        "count": count,
        "counted": _COUNTED,
        "fault": None if fault is None else told(fault),
        "links": _links(search, query, page, shown_as, cursor),
        **(_maps(request, page) if shown_as == "map" else {}),
    }
    status = HTTPStatus.OK if fault is None else status_of(fault)
    return render(request, "exposures.html", facts, status=status)


def _maps(request: Request, page: Page) -> dict[str, Any]:
    footprints = services_of(request).sky_maps.footprints(page.rows)
    return {"sky": all_sky(footprints), "near": field_map(footprints)}


def _links(
    search: Mapping[str, list[str]],
    query: ExposureQuery,
    page: Page,
    shown_as: str,
    cursor: str | None,
) -> dict[str, Any]:
    """Addresses with the same search."""
    kept = [(name, value) for name, values in search.items() for value in values if value.strip()]

    def here(**more: str | None) -> str:
        given = [(name, value) for name, value in more.items() if value]
        return f"/exposures?{urlencode(kept + given)}".rstrip("?")

    packed = None
    if len(query.site) == 1 and query.start is not None and query.end is not None:
        period = urlencode({"start": query.start.isoformat(), "end": query.end.isoformat()})
        packed = f"/api/sites/{quote(query.site[0], safe='')}/zip?{period}"
    as_view = None if shown_as == "cards" else shown_as
    return {
        "cards": here(),
        "table": here(view="table"),
        "map": here(view="map"),
        "first": here(view=as_view) if cursor else None,
        "next": here(view=as_view, cursor=page.next_cursor) if page.next_cursor else None,
        "csv": f"/api/exposures?{urlencode([*kept, ('format', 'csv')])}",
        "votable": f"/api/exposures?{urlencode([*kept, ('format', 'votable')])}",
        "zip": packed,
    }


# --- one exposure ------------------------------------------------------------------------------


@router.get("/exposures/{which}")
@read_together
def show_exposure(
    request: Request,
    asker: Asker,
    which: Which,
    section: Annotated[str | None, Query(max_length=32)] = None,
    picture: Literal["image", "difference"] = "image",
) -> Response:
    """One exposure: its picture with sources, what was made of it, why a step failed."""
    services = services_of(request)
    row = services.search.exposure(named(which), asker.sites(), with_headers=True)
    sections = services.exposure_views.sections(row.id, asker)
    chosen = next((each for each in sections if each.name == section), None)
    chosen = chosen or (sections[0] if sections else None)
    graph = services.lineage_graphs.of_exposure(
        row.id, asker, section=None if chosen is None else chosen.name
    )
    compared = None
    if chosen is not None:
        compared = services.reference_shelf.compared_with(row.id, chosen.name)
    facts = {
        "exposure": view(row),
        "facts": exposure_facts(row.columns),
        "compared_with": compared,
        "observation_id": row.columns["observation_id"],
        "files": [_file_view(row, file) for file in row.files],
        "cards": row.cards or (),
        "sections": sections,
        "chosen": chosen,
        "overlay": None if chosen is None else _overlay(request, asker, chosen, picture),
        "plots": [] if chosen is None else _plots(request, asker, row, chosen),
        "graph": draw_graph(graph) if len(graph.nodes) > 1 else None,
        "viewer_url": _viewer_url(row, chosen),
        "failed": [(each, step) for each in sections for step in each.failed],
        "may_retry": asker.may("operate", row.columns["site"]),
    }
    return render(request, "exposure.html", facts)


@router.get("/exposures/{which}/preview-{side}.jpg")
def get_preview(request: Request, asker: Asker, which: Which, side: Side) -> Response:
    """A picture of the pixels of an exposure that came without one."""
    previews = services_of(request).previews
    return file_answer(request, previews.of_exposure(named(which), asker.sites(), int(side)))


@router.get("/images/{image_id}/preview-{side}.jpg")
def get_image_preview(request: Request, asker: Asker, image_id: uuid.UUID, side: Side) -> Response:
    """A picture of a calibrated image."""
    return file_answer(request, services_of(request).previews.of_image(image_id, asker, int(side)))


@router.get("/images/{image_id}/image.fits")
def get_image(request: Request, asker: Asker, image_id: uuid.UUID) -> Response:
    """The FITS file of a calibrated image."""
    return file_answer(request, services_of(request).previews.image_file(image_id, asker))


@router.get("/exposures/{which}/viewer")
def show_viewer(
    request: Request,
    asker: Asker,
    which: Which,
    section: Annotated[str | None, Query(max_length=32)] = None,
) -> Response:
    """The FITS viewer: stretch, regions, read-out of positions, detected sources drawn."""
    services = services_of(request)
    row = services.search.exposure(named(which), asker.sites())
    sections = services.exposure_views.sections(row.id, asker)
    with_image = [each for each in sections if each.image is not None]
    chosen = next((each for each in with_image if each.name == section), None)
    chosen = chosen or (with_image[0] if with_image else None)
    address, sources = None, list[Source]()
    if chosen is not None and chosen.image is not None:
        address = f"/images/{chosen.image.id}/image.fits"
        sources = _sources(request, chosen)
    elif row.file("fits_large", "fits_small", "raw") is not None:
        address = f"{exposure_address(row.id)}/fits"
    facts = {
        "exposure": view(row),
        "sections": with_image,
        "chosen": chosen,
        # Regions of DS9 count pixels from one.
        "data": {
            "url": address,
            "sources": [[s.x + 1, s.y + 1, s.radius, s.mag] for s in sources],
            "wcs": None if chosen is None or chosen.wcs is None else chosen.wcs.cards,
            "name": view(row)["name"],
        },
    }
    answer = render(request, "viewer.html", facts)
    answer.headers["Content-Security-Policy"] = _VIEWER_POLICY
    return answer


@router.post("/exposures/{which}/retry")
def retry_exposure(request: Request, asker: Asker, which: Which) -> Response:
    """Have the steps that failed tried again."""
    services = services_of(request)
    row = services.search.exposure(named(which), asker.sites())
    services.jobs_view.retry_exposure(asker, row.id)
    return RedirectResponse(f"/exposures/{row.id}#steps", HTTPStatus.SEE_OTHER)


def _sources(request: Request, section: SectionView) -> list[Source]:
    try:
        return services_of(request).exposure_views.sources(section)
    except MissingError:
        return []


def _overlay(
    request: Request, viewer: Viewer, section: SectionView, what: str
) -> dict[str, Any] | None:
    """The picture of an image or its difference, and what was found at its place on it."""
    of_change = what == "difference" and section.difference is not None
    image = section.difference if of_change else section.image
    if image is None:
        return None
    if of_change:
        found = services_of(request).exposure_views.changes(section, viewer)
        total = len(found)
    else:
        found = _sources(request, section)
        total = 0 if section.sources is None else section.sources.n_sources
    drawn = found[:_DRAWN]
    return {
        "of_change": of_change,
        "picture": f"/images/{image.id}/preview-1024.jpg",
        "width": image.nx,
        "height": image.ny,
        # The first row of an image is at the bottom of its picture.
        "circles": [(s, round(s.x + 0.5, 1), round(image.ny - 0.5 - s.y, 1)) for s in drawn],
        "radius": round(drawn[0].radius, 1) if drawn else 0,
        "total": total,
    }


def _viewer_url(row: ExposureRow, section: SectionView | None) -> str | None:
    if section is not None and section.image is not None:
        return f"/exposures/{row.id}/viewer?{urlencode({'section': section.name})}"
    has_fits = row.file("fits_large", "fits_small", "raw") is not None
    return f"/exposures/{row.id}/viewer" if has_fits else None


def _plots(
    request: Request, viewer: Viewer, row: ExposureRow, section: SectionView
) -> list[Plot | None]:
    """Quality over the observation, and the residuals of this image."""
    views = services_of(request).exposure_views
    trend = views.trend(row.id, section.name, viewer.sites())
    band = "" if section.zero_point is None else section.zero_point.band
    plots = []
    if len(trend) > 1:
        plots = [
            _trend_plot("Seeing", "FWHM, arcsec", trend, row.id, [t.fwhm_arcsec for t in trend]),
            _trend_plot(
                "Background", "electrons per pixel", trend, row.id, [t.background for t in trend]
            ),
            _trend_plot(
                "Zero point", f"mag {band}".strip(), trend, row.id, [t.zero_point for t in trend]
            ),
        ]
    if section.image is not None:
        found = views.residuals(section.image.id, viewer)
        marks = [Mark(each.mag, each.residual, each.error) for each in found]
        plots.append(
            scatter_plot(
                "Residuals of the zero point",
                (f"mean magnitude of the star, {band}".rstrip(", "), "this image − mean, mag"),
                marks,
                least=(1.0, 0.05),
                level=0.0,
            )
        )
    return plots


def _trend_plot(
    title: str,
    label: str,
    trend: list[TrendPoint],
    here: uuid.UUID,
    values: list[float | None],
) -> Plot | None:
    start = trend[0].mjd
    marks = [
        Mark(
            (each.mjd - start) * 24.0,
            value,
            each.zero_point_err if title == "Zero point" else None,
            f"{title} {value:.4g} at {(each.mjd - start) * 24.0:.2f} h",
            None if each.exposure_id == here else f"/exposures/{each.exposure_id}",
            "here" if each.exposure_id == here else "",
        )
        for each, value in zip(trend, values, strict=True)
        if value is not None
    ]
    # The one that the page is about is drawn last, above the others.
    marks.sort(key=lambda mark: mark.kind == "here")
    return scatter_plot(title, ("hours since the first exposure", label), marks)


def exposure_facts(columns: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is known of an exposure: pairs of name and value."""
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
