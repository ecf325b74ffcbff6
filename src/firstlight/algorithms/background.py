"""The level and the noise of the sky, as smooth maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sep
from numba import njit
from numpy.typing import NDArray

from firstlight.errors import InvalidInput

__all__ = ["SkyMap", "estimate_background", "mesh_size"]

# The scatter of a Gaussian after iterated clipping at 3 sigma, which is what the mesh measures.
_CLIPPED_SCATTER = 0.9845


@dataclass(frozen=True, slots=True)
class SkyMap:
    """The sky without its sources.

    Attributes
    ----------
    level, rms
        Maps ``(ny, nx)`` in the unit of the image; `rms` is the one-sigma scatter of a pixel.
    median_level, median_rms
        One number each for the whole image.
    mesh
        Side of the cells, pixels.
    """

    level: NDArray[np.float32]
    rms: NDArray[np.float32]
    median_level: float
    median_rms: float
    mesh: int


def mesh_size(shape: tuple[int, ...], fwhm: float | None = None) -> int:
    """Side of the background cells in pixels for an image of this shape.

    About sixteen cells across the shorter side follow vignetting; at least 32 pixels and ten
    FWHM keep a cell from being filled by one star; more than 128 gains nothing.
    """
    smallest = max(32, 0 if fwhm is None else int(np.ceil(10 * fwhm)))
    return int(max(smallest, min(128, min(shape) // 16)))


def estimate_background(
    data: NDArray[np.floating],
    mask: NDArray[np.bool_] | None = None,
    *,
    mesh: int | None = None,
    smooth: int = 3,
) -> SkyMap:
    """Map the sky: clipped mode in cells, median-filtered, then a bicubic spline.

    The method is that of Bertin & Arnouts 1996 (A&AS 117, 393) as built in ``sep``, with its
    scatter corrected for the clipping.

    Parameters
    ----------
    data
        Image ``(ny, nx)``. Pixels that are not finite are ignored.
    mask
        True where a pixel must be ignored: bad pixels and, in a second pass, sources.
    mesh
        Side of a cell in pixels; `mesh_size` chooses if None.
    smooth
        Side of the median filter over cells (odd); 1 for none.

    Raises
    ------
    InvalidInput
        There is no usable pixel.
    """
    image = np.ascontiguousarray(data, dtype=np.float32)
    lost = ~np.isfinite(image)
    if lost.any():
        image = np.where(lost, np.float32(0.0), image)
        mask = lost if mask is None else mask | lost
    if mask is not None and (not mask.any()):
        mask = None
    if image.size == 0 or (mask is not None and mask.all()):
        raise InvalidInput("The image has no usable pixel.", found=image.shape)
    side = mesh or mesh_size(image.shape)
    cells = {"bw": side, "bh": side, "fw": smooth, "fh": smooth}
    sky = sep.Background(image, mask=mask, **cells)
    level = sky.back(dtype=np.float32)
    middle = float(sky.globalback)
    if _is_steep(level[::side, ::side], float(sky.globalrms)):
        # A slope within a cell widens its scatter and shifts its mode: measure what is left.
        sky = sep.Background(image - level, mask=mask, **cells)
        level += sky.back(dtype=np.float32)
        middle += float(sky.globalback)
    rms = sky.rms(dtype=np.float32)
    median_rms = float(sky.globalrms) / _CLIPPED_SCATTER
    # A bicubic spline may undershoot beside a bright nebula; noise is never near zero.
    _scale(rms, np.float32(1 / _CLIPPED_SCATTER), np.float32(0.1 * median_rms))
    return SkyMap(level, rms, middle, median_rms, side)


def _is_steep(levels: NDArray[np.float32], rms: float) -> bool:
    """Whether the sky changes by more than 0.3 sigma from cell to cell somewhere."""
    steps = [np.abs(np.diff(levels, axis=axis)).max(initial=0.0) for axis in (0, 1)]
    return bool(max(steps) > 0.3 * rms)


@njit(cache=True, nogil=True)
def _scale(plane, factor, least):  # type: ignore[no-untyped-def] # compiled
    """Multiply, in place, and put the least value where it is less."""
    for y in range(plane.shape[0]):
        for x in range(plane.shape[1]):
            value = plane[y, x] * factor
            plane[y, x] = max(value, least)
