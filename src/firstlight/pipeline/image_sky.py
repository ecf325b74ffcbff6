"""The sky under an image's sources, and the noise in which they are sought."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.background import SkyMap, estimate_background
from firstlight.algorithms.flags import UNUSABLE, Flag
from firstlight.algorithms.sources.standing_out import (
    noise_of_sky,
    noise_with_light,
    standing_out,
)

__all__ = ["detection_variance", "map_sky", "sky_variance"]

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
    sky = first or estimate_background(data, (flags & UNUSABLE) != 0, mesh=cell)
    planes = data, sky.level, sky.rms
    covered = standing_out(planes, flags, sigma=STANDS_OUT, unusable=int(UNUSABLE))
    if covered.mean() < MOST_COVERED:
        sky = estimate_background(data, covered, mesh=cell)
    return sky


def detection_variance(
    residual: NDArray[np.float32], sky: SkyMap, flags: NDArray[np.uint16]
) -> NDArray[np.float32]:
    """Measured scatter of the sky, and photon noise where something stands out of it."""
    return noise_with_light(residual, sky.rms, flags, sigma=STANDS_OUT, lost=int(Flag.NO_DATA))


def sky_variance(sky: SkyMap, flags: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Measured scatter of the sky alone, electrons squared; infinite without a value."""
    return noise_of_sky(sky.rms, flags, lost=int(Flag.NO_DATA))
