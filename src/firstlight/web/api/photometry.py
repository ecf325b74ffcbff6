"""Photometry: points of light curves, sent in columns and read one by one."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Request, Response
from pydantic import BaseModel, Field

from firstlight.services.objects.light_curve_export import FORMATS
from firstlight.services.objects.photometry_reading import PhotometryForm
from firstlight.web.api.portal_parameters import ObjectName, Page, PerPage, PortalRequest
from firstlight.web.auth import Asker
from firstlight.web.context import services_of
from firstlight.web.envelope import shows, success
from firstlight.web.file_answers import attached

router = APIRouter(prefix="/api", tags=["photometry"])

PointId = Annotated[int, Path(description="Number of the point.")]
Format = Annotated[str, Query(description="mag, flux, both, or plot for few columns.")]
System = Annotated[str, Query(description="ab, vega, bd17 or st.")]

_COLUMNS: dict[str, Any] = {
    "obj_id": "FL1",
    "instrument_id": 1,
    "mjd": [60000.1, 60001.1],
    "filter": "ztfg",
    "magsys": "ab",
    "mag": [18.5, None],
    "magerr": [0.05, None],
    "limiting_mag": [20.1, 20.4],
    "group_ids": [1],
}
_FLUXES: dict[str, Any] = {
    "obj_id": "FL1",
    "instrument_id": 1,
    "mjd": 60000.1,
    "filter": "ztfg",
    "flux": 144.54,
    "fluxerr": 6.66,
    "zp": 23.9,
    "group_ids": "all",
}
_POINT: dict[str, Any] = {
    "id": 1,
    "obj_id": "FL1",
    "ra": None,
    "dec": None,
    "ra_unc": None,
    "dec_unc": None,
    "filter": "ztfg",
    "mjd": 60000.1,
    "snr": 21.7,
    "instrument_id": 1,
    "instrument_name": "ZTF",
    "origin": None,
    "altdata": None,
    "created_at": "2026-08-21T12:35:30.123456",
    "groups": [{"id": 1, "name": "Observers", "nickname": None, "single_user_group": False}],
    "magsys": "ab",
    "mag": 18.5,
    "magerr": 0.05,
    "limiting_mag": 20.1,
}
_POSTED = {"ids": [1, 2], "upload_id": "5f0c6a3e-3e0e-4a3e-8f43-a0b5f6a7f9b1"}
_FILTER = {"name": "ztfg", "wavelength": 4814.0, "vega": -0.0958, "colour": "#209e87"}

_NO_SERIES: dict[str, Any] = {"series": [], "totalMatches": 0, "pageNumber": 1, "numPerPage": 100}
_CURVE: dict[str, Any] = {
    "object": "FL1",
    "ra": 120.5,
    "dec": -3.25,
    "magsys": "ab",
    "points": 2,
    "total": 2,
    "units": {"mjd": "d", "flux": "uJy"},
    "names": {"filter": ["ztfg", "ztfr"]},
    "columns": {"id": [1, 2], "mjd": [60000.1, 60001.1], "filter": [0, 1], "flux": [144.5, None]},
}
_FILES: dict[int | str, Any] = {
    200: {
        "description": "The light curve",
        "content": {
            "application/json": {"example": {"status": "success", "data": _CURVE}},
            **{media_type: {} for media_type, _ in FORMATS.values() if "json" not in media_type},
        },
    }
}
_PERIOD: dict[str, Any] = {
    "period": 0.523400,
    "epoch": 59000.394,
    "power": 0.77,
    "false_alarm": 1e-12,
    "depth": 0.1,
    "duration": None,
    "signal": None,
    "method": "sine",
    "label": "0.5234 d, sine: false alarm 1e-12",
}
_PERIODS: dict[str, Any] = {
    "best": _PERIOD,
    "candidates": [_PERIOD],
    "message": None,
    "time": "mjd",
    "points": 5000,
    "used": 5000,
}

Columns = Annotated[
    dict[str, Any],
    Body(
        description="Columns of one length; a value alone stands for all rows. Either mag, "
        "magerr, limiting_mag, or flux, fluxerr, zp. A null magnitude or flux is an upper limit.",
        openapi_examples={
            "magnitudes": {"summary": "A detection and a limit", "value": _COLUMNS},
            "fluxes": {"summary": "A flux", "value": _FLUXES},
        },
    ),
]


class LightCurveQuery(BaseModel):
    """How a light curve is told; SkyPortal's parameters that are not here are passed over."""

    format: str = Field(default="mag", description="mag, flux, both, or plot for few columns.")
    magsys: str = Field(default="ab", description="ab, vega, bd17 or st.")
    individual_or_series: str = Field(default="both", alias="individualOrSeries")
    phase_fold: bool = Field(default=False, alias="phaseFoldData")
    deduplicate: bool = Field(default=False, alias="deduplicatePhotometry")
    validations: bool = Field(default=False, alias="includeValidationInfo")
    annotations: bool = Field(default=False, alias="includeAnnotationInfo")
    owners: bool = Field(default=False, alias="includeOwnerInfo")
    streams: bool = Field(default=False, alias="includeStreamInfo")

    @property
    def form(self) -> PhotometryForm:
        """What they ask for."""
        return PhotometryForm(
            form=self.format,
            system=self.magsys,
            validations=self.validations,
            annotations=self.annotations,
            owners=self.owners,
            streams=self.streams,
            deduplicate=self.deduplicate,
            fold=self.phase_fold,
        )


