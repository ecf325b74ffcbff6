"""The scatter of values, which a few outliers among them do not change."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAD_TO_SIGMA", "scatter_about_median"]

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
