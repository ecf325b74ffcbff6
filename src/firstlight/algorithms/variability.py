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
from scipy.special import ndtr

__all__ = ["LightCurveStatistics", "VariableCandidates", "find_variables", "light_curve_statistics"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_MAD_TO_SIGMA = 1.4826
_FEWEST_POINTS = 8
_NEIGHBOURS = 60  # stars of like brightness that make the field's relation
_QUESTIONS = 3


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
    numbers = np.array([row[1:] for row in rows], dtype=float).reshape(len(rows), 8)
    return LightCurveStatistics(points, *numbers.T)


def _one(flux: Floats, error: Floats) -> tuple[float, ...]:
    good = np.isfinite(flux) & np.isfinite(error) & (error > 0)
    f, e = flux[good], error[good]
    n = len(f)
    if n < 2:
        return (n, *([np.nan] * 8))
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
        _MAD_TO_SIGMA * float(np.median(np.abs(f - middle))),
        np.sqrt(float(np.mean(e**2))),
        float(np.sum(((f - mean) / e) ** 2)) / (n - 1),
        float(np.mean(np.diff(f) ** 2)) / max(variance, 1e-30),
        float(np.mean(np.sign(product) * np.sqrt(np.abs(product)))),
        float(high - low),
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
        Improvement of chi-square by the best event or wave, ``(n_star,)``, where it is known.
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
    noise = np.log(statistics.rms[told] / statistics.expected[told])
    n = statistics.points[told]
    answers = [
        # The least spread that the statistic has for white noise, whatever the field shows.
        (noise, 1.0 / np.sqrt(2.0 * (n - 1))),
        (-statistics.von_neumann[told], 2.0 * np.sqrt((n - 2.0) / (n**2 - 1.0))),
    ]
    if event_gain is not None:
        answers.append((np.sqrt(np.maximum(event_gain[told], 0.0)), np.full(len(n), 0.6)))
    for k, (value, least) in enumerate(answers):
        excess[told, k] = _against_field(value, mag[told], least)
    tail = ndtr(-excess[:, : len(answers)])
    false_alarm = np.where(told, np.minimum(len(answers) * tail.min(axis=1), 1.0), 1.0)
    limit = expected_false_alarms / max(int(told.sum()), 1)
    return VariableCandidates(false_alarm < limit, false_alarm, excess)


def _against_field(value: Floats, mag: Floats, least: Floats) -> Floats:
    """Deviation from the median of the stars of like brightness, in their robust sigmas.

    The spread is taken from the lower half, which variable stars do not widen.
    """
    order = np.argsort(mag, kind="stable")
    out = np.empty(len(value))
    half = _NEIGHBOURS // 2
    for rank, i in enumerate(order):
        start = int(np.clip(rank - half, 0, max(len(order) - _NEIGHBOURS, 0)))
        near = order[start : start + _NEIGHBOURS]
        near = near[near != i]
        middle = np.median(value[near])
        below = value[near][value[near] <= middle]
        spread = _MAD_TO_SIGMA * np.median(middle - below)
        out[i] = (value[i] - middle) / max(float(spread), float(least[i]))
    return out
