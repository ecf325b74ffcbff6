"""The points of a light curve as the period finder and the transit fit want them.

Series are points of one filter and one instrument: their mean is common. Fluxes are relative to
the median of their series, so that series of different brightness stand on one scale.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import erfa
import numpy as np
from astropy.time import Time
from numpy.typing import NDArray

from firstlight.analysis_kit.failures import AnalysisFailed
from firstlight.analysis_kit.inputs import Inputs

__all__ = ["BARYCENTRIC", "Clock", "Points", "points_of", "running_median", "without_trend"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

BARYCENTRIC = "BJD_TDB - 2400000.5"
_AS_GIVEN = "MJD as given"
_LIGHT_TIME = 499.00478384 / 86400  # days that light takes for one astronomical unit
_MJD_ZERO = 2400000.5
# A median nearer to zero than this many errors is no brightness to be relative to.
_BRIGHT = 3.0


@dataclass(frozen=True)
class Clock:
    """Which times the points have: as given (MJD, UTC), or at the barycentre of the solar system.

    Attributes
    ----------
    ra, dec
        ICRS degrees; None for times as they are given.
    """

    ra: float | None = None
    dec: float | None = None

    @property
    def name(self) -> str:
        """What the numbers are called."""
        return _AS_GIVEN if self.ra is None else BARYCENTRIC

    def times(self, mjd: Floats) -> Floats:
        """Times of an event seen at `mjd` (UTC) on Earth, ``(n,)`` days.

        The place of the Earth is that of its centre (Moisson & Bretagnon 2001, as in ERFA), so a
        time is off by at most 21 ms.
        """
        if self.ra is None or self.dec is None or not len(mjd):
            return mjd
        # The delay is smooth: a node each sixth of a day is exact to a tenth of a millisecond.
        nodes = np.unique(np.floor(np.concatenate([mjd, mjd + 1 / 6]) * 6)) / 6
        ra, dec = np.radians(self.ra), np.radians(self.dec)
        star = np.array([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
        _, earth = erfa.epv00(_MJD_ZERO, nodes)
        delay = np.asarray(earth["p"] @ star) * _LIGHT_TIME + self._scale(nodes)
        return np.asarray(mjd + np.interp(mjd, nodes, delay), np.float64)

    @staticmethod
    def _scale(mjd: Floats) -> Floats:
        """TDB less UTC, days. TDB and TT differ by at most 2 ms."""
        with warnings.catch_warnings():
            # Leap seconds of years to come are not known, and need not be.
            warnings.simplefilter("ignore", erfa.ErfaWarning)
            terrestrial = Time(mjd, format="mjd", scale="utc").tt
        return np.asarray(terrestrial.mjd - mjd, np.float64)


@dataclass(frozen=True)
class Points:
    """Detections of one object, sorted by time.

    Attributes
    ----------
    time
        ``(n,)`` days on `clock`.
    mjd
        ``(n,)`` as given.
    flux, error
        ``(n,)``, relative to the scale of their series.
    series
        ``(n,)``, index into `names`.
    names
        One a series: the filter, and the instrument where a filter has several.
    filters
        ``(series,)`` filter of each.
    scale
        ``(series,)`` µJy of flux 1.
    bright
        Whether flux 1 is the star's brightness; not so of differences about zero.
    clock
        What `time` is.
    """

    time: Floats
    mjd: Floats
    flux: Floats
    error: Floats
    series: Integers
    names: tuple[str, ...]
    filters: tuple[str, ...]
    scale: Floats
    bright: bool
    clock: Clock

    def __len__(self) -> int:
        return len(self.time)

    @property
    def span(self) -> float:
        """Days from the first point to the last."""
        return float(np.ptp(self.time))

    @property
    def main(self) -> int:
        """The series with the most points."""
        return int(np.argmax(np.bincount(self.series, minlength=len(self.names))))

    def part(self, kept: NDArray[np.bool_]) -> Points:
        """Only the points that are true in `kept`."""
        return replace(
            self,
            time=self.time[kept],
            mjd=self.mjd[kept],
            flux=self.flux[kept],
            error=self.error[kept],
            series=self.series[kept],
        )

    def binned(self, width: float) -> Points:
        """Weighted means of the points of each series within `width` days of each other."""
        cell = np.floor((self.time - self.time[0]) / width).astype(np.int64)
        _, group = np.unique(cell * len(self.names) + self.series, return_inverse=True)
        weight = self.error**-2
        total = np.bincount(group, weight)

        def mean(values: Floats) -> Floats:
            return np.bincount(group, weight * values) / total

        series = np.zeros(len(total), np.int64)
        series[group] = self.series
        made = replace(
            self,
            time=mean(self.time),
            mjd=mean(self.mjd),
            flux=mean(self.flux),
            error=np.asarray(total**-0.5, np.float64),
            series=series,
        )
        order = np.argsort(made.time, kind="stable")
        return replace(
            made,
            **{name: getattr(made, name)[order] for name in ("time", "mjd", "flux", "error")},
            series=series[order],
        )


def points_of(
    inputs: Inputs, *, fewest: int, minimum_snr: float = 0.0, barycentric: bool = True
) -> Points:
    """Take the detections out of the inputs of a run.

    A series most of whose points have a flux relative to the ensemble of its field is taken from
    that, in µJy by the median of the two: the zero point of each frame is noise to it.

    Parameters
    ----------
    fewest
        Points that a series must have, or it is left out.
    minimum_snr
        Points of a lower ratio of flux to error are left out; 0 takes all.
    barycentric
        Move the times to the barycentre, where the place of the object is known.

    Raises
    ------
    AnalysisFailed
        Nothing is left, with what was there.
    """
    table = inputs.photometry
    if table is None or not len(table):
        raise AnalysisFailed(
            "the object has no photometry", hint="upload photometry, or widen the input filters"
        )
    mjd, flux, error = (_column(table, name) for name in ("mjd", "flux", "fluxerr"))
    labels, filters = _labels(table)
    if "rel_flux" in table.colnames and "rel_fluxerr" in table.colnames:
        flux, error = _of_ensemble(table, labels, flux, error)
    fine = np.isfinite(mjd) & np.isfinite(flux) & np.isfinite(error) & (error > 0)
    if not fine.any():
        raise AnalysisFailed(
            f"all {len(table)} points are upper limits or have no error",
            hint="a period or a transit needs measured fluxes with errors",
        )
    if minimum_snr > 0:
        fine &= np.where(fine, flux, 0.0) >= minimum_snr * np.where(fine, error, np.inf)
    names, counts = np.unique(labels[fine], return_counts=True)
    kept = names[counts >= fewest]
    fine &= np.isin(labels, kept)
    if not fine.any():
        raise AnalysisFailed(
            f"no filter has the {fewest} points that are needed",
            hint=f"points with S/N of at least {minimum_snr:g}: "
            + (", ".join(f"{c} of {n}" for n, c in zip(names, counts, strict=True)) or "none"),
        )
    clock = Clock(inputs.ra, inputs.dec) if barycentric and inputs.dec is not None else Clock()
    series = np.searchsorted(kept, labels[fine])
    return _relative(
        mjd[fine], flux[fine], error[fine], series.astype(np.int64), (labels[fine], filters[fine]),
        clock,
    )  # fmt: skip


def _column(table: Any, name: str) -> Floats:
    """Its numbers, NaN where it is masked."""
    return np.asarray(np.ma.filled(np.ma.asarray(table[name], float), np.nan), np.float64)


def _of_ensemble(
    table: Any, labels: NDArray[np.str_], flux: Floats, error: Floats
) -> tuple[Floats, Floats]:
    """Fluxes and errors with those of the ensemble in place of those of single frames."""
    relative, relative_error = _column(table, "rel_flux"), _column(table, "rel_fluxerr")
    flux, error = flux.copy(), error.copy()
    for name in np.unique(labels):
        ours = labels == name
        both = ours & np.isfinite(relative) & np.isfinite(flux) & (relative > 0)
        known = np.isfinite(relative[ours]).sum()
        if not known or 2 * known <= np.isfinite(flux[ours]).sum():
            continue
        scale = float(np.median(flux[both] / relative[both])) if both.any() else 1.0
        flux[ours], error[ours] = scale * relative[ours], scale * relative_error[ours]
    return flux, error


def _labels(table: Any) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    filters = np.asarray(table["filter"]).astype(str)
    cameras = np.asarray(table["instrument_name"]).astype(str)
    labels = np.array([f"{f} ({c})" for f, c in zip(filters, cameras, strict=True)], dtype=str)
    for name in np.unique(filters):
        ours = filters == name
        if len(np.unique(cameras[ours])) == 1:
            labels[ours] = name
    return labels, filters


def _relative(
    mjd: Floats,
    flux: Floats,
    error: Floats,
    series: Integers,
    texts: tuple[NDArray[np.str_], NDArray[np.str_]],
    clock: Clock,
) -> Points:
    labels, filters = texts
    count = int(series.max()) + 1
    members = [series == each for each in range(count)]
    median = np.array([np.median(flux[m]) for m in members])
    typical = np.array([np.median(error[m]) for m in members])
    bright = bool(np.all(median > _BRIGHT * typical))
    scale = median if bright else np.array([_spread(flux[m]) for m in members])
    time = clock.times(mjd)
    order = np.argsort(time, kind="stable")
    return Points(
        time=time[order],
        mjd=mjd[order],
        flux=(flux / scale[series])[order],
        error=(error / scale[series])[order],
        series=series[order],
        names=tuple(str(labels[m][0]) for m in members),
        filters=tuple(str(filters[m][0]) for m in members),
        scale=scale,
        bright=bright,
        clock=clock,
    )


def _spread(values: Floats) -> float:
    return float(np.std(values)) or 1.0


def running_median(time: Floats, flux: Floats, window: float) -> Floats:
    """Median of the points within half a `window` of each time, ``(n,)``.

    It is taken at nodes a tenth of the window apart and interpolated between them, which bounds
    the work.

    Parameters
    ----------
    time
        ``(n,)`` days, sorted.
    flux
        ``(n,)``.
    """
    nodes = np.unique(np.round(time / (window / 10))) * (window / 10)
    low = np.searchsorted(time, nodes - window / 2)
    high = np.searchsorted(time, nodes + window / 2)
    medians = [float(np.median(flux[a:b])) for a, b in zip(low, high, strict=True)]
    return np.asarray(np.interp(time, nodes, medians), np.float64)


def without_trend(points: Points, how: str, window: float) -> tuple[Points, Floats]:
    """Take a trend out of each series.

    Parameters
    ----------
    how
        ``none``, ``linear``, or ``median`` (running).
    window
        Of the running median, days.

    Returns
    -------
    tuple
        The points without it, and the trend ``(n,)``, whose median in a series is about 0.
    """
    trend = np.zeros(len(points))
    for each in range(len(points.names)):
        ours = points.series == each
        time, flux = points.time[ours], points.flux[ours]
        if how == "linear" and np.ptp(time) > 0:
            line = np.polynomial.Polynomial.fit(time, flux, 1, w=1 / points.error[ours])
            trend[ours] = line(time) - np.median(flux)
        elif how == "median":
            trend[ours] = running_median(time, flux, window) - np.median(flux)
    return replace(points, flux=points.flux - trend), trend
