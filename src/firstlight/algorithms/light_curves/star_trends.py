"""A star's own response to what changes over the night, without eating what the star does.

Stars redder or bluer than the ensemble drift with airmass, stars with close neighbours with the
seeing. Fitted blindly, such trends take part of a transit or a pulsation with them. So each star
is fitted twice: with the trends alone, and with the trends and the one template out of many (boxes
of every epoch and duration, sinusoids of every frequency) that explains it best. The second answer
counts as far as the template is significant. Trends are held by the prior that the field gives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.median_deviation import MAD_TO_SIGMA

__all__ = ["StarTrends", "event_gain", "fit_star_trends", "point_to_point_scatter"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_DURATIONS = (0.05, 0.08, 0.12, 0.17, 0.23, 0.3, 0.36, 0.42, 0.5)  # of the whole span, full width
_STEPS_A_DURATION = 8
_INGRESS = 0.15  # of the duration; an event with edges like a transit's or an eclipse's
_FREQUENCIES = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)  # cycles in the whole span
_FEWEST_IN_BOX = 3  # fewer points are an accident of the detector, not an event
_EVIDENCE = 20.0  # improvement of chi-square at which a template is as likely as not
_OUTLIER = 4.0


@dataclass(frozen=True)
class StarTrends:
    """Trends found, one row a star.

    Attributes
    ----------
    base
        Magnitude outside any event, shape ``(n_star,)``; NaN for a star without points.
    response
        Response to each nuisance, shape ``(n_star, n_nuisance)``.
    event_probability
        How far the answer rests on a template, 0 to 1, shape ``(n_star,)``.
    event_gain
        By how much the best template lowers chi-square, shape ``(n_star,)``.
    """

    base: Floats
    response: Floats
    event_probability: Floats
    event_gain: Floats


def point_to_point_scatter(values: Floats, valid: Bools) -> Floats:
    """One-sigma white noise from differences of consecutive valid points, one row a star.

    Slow variability hardly enters. NaN with fewer than four valid points.
    """
    out = np.full(len(values), np.nan)
    for i, (row, good) in enumerate(zip(values, valid, strict=True)):
        kept = row[good]
        if len(kept) >= 4:
            out[i] = MAD_TO_SIGMA * np.median(np.abs(np.diff(kept))) / np.sqrt(2.0)
    return out


def fit_star_trends(
    mag: Floats, sigma: Floats, valid: Bools, nuisance: Floats, width: Floats, time: Floats
) -> StarTrends:
    """Base and responses of each star.

    Parameters
    ----------
    mag
        Magnitudes with the shared terms removed, shape ``(n_star, n_frame)``.
    sigma
        One-sigma errors, same shape.
    valid
        Usable points, same shape.
    nuisance
        Regressors with zero mean and unit scatter, shape ``(n_frame, n_nuisance)``.
    width
        One-sigma prior of the responses, shape ``(n_nuisance,)``.
    time
        Days, increasing, shape ``(n_frame,)``.
    """
    boxes, waves = _templates(time)
    n_star = len(mag)
    base = np.full(n_star, np.nan)
    response = np.zeros((n_star, nuisance.shape[1]))
    probability, gain = np.zeros(n_star), np.zeros(n_star)
    columns = np.concatenate([np.ones((len(time), 1)), nuisance], axis=1)
    prior = np.concatenate([[0.0], width**-2.0])
    for i in range(n_star):
        weight = _weights(mag[i], sigma[i], valid[i])
        if not weight.any():
            continue
        value = np.where(weight > 0, mag[i], 0.0)
        found, gain[i] = _fit_one(value, weight, columns, prior, (boxes, waves))
        probability[i] = _probability(gain[i])
        base[i], response[i] = found[0], found[1:]
    return StarTrends(base, response, probability, gain)


def event_gain(flux: Floats, error: Floats, time: Floats) -> Floats:
    """By how much the best of many events and waves lowers chi-square, ``(n_star,)``.

    For light curves that have no trends left to be fitted beside. Errors are the larger of those
    given and of the star's own noise from point to point.

    Parameters
    ----------
    flux, error
        Relative flux and its one-sigma error, ``(n_star, n_frame)``; NaN where there is none.
    time
        Days, increasing, ``(n_frame,)``.

    Returns
    -------
    Zero for a star with fewer than three points.
    """
    valid = np.isfinite(flux) & np.isfinite(error) & (flux > 0) & (error > 0)
    level = np.where(valid, flux, 1.0)
    own = point_to_point_scatter(flux, valid)[:, None]
    sigma = 2.5 / np.log(10.0) * np.fmax(np.where(valid, error, 1.0), own) / level
    none = np.zeros((len(time), 0))
    return fit_star_trends(-2.5 * np.log10(level), sigma, valid, none, none[0], time).event_gain


def _templates(time: Floats) -> tuple[Floats, Floats]:
    """Boxes ``(n_frame, n_box)``; cosines then sines ``(n_frame, 2, n_frequency)``."""
    span = max(time[-1] - time[0], 1e-12)
    phase = (time - time[0]) / span
    boxes = []
    for duration in _DURATIONS:
        for centre in np.arange(0.0, 1.0 + 1e-9, duration / _STEPS_A_DURATION):
            depth = (duration / 2.0 - np.abs(phase - centre)) / (_INGRESS * duration)
            box = np.clip(depth, 0.0, 1.0)
            if _FEWEST_IN_BOX <= (box > 0.5).sum() <= len(time) - _FEWEST_IN_BOX:
                boxes.append(box)
    angle = 2.0 * np.pi * phase[:, None] * np.array(_FREQUENCIES)
    waves = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    stacked = np.stack(boxes, axis=1) if boxes else np.zeros((len(time), 0))
    return stacked, waves


def _weights(mag: Floats, sigma: Floats, valid: Bools) -> Floats:
    """Inverse variances; zero for single points far from both their neighbours in time."""
    weight = np.zeros(len(mag))
    index = np.flatnonzero(valid)
    if len(index) < 3:
        weight[index] = sigma[index] ** -2.0
        return weight
    row = mag[index]
    padded = np.concatenate([row[1:2], row, row[-2:-1]])
    near = np.median(np.stack([padded[:-2], padded[1:-1], padded[2:]]), axis=0)
    lonely = np.abs(row - near) > _OUTLIER * sigma[index]
    weight[index] = np.where(lonely, 0.0, sigma[index] ** -2.0)
    return weight


def _fit_one(
    value: Floats, weight: Floats, columns: Floats, prior: Floats, templates: tuple[Floats, Floats]
) -> tuple[Floats, float]:
    boxes, waves = templates
    loaded = weight[:, None] * columns
    inverse = np.linalg.inv(loaded.T @ columns + np.diag(prior + 1e-9))
    plain = inverse @ (loaded.T @ value)
    left = weight * (value - columns @ plain)

    def clear(template: Floats) -> Floats:
        """The template's weighted part that the columns, held by their prior, leave over."""
        weighted = weight[:, None] * template
        return weighted - loaded @ (inverse @ (loaded.T @ template))

    cleared = clear(boxes)
    power = np.einsum("jt,jt->t", boxes, cleared)
    # A box that a star hardly saw says nothing, and would divide by nothing.
    usable = power > 2.0 * np.median(weight[weight > 0])
    gain = np.where(usable, (boxes.T @ left) ** 2 / np.where(usable, power, 1.0), 0.0)
    best, chosen = 0.0, np.zeros((len(value), 0))
    if len(gain):
        top = int(np.argmax(gain))
        best, chosen = float(gain[top]), boxes[:, top : top + 1]
    for k in range(waves.shape[2]):
        pair = waves[:, :, k]
        normal = pair.T @ clear(pair)
        side = pair.T @ left
        wave_gain = float(side @ np.linalg.solve(normal + 1e-6 * np.trace(normal) * _EYE, side))
        # One parameter more than a box.
        if wave_gain - 2.0 > best:
            best, chosen = wave_gain - 2.0, pair
    if best < _EVIDENCE / 2.0:
        return plain, best
    if chosen.shape[1] == 1:
        joint: Floats = _outside(value, weight, columns, prior, chosen[:, 0])
    else:
        normal = chosen.T @ clear(chosen)
        amplitude = np.linalg.solve(normal + 1e-9 * np.trace(normal) * _EYE, chosen.T @ left)
        joint = inverse @ (loaded.T @ (value - chosen @ amplitude))
    probability = _probability(best)
    return probability * joint + (1.0 - probability) * plain, best


def _probability(gain: float) -> float:
    return float(1.0 / (1.0 + np.exp(-0.5 * np.clip(gain - _EVIDENCE, -60.0, 60.0))))


def _outside(value: Floats, weight: Floats, columns: Floats, prior: Floats, box: Floats) -> Floats:
    """The trends from the points outside the event alone, whatever its shape inside."""
    weight = np.where(box > 0, 0.0, weight)
    loaded = weight[:, None] * columns
    found = np.linalg.solve(loaded.T @ columns + np.diag(prior + 1e-9), loaded.T @ value)
    return found.astype(np.float64)


_EYE = np.eye(2)
