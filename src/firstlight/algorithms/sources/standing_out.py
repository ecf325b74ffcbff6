"""What stands out of the sky: hidden while the sky is mapped, and with noise of its own."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["noise_of_sky", "noise_with_light", "standing_out"]

Plane = NDArray[np.float32]


def noise_of_sky(rms: Plane, flags: NDArray[np.uint16], *, lost: int) -> Plane:
    """Square of the sky's one sigma ``(ny, nx)``; infinite where `flags` have one of the bits."""
    variance = np.empty(rms.shape, np.float32)
    _square(rms, flags, np.uint16(lost), variance)
    return variance


def noise_with_light(
    residual: Plane,
    rms: Plane,
    flags: NDArray[np.uint16],
    *,
    sigma: float,
    lost: int,
) -> Plane:
    """Variance of each pixel: the sky's, and the photons of what stands out of it.

    Parameters
    ----------
    residual, rms
        Electrons without sky, and one sigma of the sky, ``(ny, nx)``.
    flags
        Flags plane.
    sigma
        From which a pixel stands out.
    lost
        Bits of pixels that have no value.

    Returns
    -------
    numpy.ndarray
        Electrons squared, float32 ``(ny, nx)``; infinite without a value.
    """
    variance = np.empty(residual.shape, np.float32)
    _add_light(residual, rms, flags, np.float32(sigma), np.uint16(lost), variance)
    return variance


def standing_out(
    planes: tuple[Plane, Plane, Plane],
    flags: NDArray[np.uint16],
    *,
    sigma: float,
    unusable: int,
) -> NDArray[np.bool_]:
    """Pixels that say nothing of the sky.

    Parameters
    ----------
    planes
        Image, level and rms of a map of its sky, ``(ny, nx)`` each.
    flags
        Flags plane.
    sigma
        From which a pixel stands out.
    unusable
        Bits of pixels that are not to be looked at.

    Returns
    -------
    numpy.ndarray
        True where a pixel is unusable, or where it or one of the eight around it stands out.
    """
    covered = np.empty(flags.shape, np.bool_)
    _cover(planes, flags, np.float32(sigma), np.uint16(unusable), covered)
    return covered


@njit(cache=True, nogil=True)
def _square(rms, flags, lost, variance):  # type: ignore[no-untyped-def] # compiled
    infinite = np.float32(np.inf)
    for y in range(rms.shape[0]):
        for x in range(rms.shape[1]):
            variance[y, x] = infinite if flags[y, x] & lost else rms[y, x] * rms[y, x]


@njit(cache=True, nogil=True)
def _add_light(residual, rms, flags, sigma, lost, variance):  # type: ignore[no-untyped-def] # compiled
    ny, nx = residual.shape
    nothing, infinite = np.float32(0.0), np.float32(np.inf)
    for y in range(ny):
        for x in range(nx):
            light, noise = residual[y, x], rms[y, x]
            # Comparisons with NaN are false.
            spread = noise * noise + (light if light > sigma * noise else nothing)
            variance[y, x] = infinite if flags[y, x] & lost else spread


@njit(cache=True, nogil=True)
def _cover(planes, flags, sigma, unusable, covered):  # type: ignore[no-untyped-def] # compiled
    data, level, rms = planes
    ny, nx = data.shape
    # Of the rows above, here and below; a column of nothing on either side.
    bright = np.zeros((3, nx + 2), np.uint8)
    for y in range(ny + 1):
        newest = bright[y % 3]
        if y < ny:
            for x in range(nx):
                newest[x + 1] = data[y, x] - level[y, x] > sigma * rms[y, x]
        else:
            newest[:] = 0
        if y == 0:
            continue
        a, b, c = bright[0], bright[1], bright[2]
        out, own = covered[y - 1], flags[y - 1]
        for x in range(nx):
            near = a[x] | a[x + 1] | a[x + 2] | b[x] | b[x + 1] | b[x + 2]
            near |= c[x] | c[x + 1] | c[x + 2]
            out[x] = near != 0 or (own[x] & unusable) != 0
