"""Fluxes in circular apertures, their errors and local sky."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from firstlight.algorithms.flags import DTYPE, UNUSABLE, Flag
from firstlight.algorithms.order_statistics import median_in_place
from firstlight.errors import InvalidInput

__all__ = [
    "REPLACED",
    "ApertureFluxes",
    "aperture_fluxes",
]

_EDGE = int(Flag.EDGE)
_NO_DATA = int(Flag.NO_DATA)
# Pixels that are replaced before summing. Saturated cores have no better replacement than
# themselves: their sum is a lower limit, and flagged.
REPLACED = int(UNUSABLE & ~(Flag.SATURATED | Flag.BLEED))
_LARGEST_LOSS = 0.2  # of an aperture's area; beyond this a flux would be mostly a guess

# Clipping at 3 sigma takes 2 % off the scatter of a Gaussian and costs the mean 5 % of its error.
_CLIPPED_ERROR = 1.07


@dataclass(frozen=True, slots=True)
class ApertureFluxes:
    """Sums in circles; the first axis is the source, the second the radius.

    Attributes
    ----------
    radii
        Pixels, ascending.
    flux, error
        Unit of the image; NaN where the circle leaves the image or holds too few good pixels.
        Errors contain the pixels' variance and that of the local sky if one was subtracted.
    flags
        OR of the flags of the pixels in each circle, with EDGE where it leaves the image.
    masked
        Fraction of each circle's area that was masked (and replaced).
    sky, sky_error
        Local sky per pixel, and the error of that mean; 0 if no annulus was asked for.
    """

    radii: NDArray[np.float64]
    flux: NDArray[np.float64]
    error: NDArray[np.float64]
    flags: NDArray[np.uint16]
    masked: NDArray[np.float32]
    sky: NDArray[np.float64]
    sky_error: NDArray[np.float64]


def aperture_fluxes(
    data: NDArray[np.float32],
    x: ArrayLike,
    y: ArrayLike,
    radii: ArrayLike,
    *,
    variance: NDArray[np.float32] | float = 0.0,
    flags: NDArray[np.uint16] | None = None,
    annulus: tuple[float, float] | None = None,
) -> ApertureFluxes:
    """Sum the image in circles of several radii around given positions.

    The overlap of pixel and circle is exact. A masked pixel takes the value of the pixel
    opposite the centre if that one is good, else the mean of the circle's good pixels.

    Parameters
    ----------
    data
        Sky-subtracted image ``(ny, nx)``, unless `annulus` is given.
    x, y
        Centres, pixels, 0-based. They need not be sources (forced photometry); positions that
        are not finite give NaN.
    radii
        Pixels; sorted in the result.
    variance
        Of each pixel: a plane or one number.
    flags
        Flags plane; the bits of `REPLACED` mask a pixel.
    annulus
        Inner and outer radius (pixels) of a ring whose clipped mean is subtracted.

    Raises
    ------
    InvalidInput
        A radius that is not positive, or an annulus turned inside out.
    """
    centres = np.stack([np.atleast_1d(np.asarray(v, dtype=np.float64)) for v in (x, y)], axis=1)
    circles = np.sort(np.atleast_1d(np.asarray(radii, dtype=np.float64)))
    if circles.size == 0 or not circles[0] > 0:
        raise InvalidInput("An aperture needs a positive radius.", field="radii", found=circles)
    if annulus is not None and not 0 <= annulus[0] < annulus[1]:
        raise InvalidInput("The annulus has no area.", field="annulus", found=annulus)
    image = np.ascontiguousarray(data, dtype=np.float32)
    noise = np.atleast_2d(np.asarray(variance, dtype=np.float32))
    plane = np.zeros((1, 1), dtype=DTYPE) if flags is None else np.ascontiguousarray(flags, DTYPE)
    noise = np.ascontiguousarray(noise)
    n, m = centres.shape[0], circles.size
    sky = np.zeros((n, 2))
    if annulus is not None:
        _ring_sky(image, plane, centres, (float(annulus[0]), float(annulus[1])), sky)
    sums = np.zeros((n, m, 4))  # value, variance, good area, masked area
    bits = np.zeros((n, m), dtype=DTYPE)
    _sum_circles((image, noise, plane), centres, circles, sky, sums, bits)
    whole = sums[:, :, 2] + sums[:, :, 3]
    lost = np.divide(sums[:, :, 3], whole, out=np.zeros((n, m)), where=whole > 0)
    usable = ((bits & _EDGE) == 0) & (lost <= _LARGEST_LOSS) & np.isfinite(sky[:, :1])
    stretch = 1.0 / np.where(usable, 1.0 - lost, 1.0)
    flux = np.where(usable, sums[:, :, 0] * stretch, np.nan)
    spread = sums[:, :, 1] * stretch**2 + (whole * sky[:, 1:]) ** 2
    error = np.where(usable, np.sqrt(np.where(usable, spread, 0.0)), np.nan)
    masked = np.where(usable, lost, 1.0).astype(np.float32)
    return ApertureFluxes(circles, flux, error, bits, masked, sky[:, 0], sky[:, 1])


@njit(cache=True, nogil=True, error_model="numpy")
def _quarter_overlap(x0, y0, x1, y1, radius):  # type: ignore[no-untyped-def] # compiled
    """Area of a rectangle in the first quadrant that lies in a circle around the origin."""
    if x1 <= x0 or y1 <= y0 or x0 * x0 + y0 * y0 >= radius * radius:
        return 0.0
    r2 = radius * radius
    # The circle leaves through the top at `start` and through the bottom at `end`.
    start = np.sqrt(r2 - y1 * y1) if y1 < radius else 0.0
    end = min(max(np.sqrt(r2 - y0 * y0), x0), x1)
    start = min(max(start, x0), x1)
    left, right = np.sqrt(max(r2 - start * start, 0.0)), np.sqrt(max(r2 - end * end, 0.0))
    under = 0.5 * (end - start) * (left + right) - y0 * (end - start)
    # Between chord and arc: r^2 (asin s - s sqrt(1 - s^2)); its series is much cheaper.
    s2 = ((end - start) ** 2 + (left - right) ** 2) / (4.0 * r2)
    s1 = np.sqrt(s2)
    if s2 < 0.09:
        bulge = s1 * s2 * (2 / 3 + s2 * (1 / 5 + s2 * (3 / 28 + s2 * 5 / 72)))
    else:
        bulge = np.arcsin(min(s1, 1.0)) - s1 * np.sqrt(max(1.0 - s2, 0.0))
    return (start - x0) * (y1 - y0) + under + r2 * bulge


@njit(cache=True, nogil=True, error_model="numpy")
def _overlap(dx, dy, radius):  # type: ignore[no-untyped-def] # compiled
    """Area of the unit pixel centred at (dx, dy) that lies in a circle around the origin."""
    x0, y0 = abs(dx) - 0.5, abs(dy) - 0.5
    x1, y1 = x0 + 1.0, y0 + 1.0
    # A pixel across an axis is folded: its two parts are each in the first quadrant.
    area = _quarter_overlap(max(x0, 0.0), max(y0, 0.0), x1, y1, radius)
    if x0 < 0.0:
        area += _quarter_overlap(0.0, max(y0, 0.0), -x0, y1, radius)
    if y0 < 0.0:
        area += _quarter_overlap(max(x0, 0.0), 0.0, x1, -y0, radius)
        if x0 < 0.0:
            area += _quarter_overlap(0.0, 0.0, -x0, -y0, radius)
    return area


@njit(cache=True, nogil=True, error_model="numpy")
def _usable(image, noise, flags, i, j):  # type: ignore[no-untyped-def] # compiled
    if i < 0 or j < 0 or i >= image.shape[1] or j >= image.shape[0]:
        return False
    if flags.shape[0] > 1 and (flags[j, i] & REPLACED) != 0:
        return False
    spread = noise[j, i] if noise.size > 1 else noise[0, 0]
    return bool(np.isfinite(image[j, i]) and np.isfinite(spread))


@njit(cache=True, nogil=True, error_model="numpy")
def _add_pixel(offset, radii, pixel, bit, partial, whole, bits):  # type: ignore[no-untyped-def] # compiled
    """Add one pixel to each circle whose rim it touches and, whole, to the next larger one.

    Summing whole pixels over ascending radii afterwards spares a loop over all the circles.
    """
    dx, dy = offset
    value, spread, column = pixel
    distance = np.sqrt(dx * dx + dy * dy)
    k = 0
    while k < radii.size and distance - 0.7072 >= radii[k]:
        k += 1
    while k < radii.size and distance + 0.7072 > radii[k]:
        weight = _overlap(dx, dy, radii[k])
        partial[k, 0] += weight * value
        partial[k, 1] += weight * weight * spread
        partial[k, column] += weight
        if weight > 0.0:
            bits[k] |= bit
        k += 1
    if k < radii.size:
        whole[k, 0] += value
        whole[k, 1] += spread
        whole[k, column] += 1.0
        bits[k] |= bit


@njit(cache=True, nogil=True, error_model="numpy")
def _sum_circles(planes, centres, radii, sky, sums, bits):  # type: ignore[no-untyped-def] # compiled
    image, noise, flags = planes
    ny, nx = image.shape
    reach = radii[-1]
    # Of the smallest circle, where pixels are whole.
    inner = max(radii[0] - 0.7072, 0.0) ** 2
    whole = np.zeros((radii.size, 4))
    for s in range(centres.shape[0]):
        x, y = centres[s]
        for k in range(radii.size):
            r = radii[k]
            # Written so that a position that is not a number counts as outside.
            if not (x - r >= -0.5 and y - r >= -0.5 and x + r <= nx - 0.5 and y + r <= ny - 0.5):
                bits[s, k] |= _EDGE
        if not (x > -0.5 and x < nx - 0.5 and y > -0.5 and y < ny - 0.5):
            continue
        whole[:] = 0.0
        part, own_bits, level = sums[s], bits[s], sky[s, 0]
        for j in range(max(int(y - reach), 0), min(int(y + reach) + 2, ny)):
            for i in range(max(int(x - reach), 0), min(int(x + reach) + 2, nx)):
                dx, dy = i - x, j - y
                squared = dx * dx + dy * dy
                if squared >= (reach + 0.7072) ** 2:
                    continue
                bit = flags[j, i] if flags.shape[0] > 1 else np.uint16(0)
                ii, jj = i, j
                ok = _usable(image, noise, flags, i, j)
                if not ok:
                    ii, jj = int(np.rint(2 * x - i)), int(np.rint(2 * y - j))
                    ok = _usable(image, noise, flags, ii, jj)
                pixel = (0.0, 0.0, 3)
                if ok:
                    spread = noise[jj, ii] if noise.size > 1 else noise[0, 0]
                    pixel = (image[jj, ii] - level, float(spread), 2)
                if squared < inner:
                    whole[0, 0] += pixel[0]
                    whole[0, 1] += pixel[1]
                    whole[0, pixel[2]] += 1.0
                    own_bits[0] |= bit
                    continue
                _add_pixel((dx, dy), radii, pixel, bit, part, whole, own_bits)
        for k in range(1, radii.size):
            whole[k] += whole[k - 1]
            bits[s, k] |= bits[s, k - 1]
        sums[s] += whole


@njit(cache=True, nogil=True, error_model="numpy")
def _ring_sky(image, flags, centres, annulus, sky):  # type: ignore[no-untyped-def] # compiled
    """Clipped mean and its error of the pixels whose centres lie in the ring; NaN if too few."""
    ny, nx = image.shape
    inner, outer = annulus
    side = 2 * int(outer) + 4
    values = np.empty(side * side, dtype=np.float32)
    deviations = np.empty(side * side, dtype=np.float32)
    for s in range(centres.shape[0]):
        x, y = centres[s]
        sky[s] = np.nan
        if not (x > -outer and x < nx + outer and y > -outer and y < ny + outer):
            continue
        count = 0
        for j in range(max(int(y - outer), 0), min(int(y + outer) + 2, ny)):
            for i in range(max(int(x - outer), 0), min(int(x + outer) + 2, nx)):
                distance2 = (i - x) ** 2 + (j - y) ** 2
                masked = flags.shape[0] > 1 and (flags[j, i] & REPLACED) != 0
                inside = distance2 >= inner * inner and distance2 < outer * outer
                if inside and not masked and np.isfinite(image[j, i]):
                    values[count] = image[j, i]
                    count += 1
        if count < 8:
            continue
        centre = median_in_place(values, count)
        for _ in range(3):
            for k in range(count):
                deviations[k] = abs(values[k] - centre)
            limit = 3.0 * 1.4826 * median_in_place(deviations, count)
            kept, total, square = 0, 0.0, 0.0
            for k in range(count):
                if abs(values[k] - centre) <= limit:
                    kept += 1
                    total += values[k] - centre
                    square += (values[k] - centre) ** 2
            shift = total / kept
            centre += shift
        sky[s, 0] = centre
        sky[s, 1] = _CLIPPED_ERROR * np.sqrt(max(square / kept - shift * shift, 0.0) / kept)
