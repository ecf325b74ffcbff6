"""Image analysis: images are uploaded, analysed, and their photometry accepted."""

from __future__ import annotations

import json
from typing import Annotated, Any, BinaryIO, cast

from fastapi import APIRouter, Body, Path, Query, Request, Response
from pydantic import ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool

from firstlight.errors import InvalidInput
from firstlight.services.access import Viewer
from firstlight.services.image_analysis.data_url import decoded_data_url
from firstlight.services.image_analysis.image_analysis_parameters import ImageAnalysisParameters
from firstlight.web.api.portal_parameters import Groups, ObjectName, PortalRequest, RowId
from firstlight.web.auth import Asker
from firstlight.web.context import Services, services_of
from firstlight.web.envelope import shows, success
from firstlight.web.file_answers import FILE_RESPONSES, file_answer
from firstlight.web.incoming_files import FormParts, is_form, read_form

router = APIRouter(prefix="/api", tags=["image analysis"])

ReportName = Annotated[str, Path(max_length=64, description="As the analysis names it.")]

_UPLOAD: dict[str, Any] = {
    "id": "0b1d1e2c-6c0f-4d58-9d0a-9a3f0d6f0c11",
    "filename": "field.fits.fz",
    "size": 1234567,
    "created_at": "2026-08-24T20:15:00+00:00",
    "removed": False,
    "facts": {"instrument": "GenericFITS", "filter": "r", "gain": 1.7, "error": None},
}
_ANALYSIS: dict[str, Any] = {
    "id": 12,
    "object": "FL-J0204",
    "engine": "firstlight",
    "state": "done",
    "filename": "field.fits.fz",
    "upload_id": _UPLOAD["id"],
    "parameters": {"catalog": "tycho2"},
    "steps": [{"name": "inspect", "title": "Look at the image", "state": "done"}],
    "error": None,
    "preview": {"chosen": "psf", "filter": "Clear", "band": "VT", "system": "Vega", "methods": {}},
    "pictures": [{"name": "field.png", "title": "The field with its sources"}],
    "may": {"cancel": False, "accept": True, "discard": True, "rerun": True},
}
_PATH = "/sources/{name}/image_analyses"
_FILES_BODY: dict[str, Any] = {
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "properties": {
                "file": {"type": "array", "items": {"type": "string", "format": "binary"}},
                "parameters": {"type": "string", "description": "JSON"},
                "group_ids": {"type": "string", "description": "JSON"},
            },
        }
    }
}


class AnalysisRequest(PortalRequest):
    """Images that were uploaded, and how they are to be measured."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"upload_ids": [_UPLOAD["id"]], "parameters": {"gain": 1.7}}},
    )

    upload_ids: list[str] = Field(min_length=1, max_length=1000)
    parameters: dict[str, Any] = Field(default_factory=dict)
    group_ids: Groups = None


class AcceptRequest(PortalRequest):
    """Which measurement is accepted, and for whom."""

    method: str | None = Field(default=None, description="psf or aperture", examples=["psf"])
    group_ids: Groups = None


class RerunRequest(PortalRequest):
    """Parameters of the new run; those of the old one where none are given."""

    parameters: dict[str, Any] | None = Field(default=None, examples=[{"catalog": "tycho2"}])


class OldRequest(PortalRequest):
    """The body of SkyPortal's former route: one image in base64 within the JSON."""

    model_config = ConfigDict(extra="ignore")

    image_data: str = Field(examples=["data:image/fits;name=field.fits.fz;base64,AAAA"])
    instrument_id: int | str | None = None
    filter: str | None = None
    obstime: str | float | None = None
    gain: float | None = None
    saturation: float | None = None
    s_n_detection: float | None = None


@router.post(
    "/image_uploads",
    status_code=201,
    responses=shows([_UPLOAD], 400, 401, 403, 413, status=201),
    openapi_extra={"requestBody": {"required": True, "content": _FILES_BODY}},
)
async def upload_images(request: Request, asker: Asker) -> Response:
    """Upload images, each in a field `file` of the form. They are not analysed yet."""
    services = services_of(request)
    _check_length(request, services)
    taken = await read_form(request, lambda parts: _Form(services, asker, parts))
    return success(taken.uploads, 201)


