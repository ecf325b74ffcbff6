"""Charge that ran out of saturated pixels along the columns, and what surrounds them."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

from firstlight.algorithms.detector.growth import disc, grown
from firstlight.errors import InvalidInput

__all__ = ["find_bleed"]

_NEAR, _FAR = 3, 6  # columns on each side that tell what is there without the charge
_WINGS = 1.5  # times the light at the sides that a star's own wings may have along the column
_STEPS = 2  # faint pixels in a row that end a trail
_PAD = _FAR


def find_bleed(
    data: NDArray[np.floating],
    variance: NDArray[np.floating],
    saturated: NDArray[np.bool_],
    *,
    along: Literal["columns", "rows"] = "columns",
    threshold: float = 4.0,
    growth: int = 1,
) -> NDArray[np.bool_]:
    """Find the trails of charge that begin at saturated pixels.

    From both ends of every saturated run a trail is followed while its pixels stand out of the
    pixels on both sides, and of those across the columns that are as far from the middle of the
    run, by `threshold` sigma and by more than the wings of a star do.

    Parameters
    ----------
    data
        Sky-subtracted electrons ``(ny, nx)``.
    variance
        Electrons squared. Pixels that are not finite, or whose variance is not, are walked over.
    saturated
        True where saturated.
    along
        The direction in which the charge is moved when it is read.
    threshold
        In sigma.
    growth
        Saturated pixels and trails are widened by a disc of this radius, pixels.

    Returns
    -------
    True on trails and their surroundings, ``(ny, nx)``; saturated pixels are not among them.

    Raises
    ------
    InvalidInput
        The planes do not fit.
    """
    for name, plane in (("variance", variance), ("saturated", saturated)):
        if plane.shape != data.shape:
            raise InvalidInput(
                "The planes do not fit.", field=name, found=plane.shape, expected=data.shape
            )
    if not saturated.any():
        return np.zeros(data.shape, dtype=np.bool_)
    turned = along == "rows"
    light, noise, full = (p.T if turned else p for p in (data, variance, saturated))
    # A narrow band at each side stays without a value, so that no column needs a test.
    band = ((0, 0), (_PAD, _PAD))
    pixels = np.pad(np.asarray(light, np.float32), band, constant_values=np.nan)
    spread = np.pad(np.asarray(noise, np.float32), band, constant_values=np.nan)
    core = np.pad(full, band)
    trail = np.zeros(core.shape, dtype=np.bool_)
    _follow_all(pixels, spread, core, np.float32(threshold), trail)
    if growth > 0:
        trail = grown(trail | core, disc(growth))
    trail = (trail & ~core)[:, _PAD:-_PAD]
    return np.ascontiguousarray(trail.T if turned else trail)


@njit(cache=True, nogil=True)
def _follow_all(pixels, spread, core, threshold, trail):  # type: ignore[no-untyped-def] # compiled
    """Walk away from each end of each saturated run."""
    ny, nx = core.shape
    for y in range(ny):
        for x in range(_PAD, nx - _PAD):
            if not core[y, x]:
                continue
            if y > 0 and not core[y - 1, x]:
                _follow(pixels, spread, core, threshold, trail, y, x, -1)
            if y < ny - 1 and not core[y + 1, x]:
                _follow(pixels, spread, core, threshold, trail, y, x, 1)


@njit(cache=True, nogil=True)
def _follow(pixels, spread, core, threshold, trail, y, x, step):  # type: ignore[no-untyped-def]
    """Mark the trail that leaves ``(y, x)`` upwards or downwards, up to its last bright pixel."""
    last, missed, j = y, 0, y + step
    middle, centre = _centre_of_core(core, y, x, -step)
    while 0 <= j < core.shape[0] and missed < _STEPS and not core[j, x]:
        value, noise = pixels[j, x], spread[j, x]
        known = np.isfinite(value) and np.isfinite(noise)
        away = int(np.sqrt((j - middle) ** 2 + (x - centre) ** 2) + 0.5)
        wing = _fainter(pixels, middle, centre - away, centre + away)
        side = max(_beside(pixels, core, j, x), wing)
        if known and value <= np.float32(_WINGS) * side + threshold * np.sqrt(noise):
            missed += 1
        elif known:
            last, missed = j, 0
        j += step
    for k in range(y + step, last + step, step):
        trail[k, x] = True


@njit(cache=True, nogil=True)
def _centre_of_core(core, y, x, step):  # type: ignore[no-untyped-def] # compiled
    """Middle row of the saturated run that ends at ``(y, x)``, and its middle column there."""
    end = y
    while 0 <= end + step < core.shape[0] and core[end + step, x]:
        end += step
    middle = (y + end) // 2
    left = right = x
    while core[middle, left - 1]:
        left -= 1
    while core[middle, right + 1]:
        right += 1
    return middle, (left + right) // 2


@njit(cache=True, nogil=True)
def _fainter(pixels, y, left, right):  # type: ignore[no-untyped-def] # compiled
    """Light of the fainter of two pixels of a row; none where neither is known."""
    found = np.float32(np.inf)
    for x in (left, right):
        if 0 <= x < pixels.shape[1] and np.isfinite(pixels[y, x]):
            found = min(found, pixels[y, x])
    return found if np.isfinite(found) else np.float32(0.0)


@njit(cache=True, nogil=True)
def _beside(pixels, core, y, x):  # type: ignore[no-untyped-def] # compiled
    """Light on the fainter side: the mean of its good pixels, never below the sky."""
    faintest = np.float32(np.inf)
    for side in (-1, 1):
        total, count = np.float32(0.0), 0
        for distance in range(_NEAR, _FAR + 1):
            value = pixels[y, x + side * distance]
            if np.isfinite(value) and not core[y, x + side * distance]:
                total += value
                count += 1
        if count > 0:
            faintest = min(faintest, total / count)
    return max(faintest, np.float32(0.0)) if np.isfinite(faintest) else np.float32(0.0)
