"""Where a difference shows empty sky: no source, no hole, no border."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from firstlight.algorithms.flags import UNUSABLE
from firstlight.algorithms.order_statistics import median_in_place
from firstlight.algorithms.subtraction.subtract import Subtraction

__all__ = ["empty_sky"]


def empty_sky(found: Subtraction, step: int, most: float) -> NDArray[np.bool_]:
    """Which of every so many pixels along either axis are empty sky.

    Parameters
    ----------
    step
        One pixel in so many is looked at along either axis.
    most
        Error of a flux that is still that of the sky, over the median of all.

    Returns
    -------
    numpy.ndarray
        Of the planes with the steps ``[::step, ::step]``.
    """
    ny, nx = (-(-side // step) for side in found.score.shape)
    empty = np.empty((ny, nx), np.bool_)
    errors = np.empty(ny * nx, found.flux_error.dtype)
    planes = found.flux_error, found.score, found.flags
    count = _look(planes, step, np.uint16(UNUSABLE), empty, errors)
    if count:
        limit = most * errors.dtype.type(median_in_place(errors, count))
        _keep_below(found.flux_error, step, limit, empty)
    return empty


@njit(cache=True, nogil=True)
def _look(planes, step, unusable, usable, errors):  # type: ignore[no-untyped-def] # compiled
    """Mark the pixels of the net that tell anything, and gather their errors; how many."""
    error, score, flags = planes
    count = 0
    for j in range(usable.shape[0]):
        for i in range(usable.shape[1]):
            y, x = j * step, i * step
            good = np.isfinite(error[y, x]) and score[y, x] != 0.0
            usable[j, i] = good and (flags[y, x] & unusable) == 0
            if usable[j, i]:
                errors[count] = error[y, x]
                count += 1
    return count


@njit(cache=True, nogil=True)
def _keep_below(error, step, limit, chosen):  # type: ignore[no-untyped-def] # compiled
    for j in range(chosen.shape[0]):
        for i in range(chosen.shape[1]):
            chosen[j, i] = chosen[j, i] and error[j * step, i * step] < limit
