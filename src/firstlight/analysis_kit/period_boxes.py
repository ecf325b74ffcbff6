"""Periods of eclipses and transits: box least squares, then a trapezoid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from astropy.timeseries import BoxLeastSquares
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_ndtr

from firstlight.analysis_kit.period_noise import (
    red_noise_factor,
    robust_scatter,
    sample_posterior,
)
from firstlight.analysis_kit.period_points import Points
from firstlight.analysis_kit.period_sines import Periodogram, fastest_of, highest_peaks

__all__ = [
    "BoxFit",
    "BoxPeak",
    "box_periodogram",
    "box_posterior",
    "comes_again",
    "events_of",
    "false_alarm_of_box",
    "fit_box",
    "measured_noise",
    "odd_even",
    "trapezoid",
]

Floats = NDArray[np.float64]

_MOST_WORK = 2.5e9  # periods times points: about twenty seconds
_MOST_POINTS = 20_000
_MOST_PERIODS = 200_000
_WIDE = 0.15  # an eclipse is at most this share of its period
_APART = 10.0
# A central transit of a star like the Sun, in days, for a period of one day.
_SUN = 0.0757


@dataclass(frozen=True)
class BoxPeak:
    """The best box of one peak: days, and shares of the flux."""

    period: float
    epoch: float
    duration: float
    depth: float
    snr: float


@dataclass(frozen=True)
class BoxFit:
    """A trapezoid that comes again.

    Attributes
    ----------
    epoch
        Of mid-eclipse, the one nearest to the middle of the points.
    duration
        Width at half depth, days.
    slope
        Share of the duration that the way down takes: 0 is a box, 1 is a V.
    level, depth
        ``(series,)``: flux outside, and depth as a share of it.
    level_error, depth_error
        One sigma each, with the other parameters held.
    chi2
        Of all points.
    """

    period: float
    epoch: float
    duration: float
    slope: float
    level: Floats
    depth: Floats
    level_error: Floats
    depth_error: Floats
    chi2: float

    @property
    def shape(self) -> Floats:
        """``(4,)``: period, epoch, duration, slope."""
        return np.array([self.period, self.epoch, self.duration, self.slope])

    @property
    def parameters(self) -> int:
        """How many were fitted."""
        return 4 + 2 * len(self.level)

    def flux(self, time: Floats, series: NDArray[np.int64]) -> Floats:
        """The model at times ``(n,)`` of points of `series`."""
        dip = trapezoid(time, *self.shape)
        return np.asarray(self.level[series] * (1.0 - self.depth[series] * dip), np.float64)


def trapezoid(time: Floats, period: float, epoch: float, duration: float, slope: float) -> Floats:
    """The dip, 0 outside and 1 at the bottom, ``(n,)``; `duration` is the width at half depth."""
    away = np.abs(np.mod(time - epoch + 0.5 * period, period) - 0.5 * period)
    ingress = np.maximum(slope * duration, 1e-6 * duration)
    return np.asarray(np.clip(0.5 + (0.5 * duration - away) / ingress, 0.0, 1.0), np.float64)


def measured_noise(points: Points) -> Points:
    """The errors made those of the points' own scatter, series by series, robustly."""
    error = points.error.copy()
    for each in range(len(points.names)):
        ours = points.series == each
        # Differences of neighbours: a slow variation is no noise.
        flux, old = points.flux[ours], points.error[ours]
        steps = np.diff(flux) / np.hypot(old[1:], old[:-1])
        slow = robust_scatter(flux / old)
        scatter = min(robust_scatter(steps), slow) if len(steps) > 20 else slow
        error[ours] *= scatter or 1.0
    return replace(points, error=error)


