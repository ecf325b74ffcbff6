"""What came of runs of analysis services: plots, results, posteriors, light curves."""

from __future__ import annotations

import json
from http import HTTPStatus
from itertools import chain
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from starlette.responses import StreamingResponse

from firstlight import __version__
from firstlight.errors import InvalidInput
from firstlight.services.access import Viewer
from firstlight.services.analyses.analysis_products import ProductFile
from firstlight.services.objects.wire_values import LARGEST_ID
from firstlight.web.api.portal_parameters import ObjectName
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.envelope import asks, shows
from firstlight.web.file_answers import attached

__all__ = ["router"]

router = APIRouter(prefix="/api", tags=["analysis services"])

AnalysisId = Annotated[int, Path(ge=0, le=LARGEST_ID, description="Number of the analysis.")]
Number = Annotated[int, Path(ge=0, le=LARGEST_ID, description="Number of the plot, from 0.")]
Download = Annotated[bool, Query(description="As a file.")]
Whole = Annotated[bool, Query(description="All samples, as a file for numpy.")]

_LONGEST_OPTIONS = 65_536
# A drawing may have a style and pictures within itself; nothing that it says is followed or run.
_INERT = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; sandbox"
)
_CORNER = {
    "bins": ("How many", "20"),
    "quantiles": ("Lines in the histograms", "[0.16, 0.5, 0.84]"),
    "show_titles": ("Median and range above the histograms", "true"),
    "truths": ("Values to be marked, null for none", "[1.0, null]"),
    "labels": ("Of the axes", '["t0", "x1"]'),
    "var_names": ("Parameters to be drawn", '["t0", "x1"]'),
    "smooth": ("Of the contours, in bins", "1.0"),
    "levels": ("Of the contours", "[0.39, 0.86]"),
    "color": ("Of everything", "#336699"),
    "title_fmt": ("Of the numbers in titles", ".3g"),
    "plot_datapoints": ("Whether samples outside of the contours are dots", "false"),
    "model": ("Whose posterior, where there are several", "salt3"),
}
_POSTERIOR = {
    "models": {"salt3": {"t0": [59000.1, 59000.2], "x1": [0.3, 0.4]}},
    "draws": {"salt3": 2},
    "drawn_of": {"salt3": 10_000},
}
_CURVES = {"models": {"salt3": {"ztfg": [[59000.0, 101.5, 98.0, 105.0]]}}}
_RESULTS = {"chisq": 12.3, "ndof": 14, "parameters": {"z": 0.05}}


def _file(description: str, media_type: str) -> dict[int | str, dict[str, Any]]:
    return {
        200: {"description": description, "content": {media_type: {}}},
        304: {"description": "It is the one that you have"},
        404: {"description": "There is none, or none that you may see"},
    }


async def _corner_options(request: Request) -> dict[str, Any]:
    """Keywords from the query, and from a body of JSON, which a GET may have as well."""
    given: dict[str, Any] = dict(request.query_params)
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > _LONGEST_OPTIONS:
            raise InvalidInput(
                "the body is too long", field="body", expected=f"at most {_LONGEST_OPTIONS} bytes"
            )
    if not body.strip():
        return _unwrapped(given)
    try:
        told = json.loads(body)
    except (ValueError, RecursionError) as fault:
        raise InvalidInput("the body is no JSON", field="body") from fault
    if not isinstance(told, dict):
        raise InvalidInput(field="body", found=type(told).__name__, expected="an object")
    return _unwrapped(given) | _unwrapped(told)


def _unwrapped(given: dict[str, Any]) -> dict[str, Any]:
    """SkyPortal documents the keywords within one that is called plot_kwargs."""
    inner = given.pop("plot_kwargs", None)
    if isinstance(inner, str):
        try:
            inner = json.loads(inner)
        except (ValueError, RecursionError) as fault:
            raise InvalidInput(field="plot_kwargs", expected="JSON") from fault
    if inner is not None and not isinstance(inner, dict):
        raise InvalidInput(field="plot_kwargs", found=type(inner).__name__, expected="an object")
    return given | (inner or {})


