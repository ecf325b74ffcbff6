"""The sky that is left in a difference, where both images' own maps of it disagree.

A map of the sky of one image holds the light of the faint stars that it does not tell from the
sky, and how many these are depends on its depth and its seeing. In the difference they are gone:
its empty pixels tell what the two maps disagree by (Alard & Lupton 1998, ApJ 503, 325, fit it
with the kernel). A level of a tenth of a pixel's noise is half a sigma of a faint source.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from firstlight.algorithms.subtraction.empty_sky import empty_sky
from firstlight.algorithms.subtraction.subtract import Subtraction

__all__ = ["take_sky_away"]

Floats = NDArray[np.float64]

_CELL = 128.0  # pixels on a side, about
_STEP = 3  # every so many pixels are looked at along either axis
_QUIET = 1.1  # of the median error
_FEWEST = 0.1  # of a cell's pixels must be empty sky


def take_sky_away(found: Subtraction) -> None:
    """Take away what is left of the sky, in place: fluxes in empty sky are about zero then.

    Notes
    -----
    The median flux of empty places in cells of about 128 pixels, bilinear between them. A cell
    with hardly any empty sky takes the level of the others.
    """
    levels = _levels(found)
    if levels is None:
        return
    stamp = found.psfs.stamps[0, 0].astype(np.float64)
    # What a flux of the matched filter is as a level of the difference.
    level = float(np.square(stamp).sum() / stamp.sum())
    _take_away((found.difference, found.flux, found.score), found.flux_error, levels, level)


def _levels(found: Subtraction) -> Floats | None:
    """Median flux in cells ``(rows, columns)``; None without empty sky."""
    ny, nx = found.flux.shape
    rows, columns = (max(1, round(side / _CELL)) for side in (ny, nx))
    quiet, flux = empty_sky(found, _STEP, _QUIET), found.flux[::_STEP, ::_STEP]
    levels = np.full((rows, columns), np.nan)
    for j, band in enumerate(np.array_split(np.arange(flux.shape[0]), rows)):
        for i, part in enumerate(np.array_split(np.arange(flux.shape[1]), columns)):
            window = np.s_[band[0] : band[-1] + 1, part[0] : part[-1] + 1]
            values = flux[window][quiet[window]]
            if len(values) > _FEWEST * flux[window].size:
                levels[j, i] = np.median(values)
    if not np.isfinite(levels).any():
        return None
    return np.where(np.isfinite(levels), levels, np.nanmedian(levels))


@njit(cache=True, nogil=True)
def _take_away(planes, error, levels, per_flux):  # type: ignore[no-untyped-def] # compiled
    difference, flux, score = planes
    ny, nx = flux.shape
    rows, columns = levels.shape
    line = np.empty(columns)
    per = np.float32(per_flux)
    for y in range(ny):
        v = min(max((y + 0.5) * rows / ny - 0.5, 0.0), rows - 1.0)
        j = min(int(v), max(rows - 2, 0))
        below = min(j + 1, rows - 1)
        for i in range(columns):
            line[i] = (1.0 - v + j) * levels[j, i] + (v - j) * levels[below, i]
        for x in range(nx):
            u = min(max((x + 0.5) * columns / nx - 0.5, 0.0), columns - 1.0)
            i = min(int(u), max(columns - 2, 0))
            right = min(i + 1, columns - 1)
            level = np.float32((1.0 - u + i) * line[i] + (u - i) * line[right])
            difference[y, x] -= per * level
            # Where nothing is known flux and score stay 0.
            if score[y, x] != 0.0:
                flux[y, x] -= level
                score[y, x] -= level / error[y, x]
