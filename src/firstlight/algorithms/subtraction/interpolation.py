"""Interpolation at places between pixels.

By Lagrange's polynomial through the nearest six; or by a windowed sine cardinal.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["SINE_REACH", "lagrange_taps", "sine_taps"]

SINE_REACH = 4
"""Points on each side that tell what is between two, of `sine_taps`."""

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


@njit(cache=True, nogil=True)
def sine_taps(first, count, step):  # type: ignore[no-untyped-def] # compiled
    """Weights of so many points in a row of one that is moved by `step`; they add up to one.

    A sine cardinal, in a window that is another. `first` is the first point, counted from the one
    that is asked for.
    """
    taps = np.empty(count)
    for k in range(count):
        apart = np.pi * (first + k + step)
        taps[k] = 1.0 / SINE_REACH if apart == 0.0 else 0.0
        if apart != 0.0 and abs(apart) < np.pi * SINE_REACH:
            taps[k] = np.sin(apart) * np.sin(apart / SINE_REACH) / apart**2
    return taps / taps.sum()
