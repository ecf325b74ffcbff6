"""The scatter of values, which a few outliers among them do not change."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAD_TO_SIGMA", "excess_variance", "scatter_about_median"]

MAD_TO_SIGMA = 1.4826
"""One sigma of Gaussian values, in median absolute deviations."""


def scatter_about_median(values: NDArray[np.floating]) -> float:
    """1.4826 times the median absolute deviation from the median.

    Parameters
    ----------
    values
        Of any shape, at least one, all finite.
    """
    return MAD_TO_SIGMA * float(np.median(np.abs(values - float(np.median(values)))))


def excess_variance(
    squares: NDArray[np.floating], variance: NDArray[np.floating], expected: float
) -> float:
    """Variance that values have beyond that of their errors; below 0 where these are too large.

    Parameters
    ----------
    squares
        Of the values, of any shape.
    variance
        Of their errors, of a shape that goes with it.
    expected
        Median of the square of a value whose error is one.

    Notes
    -----
    The variance v with which the median of ``squares / (variance + v)`` is as expected: as many
    values ask for a larger one as for a smaller one, so it is the median of what each asks for.
    """
    return float(np.median(squares / expected - variance))
