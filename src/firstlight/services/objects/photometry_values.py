"""The numbers of points as they are told: magnitudes or fluxes, in the system asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.photometry.magnitudes import AB_ZERO_POINT_UJY
from firstlight.algorithms.photometry.photometric_systems import (
    limiting_magnitude,
    magnitude_of_flux,
)
from firstlight.services.objects.bandpasses import Bandpasses, SystemUnknown
from firstlight.services.objects.photometry_table import DETECTION_SIGMA

__all__ = ["Magnitudes", "Series", "shown_values"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Magnitudes:
    """Magnitudes of points in one system; arrays of shape ``(n,)``, NaN where there is none.

    A flux of at least three errors has a magnitude, and one that was sent or measured as a
    magnitude has it whatever its error.

    Attributes
    ----------
    offset
        AB minus magnitude of each point in the system it is told in.
    """

    mag: Floats
    mag_err: Floats
    limit: Floats
    offset: Floats

    @classmethod
    def of(
        cls, points: Mapping[str, Floats], series: Series, bandpasses: Bandpasses, system: str
    ) -> Magnitudes:
        """Magnitudes in a system; those of filters without a zero point in it are AB.

        Parameters
        ----------
        points
            Columns ``flux_ujy``, ``flux_err_ujy``, ``mag``, ``mag_err``, ``limiting_mag`` as the
            table has them.
        """
        offset, own_offset = series.offsets(bandpasses, system)
        flux, error = points["flux_ujy"], points["flux_err_ujy"]
        own, own_err = points["mag"], points["mag_err"]
        mag, mag_err = magnitude_of_flux(flux, error, offset)
        with np.errstate(invalid="ignore"):
            seen = (flux >= DETECTION_SIGMA * error) | (np.isfinite(own) & (flux > 0))
        # One without a flux is as good as its own system is known.
        alone = np.isnan(flux) & np.isfinite(own) & np.isfinite(own_offset)
        mag = np.where(seen, mag, np.where(alone, own + own_offset - offset, np.nan))
        mag_err = np.where(seen, mag_err, np.where(alone, own_err, np.nan))
        # Told as it was sent, without the last digit's tour through the flux.
        same = np.isfinite(own) & np.isfinite(own_err) & (own_offset == offset)
        limit = points["limiting_mag"] - offset
        derived = limiting_magnitude(error, DETECTION_SIGMA, offset)
        return cls(
            mag=np.where(same, own, mag),
            mag_err=np.where(same, own_err, mag_err),
            limit=np.where(np.isfinite(limit), limit, derived),
            offset=offset,
        )


@dataclass(frozen=True)
class Series:
    """Filters and magnitude systems of points, of which few are different.

    Attributes
    ----------
    filters, systems
        Of each series; the system is that in which magnitudes are kept.
    code
        ``(n,)``, the series of each point.
    """

    filters: Sequence[str | None]
    systems: Sequence[str | None]
    code: NDArray[np.int64]

    @classmethod
    def of(cls, filters: Iterable[str | None], systems: Iterable[str | None]) -> Series:
        """Those of points, one by one."""
        known: dict[tuple[str | None, str | None], int] = {}
        code = [known.setdefault(pair, len(known)) for pair in zip(filters, systems, strict=True)]
        return cls(
            [band for band, _ in known], [kept for _, kept in known], np.array(code, np.int64)
        )

    def told_in(self, bandpasses: Bandpasses, system: str) -> list[str]:
        """The system in which each series is told: AB where its filter has no zero point."""
        wanted = bandpasses.system(system)
        return [
            "ab" if bandpasses.offset(band, wanted) is None else wanted for band in self.filters
        ]

    def offsets(self, bandpasses: Bandpasses, system: str) -> tuple[Floats, Floats]:
        """AB minus magnitude of each point: in the system it is told in, and in its own."""
        told = [bandpasses.offset(band, system) or 0.0 for band in self.filters]
        own = [
            _own_offset(bandpasses, band, kept)
            for band, kept in zip(self.filters, self.systems, strict=True)
        ]
        return np.array(told, float)[self.code], np.array(own, float)[self.code]


def shown_values(
    rows: Sequence[Any], bandpasses: Bandpasses, form: str, system: str
) -> list[dict[str, Any]]:
    """The numbers of each point under SkyPortal's names."""
    points = {
        name: np.array([getattr(row, name) for row in rows], float)
        for name in (
            "flux_ujy", "flux_err_ujy", "mag", "mag_err", "limiting_mag", "rel_flux",
            "rel_flux_err", "reference_flux_ujy", "reference_flux_err_ujy",
        )
    }  # fmt: skip
    series = Series.of((row.filter for row in rows), (row.mag_system for row in rows))
    found = Magnitudes.of(points, series, bandpasses, system)
    told = series.told_in(bandpasses, system)
    mags = {
        "mag": _nullable(found.mag),
        "magerr": _nullable(found.mag_err),
        "limiting_mag": _nullable(found.limit),
    }
    if form == "plot":
        return _as_rows(mags)
    with np.errstate(invalid="ignore", divide="ignore"):
        signal = points["flux_ujy"] / points["flux_err_ujy"]
        relative = points["rel_flux"] / points["rel_flux_err"]
    columns: dict[str, list[Any]] = {
        "snr": _nullable(np.where(np.isfinite(signal), signal, relative)),
        "magsys": [told[code] for code in series.code.tolist()],
    }
    if form in {"mag", "both"}:
        columns |= mags
    if form in {"flux", "both"}:
        columns |= {
            "flux": _nullable(points["flux_ujy"]),
            "fluxerr": _nullable(points["flux_err_ujy"]),
            "zp": (AB_ZERO_POINT_UJY - found.offset).tolist(),
        }
    values = _as_rows(columns)
    reference = points["reference_flux_ujy"]
    for index in np.flatnonzero(np.isfinite(reference)).tolist():
        numbers = {name: float(each[index]) for name, each in points.items()}
        values[index] |= _reference(numbers, float(found.offset[index]), form)
    return values


def _reference(point: dict[str, float], offset: float, form: str) -> dict[str, float | None]:
    """The flux of the reference image, and that of both together."""
    reference, error = point["reference_flux_ujy"], point["reference_flux_err_ujy"]
    total = reference + point["flux_ujy"]
    total_err = float(np.hypot(error, point["flux_err_ujy"]))
    found: dict[str, float] = {}
    if form in {"flux", "both"}:
        found |= {
            "ref_flux": reference, "ref_fluxerr": error,
            "tot_flux": total, "tot_fluxerr": total_err,
        }  # fmt: skip
    if form in {"mag", "both"}:
        for kind, value, spread in (("ref", reference, error), ("tot", total, total_err)):
            mag, mag_err = magnitude_of_flux(value, spread, offset)
            found |= {f"mag{kind}": float(mag), f"e_mag{kind}": float(mag_err)}
    return {name: each if np.isfinite(each) else None for name, each in found.items()}


def _own_offset(bandpasses: Bandpasses, name: str | None, system: str | None) -> float:
    try:
        found = bandpasses.offset(name, system or "ab")
    except SystemUnknown:
        return float("nan")
    return float("nan") if found is None else found


def _as_rows(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    names = list(columns)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _nullable(values: Iterable[Any]) -> list[float | None]:
    column = np.asarray(values, float)
    return [
        each if known else None
        for each, known in zip(column.tolist(), np.isfinite(column).tolist(), strict=True)
    ]