@router.get("/image_uploads/{upload_id}", responses=shows(_UPLOAD, 401, 404))
def get_upload(
    request: Request, asker: Asker, upload_id: Annotated[str, Path(max_length=64)]
) -> Response:
    """An uploaded image, and what its header tells."""
    return success(services_of(request).image_uploads.get(asker, upload_id))


@router.get("/internal/image_analysis/defaults", responses=shows({"parameters": {}}, 401, 404))
def get_defaults(
    request: Request,
    asker: Asker,
    name: Annotated[str, Query(alias="object", max_length=128)],
    upload_id: Annotated[str | None, Query(max_length=64)] = None,
) -> Response:
    """What the form begins with, for an object and perhaps an image."""
    return success(services_of(request).image_analyses.defaults(asker, name, upload_id))


@router.post(
    _PATH,
    status_code=202,
    responses=shows([_ANALYSIS], 400, 401, 403, 404, 409, 413, status=202),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": AnalysisRequest.model_json_schema()},
                **_FILES_BODY,
            },
        }
    },
)
async def start_analyses(request: Request, asker: Asker, name: ObjectName) -> Response:
    """Analyse images, which come with the request as a form or were uploaded before."""
    services = services_of(request)
    await run_in_threadpool(services.image_analyses.expect, asker, name)
    if is_form(request):
        _check_length(request, services)
        form = await read_form(request, lambda parts: _Form(services, asker, parts))
        wish = form.wish()
    else:
        wish = _wish(await _json_of(request))
    started = await run_in_threadpool(
        services.image_analyses.start,
        asker,
        name,
        wish.upload_ids,
        wish.parameters,
        group_ids=wish.group_ids,
    )
    return success(started, 202)


@router.post(
    "/internal/sources/{name}/image_analysis",
    status_code=202,
    responses=shows([_ANALYSIS], 400, 401, 403, 404, 409, 413, status=202),
)
def start_analysis_as_before(
    request: Request, asker: Asker, name: ObjectName, body: Annotated[OldRequest, Body()]
) -> Response:
    """SkyPortal's former route: the image as a data URL. Fields it knew besides are ignored."""
    services = services_of(request)
    services.image_analyses.expect(asker, name)
    instrument = services.image_analyses.instrument_name(body.instrument_id)
    filename, stream, size = decoded_data_url(body.image_data)
    upload = services.image_uploads.receive(asker, filename, stream, length=size)
    parameters = {
        "instrument": instrument,
        "filter": body.filter,
        "obstime": body.obstime,
        "gain": body.gain,
        "saturation": body.saturation,
        "threshold": body.s_n_detection,
    }
    return success(services.image_analyses.start(asker, name, [upload["id"]], parameters), 202)


@router.get(_PATH, responses=shows({"analyses": [_ANALYSIS], "total": 1}, 401, 404))
def list_analyses(request: Request, asker: Asker, name: ObjectName) -> Response:
    """Analyses of images of an object, newest first."""
    return success(services_of(request).image_analyses.list(asker, name))


@router.get(_PATH + "/{number}", responses=shows(_ANALYSIS, 401, 404))
def get_analysis(request: Request, asker: Asker, name: ObjectName, number: RowId) -> Response:
    """One analysis: its steps, and the photometry that it offers."""
    del name
    return success(services_of(request).image_analyses.get(asker, number))


@router.get(_PATH + "/{number}/report/{report}", responses=FILE_RESPONSES, response_class=Response)
def get_report(
    request: Request, asker: Asker, name: ObjectName, number: RowId, report: ReportName
) -> Response:
    """A picture of the report (PNG), or its numbers (JSON)."""
    del name
    file = services_of(request).image_analyses.report_file(asker, number, report)
    return file_answer(request, file)