def box_periodogram(
    points: Points, shortest: float | None, longest: float | None
) -> tuple[Periodogram, list[BoxPeak]]:
    """Box least squares (Kovács et al. 2002, A&A 391, 369) on all series together.

    Durations follow the period as those of stars do (Ofir 2014, A&A 561, A138, section 2), from a
    third of the transit of a star like the Sun to three times that. Between neighbouring periods
    the last eclipse moves by a third of the shortest duration.

    Parameters
    ----------
    shortest, longest
        Periods, days; None for half a day, or what the times can tell, and half the span.
    """
    span = points.span
    low = shortest or max(2.0 / fastest_of(points.time), 0.3)
    high = max(longest or span / 2.0, 1.2 * low)
    kept = points
    if len(points) > _MOST_POINTS or _shortest_duration(low) > 8 * _cadence(points):
        kept = points.binned(_shortest_duration(low) / 4)
    search = BoxLeastSquares(kept.time - points.time[0], kept.flux, kept.error)
    edges = np.geomspace(low, high, int(np.ceil(np.log2(high / low))) + 1)
    plan = [_frequencies(a, b, span) for a, b in pairwise(edges)]
    wanted = sum(len(each) for each in plan)
    most = min(_MOST_PERIODS, int(_MOST_WORK / max(len(kept), 1000)))
    coarser = int(np.ceil(wanted / most))
    notes: tuple[str, ...] = ()
    if coarser > 1:
        notes = (f"periods were tried {coarser} times too coarsely for the shortest eclipses",)
    found, tests = [], 0.0
    for begin, frequencies in zip(edges[:-1], plan, strict=True):
        durations = _durations(float(begin), coarser)
        result = search.power(
            1.0 / frequencies[::coarser], durations, objective="snr", oversample=4
        )
        found.append((1.0 / result.period, result))
        # A third of a box is a new phase, and neighbouring durations and periods share points.
        tests += float(np.sum(result.period)) / durations[0]
    spectrum, peaks = _joined(found, float(points.time[0]))
    return replace(spectrum, tests=max(tests, 1.0), notes=notes), peaks


def _shortest_duration(period: float) -> float:
    return float(min(_SUN * period ** (1 / 3) / 3.0, 0.1 * period))


def _cadence(points: Points) -> float:
    gaps = np.diff(np.unique(points.time))
    return float(np.median(gaps)) if len(gaps) else 1.0


def _durations(period: float, coarser: int) -> Floats:
    shortest = _shortest_duration(period) * max(coarser ** (1 / 2), 1.0)
    longest = min(max(_SUN * 3.0 * (2 * period) ** (1 / 3), 1.5 * shortest), _WIDE * period)
    longest = max(longest, shortest * 1.01)
    return np.geomspace(shortest, longest, 7 if longest > 3 * shortest else 4)


def _frequencies(low: float, high: float, span: float) -> Floats:
    """From the longest period to the shortest."""
    step = _shortest_duration(low) / (3.0 * span * low)
    return np.arange(1.0 / high, 1.0 / low + step, step)


def _joined(found: list[tuple[Floats, object]], zero: float) -> tuple[Periodogram, list[BoxPeak]]:
    order = np.argsort(np.concatenate([each for each, _ in found]), kind="stable")

    def column(name: str) -> Floats:
        return np.concatenate([np.asarray(getattr(r, name), float) for _, r in found])[order]

    frequency = 1.0 / column("period")
    snr = np.where(np.isfinite(column("power")), column("power"), 0.0)
    snr = np.where(column("depth") > 0, snr, 0.0)
    peaks = highest_peaks(snr, _APART, 12)
    boxes = [
        BoxPeak(
            period=float(1.0 / frequency[i]),
            epoch=zero + float(column("transit_time")[i]),
            duration=float(column("duration")[i]),
            depth=float(column("depth")[i]),
            snr=float(snr[i]),
        )
        for i in peaks
    ]
    return Periodogram(frequency, snr, peaks, 1.0), boxes


def events_of(points: Points, peak: BoxPeak) -> int:
    """How many eclipses of a box have points within them."""
    return len(np.unique(_event(points.time, peak)[_within(points.time, peak, 0.5)]))


def comes_again(points: Points, peak: BoxPeak) -> bool:
    """Whether a box is seen without the event that speaks for it most.

    One event alone fits many periods.
    """
    inside = _within(points.time, peak, 0.5)
    if not inside.any():
        return False
    level = np.array(
        [
            np.median(points.flux[points.series == each]) if (points.series == each).any() else 1.0
            for each in range(len(points.names))
        ]
    )[points.series[inside]]
    weight = points.error[inside] ** -2
    _, group = np.unique(_event(points.time, peak)[inside], return_inverse=True)
    down = np.bincount(group, weight * (level - points.flux[inside]))
    total = np.bincount(group, weight)
    strongest = int(np.argmax(down / np.sqrt(total)))
    rest = (down.sum() - down[strongest]) / np.sqrt(max(total.sum() - total[strongest], 1e-30))
    return bool(len(total) > 1 and rest > max(4.0, 0.2 * down.sum() / np.sqrt(total.sum())))


def _event(time: Floats, fit: BoxPeak | BoxFit) -> NDArray[np.int64]:
    return np.asarray(np.round((time - fit.epoch) / fit.period), np.int64)


def _within(time: Floats, fit: BoxPeak | BoxFit, durations: float) -> NDArray[np.bool_]:
    away = np.abs(time - fit.epoch - fit.period * _event(time, fit))
    return np.asarray(away <= durations * fit.duration, np.bool_)


