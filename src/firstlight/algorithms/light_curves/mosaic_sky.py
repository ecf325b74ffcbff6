"""The sky in each colour of a mosaic, at the places of stars."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.background import estimate_background
from firstlight.algorithms.detector.colour_mosaic import colour_of_pixels

__all__ = ["BANDS", "SkyOfMosaic", "mosaic_sky"]

Floats = NDArray[np.float64]

BANDS = ("R", "G", "B")
_PARITIES = ((0, 0), (0, 1), (1, 0), (1, 1))


class SkyOfMosaic:
    """Smooth maps of the sky, one for each colour, on the grid of superpixels."""

    def __init__(self, levels: NDArray[np.float32]) -> None:
        self.levels = levels  # (3, ny / 2, nx / 2) in the order of `BANDS`

    def at(self, x: Floats, y: Floats) -> Floats:
        """Level per pixel of each colour at places in pixels of the mosaic, ``(n, 3)``.

        Places outside the frame, and those that are not finite, get the nearest level there is.
        """
        ny, nx = self.levels.shape[1:]
        # A superpixel's centre is half a pixel up and right of its first pixel.
        row = np.clip(np.nan_to_num((np.asarray(y) - 0.5) / 2), 0, ny - 1)
        column = np.clip(np.nan_to_num((np.asarray(x) - 0.5) / 2), 0, nx - 1)
        j, i = np.rint(row).astype(np.int64), np.rint(column).astype(np.int64)
        return np.asarray(self.levels[:, j, i].T, dtype=np.float64)


def mosaic_sky(
    data: NDArray[np.floating], pattern: str, mask: NDArray[np.bool_] | None = None
) -> SkyOfMosaic:
    """Map the sky of each colour by itself: `background.estimate_background` on its pixels.

    Parameters
    ----------
    data
        Colour mosaic ``(ny, nx)``; of an odd number of rows or columns the last is left out.
    pattern
        RGGB, BGGR, GRBG or GBRG, from pixel (0, 0).
    mask
        True where a pixel must be ignored, ``(ny, nx)``.

    Raises
    ------
    InvalidInput
        An unknown pattern, or no usable pixel of some colour.
    """
    ny, nx = data.shape[0] // 2, data.shape[1] // 2
    letters = colour_of_pixels((2, 2), pattern)
    levels = np.zeros((len(BANDS), ny, nx), dtype=np.float32)
    for row, column in _PARITIES:
        plane = data[row : 2 * ny : 2, column : 2 * nx : 2]
        hidden = None
        if mask is not None:
            hidden = np.ascontiguousarray(mask[row : 2 * ny : 2, column : 2 * nx : 2])
        band = BANDS.index(str(letters[row, column]))
        found = estimate_background(plane, hidden).level
        levels[band] += found / np.float32((letters == BANDS[band]).sum())
    return SkyOfMosaic(levels)
