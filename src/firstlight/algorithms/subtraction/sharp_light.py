"""How much of the static light is too sharp for pixels to tell, where stars are undersampled.

What undersampled stars leave in a difference is mostly what interpolation between their pixels
gets wrong, a share of their light that is learned from them (`residual_noise`). Light that is
spread wider is sampled better, and leaves much less. How sharp it is at a place is told by its
curvature: the square of it over that of the light falls with the fourth power of the width, as do
the errors of an interpolation. It is 1 all over a star, in units of that in its middle.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
from numba import njit
from numpy.typing import NDArray

from firstlight.algorithms.resampling.image_pair import PsfGrid

__all__ = ["sharp_light"]

Plane = NDArray[np.float32]

_AROUND = 3  # pixels around a star's middle that its curvature needs, and one to spare


def sharp_light(static: Plane, psfs: PsfGrid) -> Plane:
    """Static light, weighted by how sharp it is: all of a star's, hardly any of a wide galaxy's.

    Parameters
    ----------
    static
        Flux of a point source that stands in the reference at each pixel, ``(ny, nx)``.
    psfs
        Of the difference; the map of a star is what they correlate to with themselves.

    Returns
    -------
    ``static`` times ``min(c / c_star, 1)``, where c is the sum over the nine pixels around of the
    squared curvatures (all four second derivatives) over that of the squared light.
    """
    ny, nx = static.shape
    star = _own_map(psfs.at((nx - 1) / 2.0, (ny - 1) / 2.0))
    of_star = np.ones_like(star)
    _weigh(star, np.float32(0.0), of_star)
    sharp = np.empty_like(static)
    _weigh(static, of_star[_AROUND, _AROUND], sharp)
    return sharp


def _own_map(stamp: NDArray[np.float64]) -> Plane:
    """The middle of a stamp's correlation with itself."""
    size = scipy.fft.next_fast_len(2 * stamp.shape[0], real=True)
    power = np.abs(scipy.fft.rfft2(stamp, (size, size))) ** 2
    steps = np.arange(-_AROUND, _AROUND + 1)
    own = scipy.fft.irfft2(power, (size, size))[np.ix_(steps, steps)]
    return np.asarray(own, np.float32)


@njit(cache=True, nogil=True, error_model="numpy")
def _weigh(light, of_star, sharp):  # type: ignore[no-untyped-def] # compiled
    """Light times the share of it that is sharp; the curvature alone if a star's is 0."""
    ny, nx = light.shape
    # Of three rows, sums over three columns: each row is looked at once.
    curved, bright = np.zeros((3, nx), np.float32), np.zeros((3, nx), np.float32)
    bent, square = np.zeros(nx, np.float32), np.zeros(nx, np.float32)
    nothing, one = np.float32(0.0), np.float32(1.0)
    for y in range(ny + 1):
        slot = y % 3
        if y < ny:
            _bend(light[max(y - 1, 0)], light[y], light[min(y + 1, ny - 1)], bent, square)
            _three(bent, curved[slot])
            _three(square, bright[slot])
        else:
            curved[slot] = nothing
            bright[slot] = nothing
        if y == 0:
            continue
        for x in range(nx):
            lit = bright[0, x] + bright[1, x] + bright[2, x]
            sharpness = (curved[0, x] + curved[1, x] + curved[2, x]) / lit
            if of_star == nothing:
                sharp[y - 1, x] = sharpness
            else:
                share = min(sharpness / of_star, one) if lit > nothing else nothing
                sharp[y - 1, x] = share * light[y - 1, x]


@njit(cache=True, nogil=True)
def _bend(above, here, below, bent, square):  # type: ignore[no-untyped-def] # compiled
    """Sum of the squares of a row's second derivatives, and of its light."""
    quarter, two = np.float32(0.25), np.float32(2.0)
    last = here.size - 1
    for x in range(here.size):
        square[x] = here[x] * here[x]
    for x in range(1, last):
        xx = here[x + 1] + here[x - 1] - two * here[x]
        yy = below[x] + above[x] - two * here[x]
        xy = quarter * (below[x + 1] + above[x - 1] - below[x - 1] - above[x + 1])
        bent[x] = xx * xx + yy * yy + two * xy * xy
    bent[0], bent[last] = bent[min(1, last)], bent[max(last - 1, 0)]


@njit(cache=True, nogil=True)
def _three(row, sums):  # type: ignore[no-untyped-def] # compiled
    last = row.size - 1
    for x in range(1, last):
        sums[x] = row[x - 1] + row[x] + row[x + 1]
    sums[0], sums[last] = row[0] + row[min(1, last)], row[max(last - 1, 0)] + row[last]