def false_alarm_of_box(snr: float, tests: float, beta: float = 1.0) -> float:
    """Chance that noise alone makes a box of such a ratio anywhere: a bound.

    Each of the independent boxes that were tried reaches it with the tail of a normal
    distribution, whose sigma is `beta` where the noise is red.
    """
    return float(-np.expm1(-np.exp(min(log_ndtr(-snr / beta) + np.log(tests), 700.0))))


class _Likelihood:
    """Chi squared of trapezoids: level and depth of each series are linear, and solved for."""

    def __init__(self, points: Points) -> None:
        self.points = points
        self.members = [points.series == each for each in range(len(points.names))]

    def linear(self, shape: Floats) -> tuple[Floats, Floats, float]:
        """``(series, 2)`` level and dip, ``(series, 2, 2)`` covariance, and chi squared."""
        points = self.points
        dip = trapezoid(points.time, *shape)
        values, errors, chi2 = [], [], 0.0
        for ours in self.members:
            weight = points.error[ours] ** -2
            flux, down = points.flux[ours], dip[ours]
            sums = np.array([weight.sum(), weight @ down, weight @ down**2])
            right = np.array([weight @ flux, weight @ (flux * down)])
            normal = np.array([[sums[0], -sums[1]], [-sums[1], sums[2]]])
            covariance = np.linalg.pinv(normal, hermitian=True)
            fitted = covariance @ (right * np.array([1.0, -1.0]))
            values.append(fitted)
            errors.append(covariance)
            chi2 += float(weight @ (flux - fitted[0] + fitted[1] * down) ** 2)
        return np.array(values), np.array(errors), chi2

    def fit(self, shape: Floats) -> BoxFit:
        """The trapezoid of a shape, with the best levels and depths."""
        values, errors, chi2 = self.linear(shape)
        level, dip = values.T
        sigma = np.sqrt(np.maximum(np.diagonal(errors, axis1=1, axis2=2), 0.0))
        period, epoch, duration, slope = (float(each) for each in shape)
        return BoxFit(
            period, epoch, duration, slope, level, dip / level, sigma[:, 0],
            sigma[:, 1] / np.abs(level), chi2,
        )  # fmt: skip


def fit_box(points: Points, peak: BoxPeak) -> BoxFit:
    """Fit a trapezoid to the peak of a box search."""
    middle = 0.5 * (points.time[0] + points.time[-1])
    epoch = peak.epoch + peak.period * np.round((middle - peak.epoch) / peak.period)
    likelihood = _Likelihood(points)
    scales = np.array(
        [peak.duration * peak.period / max(points.span, peak.period), peak.duration, peak.duration]
    )

    def shape(steps: Floats) -> Floats:
        return np.array(
            [
                peak.period + 0.2 * scales[0] * steps[0],
                epoch + 0.2 * scales[1] * steps[1],
                peak.duration * np.exp(0.3 * steps[2]),
                1.0 / (1.0 + np.exp(-steps[3])),
            ]
        )

    def cost(steps: Floats) -> float:
        tried = shape(steps)
        outside = max(tried[2] / (0.4 * tried[0]) - 1.0, 0.0)
        return float(likelihood.linear(tried)[2] * (1.0 + outside))

    best = None
    for slope in (-1.5, 1.0):
        start = np.array([0.0, 0.0, 0.0, slope])
        found = minimize(
            cost, start, method="Nelder-Mead",
            options={
                "maxfev": 1500, "xatol": 1e-3, "fatol": 1e-2,
                "initial_simplex": start + np.vstack([np.zeros(4), 0.7 * np.eye(4)]),
            },
        )  # fmt: skip
        if best is None or found.fun < best.fun:
            best = found
    assert best is not None  # noqa: S101, two were tried
    return likelihood.fit(shape(best.x))


def noise_of_box(points: Points, fit: BoxFit) -> float:
    """The red noise factor of the residuals, on times of up to a duration."""
    residuals = (points.flux - fit.flux(points.time, points.series)) / points.error
    return red_noise_factor(points.time, residuals, fit.duration * np.array([0.25, 0.5, 1.0]))