CornerOptions = Annotated[dict[str, Any], Depends(_corner_options)]


@router.get(
    "/obj/analysis/{analysis_id:int}/plots",
    responses=_file("The first plot", "image/png"),
    response_class=Response,
)
def get_first_plot(request: Request, asker: Asker, analysis_id: AnalysisId) -> Response:
    """The first plot, as the service has made it."""
    return _plot(request, asker, analysis_id, 0)


@router.get(
    "/obj/analysis/{analysis_id:int}/plots/{number:int}",
    responses=_file("The plot", "image/png"),
    response_class=Response,
)
def get_plot(request: Request, asker: Asker, analysis_id: AnalysisId, number: Number) -> Response:
    """One plot, as the service has made it. What could be a page is saved, not shown."""
    return _plot(request, asker, analysis_id, number)


@router.get(
    "/obj/{name}/analysis/{analysis_id:int}/plots",
    responses=_file("The first plot", "image/png"),
    response_class=Response,
)
def get_first_plot_of(
    request: Request, asker: Asker, name: ObjectName, analysis_id: AnalysisId
) -> Response:
    """The first plot of an analysis of an object."""
    return _plot(request, asker, analysis_id, 0, name)


@router.get(
    "/obj/{name}/analysis/{analysis_id:int}/plots/{number:int}",
    responses=_file("The plot", "image/png"),
    response_class=Response,
)
def get_plot_of(
    request: Request, asker: Asker, name: ObjectName, analysis_id: AnalysisId, number: Number
) -> Response:
    """One plot of an analysis of an object."""
    return _plot(request, asker, analysis_id, number, name)


@router.get(
    "/obj/analysis/{analysis_id:int}/corner",
    responses=shows({}, 400) | _file("The plot", "image/png"),
    response_class=Response,
    openapi_extra=asks(_CORNER),
)
def get_corner(
    request: Request, asker: Asker, analysis_id: AnalysisId, options: CornerOptions
) -> Response:
    """A corner plot of the posterior.

    Keywords of the package `corner` stand in the query, or in a body of JSON, maybe within
    `plot_kwargs`. The first plot of its kind takes some seconds; it is kept.
    """
    return _corner(request, asker, analysis_id, options)


@router.get(
    "/obj/{name}/analysis/{analysis_id:int}/corner",
    responses=shows({}, 400) | _file("The plot", "image/png"),
    response_class=Response,
    openapi_extra=asks(_CORNER),
)
def get_corner_of(
    request: Request,
    asker: Asker,
    name: ObjectName,
    analysis_id: AnalysisId,
    options: CornerOptions,
) -> Response:
    """A corner plot of the posterior of an analysis of an object."""
    return _corner(request, asker, analysis_id, options, name)


@router.get("/obj/analysis/{analysis_id:int}/results", responses=shows(_RESULTS, 404))
def get_results(
    request: Request, asker: Asker, analysis_id: AnalysisId, *, download: Download = False
) -> Response:
    """The results. What came as joblib is shown as plain values."""
    return _results(request, asker, analysis_id, download=download)


@router.get("/obj/{name}/analysis/{analysis_id:int}/results", responses=shows(_RESULTS, 404))
def get_results_of(
    request: Request,
    asker: Asker,
    name: ObjectName,
    analysis_id: AnalysisId,
    *,
    download: Download = False,
) -> Response:
    """The results of an analysis of an object."""
    return _results(request, asker, analysis_id, name, download=download)


@router.get("/obj/analysis/{analysis_id:int}/posterior", responses=shows(_POSTERIOR, 404))
def get_posterior(
    request: Request, asker: Asker, analysis_id: AnalysisId, *, whole: Whole = False
) -> Response:
    """Samples of the posterior by model and parameter: evenly chosen ones, to be drawn.

    With `whole` all samples that were kept, as a zip of arrays for `numpy.load`.
    """
    return _posterior(request, asker, analysis_id, whole=whole)