@router.post(_PATH + "/{number}/accept", responses=shows(_ANALYSIS, 400, 401, 403, 404, 409))
def accept_analysis(
    request: Request,
    asker: Asker,
    name: ObjectName,
    number: RowId,
    body: Annotated[AcceptRequest | None, Body()] = None,
) -> Response:
    """Make the measurement a point of the object's light curve."""
    del name
    wish = body or AcceptRequest()
    analyses = services_of(request).image_analyses
    return success(analyses.accept(asker, number, method=wish.method, group_ids=wish.group_ids))


@router.post(_PATH + "/{number}/discard", responses=shows(_ANALYSIS, 401, 403, 404, 409))
def discard_analysis(request: Request, asker: Asker, name: ObjectName, number: RowId) -> Response:
    """Put an analysis aside; a point that was made of it goes."""
    del name
    return success(services_of(request).image_analyses.discard(asker, number))


@router.post(_PATH + "/{number}/cancel", responses=shows(_ANALYSIS, 401, 403, 404))
def cancel_analysis(request: Request, asker: Asker, name: ObjectName, number: RowId) -> Response:
    """Stop an analysis; one that has ended stays as it is."""
    del name
    return success(services_of(request).image_analyses.cancel(asker, number))


@router.post(
    _PATH + "/{number}/rerun",
    status_code=202,
    responses=shows(_ANALYSIS, 400, 401, 403, 404, 409, status=202),
)
def rerun_analysis(
    request: Request,
    asker: Asker,
    name: ObjectName,
    number: RowId,
    body: Annotated[RerunRequest | None, Body()] = None,
) -> Response:
    """Analyse the same image again; the answer is the new analysis."""
    del name
    parameters = None if body is None else body.parameters
    return success(services_of(request).image_analyses.rerun(asker, number, parameters), 202)


class _Form:
    """What a form brought: its files, stored as they came, and its fields."""

    def __init__(self, services: Services, asker: Viewer, parts: FormParts) -> None:
        self.uploads: list[dict[str, Any]] = []
        self._fields: dict[str, str] = {}
        for part in parts.parts():
            if part.filename is None:
                self._fields[part.name] = part.text()
            elif part.filename:
                services.image_uploads.check_count(len(self.uploads) + 1)
                stream = cast("BinaryIO", part)
                self.uploads.append(services.image_uploads.receive(asker, part.filename, stream))

    def wish(self) -> AnalysisRequest:
        """The analysis that the form asks for: `parameters` as JSON, or a field for each."""
        groups, given = self._json("group_ids"), self._json("parameters")
        uploads = [upload["id"] for upload in self.uploads]
        before = self._fields.pop("upload_ids", "")
        uploads += [each.strip() for each in before.split(",") if each.strip()]
        known = ImageAnalysisParameters.model_fields
        single = {name: text for name, text in self._fields.items() if name in known}
        if not uploads:
            raise InvalidInput("the form brings no image", field="file")
        if given is not None and not isinstance(given, dict):
            raise InvalidInput(field="parameters", found=repr(given)[:100], expected="an object")
        parameters = {**single, **(given or {})}
        return _wish({"upload_ids": uploads, "parameters": parameters, "group_ids": groups})

    def _json(self, name: str) -> Any:
        text = self._fields.pop(name, "").strip()
        try:
            return json.loads(text) if text else None
        except ValueError as fault:
            raise InvalidInput(field=name, found=text[:100], expected="JSON") from fault


def _check_length(request: Request, services: Services) -> None:
    """Refuse what is too long before it is read."""
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit():
        services.image_uploads.check_request(int(announced))


def _wish(values: Any) -> AnalysisRequest:
    try:
        return AnalysisRequest.model_validate(values)
    except ValidationError as fault:
        first = fault.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(str(first["msg"]), subject="body", field=place or None) from fault


async def _json_of(request: Request) -> Any:
    try:
        return await request.json()
    except ValueError as fault:
        raise InvalidInput("the body is not JSON", subject="body") from fault
