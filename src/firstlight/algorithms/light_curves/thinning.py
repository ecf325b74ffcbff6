"""Fewer points of a light curve that look like all of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["thinned"]


def thinned(time: ArrayLike, value: ArrayLike, series: ArrayLike, points: int) -> NDArray[np.intp]:
    """Choose points so that the extremes of every stretch of time stay.

    Each series is cut into equal stretches of time, as many as its share of the points allows,
    and keeps of each the lowest and the highest value, and its own first and last point: what
    is drawn with fewer columns of pixels than stretches looks the same.

    Parameters
    ----------
    time, value
        ``(n,)``; a value that is NaN counts as lower than all.
    series
        ``(n,)`` whole numbers: points of one filter and instrument, say.
    points
        How many to keep at most; where there are more series than that allows, four of each.

    Returns
    -------
    numpy.ndarray
        Ascending indices; all of them where there are no more than `points`.
    """
    times, values = np.asarray(time, float), np.asarray(value, float)
    groups = np.asarray(series)
    if len(times) <= points:
        return np.arange(len(times))
    heights = np.where(np.isnan(values), -np.inf, values)
    names, counts = np.unique(groups, return_counts=True)
    kept = []
    for name, count in zip(names, counts, strict=True):
        members = np.flatnonzero(groups == name)
        share = max(4, int(points * count / len(times)))
        kept.append(members[_extremes(times[members], heights[members], share)])
    return np.sort(np.concatenate(kept))


def _extremes(
    times: NDArray[np.float64], heights: NDArray[np.float64], share: int
) -> NDArray[np.intp]:
    """Indices of the ends, and of the extremes of each stretch; at most `share` of them."""
    if len(times) <= share:
        return np.arange(len(times))
    first, last = int(np.argmin(times)), int(np.argmax(times))
    stretches = max(1, (share - 2) // 2)
    width = max(times[last] - times[first], np.finfo(float).tiny)
    stretch = np.minimum((times - times[first]) / width * stretches, stretches - 1).astype(int)
    order = np.lexsort((heights, stretch))
    sorted_stretch = stretch[order]
    begins = np.flatnonzero(np.r_[True, sorted_stretch[1:] != sorted_stretch[:-1]])
    ends = np.r_[begins[1:] - 1, len(order) - 1]
    return np.unique(np.r_[first, last, order[begins], order[ends]])
