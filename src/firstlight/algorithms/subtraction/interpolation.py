"""Interpolation at places between pixels, by Lagrange's polynomial through the nearest six."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["lagrange_taps"]

Floats = NDArray[np.float64]

_TAPS = 6


def lagrange_taps(place: Floats, size: int) -> tuple[NDArray[np.int64], Floats]:
    """The pixels that places are interpolated from, and their weights.

    Parameters
    ----------
    place
        Along one axis ``(n,)``, pixels; near an edge the polynomial is one-sided.
    size
        Pixels of this axis; fewer than six give a polynomial of a lower degree.

    Returns
    -------
    Indices of pixels and weights, each ``(n, 6)``; the weights of a place add up to one.
    """
    count = min(_TAPS, size)
    first = np.clip(np.floor(place).astype(np.int64) - count // 2 + 1, 0, size - count)
    pixels = first[:, None] + np.arange(count)
    apart = place[:, None] - pixels
    weights = np.ones((len(place), count))
    for one in range(count):
        for other in range(count):
            if other != one:
                weights[:, one] *= apart[:, other] / (one - other)
    return pixels, weights
