"""Periods of a star in several filters: sines, and boxes for eclipses and transits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from astropy.timeseries import BoxLeastSquares, LombScargle
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincc

__all__ = ["FoundPeriod", "Method", "find_periods"]

Floats = NDArray[np.float64]
Method = Literal["sine", "box"]

_OVERSAMPLING = 5.0
_MOST_FREQUENCIES = 400_000
_MOST_BOX_PERIODS = 20_000
_FASTEST = 48.0  # cycles a day
_FEWEST = 8  # points of a filter
_PEAKS = 5
# Peaks nearer than this many widths of a line are one.
_APART = 10.0


@dataclass(frozen=True)
class FoundPeriod:
    """A period, in the unit of time, with how good it is.

    Attributes
    ----------
    epoch
        Of the middle of the box, or of the highest flux of the sine.
    power
        Share of the scatter (chi squared) that the sine or the box takes away.
    false_alarm
        Chance that noise alone reaches such a power anywhere in the search; None of a box.
    signal
        Depth of a box in its errors; None of a sine.
    depth
        Of a box, as a share of the flux; of a sine twice its amplitude.
    duration
        Of a box.
    """

    period: float
    epoch: float
    power: float
    false_alarm: float | None
    depth: float
    duration: float | None = None
    signal: float | None = None


def find_periods(
    time: ArrayLike, flux: ArrayLike, flux_err: ArrayLike, series: ArrayLike, method: Method
) -> list[FoundPeriod]:
    """Find the periods of a star, the best first.

    Parameters
    ----------
    time
        ``(n,)``, days.
    flux, flux_err
        ``(n,)``; points that are not finite, or without an error above zero, are left out.
    series
        ``(n,)`` whole numbers: of points whose mean is common, as of one filter and camera.
    method
        ``sine``: each series has its own mean and amplitude, and the shares of the scatter that
        the sines of one period take away are added (VanderPlas & Ivezić 2015, ApJ 812, 18, with
        one term). ``box``: fluxes relative to the median of their series (Kovács et al. 2002).

    Returns
    -------
    list
        At most five; none where no series has eight points, or time stands still.

    Notes
    -----
    The false alarm probability is Baluev's bound (2008, MNRAS 385, 1279, eq. 5 and 6), with the
    tail of as many sines as there are series in place of that of one. The work is bounded by
    400,000 frequencies shared by the series, or 20,000 periods of boxes; where that does not
    reach the fastest variation that the times could tell, the search ends at a slower one.
    """
    kept = _usable(time, flux, flux_err, series)
    if kept is None:
        return []
    return _sines(*kept) if method == "sine" else _boxes(*kept)


def _usable(
    time: ArrayLike, flux: ArrayLike, flux_err: ArrayLike, series: ArrayLike
) -> tuple[Floats, Floats, Floats, NDArray[np.int64]] | None:
    t, y, dy = (np.asarray(each, float) for each in (time, flux, flux_err))
    group = np.asarray(series, np.int64)
    fine = np.isfinite(t) & np.isfinite(y) & np.isfinite(dy) & (dy > 0)
    names, counts = np.unique(group[fine], return_counts=True)
    fine &= np.isin(group, names[counts >= _FEWEST])
    t, y, dy, group = t[fine], y[fine], dy[fine], group[fine]
    if len(t) < _FEWEST or np.ptp(t) <= 0:
        return None
    relative, error = np.empty_like(y), np.empty_like(dy)
    for name in np.unique(group):
        members = group == name
        scale = float(np.median(y[members]))
        scale = scale if scale > 0 else float(np.std(y[members])) or 1.0
        relative[members], error[members] = y[members] / scale, dy[members] / scale
    return t, relative, error, group


def _sines(t: Floats, y: Floats, dy: Floats, group: NDArray[np.int64]) -> list[FoundPeriod]:
    span = float(np.ptp(t))
    step = 1.0 / (_OVERSAMPLING * span)
    names = np.unique(group)
    count = min(int(_fastest(t) / step), _MOST_FREQUENCIES // len(names))
    frequency = np.asarray(step * np.arange(1, max(count, 10) + 1), np.float64)
    gain = np.zeros(len(frequency))
    scatter = 0.0
    for name in names:
        members = group == name
        weight = dy[members] ** -2
        mean = float(np.sum(weight * y[members]) / np.sum(weight))
        own = float(np.sum(weight * (y[members] - mean) ** 2))
        if own <= 0:
            continue
        search = LombScargle(t[members], y[members], dy[members])
        with np.errstate(divide="ignore", invalid="ignore"):  # where a sine fits no better
            power = search.power(
                frequency, method="fast", assume_regular_frequency=True, normalization="standard"
            )
        gain += own * np.clip(np.nan_to_num(power), 0.0, 1.0)
        scatter += own
    if scatter <= 0:
        return []
    power = np.asarray(gain / scatter, np.float64)
    found = []
    for index in _peaks(power, _APART * _OVERSAMPLING):
        best = _refined(frequency, power, index)
        epoch, depth = _highest(t, y, dy, group, best)
        chance = _false_alarm(float(power[index]), float(frequency[-1]), t, len(names))
        found.append(FoundPeriod(1.0 / best, epoch, float(power[index]), chance, depth))
    return found


def _fastest(t: Floats) -> float:
    """The highest frequency that the times of the points tell anything of."""
    gaps = np.diff(np.unique(t))
    return float(np.clip(0.5 / np.median(gaps), 2.0, _FASTEST))


def _peaks(power: Floats, apart: float) -> list[int]:
    """Indices of the highest local maxima, no two of them nearer than `apart` steps."""
    inner = np.flatnonzero((power[1:-1] >= power[:-2]) & (power[1:-1] > power[2:])) + 1
    candidates = inner if len(inner) else np.array([int(np.argmax(power))])
    chosen: list[int] = []
    for index in candidates[np.argsort(power[candidates])[::-1][:500]].tolist():
        if all(abs(index - other) > apart for other in chosen):
            chosen.append(index)
        if len(chosen) == _PEAKS:
            break
    return chosen


def _refined(frequency: Floats, power: Floats, index: int) -> float:
    """The top of the parabola through a peak and its neighbours."""
    if not 0 < index < len(power) - 1:
        return float(frequency[index])
    low, top, high = power[index - 1 : index + 2]
    curve = low - 2 * top + high
    shift = 0.5 * (low - high) / curve if curve < 0 else 0.0
    return float(frequency[index] + np.clip(shift, -0.5, 0.5) * (frequency[1] - frequency[0]))


def _highest(
    t: Floats, y: Floats, dy: Floats, group: NDArray[np.int64], frequency: float
) -> tuple[float, float]:
    """Time of the highest flux of the sine fitted to all, and twice its amplitude."""
    angle = 2 * np.pi * frequency * (t - t[0])
    means = (group[:, None] == np.unique(group)[None, :]).astype(float)
    design = np.column_stack([np.sin(angle), np.cos(angle), means]) / dy[:, None]
    sine, cosine = np.linalg.lstsq(design, y / dy, rcond=None)[0][:2]
    phase = float(np.arctan2(sine, cosine)) % (2 * np.pi)
    epoch = float(t[0]) + phase / (2 * np.pi * frequency)
    return epoch, 2.0 * float(np.hypot(sine, cosine))


def _false_alarm(power: float, fastest: float, t: Floats, means: int) -> float:
    free = max(len(t) - means, 2 * means + 2)
    z = min(power, 1.0 - 1e-12)
    width = fastest * np.sqrt(4 * np.pi * np.var(t))
    # At one frequency noise gives the share of as many sines as there are series.
    single = float(betaincc(means, 0.5 * (free - 2 * means), z))
    several = width * np.sqrt(0.5 * free * z / (1.0 - z)) * single
    return float(np.clip(1.0 - (1.0 - single) * np.exp(-several), 0.0, 1.0))


def _boxes(t: Floats, y: Floats, dy: Floats, group: NDArray[np.int64]) -> list[FoundPeriod]:
    del group  # the series are on one scale
    search = BoxLeastSquares(t, y, dy)
    span = float(np.ptp(t))
    shortest = max(2.0 / _fastest(t), 0.15)
    longest = max(span / 2.0, 1.5 * shortest)
    durations = np.array([0.02, 0.04, 0.08, 0.12]) * min(shortest * 4, 2.0)
    durations = durations[durations < shortest * 0.9]
    # A box of the shortest duration moves by a third of itself over the whole span.
    step = durations[0] / (3.0 * span)
    count = int(np.clip((1 / shortest - 1 / longest) / step, 100, _MOST_BOX_PERIODS))
    frequency = np.linspace(1.0 / longest, 1.0 / shortest, count)
    found = search.power(1.0 / frequency, durations, objective="snr", oversample=3)
    signal = np.where(np.isfinite(found.power), found.power, 0.0)
    mean = np.sum(y / dy**2) / np.sum(dy**-2.0)
    scatter = float(np.sum(((y - mean) / dy) ** 2)) or 1.0
    return [
        FoundPeriod(
            period=float(found.period[index]),
            epoch=float(found.transit_time[index]),
            power=min(float(signal[index]) ** 2 / scatter, 1.0),
            false_alarm=None,
            depth=float(found.depth[index]),
            duration=float(found.duration[index]),
            signal=float(signal[index]),
        )
        for index in _peaks(signal, _APART)
        if found.depth[index] > 0
    ]
