"""Which aperture suits which brightness, told by the scatter of the field's own stars.

A bright star wants a wide aperture (its scatter comes from trailing and focus), a faint one a
narrow one (its scatter comes from the sky). No star votes for itself, so that a variable star
cannot choose the aperture in which it varies least.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["choose_apertures"]

Floats = NDArray[np.float64]

_FEWEST_VOTERS = 12
_NARROWEST = 0.5  # magnitudes


def choose_apertures(mag: Floats, scatter: Floats) -> NDArray[np.int64]:
    """Index of the aperture with the least scatter among the other stars of like brightness.

    Parameters
    ----------
    mag
        Brightness of each star, magnitudes, shape ``(n_star,)``; NaN allowed.
    scatter
        Scatter of each star's light curve in each aperture, shape ``(n_star, n_aperture)``. A
        star with a NaN has no vote.

    Returns
    -------
    Shape ``(n_star,)``. Where no other star votes, the middle aperture.

    Notes
    -----
    A vote is the logarithm of a star's scatter in each aperture relative to its own mean over the
    apertures, fitted by a straight line in brightness under a Gaussian about the star (faint
    stars are many, and a mean would lean to them). The Gaussian widens until about a dozen stars
    count. Among apertures within one standard error of the best the widest
    wins: it minds focus, trailing and centring least.
    """
    n_star, n_aperture = scatter.shape
    chosen = np.full(n_star, n_aperture // 2, dtype=np.int64)
    voting = np.isfinite(scatter).all(axis=1) & (scatter > 0).all(axis=1) & np.isfinite(mag)
    voters = np.flatnonzero(voting)
    if len(voters) < 2:
        return chosen
    votes = np.log(scatter[voters])
    votes = np.clip(votes - np.median(votes, axis=1, keepdims=True), -1.0, 1.0)
    middle = np.median(mag[voters])
    distance = np.abs(np.where(np.isfinite(mag), mag, middle)[:, None] - mag[voters])
    distance[voters, np.arange(len(voters))] = np.inf
    rank = min(_FEWEST_VOTERS, len(voters) - 1) - 1
    width = np.maximum(np.partition(distance, rank, axis=1)[:, rank], _NARROWEST)
    weight = np.exp(-0.5 * (distance / width[:, None]) ** 2)
    away = mag[voters] - np.where(np.isfinite(mag), mag, middle)[:, None]
    balance = _local_line(away, weight)
    poll = balance @ votes
    best = np.argmin(poll, axis=1)
    for a in np.unique(best):
        rows = best == a
        lead = votes - votes[:, a : a + 1]
        error = np.sqrt(np.square(balance[rows]) @ np.square(lead - np.median(lead, axis=0)))
        tied = poll[rows] - poll[rows, a : a + 1] <= error
        chosen[rows] = n_aperture - 1 - np.argmax(tied[:, ::-1], axis=1)
    return chosen


def _local_line(away: Floats, weight: Floats) -> Floats:
    """What each vote counts in a weighted straight line read at zero, ``(n_star, n_voter)``."""
    total = weight.sum(axis=1)
    mean = (weight * away).sum(axis=1) / total
    power = (weight * np.square(away)).sum(axis=1) / total - mean**2
    # Where the voters lie all on one side the line would extrapolate: limit the lever.
    lever = np.clip(mean / np.maximum(power, 1e-6), -2.0, 2.0)
    balance: Floats = weight * (1.0 - lever[:, None] * (away - mean[:, None])) / total[:, None]
    return balance
