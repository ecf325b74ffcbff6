"""Bring an image with its PSF onto the grid of another, ready to be subtracted or coadded."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.psf.fit import Stamp
from firstlight.algorithms.resampling.coordinate_map import CoordinateMap
from firstlight.algorithms.resampling.image_pair import AlignedImage, PsfGrid, tile_centres
from firstlight.algorithms.resampling.resample import resample, resample_psf

__all__ = ["PointSources", "align"]

_MARGIN = 8  # source pixels around a stamp, in which the spline forgets where it ends


class PointSources(Protocol):
    """What tells the PSF at a place, as `PsfModel` does."""

    def at(
        self, x: float, y: float, shape: tuple[int, int], radius: int | None = None
    ) -> Stamp | None:
        """The PSF of a star at (x, y) on the pixels of an image of `shape` ``(ny, nx)``."""


def align(
    planes: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint16] | None],
    psf: PointSources,
    positions: CoordinateMap,
    *,
    radius: int,
    tiles: tuple[int, int] | None = None,
) -> AlignedImage:
    """Resample an image and its PSF.

    Parameters
    ----------
    planes
        Pixels without sky, variance and flags of the image, as for `resample`.
    psf
        Of the image, on its own pixels.
    positions
        Pixels of the image for the pixels of the target.
    radius
        Half the side of the PSF's stamps, target pixels.
    tiles
        Rows and columns of stamps; None for about 512 pixels a tile.
    """
    found = resample(*planes, positions)
    x, y = tile_centres(positions.shape, tiles)
    side = 2 * radius + 1
    own, steady = stamps = np.empty((2, len(y), len(x), side, side), np.float32)
    for j, row in enumerate(np.rint(y).astype(int)):
        for i, column in enumerate(np.rint(x).astype(int)):
            place = (int(column), int(row))
            stamps[:, j, i] = _stamps(psf, planes[0].shape, positions, place, radius)
    return AlignedImage(
        found.pixels,
        found.variance,
        found.flags,
        PsfGrid(own, x, y),
        steady=PsfGrid(steady, x, y),
    )


def _stamps(
    psf: PointSources,
    shape: tuple[int, ...],
    positions: CoordinateMap,
    place: tuple[int, int],
    radius: int,
) -> NDArray[np.float32]:
    """PSF of a star in the middle of a target pixel, total as the source's stamp has it.

    Where that is in the source, and as if that were the middle of a pixel: ``(2, k, k)``.
    """
    here = np.array([float(p) for p in positions.at(*place)])
    half = int(np.ceil(radius * np.abs(positions.jacobian()).sum(axis=1).max())) + _MARGIN
    # Beyond the image its rim tells; whole pixels away, so that the phase is kept.
    nearest = np.clip(here, half, np.maximum(np.array(shape[::-1]) - 1.0, half))
    moved = np.rint(nearest - here)
    x, y = (float(each) for each in here + moved)
    roomy = (int(y) + 2 * half + 2, int(x) + 2 * half + 2)
    found = np.zeros((2, 2 * radius + 1, 2 * radius + 1), np.float32)
    for k, (u, v) in enumerate(((x, y), (round(x), round(y)))):
        stamp = psf.at(u, v, roomy, half)
        if stamp is not None:
            start = np.array([stamp.columns.start, stamp.rows.start])
            across, down = (start - moved + (x - u, y - v)).tolist()
            found[k] = resample_psf(stamp.psf, (across, down), positions, place, radius)
    return found
