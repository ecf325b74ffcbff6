"""Marks that spread to the pixels around them."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["disc", "grown"]


def disc(radius: int) -> NDArray[np.bool_]:
    """Pixels at most so far from the middle one, shape ``(2 radius + 1, 2 radius + 1)``."""
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return np.asarray(x * x + y * y <= radius * radius, dtype=np.bool_)


def grown(marked: NDArray[np.bool_], shape: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Dilate a mask. Where few pixels are marked, it costs little more than to look for these.

    Parameters
    ----------
    marked
        ``(ny, nx)``.
    shape
        What each marked pixel becomes, of odd height and width, symmetric about its middle.
    """
    result = np.ascontiguousarray(marked).copy()
    down, across = (np.asarray(shift) for shift in np.nonzero(shape))
    _spread(result, np.argwhere(marked), down - shape.shape[0] // 2, across - shape.shape[1] // 2)
    return result


@njit(cache=True, nogil=True)
def _spread(result, places, down, across):  # type: ignore[no-untyped-def] # compiled
    ny, nx = result.shape
    for n in range(len(places)):
        for k in range(len(down)):
            y, x = places[n, 0] + down[k], places[n, 1] + across[k]
            if 0 <= y < ny and 0 <= x < nx:
                result[y, x] = True