class RangeRequest(PortalRequest):
    """What is asked for of the points of all objects."""

    instrument_ids: list[int] | None = Field(default=None, examples=[[1]])
    min_date: str | None = Field(default=None, examples=["2023-01-01T00:00:00"])
    max_date: str | None = None


@router.post("/photometry", responses=shows(_POSTED, 400, 401, 403, 409))
def add_photometry(request: Request, asker: Asker, body: Columns) -> Response:
    """Add photometry: all rows, or none.

    A row is there already where object, instrument, origin, time, filter, flux and error are the
    same. Rows are seen by the groups named, and by the uploader. `upload_id` takes all back.
    """
    return success(services_of(request).photometry.post(asker, body))


@router.put("/photometry", responses=shows(_POSTED, 400, 401, 403))
def put_photometry(
    request: Request,
    asker: Asker,
    body: Columns,
    *,
    duplicate_ignore_flux: Annotated[
        bool, Query(description="Points that differ in their flux alone are the same.")
    ] = False,
    overwrite_flux: Annotated[bool, Query(description="And take the new flux.")] = False,
) -> Response:
    """Add the photometry that is not there yet; share what is there with the groups named.

    The ids are in the order of the rows.
    """
    return success(
        services_of(request).photometry.put(
            asker, body, ignore_flux=duplicate_ignore_flux, overwrite_flux=overwrite_flux
        )
    )


@router.get("/photometry/range", responses=shows([_POINT], 400, 401))
def range_of_photometry(
    request: Request,
    asker: Asker,
    body: Annotated[RangeRequest | None, Body()] = None,
    *,
    format: Format = "mag",  # noqa: A002, the name of the parameter is SkyPortal's
    magsys: System = "ab",
) -> Response:
    """Points of all objects in a time, of some instruments."""
    wanted = body or RangeRequest()
    return success(
        services_of(request).photometry_reading.in_range(
            asker,
            PhotometryForm(form=format, system=magsys, annotations=True),
            instruments=wanted.instrument_ids,
            first=wanted.min_date,
            last=wanted.max_date,
        )
    )


@router.get("/photometry/origins", responses=shows(["pipeline"], 401))
def origins_of_photometry(request: Request, asker: Asker) -> Response:
    """What uploaded points are said to come from."""
    return success(services_of(request).photometry_reading.origins(asker))


@router.get("/photometry/filters", responses=shows([_FILTER]))
def filters_of_photometry(
    request: Request,
    like: Annotated[str | None, Query(max_length=64, description="Only of like names.")] = None,
) -> Response:
    """Filters that photometry may name: wavelength in Angstrom, AB minus Vega, colour."""
    bandpasses = services_of(request).photometry.bandpasses
    names = bandpasses.near(like, count=20) if like else None
    return success(bandpasses.describe(names))


@router.delete(
    "/photometry/bulk_delete/{upload_id}",
    responses=shows("Deleted 2 photometry point(s).", 401, 404),
)
def take_back_upload(
    request: Request,
    asker: Asker,
    upload_id: Annotated[str, Path(max_length=64, description="As the upload was answered.")],
) -> Response:
    """Take an upload back."""
    count = services_of(request).photometry.remove_upload(asker, upload_id)
    return success(f"Deleted {count} photometry point(s).")


@router.get("/photometry/{photometry_id}", responses=shows(_POINT, 401, 404))
def get_point(
    request: Request,
    asker: Asker,
    photometry_id: PointId,
    *,
    format: Format = "mag",  # noqa: A002, the name of the parameter is SkyPortal's
    magsys: System = "ab",
) -> Response:
    """One point."""
    form = PhotometryForm(form=format, system=magsys, annotations=True)
    return success(services_of(request).photometry_reading.point(asker, photometry_id, form))


