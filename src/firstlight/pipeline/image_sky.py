"""The sky under an image's sources, and the noise in which they are sought."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from firstlight.algorithms.background import SkyMap, estimate_background
from firstlight.algorithms.flags import UNUSABLE, Flag

__all__ = ["detection_variance", "map_sky"]

STANDS_OUT = 3.0  # sigma: what is left out of the second sky map
MOST_COVERED = 0.8  # of the image; with more left out there is no sky to map


def map_sky(
    data: NDArray[np.float32],
    flags: NDArray[np.uint16],
    *,
    cell: int | None = None,
    first: SkyMap | None = None,
) -> SkyMap:
    """Map the sky twice: the second time without what stands out of the first map.

    Parameters
    ----------
    data, flags
        Electrons and flags, ``(ny, nx)``.
    cell
        Side of the cells, pixels; chosen by the image's size if None.
    first
        The first map, where there is one already.
    """
    unusable = (flags & UNUSABLE) != 0
    sky = first or estimate_background(data, unusable, mesh=cell)
    bright = data - sky.level > STANDS_OUT * sky.rms
    covered = unusable | binary_dilation(bright, np.ones((3, 3), bool))
    if covered.mean() < MOST_COVERED:
        sky = estimate_background(data, covered, mesh=cell)
    return sky


def detection_variance(
    residual: NDArray[np.float32], sky: SkyMap, flags: NDArray[np.uint16]
) -> NDArray[np.float32]:
    """Measured scatter of the sky, and photon noise where something stands out of it."""
    light = np.where(residual > STANDS_OUT * sky.rms, residual, np.float32(0.0))
    noise = np.square(sky.rms) + light
    return np.where((flags & Flag.NO_DATA) != 0, np.float32(np.inf), noise).astype(np.float32)