@router.get("/obj/{name}/analysis/{analysis_id:int}/posterior", responses=shows(_POSTERIOR, 404))
def get_posterior_of(
    request: Request,
    asker: Asker,
    name: ObjectName,
    analysis_id: AnalysisId,
    *,
    whole: Whole = False,
) -> Response:
    """Samples of the posterior of an analysis of an object."""
    return _posterior(request, asker, analysis_id, name, whole=whole)


@router.get("/obj/analysis/{analysis_id:int}/lightcurves", responses=shows(_CURVES, 404))
def get_light_curves(request: Request, asker: Asker, analysis_id: AnalysisId) -> Response:
    """Light curves of models by filter: rows of MJD, median, low and high in µJy (AB)."""
    found = services_of(request).analysis_products.light_curves(asker, analysis_id)
    return _answer(request, found, enveloped=True)


@router.get("/obj/{name}/analysis/{analysis_id:int}/lightcurves", responses=shows(_CURVES, 404))
def get_light_curves_of(
    request: Request, asker: Asker, name: ObjectName, analysis_id: AnalysisId
) -> Response:
    """Light curves of models of an analysis of an object."""
    found = services_of(request).analysis_products.light_curves(asker, analysis_id, obj_id=name)
    return _answer(request, found, enveloped=True)


@router.get(
    "/obj/analysis/{analysis_id:int}/inference_data",
    responses=_file("The file", "application/x-netcdf"),
    response_class=Response,
)
def get_inference_data(request: Request, asker: Asker, analysis_id: AnalysisId) -> Response:
    """The netCDF file of ArviZ, as it was sent."""
    return _answer(
        request, services_of(request).analysis_products.inference_data(asker, analysis_id)
    )


def _plot(
    request: Request, asker: Viewer, analysis_id: int, number: int, name: str | None = None
) -> Response:
    products = services_of(request).analysis_products
    return _answer(request, products.plot(asker, analysis_id, number, obj_id=name))


def _corner(
    request: Request,
    asker: Viewer,
    analysis_id: int,
    options: dict[str, Any],
    name: str | None = None,
) -> Response:
    products = services_of(request).analysis_products
    return _answer(request, products.corner(asker, analysis_id, options, obj_id=name))


def _results(
    request: Request, asker: Viewer, analysis_id: int, name: str | None = None, *, download: bool
) -> Response:
    found = services_of(request).analysis_products.results_file(asker, analysis_id, obj_id=name)
    return _answer(request, found, enveloped=not download)


def _posterior(
    request: Request, asker: Viewer, analysis_id: int, name: str | None = None, *, whole: bool
) -> Response:
    products = services_of(request).analysis_products
    found = products.posterior(asker, analysis_id, obj_id=name, complete=whole)
    return _answer(request, found, enveloped=not whole)


def _answer(request: Request, file: ProductFile, *, enveloped: bool = False) -> Response:
    """Send a file: JSON within the envelope, pictures to be shown, all else to be saved."""
    headers = {"ETag": f'"{file.sha256}"'}
    if _has_it(request, file.sha256):
        return Response(None, HTTPStatus.NOT_MODIFIED, headers)
    if enveloped:
        # It is JSON already; there may be megabytes of it.
        head, tail = b'{"status":"success","data":', f',"version":"{__version__}"}}'.encode()
        if isinstance(file.data, bytes):
            body = head + file.data + tail
            return Response(body, HTTPStatus.OK, headers, "application/json")
        pieces = chain([head], file.data, [tail])
        return StreamingResponse(pieces, HTTPStatus.OK, headers, "application/json")
    is_picture = file.media_type.startswith("image/") and not file.is_active
    headers |= {
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": _INERT,
        "Content-Disposition": "inline" if is_picture else attached(file.name),
    }
    if isinstance(file.data, bytes):
        return Response(file.data, HTTPStatus.OK, headers, file.media_type)
    return StreamingResponse(file.data, HTTPStatus.OK, headers, file.media_type)


def _has_it(request: Request, sha256: str) -> bool:
    asked = request.headers.get("if-none-match", "")
    return f'"{sha256}"' in {each.strip().removeprefix("W/") for each in asked.split(",")}
