"""Where a difference shows empty sky: no source, no hole, no border."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.flags import UNUSABLE
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
    net = np.s_[::step, ::step]
    error = found.flux_error[net]
    usable: NDArray[np.bool_] = np.isfinite(error) & (found.score[net] != 0.0)
    usable &= (found.flags[net] & np.uint16(UNUSABLE)) == 0
    if not usable.any():
        return usable
    return np.asarray(usable & (error < most * np.median(error[usable])))
