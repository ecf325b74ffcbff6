"""Pages of image analysis: images and choices, the run as it goes, its report."""

from __future__ import annotations

from typing import Annotated, Any, BinaryIO, cast
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Form, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from firstlight.errors import InvalidInput
from firstlight.services.access import Viewer
from firstlight.services.image_analysis.image_analysis_parameters import ImageAnalysisParameters
from firstlight.services.objects.wire_values import LARGEST_ID
from firstlight.web.auth import CSRF_FIELD, Asker, viewer_of
from firstlight.web.context import services_of
from firstlight.web.incoming_files import FormParts, read_form
from firstlight.web.pages.objects import ObjectName, object_address, own_groups
from firstlight.web.pages.rendering import render
from firstlight.web.pages.sexagesimal import sexagesimal

router = APIRouter(include_in_schema=False)

RowId = Annotated[int, Path(ge=0, le=LARGEST_ID)]
Uploads = Annotated[list[str], Query(alias="upload", max_length=100)]

_FOUND = ("instrument", "filter", "obstime", "gain", "saturation")
"""What the header of an image tells; a form that repeats it has chosen nothing."""
_CHECKBOXES = ("cosmic_rays", "recentre", "colour_term")
_GAIN_ASSUMED = {"assumed", "unknown"}


@router.get("/objects/{name}/image_analysis")
def show_form(
    request: Request,
    asker: Asker,
    name: ObjectName,
    uploads: Uploads = (),  # type: ignore[assignment]  # a list that is not changed
) -> Response:
    """Choose images; with `uploads`, what is to be done with them."""
    asker.require("analyse")
    services = services_of(request)
    defaults = services.image_analyses.defaults(asker, name)
    images = [services.image_uploads.get(asker, each) for each in uploads]
    facts = {
        "name": name,
        "address": object_address(name),
        "defaults": defaults,
        "place": sexagesimal(defaults["object"]["ra"], defaults["object"]["dec"]),
        "images": images,
        "values": {**defaults["parameters"], **_common(images)},
        "groups": own_groups(request, asker),
        "recent": services.image_analyses.list(asker, name)["analyses"][:10],
        "assumed_gain": any(
            image["facts"].get("gain_from") in _GAIN_ASSUMED
            for image in images
            if not image["facts"].get("error")
        ),
    }
    return render(request, "image_analysis_form.html", facts)


@router.post("/objects/{name}/image_uploads")
async def upload_images(request: Request, name: ObjectName) -> Response:
    """Take images from a form, for browsers without scripts."""
    uploads = await read_form(request, lambda parts: _received(request, name, parts))
    if not uploads:
        raise InvalidInput("the form brings no image", field="file", hint="choose a FITS file")
    query = urlencode([("upload", each) for each in uploads])
    return RedirectResponse(f"{object_address(name)}/image_analysis?{query}", 303)


@router.post("/objects/{name}/image_analysis")
async def start(request: Request, asker: Asker, name: ObjectName) -> Response:
    """Begin the analysis of images that were uploaded."""
    form = await request.form(max_files=0, max_fields=100)
    given = [(field, str(value)) for field, value in form.multi_items()]
    return await run_in_threadpool(_start, request, asker, name, given)


@router.get("/objects/{name}/image_analyses/{number}")
def show_analysis(request: Request, asker: Asker, name: ObjectName, number: RowId) -> Response:
    """One analysis: its steps while it runs, then what it found."""
    services = services_of(request)
    run = services.image_analyses.get(asker, number)
    name = run["object"]
    known = services.image_analyses.defaults(asker, name)
    facts = {
        "name": name,
        "address": object_address(name),
        "run": run,
        "waiting": run["state"] in ("queued", "running"),
        "defaults": known,
        "values": {**known["parameters"], **run["parameters"]},
        "groups": own_groups(request, asker),
    }
    return render(request, "image_analysis.html", facts)


@router.get("/source/{name}/image_analysis")
def go_to_form(name: ObjectName) -> Response:
    """The form, at the address that SkyPortal had for it."""
    return RedirectResponse(f"{object_address(name)}/image_analysis", 308)


@router.get("/source/{name}/image_analyses/{number}")
def go_to_analysis(name: ObjectName, number: RowId) -> Response:
    """An analysis, at the address that notifications tell."""
    return RedirectResponse(_address(name, number), 308)


