"""Spectra of objects."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Query, Request, Response
from pydantic import Field

from firstlight.errors import InvalidInput
from firstlight.services.objects.not_offered import NotOffered
from firstlight.services.objects.spectra_rows import SpectrumForm
from firstlight.services.objects.spectra_search import BulkWish, SpectrumWish
from firstlight.web.api.portal_parameters import Groups, ObjectName, PortalRequest, RowId
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.envelope import asks, shows, success

router = APIRouter(prefix="/api", tags=["spectra"])

Original = Annotated[bool, Query(alias="includeOriginalFile")]
_TRUE = frozenset({"true", "yes", "t", "1", "y", "on"})

_ROW: dict[str, Any] = {
    "id": 1,
    "created_at": "2026-08-21T12:35:30.123456",
    "modified": "2026-08-21T12:35:30.123456",
    "obj_id": "FL1",
    "observed_at": "2026-08-20T03:04:05",
    "wavelengths": [4000.0, 4001.0],
    "fluxes": [1.0, 1.1],
    "errors": None,
    "units": "erg/s/cm/cm/AA",
    "origin": None,
    "type": "source",
    "label": None,
    "instrument_id": 1,
    "altdata": None,
    "original_file_filename": None,
    "owner_id": 1,
}
_SPECTRUM: dict[str, Any] = {
    **_ROW,
    "instrument": {"id": 1, "name": "SPRAT"},
    "instrument_name": "SPRAT",
    "telescope_id": 1,
    "telescope_name": "Liverpool Telescope",
    "owner": {"id": 1, "username": "ada"},
    "groups": [{"id": 1, "name": "Observers"}],
    "pis": [],
    "reducers": [],
    "observers": [],
    "comments": [],
    "annotations": [],
}
_BULK = {
    "sources": [{"id": "FL1", "redshift": None, "first_detected_mjd": 60000.1}],
    "spectra": [{"obj_id": "FL1", "wavelengths": [4000.0], "fluxes": [1.0]}],
    "truncated": False,
}
_PARSED: dict[str, Any] = {
    "wavelengths": [4000.0, 4001.0],
    "fluxes": [1.0, 1.1],
    "errors": None,
    "altdata": {},
    "owner_id": 1,
    "original_file_string": "4000 1\n4001 1.1",
}
_SEARCH = {
    "minimalPayload": ("Without arrays and without what belongs to it.", "true"),
    "includeOriginalFile": ("With the text it was read from.", "false"),
    "objID": ("Of this object.", "FL1"),
    "instrumentIDs": ("Of these instruments.", "1,2"),
    "groupIDs": ("Shared with one of these groups.", "1"),
    "followupRequestIDs": ("None here comes of a follow-up request.", ""),
    "assignmentIDs": ("None here comes of an assignment.", ""),
    "origin": ("Of these origins.", "pipeline"),
    "label": ("With these labels.", "red arm"),
    "type": ("Of these types.", "source,host"),
    "observedAfter": ("Observed since then, UTC.", "2026-08-01"),
    "observedBefore": ("Observed until then, UTC.", "2026-09-01"),
    "modifiedAfter": ("Changed since then, UTC.", "2026-08-01"),
    "modifiedBefore": ("Changed until then, UTC.", "2026-09-01"),
    "commentsFilter": ("With a comment that contains one of these.", "host lines"),
    "commentsFilterAuthor": ("With a comment by one of these users.", "ada"),
    "commentsFilterAfter": ("With a comment written since then, UTC.", "2026-08-01"),
    "commentsFilterBefore": ("With a comment written until then, UTC.", "2026-09-01"),
}


class _About(PortalRequest):
    """What is known of a spectrum besides its numbers."""

    type: str | None = Field(default=None, examples=["source"])
    label: str | None = None
    followup_request_id: int | None = Field(default=None, description="There are none here.")
    assignment_id: int | None = Field(default=None, description="There are none here.")
    group_ids: Groups = None
    pi: list[int] | None = None
    external_pi: str | None = None
    reduced_by: list[int] | None = None
    external_reducer: str | None = None
    observed_by: list[int] | None = None
    external_observer: str | None = None


class SpectrumChange(_About):
    """What is to be changed of a spectrum."""

    obj_id: str | None = Field(default=None, examples=["FL1"])
    instrument_id: int | None = None
    observed_at: str | None = None
    wavelengths: list[float] | None = None
    fluxes: list[float] | None = None
    errors: list[float] | None = None
    units: str | None = Field(default=None, examples=["erg/s/cm/cm/AA"])
    origin: str | None = None
    altdata: dict[str, Any] | None = None


class SpectrumRequest(SpectrumChange):
    """A spectrum to be added. Wavelengths are Ångström."""

    obj_id: str = Field(examples=["FL1"])
    instrument_id: int = Field(examples=[1])
    observed_at: str = Field(examples=["2026-08-20T03:04:05"])
    wavelengths: list[float] = Field(examples=[[4000.0, 4001.0]])
    fluxes: list[float] = Field(examples=[[1.0, 1.1]])


class TextColumns(PortalRequest):
    """A text, and which columns count; they are counted from 0."""

    ascii: str = Field(examples=["4000 1\n4001 1.1"])
    wave_column: int | None = Field(default=None, examples=[0])
    flux_column: int | None = Field(default=None, examples=[1])
    fluxerr_column: int | None = None


class SpectrumTextRequest(TextColumns, _About):
    """A spectrum to be added from a text."""

    obj_id: str = Field(examples=["FL1"])
    instrument_id: int = Field(examples=[1])
    observed_at: str = Field(examples=["2026-08-20T03:04:05"])
    filename: str = Field(examples=["a.txt"])


class BulkRequest(PortalRequest):
    """Objects whose spectra are wanted."""

    group_id: int | None = None
    obj_ids: list[str] | None = Field(default=None, examples=[["FL1"]])
    classifications: list[str] | None = None
    min_probability: float | None = Field(default=None, alias="classificationProbThreshold")
    max_sources: int | None = Field(default=None, alias="maxSources", examples=[100])


class SynthesisRequest(PortalRequest):
    """Filters through which a spectrum is seen."""

    filters: list[str] = Field(examples=[["ztfg"]])


@router.get(
    "/sources/{name}/spectra",
    responses=shows({"obj_id": "FL1", "spectra": [_SPECTRUM]}, 400, 404),
)
def list_spectra(
    request: Request,
    asker: Asker,
    name: ObjectName,
    original: Original = False,
    normalization: Literal["median", ""] | None = None,
    sort_by: Annotated[str, Query(alias="sortBy")] = "observed_at",
    sort_order: Annotated[Literal["asc", "desc"], Query(alias="sortOrder")] = "asc",
) -> Response:
    """All spectra of an object; with `normalization=median`, divided by the median flux."""
    form = SpectrumForm(original=original, normalized=normalization == "median")
    found = services_of(request).spectra.of_object(
        asker, name, form=form, sort_by=sort_by, descending=sort_order == "desc"
    )
    return success({"obj_id": name, "spectra": found})


@router.get("/spectra/range", responses=shows([_ROW], 400))
def list_range(
    request: Request,
    asker: Asker,
    instrument_ids: Annotated[list[int] | None, Query()] = None,
    min_date: str | None = None,
    max_date: str | None = None,
) -> Response:
    """Spectra of a period and of some instruments, at most 2000."""
    wish = SpectrumWish(instrument_ids=instrument_ids or (), observed=(min_date, max_date))
    return success(services_of(request).spectra.search(asker, wish, SpectrumForm(nested=False)))


@router.post("/spectra/bulk", responses=shows(_BULK, 400))
def bulk_spectra(request: Request, asker: Asker, body: Annotated[BulkRequest, Body()]) -> Response:
    """Arrays of the spectra of many objects."""
    wish = BulkWish(
        group_id=body.group_id,
        obj_ids=body.obj_ids or (),
        classifications=body.classifications or (),
        min_probability=body.min_probability,
        max_sources=body.max_sources or 100,
    )
    return success(services_of(request).spectra.bulk(asker, wish))


@router.post("/spectra/synthphot/{spectrum_id}", responses=shows({}, 401, 404))
def synthesise(
    request: Request,
    asker: Asker,
    spectrum_id: RowId,
    body: Annotated[SynthesisRequest, Body()],
) -> Response:
    """Make photometry of a spectrum: not offered, since curves of filters are not kept."""
    del body
    services_of(request).spectra.get(asker, spectrum_id, form=SpectrumForm(arrays=False))
    raise NotOffered("synthetic photometry is not made here")


@router.get("/spectra", responses=shows([_SPECTRUM], 400), openapi_extra=asks(_SEARCH))
def search_spectra(request: Request, asker: Asker) -> Response:
    """Spectra that meet conditions, at most 2000. Lists are joined by commas."""
    query = request.query_params
    is_minimal = query.get("minimalPayload", "").lower() in _TRUE
    form = SpectrumForm(
        arrays=not is_minimal,
        nested=not is_minimal,
        original=query.get("includeOriginalFile", "").lower() in _TRUE,
    )

    def words(name: str) -> list[str]:
        return [word.strip() for word in query.get(name, "").split(",") if word.strip()]

    def numbers(name: str) -> list[int]:
        found = words(name)
        if not all(word.isascii() and word.isdigit() and len(word) < 20 for word in found):
            raise InvalidInput(field=name, found=query[name][:100], expected="numbers: 1,2,3")
        return [int(word) for word in found]

    wish = SpectrumWish(
        obj_id=query.get("objID"),
        instrument_ids=numbers("instrumentIDs"),
        group_ids=numbers("groupIDs"),
        follow_up_ids=[*numbers("followupRequestIDs"), *numbers("assignmentIDs")],
        origins=words("origin"),
        labels=words("label"),
        types=words("type"),
        observed=(query.get("observedAfter"), query.get("observedBefore")),
        modified=(query.get("modifiedAfter"), query.get("modifiedBefore")),
        comments=words("commentsFilter"),
        comment_authors=words("commentsFilterAuthor"),
        commented=(query.get("commentsFilterAfter"), query.get("commentsFilterBefore")),
    )
    return success(services_of(request).spectra.search(asker, wish, form))


@router.post("/spectrum", responses=shows({"id": 1}, 400, 401, 403, 404))
def add_spectrum(
    request: Request, asker: Asker, body: Annotated[SpectrumRequest, Body()]
) -> Response:
    """Add a spectrum. Wavelengths are positive and in order, numbers finite."""
    given = body.model_dump(exclude_none=True)
    return success({"id": services_of(request).spectra.add(asker, given)})


@router.post("/spectrum/ascii", responses=shows({"id": 1}, 400, 401, 403, 404))
def add_spectrum_text(
    request: Request, asker: Asker, body: Annotated[SpectrumTextRequest, Body()]
) -> Response:
    """Add a spectrum from a text with columns of numbers; what its comments tell is kept."""
    given = body.model_dump(exclude_none=True)
    return success({"id": services_of(request).spectra.add_text(asker, given)})


@router.post("/spectrum/parse/ascii", responses=shows(_PARSED, 400, 401, 403))
def parse_spectrum_text(
    request: Request, asker: Asker, body: Annotated[TextColumns, Body()]
) -> Response:
    """What would be made of a text; nothing is kept."""
    given = body.model_dump(exclude_none=True)
    return success(services_of(request).spectra.parse(asker, given))


@router.get("/spectra/{spectrum_id}", include_in_schema=False)
@router.get("/spectrum/{spectrum_id}", responses=shows(_SPECTRUM, 404))
def get_spectrum(
    request: Request, asker: Asker, spectrum_id: RowId, original: Original = False
) -> Response:
    """One spectrum."""
    form = SpectrumForm(original=original)
    return success(services_of(request).spectra.get(asker, spectrum_id, form=form))


@router.put("/spectra/{spectrum_id}", include_in_schema=False)
@router.put("/spectrum/{spectrum_id}", responses=shows({}, 400, 401, 403, 404))
def change_spectrum(
    request: Request, asker: Asker, spectrum_id: RowId, body: Annotated[SpectrumChange, Body()]
) -> Response:
    """Change one's own spectrum."""
    given = body.model_dump(exclude_none=True)
    services_of(request).spectra.change(asker, spectrum_id, given)
    return success({})


@router.delete("/spectra/{spectrum_id}", include_in_schema=False)
@router.delete("/spectrum/{spectrum_id}", responses=shows({}, 401, 403, 404))
def remove_spectrum(request: Request, asker: Asker, spectrum_id: RowId) -> Response:
    """Remove one's own spectrum, with the comments and annotations on it."""
    services_of(request).spectra.remove(asker, spectrum_id)
    return success({})
