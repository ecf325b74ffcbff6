"""Which stars vary: statistics of light curves, and candidates with a stated false-alarm rate.

Three questions are put to each light curve: does it scatter more than the field at its brightness,
is it smoother from point to point than noise (von Neumann 1941), and does one event or wave explain
much of it? Each answer is measured against the field's own relation with brightness, so that
systematic noise which all stars share raises no alarm, and the three share one false-alarm budget.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from firstlight.algorithms.median_deviation import MAD_TO_SIGMA, scatter_about_median

__all__ = ["LightCurveStatistics", "VariableCandidates", "find_variables", "light_curve_statistics"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_FEWEST_POINTS = 8
_NEIGHBOURS = 60  # stars of like brightness that make the field's relation
_QUESTIONS = 3
_LOW = 0.2  # quantile that no variable star reaches


@dataclass(frozen=True)
class LightCurveStatistics:
    """One number a star, each ``(n_star,)``; NaN with fewer than two points.

    Attributes
    ----------
    points
        How many valid points.
    mean
        Mean relative flux, weighted by inverse variance.
    rms, scatter
        Standard deviation, and 1.4826 times the median absolute deviation.
    expected
        Root of the mean squared error.
    reduced_chi2
        Of a constant star: about 1 when errors are honest.
    von_neumann
        Mean squared difference of successive points over the variance: 2 for white noise, less
        for smooth variability.
    stetson_j
        Stetson's (1996) J of successive points as pairs: 0 for noise, positive for variability
        that lasts.
    peak_to_peak
        Difference of the 95th and the 5th percentile.
    rms_but_one
        Standard deviation without the point farthest from the median: one bad point, say a
        cosmic ray, does not make a variable star.
    """

    points: NDArray[np.int64]
    mean: Floats
    rms: Floats
    scatter: Floats
    expected: Floats
    reduced_chi2: Floats
    von_neumann: Floats
    stetson_j: Floats
    peak_to_peak: Floats
    rms_but_one: Floats


@dataclass(frozen=True)
class VariableCandidates:
    """What the field says of each star.

    Attributes
    ----------
    is_candidate
        ``(n_star,)``.
    false_alarm
        Probability that a constant star of the field looks as variable as this in any of the
        three ways, ``(n_star,)``; 1 where it cannot be told.
    excess
        The three deviations from the field in its own sigmas, ``(n_star, 3)``: scatter,
        smoothness, event.
    """

    is_candidate: Bools
    false_alarm: Floats
    excess: Floats


def light_curve_statistics(flux: Floats, error: Floats) -> LightCurveStatistics:
    """Statistics of relative light curves.

    Parameters
    ----------
    flux, error
        Relative flux and its one-sigma error in the order of time, ``(n_star, n_frame)``; NaN
        where there is no valid point.
    """
    rows = [_one(f, e) for f, e in zip(flux, error, strict=True)]
    points = np.array([row[0] for row in rows], dtype=np.int64)
    numbers = np.array([row[1:] for row in rows], dtype=float).reshape(len(rows), 9)
    return LightCurveStatistics(points, *numbers.T)


def _one(flux: Floats, error: Floats) -> tuple[float, ...]:
    good = np.isfinite(flux) & np.isfinite(error) & (error > 0)
    f, e = flux[good], error[good]
    n = len(f)
    if n < 2:
        return (n, *([np.nan] * 9))
    weight = e**-2.0
    mean = float((weight * f).sum() / weight.sum())
    middle = float(np.median(f))
    variance = float(np.var(f, ddof=1))
    pull = np.sqrt(n / (n - 1)) * (f - mean) / e
    product = pull[1:] * pull[:-1]
    low, high = np.percentile(f, [5.0, 95.0])
    return (
        n,
        mean,
        np.sqrt(variance),
        scatter_about_median(f),
        np.sqrt(float(np.mean(e**2))),
        float(np.sum(((f - mean) / e) ** 2)) / (n - 1),
        float(np.mean(np.diff(f) ** 2)) / max(variance, 1e-30),
        float(np.mean(np.sign(product) * np.sqrt(np.abs(product)))),
        float(high - low),
        float(np.std(np.delete(f, np.argmax(np.abs(f - middle))), ddof=min(1, n - 2))),
    )


def find_variables(
    statistics: LightCurveStatistics,
    mag: Floats,
    *,
    event_gain: Floats | None = None,
    expected_false_alarms: float = 0.5,
) -> VariableCandidates:
    """Candidates among the stars of one field.

    Parameters
    ----------
    mag
        Brightness of each star, ``(n_star,)``.
    event_gain
        Improvement of chi-square by the best of many events and waves, ``(n_star,)``, where it
        is known. In errors that are not the star's own guess from a few points: a star whose
        errors came out too small by chance would look eventful.
    expected_false_alarms
        How many constant stars of the whole field may be called variable, on average.

    Returns
    -------
    Stars with fewer than eight points, or in a field of fewer than eight such stars, are no
    candidates and have a false-alarm probability of 1.
    """
    n_star = len(mag)
    told = (statistics.points >= _FEWEST_POINTS) & np.isfinite(mag) & (statistics.rms > 0)
    excess = np.full((n_star, _QUESTIONS), -np.inf)
    if told.sum() < _FEWEST_POINTS:
        return VariableCandidates(np.zeros(n_star, dtype=bool), np.ones(n_star), excess)
    noise = np.log(np.maximum(statistics.rms_but_one[told], 1e-12) / statistics.expected[told])
    n = statistics.points[told]
    answers = [
        # The least spread that the statistic has for white noise, whatever the field shows.
        (noise, 1.0 / np.sqrt(2.0 * (n - 1))),
        (-statistics.von_neumann[told], 2.0 * np.sqrt((n - 2.0) / (n**2 - 1.0))),
    ]
    for k, (value, least) in enumerate(answers):
        excess[told, k] = _against_field(value, mag[told], least)
    asked = len(answers)
    if event_gain is not None:
        excess[told, asked] = _best_of_many(np.sqrt(np.maximum(event_gain[told], 0.0)), mag[told])
        asked += 1
    tail = ndtr(-excess[:, :asked])
    false_alarm = np.where(told, np.minimum(asked * tail.min(axis=1), 1.0), 1.0)
    limit = expected_false_alarms / max(int(told.sum()), 1)
    return VariableCandidates(false_alarm < limit, false_alarm, excess)


def _best_of_many(value: Floats, mag: Floats) -> Floats:
    """Sigma of a normal deviate as rare as the largest deviate `value` of many that were tried.

    How many independent ones the templates amount to is told by the field: the largest of N has
    a median and a lower quantile whose ratio depends on N alone (and its scale is local, since
    correlated noise lifts all stars of like brightness). Variable stars touch neither.
    """
    relative = value / np.maximum(_median_of_like(value, mag), 1e-12)
    told = relative[relative > 0]
    ratio = float(np.quantile(told, _LOW)) if len(told) else 0.0
    trials = np.geomspace(2.0, 3000.0, 200)
    ratios = _largest(_LOW, trials) / _largest(0.5, trials)
    number = float(np.interp(ratio, ratios, trials))
    single = 2.0 * ndtr(-relative * _largest(0.5, np.array(number)))
    # 1 - (1 - p)^N without loss where p is tiny; far out no number can tell it from zero.
    chance = -np.expm1(number * np.log1p(-np.minimum(single, 1.0 - 1e-12)))
    return np.asarray(-ndtri(np.clip(chance, 1e-300, 1.0 - 1e-12)))


def _largest(quantile: float, trials: Floats) -> Floats:
    """Quantile of the largest of so many absolute normal deviates."""
    return np.asarray(-ndtri((1.0 - quantile ** (1.0 / trials)) / 2.0))


def _median_of_like(value: Floats, mag: Floats) -> Floats:
    """Median over the other stars of like brightness, ``(n,)``."""
    order = np.argsort(mag, kind="stable")
    out = np.empty(len(value))
    for rank, i in enumerate(order):
        near = _like(order, rank)
        out[i] = np.median(value[near[near != i]])
    return out


def _like(order: NDArray[np.int64], rank: int) -> NDArray[np.int64]:
    """Stars of like brightness, out of all in that order."""
    start = int(np.clip(rank - _NEIGHBOURS // 2, 0, max(len(order) - _NEIGHBOURS, 0)))
    return order[start : start + _NEIGHBOURS]


def _against_field(value: Floats, mag: Floats, least: Floats) -> Floats:
    """Deviation from the median of the stars of like brightness, in their robust sigmas.

    The spread is taken from the lower half, which variable stars do not widen.
    """
    order = np.argsort(mag, kind="stable")
    out = np.empty(len(value))
    for rank, i in enumerate(order):
        near = _like(order, rank)
        near = near[near != i]
        middle = np.median(value[near])
        below = value[near][value[near] <= middle]
        spread = MAD_TO_SIGMA * np.median(middle - below)
        out[i] = (value[i] - middle) / max(float(spread), float(least[i]))
    return out