@router.post("/objects/{name}/image_analyses/{number}/accept")
def accept(
    request: Request,
    asker: Asker,
    name: ObjectName,
    number: RowId,
    method: Annotated[str, Form(max_length=20)] = "",
    groups: Annotated[list[int] | None, Form()] = None,
) -> Response:
    """Make the measurement a point of the light curve."""
    services_of(request).image_analyses.accept(
        asker, number, method=method or None, group_ids=groups or None
    )
    return RedirectResponse(f"{_address(name, number)}#decision", 303)


@router.post("/objects/{name}/image_analyses/{number}/discard")
def discard(request: Request, asker: Asker, name: ObjectName, number: RowId) -> Response:
    """Put an analysis aside."""
    services_of(request).image_analyses.discard(asker, number)
    return RedirectResponse(f"{_address(name, number)}#decision", 303)


@router.post("/objects/{name}/image_analyses/{number}/cancel")
def cancel(request: Request, asker: Asker, name: ObjectName, number: RowId) -> Response:
    """Stop an analysis."""
    services_of(request).image_analyses.cancel(asker, number)
    return RedirectResponse(_address(name, number), 303)


@router.post("/objects/{name}/image_analyses/{number}/rerun")
async def rerun(request: Request, asker: Asker, name: ObjectName, number: RowId) -> Response:
    """Analyse the same image with other parameters."""
    form = await request.form(max_files=0, max_fields=100)
    given = [(field, str(value)) for field, value in form.multi_items()]
    analyses = services_of(request).image_analyses
    new = await run_in_threadpool(analyses.rerun, asker, number, _chosen(given))
    return RedirectResponse(_address(name, new["id"]), 303)


def _received(request: Request, name: str, parts: FormParts) -> list[str]:
    """Numbers of the images of a form. Who sends it is known by a field before the first."""
    services, csrf, viewer = services_of(request), None, None
    found: list[str] = []
    for part in parts.parts():
        if part.filename is None and part.name == CSRF_FIELD:
            csrf = part.text()
        elif part.filename:
            if viewer is None:
                viewer = viewer_of(request, csrf)
                services.image_analyses.expect(viewer, name)
            services.image_uploads.check_count(len(found) + 1)
            stream = cast("BinaryIO", part)
            found.append(services.image_uploads.receive(viewer, part.filename, stream)["id"])
    return found


def _start(request: Request, asker: Viewer, name: str, given: list[tuple[str, str]]) -> Response:
    services = services_of(request)
    services.image_analyses.expect(asker, name)
    uploads = [value for field, value in given if field == "upload"]
    if not uploads:
        raise InvalidInput("no image was chosen", field="upload", hint="upload one first")
    groups = [int(v) for field, v in given if field == "groups" and v.isascii() and v.isdigit()]
    images = [services.image_uploads.get(asker, each) for each in uploads]
    found = {field: str(value) for field, value in _common(images).items()}
    chosen = {k: v for k, v in _chosen(given).items() if found.get(k) != v}
    started = services.image_analyses.start(asker, name, uploads, chosen, group_ids=groups or None)
    if len(started) == 1:
        return RedirectResponse(_address(name, started[0]["id"]), 303)
    return RedirectResponse(f"{object_address(name)}#image-analyses", 303)


def _chosen(given: list[tuple[str, str]]) -> dict[str, Any]:
    """Parameters of a form; a box that is not checked sends nothing."""
    known = ImageAnalysisParameters.model_fields
    chosen: dict[str, Any] = {k: v for k, v in given if k in known and k not in _CHECKBOXES}
    sent = dict(given)
    if "with_boxes" in sent:
        chosen |= {box: box in sent for box in _CHECKBOXES}
    return chosen


def _common(images: list[dict[str, Any]]) -> dict[str, Any]:
    """What the headers of all images tell alike."""
    found = {}
    for field in _FOUND:
        values = {str(image["facts"].get(field)) for image in images}
        value = images[0]["facts"].get(field) if images else None
        if len(values) == 1 and value is not None:
            found[field] = value
    return found


def _address(name: str, number: int) -> str:
    return f"{object_address(name)}/image_analyses/{quote(str(number))}"
