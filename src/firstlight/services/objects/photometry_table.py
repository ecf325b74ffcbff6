"""Photometry that was sent, checked row by row, as fluxes in microjansky."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.photometry.magnitudes import AB_ZERO_POINT_UJY
from firstlight.algorithms.photometry.photometric_systems import (
    error_at_limit,
    flux_of_magnitude,
    limiting_magnitude,
    magnitude_of_flux,
    rescaled_flux,
)
from firstlight.provenance.fingerprint import product_id
from firstlight.services.objects.bandpasses import Bandpasses, SystemUnknown
from firstlight.services.objects.photometry_columns import BadColumns, Columns

__all__ = ["DETECTION_SIGMA", "PhotometryTable", "photometry_columns", "point_key", "read_table"]

Floats = NDArray[np.float64]

DETECTION_SIGMA = 3.0
"""From how many errors on a flux is a detection, and has a magnitude."""
_COMMON = ("ra", "dec", "ra_unc", "dec_unc", "origin", "assignment_id", "altdata")
_MAG = ("mag", "magerr", "limiting_mag", "limiting_mag_nsigma", "magref", "e_magref")
_FLUX = ("flux", "fluxerr", "zp", "ref_flux", "ref_fluxerr", "ref_zp")
_NEEDED = ("obj_id", "mjd", "instrument_id", "filter")
COLUMNS = {
    **dict.fromkeys(_NEEDED, True),
    **dict.fromkeys((*_COMMON, *_MAG, *_FLUX, "magsys"), False),
    **dict.fromkeys(("group_ids", "stream_ids", "extinction_corrected", "alert_id"), False),
}
_LONGEST_FILTER = 64
# Years 1585 to 2269: a Julian date, or seconds, lies outside.
_MJD = (-100_000.0, 150_000.0)
_JULIAN = 2_400_000.5
_MAGNITUDES = (-50.0, 60.0)


@dataclass(frozen=True)
class PhotometryTable:
    """Rows of photometry; arrays have the shape ``(n,)``, NaN where there is no value.

    Attributes
    ----------
    flux, flux_err
        Microjansky, AB. The flux of an upper limit is NaN, its error follows from the limit.
    mag, mag_err
        Of detections, in `systems`.
    limiting_mag
        AB, at `limit_sigma` errors; of flux rows it follows from the error.
    """

    objects: list[str]
    instruments: list[int]
    filters: list[str]
    systems: list[str]
    origins: list[str]
    mjd: Floats
    flux: Floats
    flux_err: Floats
    mag: Floats
    mag_err: Floats
    limiting_mag: Floats
    limit_sigma: Floats
    reference_flux: Floats
    reference_flux_err: Floats
    ra: Floats
    dec: Floats
    ra_err: Floats
    dec_err: Floats
    altdata: list[dict[str, Any] | None]
    originals: list[dict[str, Any]]

    def __len__(self) -> int:
        return len(self.objects)

    def keys(self, objects: Mapping[str, uuid.UUID]) -> list[uuid.UUID]:
        """What makes each row unique."""
        numbers = zip(self.mjd.tolist(), self.flux.tolist(), self.flux_err.tolist(), strict=True)
        return [
            point_key(objects[name], instrument, origin, band, each)
            for name, instrument, origin, band, each in zip(
                self.objects, self.instruments, self.origins, self.filters, numbers, strict=True
            )
        ]

    def rows(self) -> list[dict[str, Any]]:
        """What the table of photometry holds of each, without owner, audience and object."""
        columns: dict[str, Sequence[Any]] = {
            "instrument_id": self.instruments,
            "origin": self.origins,
            "mjd": self.mjd.tolist(),
            "filter": self.filters,
            "mag_system": self.systems,
            "altdata": self.altdata,
            "original": self.originals,
        }
        for column, values in (
            ("flux_ujy", self.flux),
            ("flux_err_ujy", self.flux_err),
            ("mag", self.mag),
            ("mag_err", self.mag_err),
            ("limiting_mag", self.limiting_mag),
            ("limit_sigma", self.limit_sigma),
            ("reference_flux_ujy", self.reference_flux),
            ("reference_flux_err_ujy", self.reference_flux_err),
            ("ra", self.ra),
            ("dec", self.dec),
            ("ra_err", self.ra_err),
            ("dec_err", self.dec_err),
        ):
            columns[column] = _nullable(values)
        names = list(columns)
        return [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def point_key(
    object_id: uuid.UUID,
    instrument_id: int | None,
    origin: str,
    band: str | None,
    numbers: tuple[float, float, float],
) -> uuid.UUID:
    """Identify a point that was sent: the same point sent again is the same row.

    Parameters
    ----------
    numbers
        MJD, flux and its error in microjansky. Ten decimals of the date and nine digits of the
        others count, so that rounding on the way does not make another point.
    """
    mjd, flux, error = numbers
    facts = [
        object_id.hex, instrument_id, origin, band, f"{mjd:.10f}", f"{flux:.9g}", f"{error:.9g}",
    ]  # fmt: skip
    return product_id("photometry", facts)


def photometry_columns(sent: Mapping[str, Any], most: int) -> Columns:
    """The columns of a request, whose names are those of photometry in one space.

    Raises
    ------
    BadColumns, TooManyRows
        The columns make no rows, are of both spaces or of none, or ask for what there is not.
    """
    columns = Columns(sent, COLUMNS, most)
    if any(columns.flags("extinction_corrected")):
        raise BadColumns(
            "photometry is kept as it was observed",
            field="extinction_corrected",
            expected="false",
            hint="send the values before they were corrected for extinction",
        )
    if sent.get("stream_ids"):
        raise BadColumns("there are no streams here", field="stream_ids", hint="use group_ids")
    mags, fluxes = ([each for each in some if each in columns] for some in (_MAG, _FLUX))
    if mags and fluxes:
        raise BadColumns(
            "magnitudes and fluxes are mixed",
            field=fluxes[0],
            found=", ".join([*mags, *fluxes]),
            expected="either mag, magerr, limiting_mag, or flux, fluxerr, zp",
        )
    needed = ("fluxerr", "zp") if fluxes else ("mag", "limiting_mag")
    missing = [name for name in needed if name not in columns]
    if missing == list(needed) or (fluxes and missing):
        raise BadColumns(
            "a column is missing",
            field=missing[0],
            expected="mag and magerr, or limiting_mag, or fluxerr and zp with or without flux",
        )
    return columns


def read_table(
    columns: Columns, bandpasses: Bandpasses, instruments: Mapping[int, Sequence[str]]
) -> PhotometryTable:
    """Check and convert photometry, in the space of magnitudes or of fluxes.

    Parameters
    ----------
    columns
        As `photometry_columns` gives them.
    instruments
        Of each instrument that there is the filters that it lists; one that lists none has all.

    Raises
    ------
    BadValue, FilterUnknown, SystemUnknown
        With the row and the column.
    """
    instrument_ids = columns.ids("instrument_id")
    filters = columns.texts("filter", longest=_LONGEST_FILTER)
    _check_filters(columns, bandpasses, instruments, (instrument_ids, filters))
    systems, offset = _systems(columns, bandpasses, filters)
    mjd = columns.numbers("mjd")
    early, late = _MJD
    julian = "this looks like a Julian date: MJD = JD - 2400000.5"
    columns.require(
        (mjd > early) & (mjd < late),
        "mjd",
        "a modified Julian date",
        julian if np.any(mjd > _JULIAN - 1e6) else None,
    )
    read = _from_fluxes if "fluxerr" in columns else _from_magnitudes
    ra, dec = _position(columns)
    return PhotometryTable(
        objects=columns.texts("obj_id"),
        instruments=instrument_ids,
        filters=filters,
        systems=systems,
        origins=columns.texts("origin", ""),
        mjd=mjd,
        ra=ra,
        dec=dec,
        ra_err=_positive(columns, "ra_unc"),
        dec_err=_positive(columns, "dec_unc"),
        altdata=columns.altdata(),
        originals=columns.originals((*_NEEDED, *_COMMON, *_MAG, *_FLUX, "magsys")),
        **read(columns, offset),
    )


def _check_filters(
    columns: Columns,
    bandpasses: Bandpasses,
    instruments: Mapping[int, Sequence[str]],
    rows: tuple[list[int], list[str]],
) -> None:
    first: dict[tuple[int, str], int] = {}
    for index, pair in enumerate(zip(*rows, strict=True)):
        first.setdefault(pair, index)
    for (instrument, name), index in first.items():
        if instrument not in instruments:
            raise columns.bad(index, "instrument_id", "an instrument that there is")
        listed = instruments[instrument]
        if name not in bandpasses and name not in listed:
            raise bandpasses.unknown(name, subject=f"row {index}")
        if listed and name not in listed:
            shown = ", ".join(listed[:20])
            raise columns.bad(index, "filter", f"a filter of instrument {instrument}: {shown}")


def _systems(
    columns: Columns, bandpasses: Bandpasses, filters: list[str]
) -> tuple[list[str], Floats]:
    """The system of each row as it is kept, and its offset from AB."""
    known: dict[tuple[str, str], tuple[str, float]] = {}
    systems, offsets = [], np.empty(len(filters))
    names = columns.texts("magsys", "ab", longest=50)
    for index, pair in enumerate(zip(filters, names, strict=True)):
        if pair not in known:
            system = bandpasses.system(pair[1], subject=f"row {index}")
            offset = bandpasses.offset(pair[0], system)
            if offset is None:
                raise SystemUnknown(
                    subject=f"row {index}",
                    field="magsys",
                    found=repr(pair[1]),
                    expected="ab",
                    hint=f"the zero point of {pair[0]} in this system is not known; "
                    "[photometry.filters] may tell it",
                )
            known[pair] = system, offset
        system, offsets[index] = known[pair]
        systems.append(system)
    return systems, offsets


def _from_magnitudes(columns: Columns, offset: Floats) -> dict[str, Floats]:
    mag, error, limit = (columns.numbers(name) for name in ("mag", "magerr", "limiting_mag"))
    sigma = columns.numbers("limiting_mag_nsigma", DETECTION_SIGMA)
    sigma = np.where(np.isnan(sigma), DETECTION_SIGMA, sigma)
    seen = np.isfinite(mag)
    columns.require(seen == np.isfinite(error), "magerr", "a number where mag is one, else null")
    columns.require(~seen | (error > 0), "magerr", "a number above zero")
    columns.require(seen | np.isfinite(limit), "limiting_mag", "a number, as mag is null")
    columns.require(sigma > 0, "limiting_mag_nsigma", "a number above zero")
    reference = columns.numbers("magref")
    for name, values in (("mag", mag), ("limiting_mag", limit), ("magref", reference)):
        low, high = _MAGNITUDES
        inside = np.isnan(values) | ((values > low) & (values < high))
        columns.require(inside, name, f"a magnitude from {low:g} to {high:g}")
    flux, flux_err = flux_of_magnitude(mag, error, offset)
    flux_err = np.where(seen, flux_err, error_at_limit(limit, sigma, offset))
    columns.require(_usable(flux_err), "magerr", "an error that makes a finite error of the flux")
    reference_flux, reference_err = flux_of_magnitude(
        reference, _positive(columns, "e_magref"), offset
    )
    return {
        "flux": flux,
        "flux_err": flux_err,
        "mag": mag,
        "mag_err": error,
        "limiting_mag": limit + offset,
        "limit_sigma": np.where(np.isfinite(limit), sigma, np.nan),
        "reference_flux": reference_flux,
        "reference_flux_err": reference_err,
    }


def _from_fluxes(columns: Columns, offset: Floats) -> dict[str, Floats]:
    zero_point = columns.numbers("zp")
    columns.require(np.isfinite(zero_point), "zp", "a number")
    raw, raw_err = columns.numbers("flux"), columns.numbers("fluxerr")
    columns.require(raw_err > 0, "fluxerr", "a number above zero")
    flux, flux_err = (rescaled_flux(each, zero_point, offset) for each in (raw, raw_err))
    columns.require(_usable(flux_err), "zp", "a zero point that makes a finite error of the flux")
    columns.require(np.isnan(raw) | np.isfinite(flux), "flux", "a finite flux in microjansky")
    mag, mag_err = magnitude_of_flux(flux, flux_err, offset)
    seen = flux >= DETECTION_SIGMA * flux_err
    reference_zero = columns.numbers("ref_zp", AB_ZERO_POINT_UJY)
    reference_zero = np.where(np.isnan(reference_zero), AB_ZERO_POINT_UJY, reference_zero)
    reference, reference_err = (
        rescaled_flux(each, reference_zero, offset)
        for each in (columns.numbers("ref_flux"), _positive(columns, "ref_fluxerr"))
    )
    return {
        "flux": flux,
        "flux_err": flux_err,
        "mag": np.where(seen, mag, np.nan),
        "mag_err": np.where(seen, mag_err, np.nan),
        "limiting_mag": limiting_magnitude(flux_err, DETECTION_SIGMA, 0.0),
        "limit_sigma": np.full(len(columns), DETECTION_SIGMA),
        "reference_flux": reference,
        "reference_flux_err": reference_err,
    }


def _position(columns: Columns) -> tuple[Floats, Floats]:
    ra, dec = columns.numbers("ra"), columns.numbers("dec")
    columns.require(np.isnan(ra) == np.isnan(dec), "dec", "a number where ra is one, else null")
    columns.require(np.isnan(ra) | ((ra >= 0) & (ra < 360)), "ra", "degrees from 0 to 360")
    columns.require(np.isnan(dec) | (np.abs(dec) <= 90), "dec", "degrees from -90 to 90")
    return ra, dec


def _positive(columns: Columns, name: str) -> Floats:
    values = columns.numbers(name)
    columns.require(np.isnan(values) | (values > 0), name, "a number above zero, or null")
    return values


def _usable(error: Floats) -> NDArray[np.bool_]:
    # What comes near to nothing or to everything has no square in double precision.
    return np.isfinite(error) & (error > 1e-150) & (error < 1e150)


def _nullable(values: Floats) -> list[float | None]:
    return [None if value != value else value for value in values.tolist()]  # noqa: PLR0124, NaN