def odd_even(points: Points, fit: BoxFit) -> tuple[float, float, float]:
    """Depths of the odd and of the even eclipses, and by how many sigma they differ.

    Where they do, the true period is twice that of `fit`.
    """
    parity = np.mod(_event(points.time, fit), 2)
    depths, errors = [], []
    for each in (1, 0):
        part = points.part(parity == each)
        if not len(part) or not _within(part.time, fit, 0.5).any():
            return float("nan"), float("nan"), 0.0
        values, covariance, _ = _Likelihood(part).linear(fit.shape)
        seen = (covariance[:, 1, 1] > 0) & (values[:, 0] > 0)
        if not seen.any():
            return float("nan"), float("nan"), 0.0
        weight = 1.0 / covariance[seen, 1, 1]
        depths.append(float(np.average(values[seen, 1] / values[seen, 0], weights=weight)))
        errors.append(float(weight.sum() ** -0.5))
    return depths[0], depths[1], abs(depths[0] - depths[1]) / float(np.hypot(errors[0], errors[1]))


def box_posterior(
    points: Points,
    fit: BoxFit,
    beta: float,
    steps: int,
    seed: int,
    told: Callable[[float], None],
) -> list[BoxFit]:
    """Draw from the posterior of a trapezoid.

    Flat priors on period, epoch and slope, and on the logarithm of the duration; the linear
    parameters are drawn given those. Errors are as they are in `points` times `beta`.

    Returns
    -------
    list
        One fit a draw.
    """
    likelihood = _Likelihood(_near(points, fit))
    rng = np.random.default_rng(seed)
    scale = _scales(likelihood, fit, beta)

    def log_probability(places: Floats) -> Floats:
        return np.array([_log_probability(likelihood, fit, beta, each) for each in places])

    start = fit.shape + scale * rng.normal(size=(16, 4))
    start[:, 3] = np.clip(start[:, 3], 0.02, 0.98)
    start[:, 2] = np.clip(start[:, 2], 0.3 * fit.duration, 3 * fit.duration)
    draws = sample_posterior(log_probability, start, steps, seed, told)
    return [_drawn(likelihood, beta, each, rng) for each in draws]


def _near(points: Points, fit: BoxFit) -> Points:
    """Points about the eclipses as they are; those far from them as few means of each series."""
    near = _within(points.time, fit, 2.5)
    if near.all():
        return points
    far = points.part(~near)
    weight = far.error**-2
    total = np.bincount(far.series, weight, minlength=len(points.names))
    seen = np.flatnonzero(total > 0)
    mean = np.bincount(far.series, weight * far.flux, minlength=len(points.names))[seen]
    kept = points.part(near)
    kept = kept.binned(fit.duration / 20) if len(kept) > 2000 else kept
    # A time of no eclipse, for the means.
    quiet = np.full(len(seen), fit.epoch + 0.5 * fit.period)
    return replace(
        kept,
        time=np.concatenate([kept.time, quiet]),
        mjd=np.concatenate([kept.mjd, quiet]),
        flux=np.concatenate([kept.flux, mean / total[seen]]),
        error=np.concatenate([kept.error, total[seen] ** -0.5]),
        series=np.concatenate([kept.series, seen]),
    )


def _scales(likelihood: _Likelihood, fit: BoxFit, beta: float) -> Floats:
    """About one sigma of period, epoch, duration and slope (Carter et al. 2008)."""
    snr = float(np.sqrt(np.sum((fit.depth / np.maximum(fit.depth_error, 1e-12)) ** 2))) / beta
    epoch = fit.duration * np.sqrt(max(fit.slope, 0.05) / 2) / max(snr, 2.0)
    events = max(np.ptp(likelihood.points.time) / fit.period, 1.0)
    return np.array([2 * epoch / events, epoch, 2 * epoch, min(0.3, 3.0 / max(snr, 2.0))])


def _log_probability(likelihood: _Likelihood, fit: BoxFit, beta: float, place: Floats) -> float:
    period, epoch, duration, slope = place
    inside = (
        0.0 <= slope <= 1.0
        and 0.1 * fit.duration < duration < min(5 * fit.duration, 0.5 * period)
        and abs(epoch - fit.epoch) < fit.duration
        and abs(period - fit.period) < 0.5 * fit.duration
    )
    if not inside:
        return -np.inf
    return -0.5 * likelihood.linear(place)[2] / beta**2 - float(np.log(duration))


def _drawn(likelihood: _Likelihood, beta: float, place: Floats, rng: np.random.Generator) -> BoxFit:
    values, covariance, _ = likelihood.linear(place)
    moved = np.array(
        [
            rng.multivariate_normal(v, beta**2 * c, method="eigh")
            for v, c in zip(values, covariance, strict=True)
        ]
    )
    fit = likelihood.fit(place)
    return replace(fit, level=moved[:, 0], depth=moved[:, 1] / moved[:, 0])