@router.patch("/photometry/{photometry_id}", responses=shows({}, 400, 401, 403, 404, 409))
def change_point(
    request: Request,
    asker: Asker,
    photometry_id: PointId,
    body: Annotated[dict[str, Any], Body(examples=[{"mag": 18.6, "magerr": 0.05}])],
) -> Response:
    """Correct a point; what is not named stays, null clears."""
    services_of(request).photometry.change(asker, photometry_id, body)
    return success({})


@router.delete("/photometry/{photometry_id}", responses=shows({}, 401, 403, 404, 409))
def remove_point(request: Request, asker: Asker, photometry_id: PointId) -> Response:
    """Remove a point."""
    services_of(request).photometry.remove(asker, photometry_id)
    return success({})


_JUDGEMENT = Annotated[
    dict[str, Any], Body(examples=[{"validated": True, "explanation": "seen in both images"}])
]


@router.post("/photometry/{photometry_id}/validation", responses=shows({"id": 1}, 400, 403, 404))
def validate_point(
    request: Request, asker: Asker, photometry_id: PointId, body: _JUDGEMENT
) -> Response:
    """Say what you think of a point."""
    return success(
        {"id": services_of(request).photometry_validations.add(asker, photometry_id, body)}
    )


@router.patch("/photometry/{photometry_id}/validation", responses=shows({"id": 1}, 400, 403, 404))
def revalidate_point(
    request: Request, asker: Asker, photometry_id: PointId, body: _JUDGEMENT
) -> Response:
    """Say something else of it."""
    found = services_of(request).photometry_validations.change(asker, photometry_id, body)
    return success({"id": found})


@router.delete("/photometry/{photometry_id}/validation", responses=shows({"id": 1}, 403, 404))
def unvalidate_point(request: Request, asker: Asker, photometry_id: PointId) -> Response:
    """Take it back."""
    return success({"id": services_of(request).photometry_validations.remove(asker, photometry_id)})


@router.get("/photometric_series", responses=shows(_NO_SERIES))
def list_series(page: Page = 1, per_page: PerPage = 100) -> Response:
    """Series of photometry in files of their own: there are none, long ones are points too."""
    return success({**_NO_SERIES, "pageNumber": page, "numPerPage": per_page})


@router.get("/sources/{obj_id}/photometry", responses=shows([_POINT], 400, 401, 404))
def photometry_of_object(
    request: Request,
    asker: Asker,
    obj_id: ObjectName,
    query: Annotated[LightCurveQuery, Query()],
) -> Response:
    """The light curve of an object, in order of time.

    `/api/sources/{obj_id}/light_curve` gives the same much faster, in columns.
    """
    found = services_of(request).photometry_reading.of_object(asker, obj_id, query.form)
    return success([] if query.individual_or_series == "series" else found)


@router.get("/sources/{obj_id}/light_curve", responses={**shows(_CURVE, 400, 404), **_FILES})
def light_curve(
    request: Request,
    asker: Asker,
    obj_id: ObjectName,
    *,
    format: Annotated[str, Query(description="arrow, parquet, csv or json.")] = "json",  # noqa: A002, as SkyPortal calls it elsewhere
    magsys: System = "ab",
    points: Annotated[
        int | None, Query(ge=1, description="About so many, chosen so that it looks the same.")
    ] = None,
) -> Response:
    """The light curve of an object in columns: 50,000 points are a matter of a blink.

    Fluxes are in microjansky (AB), relative fluxes relative to the star's mean. Of the
    light-curve sets of an observation the current one counts. In JSON, texts are numbers into
    `names`, and columns without any value are left out.
    """
    exports = services_of(request).light_curve_exports
    if format == "json":
        found = exports.columns(asker, obj_id, system=magsys, points=points)
        return success(found.as_dict())
    file = exports.file(asker, obj_id, format, system=magsys, points=points)
    headers = {"Content-Disposition": attached(file.filename)}
    return Response(file.body, 200, headers, file.media_type)


@router.get("/sources/{obj_id}/periods", responses=shows(_PERIODS, 400, 404, 409))
def periods_of_object(
    request: Request,
    asker: Asker,
    obj_id: ObjectName,
    method: Annotated[
        str, Query(description="sine, box (eclipses and transits), or auto.")
    ] = "auto",
) -> Response:
    """Search the period of an object; `best` is null where none stands out of the noise."""
    return success(services_of(request).period_search.find(asker, obj_id, method))


@router.delete(
    "/sources/{obj_id}/photometry",
    responses=shows("Deleted 2 photometry point(s) of FL1.", 401, 404),
)
def remove_photometry_of_object(request: Request, asker: Asker, obj_id: ObjectName) -> Response:
    """Remove the points of an object that were sent; your own, or all where you manage them."""
    count = services_of(request).photometry.remove_of_object(asker, obj_id)
    return success(f"Deleted {count} photometry point(s) of {obj_id}.")
