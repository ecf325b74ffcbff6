"""What the stars of an image have in common beyond their profile, on a net of B-splines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numba import njit
from numpy.typing import NDArray

from firstlight.algorithms.psf.model import MARGIN, RELAXED, PsfModel, nodes_near, place_terms
from firstlight.algorithms.psf.star_sample import (
    FOR_LINEAR,
    MODEL_ERROR,
    NO_LIMIT,
    OUTLIER,
    StarSample,
    drawn_stars,
)

__all__ = ["learn_net"]

Floats = NDArray[np.float64]

_FOR_FOLDS = 10  # stars, to leave some out
_FOLDS = 5
_PRIORS = (0.003, 0.01, 0.03, 0.10, 0.3)
_DOUBT = 2.0  # chi-square that each more number must gain at stars left out
_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


def learn_net(model: PsfModel, sample: StarSample, *, may_vary: bool) -> PsfModel:
    """Learn the net anew from what the stars have in common beyond the profile.

    Parameters
    ----------
    model
        Whose profile and bends stay; by its net other light is told from that of the stars.
    sample
        Stars alone.
    may_vary
        Whether the net may change over the image, where that predicts stars left out better.
    """
    u, v = model.scaled(sample.x, sample.y)
    bare = replace(model, nets=np.zeros_like(model.nets[:1]))
    index = _kept_nodes(model)
    count = int(index.max()) + 1
    folds = _FOLDS if len(sample) >= _FOR_FOLDS else 1
    basis = place_terms(u, v, 3 if may_vary and len(sample) >= FOR_LINEAR else 1)
    n = basis.shape[1]
    square = np.zeros((folds, n * (n + 1) // 2, count, count))
    side = np.zeros((folds, n, count))
    planes = sample.light, sample.weight, drawn_stars(bare, sample), drawn_stars(model, sample)
    stars = sample.offsets, sample.flux, sample.sky, basis
    # While there is no net yet, what the profile misses is not another thing's light.
    limit = OUTLIER if model.nets.any() else NO_LIMIT
    _load(planes, stars, (model.spacing, limit), index, square, side)
    peak = (model.profile[3] - 1.0) / (np.pi * model.profile[0] ** 2)
    terms = _solved(square, side, peak)
    nets = np.where(index >= 0, terms[:, index], 0.0)
    return replace(model, nets=np.asarray(nets))


def _kept_nodes(model: PsfModel) -> NDArray[np.int64]:
    """Number of each node within the corrected radius, -1 for the others, ``(m, m)``."""
    m = model.nets.shape[1]
    steps = np.arange(m) - m // 2
    far = np.hypot(steps[:, None], steps[None, :])
    kept = far <= (m // 2 - MARGIN)
    return np.where(kept, np.cumsum(kept).reshape(m, m) - 1, -1)


def _solved(square: Floats, side: Floats, peak: float) -> Floats:
    """Corrections ``(n_net, n_node)`` with the prior that predicts left-out stars best."""
    mean, right = np.ascontiguousarray(square[:, 0]), side[:, 0]
    prior = _PRIORS[-2]
    if len(square) > 1:
        scores = [_missed(mean, right, _stiff(peak, each, side)) for each in _PRIORS]
        prior = _PRIORS[int(np.argmin(scores))]
        if side.shape[1] == 3:
            varying = _varying(square, side, (peak, prior, min(scores)))
            if varying is not None:
                return varying
    stiff = _stiff(peak, prior, side)
    return np.asarray(np.linalg.solve(mean.sum(axis=0) + stiff, right.sum(axis=0)))[np.newaxis]


def _varying(square: Floats, side: Floats, mean: tuple[float, float, float]) -> Floats | None:
    """The same with a net that changes over the image, if that predicts better beyond doubt."""
    peak, level, score = mean
    count = side.shape[2]
    whole = np.empty((len(square), 3 * count, 3 * count))
    for k, (a, b) in enumerate(_PAIRS):
        rows, columns = (slice(c * count, (c + 1) * count) for c in (a, b))
        whole[:, rows, columns] = whole[:, columns, rows] = square[:, k]
    right = side.reshape(len(side), -1)
    best: Floats | None = None
    for prior in _PRIORS[:-1]:
        loose = np.kron(np.diag(np.array([0.0, 1.0, 1.0])), _stiff(peak, prior, side))
        stiff = np.asarray(loose, np.float64)
        stiff[:count, :count] = _stiff(peak, level, side)
        missed = _missed(whole, right, stiff)
        if missed < score - _DOUBT * np.sqrt(count):
            best, score = stiff, missed
    if best is None:
        return None
    return np.linalg.solve(whole.sum(axis=0) + best, right.sum(axis=0)).reshape(3, count)


def _stiff(peak: float, prior: float, side: Floats) -> Floats:
    return np.asarray(np.eye(side.shape[-1]) * (prior * peak) ** -2.0)


def _missed(square: Floats, side: Floats, stiff: Floats) -> float:
    """Chi-square of the stars of each fold against what the others say, less a constant."""
    whole, right = square.sum(axis=0) + stiff, side.sum(axis=0)
    total = 0.0
    for own, wanted in zip(square, side, strict=True):
        found = np.linalg.solve(whole - own, right - wanted)
        total += float(found @ (own @ found) - 2.0 * wanted @ found)
    return total


@njit(cache=True, nogil=True, error_model="numpy", fastmath=RELAXED)
def _load(planes, stars, rule, index, square, side):  # type: ignore[no-untyped-def] # compiled
    """Normal equations of the net, each star's in the fold of its number."""
    light, weight, shape, whole = planes
    offsets, flux, sky, basis = stars
    spacing, limit = rule
    n, size, m = light.shape[0], light.shape[1], index.shape[0]
    half, first, count = size // 2, -(m // 2), side.shape[2]
    own, right = np.empty((count, count)), np.empty(count)
    across, along = np.empty((size, 4)), np.empty(4)
    left, who, value = np.empty(size, np.int64), np.empty(16, np.int64), np.empty(16)
    for s in range(n):
        own[:] = 0.0
        right[:] = 0.0
        for i in range(size):
            left[i] = nodes_near((i - half - offsets[s, 0]) / spacing, across[i]) - first
        for j in range(size):
            top = nodes_near((j - half - offsets[s, 1]) / spacing, along) - first
            if top < 0 or top + 4 > m:
                continue
            for i in range(size):
                if weight[s, j, i] <= 0.0 or left[i] < 0 or left[i] + 4 > m:
                    continue
                model = max(flux[s] * whole[s, j, i], 0.0)
                spread = 1.0 / weight[s, j, i] + model + (MODEL_ERROR * model) ** 2
                above = light[s, j, i] - sky[s]
                off = above - flux[s] * shape[s, j, i]
                # Light of another thing is far off: the farther, the less it may say.
                far = (above - flux[s] * whole[s, j, i]) / limit
                w = flux[s] * flux[s] / (spread + far * far)
                known = _nodes_of_pixel((top, left[i]), (along, across[i]), index, who, value)
                for a in range(known):
                    part = w * value[a]
                    right[who[a]] += part * off / flux[s]
                    for b in range(a + 1):
                        own[who[a], who[b]] += part * value[b]
        for a in range(count):
            for b in range(a):
                own[b, a] = own[a, b]
        _add_star(own, right, basis[s], square[s % square.shape[0]], side[s % square.shape[0]])


@njit(cache=True, nogil=True, error_model="numpy", fastmath=RELAXED)
def _nodes_of_pixel(corner, weights, index, who, value):  # type: ignore[no-untyped-def] # compiled
    known = 0
    for a in range(4):
        for b in range(4):
            k = index[corner[0] + a, corner[1] + b]
            if k >= 0:
                who[known], value[known] = k, weights[0][a] * weights[1][b]
                known += 1
    return known


@njit(cache=True, nogil=True, error_model="numpy", fastmath=RELAXED)
def _add_star(own, right, basis, square, side):  # type: ignore[no-untyped-def] # compiled
    pair = 0
    for a in range(basis.size):
        for k in range(right.size):
            side[a, k] += basis[a] * right[k]
        for b in range(a, basis.size):
            part = basis[a] * basis[b]
            for k in range(right.size):
                for m in range(right.size):
                    square[pair, k, m] += part * own[k, m]
            pair += 1
