"""Cosmic rays in a single exposure, by the sharpness of their edges.

The criterion is that of L.A.Cosmic (van Dokkum 2001, PASP 113, 1420): the clipped Laplacian of
the image sampled twice as finely, in units of the noise and freed of what is smooth, must be
significant and larger than the fine structure a star could have. Only the cheap Laplacian is
computed everywhere. Since its median is never negative, a pixel that fails the threshold there
cannot pass it later, so all medians are taken at the few candidates alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation
from scipy.special import erf

from firstlight.algorithms.aperture import REPLACED
from firstlight.algorithms.flags import Flag
from firstlight.algorithms.moments import FWHM_OF_SIGMA
from firstlight.algorithms.order_statistics import median_in_place
from firstlight.errors import InvalidInput

__all__ = ["CosmicRays", "find_cosmic_rays", "star_contrast"]

_BORDER = 5  # pixels; the widest neighbourhood of the criterion
# Stars are sharper than the median in some part of a field, and in their core than a Gaussian.
_SHARPEST = 0.85
_CONTRAST_MARGIN = 1.3


@dataclass(frozen=True, slots=True)
class CosmicRays:
    """Pixels hit by cosmic rays.

    Attributes
    ----------
    mask
        True where hit, ``(ny, nx)``.
    cleaned
        The image with hit pixels replaced by the median of good neighbours.
    contrast
        The limit on contrast that was used.
    iterations
        How many were run; the last found nothing, unless the allowed number was reached.
    """

    mask: NDArray[np.bool_]
    cleaned: NDArray[np.float32]
    contrast: float
    iterations: int


def find_cosmic_rays(
    data: NDArray[np.floating],
    variance: NDArray[np.floating],
    flags: NDArray[np.uint16] | None = None,
    *,
    fwhm: float | None = None,
    threshold: float = 4.5,
    fraction: float = 0.35,
    contrast: float | None = None,
    iterations: int = 4,
) -> CosmicRays:
    """Find cosmic rays in an image, with or without its sky.

    Parameters
    ----------
    data
        Electrons ``(ny, nx)``.
    variance
        Electrons squared. A hit raises its own variance; the median of its neighbours is used.
    flags
        Flags plane. Unusable pixels are bridged and never flagged; neither is anything within
        two pixels of a saturated one.
    fwhm
        Of stars as measured (`detect.Detection.fwhm`), pixels, along their narrow axis. It sets
        the contrast that a star may have: needed to spare the cores of undersampled stars.
    threshold
        In sigma, for the pixel that starts a hit.
    fraction
        Of the threshold, for its neighbours.
    contrast
        Least ratio of Laplacian to fine structure; by default 2.5 with a known `fwhm`, else 5, and
        never below what a star of that FWHM can reach.
    iterations
        At most so many; later ones look only around the hits of the one before.

    Raises
    ------
    InvalidInput
        The planes do not fit.
    """
    image = np.array(data, dtype=np.float32, order="C")
    noise = np.ascontiguousarray(variance, dtype=np.float32)
    for name, plane in (("variance", noise), ("flags", flags)):
        if plane is not None and plane.shape != image.shape:
            raise InvalidInput(
                "The planes do not fit.", field=name, found=plane.shape, expected=image.shape
            )
    limit = contrast if contrast is not None else (5.0 if fwhm is None else 2.5)
    if fwhm is not None:
        limit = max(limit, _CONTRAST_MARGIN * star_contrast(_SHARPEST * fwhm))
    if min(image.shape) <= _BORDER:
        return CosmicRays(np.zeros(image.shape, dtype=np.bool_), image, limit, 0)
    # Mirrored borders spare every neighbourhood a test for the edge.
    image, noise = (np.pad(plane, _BORDER, mode="reflect") for plane in (image, noise))
    if flags is not None:
        flags = np.pad(flags, _BORDER, mode="reflect")
    closed = _closed(image, noise, flags)
    if closed.any():
        _fill(image, closed, np.argwhere(closed))
    closed |= _near_saturated(flags, image.shape)
    settings = (float(threshold), float(threshold * fraction), float(limit))
    mask, done = _iterate(image, noise, closed, settings, iterations)
    inner = np.s_[_BORDER:-_BORDER, _BORDER:-_BORDER]
    return CosmicRays(mask[inner].copy(), image[inner].copy(), limit, done)


def _iterate(
    image: NDArray[np.float32],
    noise: NDArray[np.float32],
    closed: NDArray[np.bool_],
    settings: tuple[float, float, float],
    iterations: int,
) -> tuple[NDArray[np.bool_], int]:
    """Find, clean in place, and look again around what was cleaned."""
    mask = np.zeros(image.shape, dtype=np.bool_)
    candidates = _screen(image, noise, closed, settings[0])
    done = 0
    while done < iterations and len(candidates):
        done += 1
        fresh = _judge(image, noise, closed, mask, candidates, settings)
        if not len(fresh):
            break
        mask[fresh[:, 0], fresh[:, 1]] = True
        _fill(image, mask | closed, fresh)
        candidates = _around(fresh, image.shape)
    # The first fillings still saw hits that were found after them.
    _fill(image, mask | closed, np.argwhere(mask))
    return mask, done


def star_contrast(fwhm: float) -> float:
    """Largest ratio of Laplacian to fine structure of a noiseless star, over all its phases.

    `fwhm` is as measured, so it holds the width of a pixel, which is taken out first.
    """
    sigma = np.sqrt(max((fwhm / FWHM_OF_SIGMA) ** 2 - 1 / 12, 0.3**2))
    half = 9
    grid = np.arange(-half, half + 1)
    edges = np.append(grid - 0.5, half + 0.5)
    largest = 0.0
    unit = np.ones((2 * half + 1, 2 * half + 1), dtype=np.float32)
    for dy in np.linspace(0, 0.5, 6):
        for dx in np.linspace(0, dy, 3):
            profiles = [np.diff(erf((edges - d) / sigma / np.sqrt(2))) for d in (dy, dx)]
            star = (1e4 * np.outer(*profiles)).astype(np.float32)
            for j, i in ((0, 0), (0, 1), (1, 0), (1, 1)):
                sharp, fine, _ = _criterion(star, unit, half + j, half + i)
                # Faint pixels of the wings are below any threshold.
                if star[half + j, half + i] > 0.2 * star.max():
                    largest = max(largest, sharp / max(fine, 0.01))
    return largest


def _closed(
    image: NDArray[np.float32], noise: NDArray[np.float32], flags: NDArray[np.uint16] | None
) -> NDArray[np.bool_]:
    closed = ~(np.isfinite(image) & np.isfinite(noise) & (noise > 0))
    if flags is not None:
        closed |= (flags & REPLACED) != 0
    return closed


def _near_saturated(flags: NDArray[np.uint16] | None, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    if flags is None:
        return np.zeros(shape, dtype=np.bool_)
    saturated = (flags & int(Flag.SATURATED | Flag.BLEED)) != 0
    if saturated.any():
        saturated = binary_dilation(saturated, structure=np.ones((5, 5), dtype=np.bool_))
    return np.asarray(saturated, dtype=np.bool_)


def _around(
    positions: NDArray[np.intp], shape: tuple[int, ...], radius: int = 2
) -> NDArray[np.intp]:
    """Every pixel within `radius` rows and columns of the positions, once."""
    steps = np.arange(-radius, radius + 1)
    rows = (positions[:, 0, None, None] + steps[:, None]).repeat(steps.size, axis=2)
    columns = (positions[:, 1, None, None] + steps[None, :]).repeat(steps.size, axis=1)
    inside = (rows >= _BORDER) & (rows < shape[0] - _BORDER)
    inside &= (columns >= _BORDER) & (columns < shape[1] - _BORDER)
    index = np.unique(rows[inside] * shape[1] + columns[inside])
    return np.stack(np.divmod(index, shape[1]), axis=1)


@njit(cache=True, nogil=True)
def _laplacian(image, y, x):  # type: ignore[no-untyped-def] # compiled
    """Mean over the pixel's four quarters of the clipped Laplacian of the finer image."""
    two, zero = image[y, x] + image[y, x], np.float32(0.0)
    up, down, left, right = image[y - 1, x], image[y + 1, x], image[y, x - 1], image[y, x + 1]
    total = max(two - up - left, zero) + max(two - up - right, zero)
    total += max(two - down - left, zero) + max(two - down - right, zero)
    return np.float32(0.25) * total


@njit(cache=True, nogil=True)
def _screen(image, noise, closed, threshold):  # type: ignore[no-untyped-def] # compiled
    """Pixels whose Laplacian could be significant, with a margin for their own Poisson noise."""
    ny, nx = image.shape
    found = np.empty((ny * nx // 4 + 1, 2), dtype=np.int64)
    count = 0
    t2 = np.float32(threshold * threshold)
    score = np.empty(nx, dtype=np.float32)
    for y in range(_BORDER, ny - _BORDER):
        for x in range(_BORDER, nx - _BORDER):
            half = np.float32(0.5) * _laplacian(image, y, x)
            # The hit's own charge may be part of the variance: take most of it out.
            score[x] = half * half + t2 * (half - np.float32(0.8) * noise[y, x])
        for x in range(_BORDER, nx - _BORDER):
            if score[x] > 0 and not closed[y, x] and count < found.shape[0]:
                found[count, 0], found[count, 1] = y, x
                count += 1
    return found[:count].copy()


@njit(cache=True, nogil=True)
def _median3(a, b, c):  # type: ignore[no-untyped-def] # compiled
    return max(min(a, b), min(max(a, b), c))


@njit(cache=True, nogil=True)
def _smooth3(image, y, x):  # type: ignore[no-untyped-def] # compiled
    """Median of the medians of three rows of three."""
    above = _median3(image[y - 1, x - 1], image[y - 1, x], image[y - 1, x + 1])
    here = _median3(image[y, x - 1], image[y, x], image[y, x + 1])
    below = _median3(image[y + 1, x - 1], image[y + 1, x], image[y + 1, x + 1])
    return _median3(above, here, below)


@njit(cache=True, nogil=True)
def _typical_noise(noise, y, x, values):  # type: ignore[no-untyped-def] # compiled
    count = 0
    for j in range(y - 1, y + 2):
        for i in range(x - 1, x + 2):
            if np.isfinite(noise[j, i]) and noise[j, i] > 0:
                values[count] = noise[j, i]
                count += 1
    return np.sqrt(median_in_place(values, count)) if count else np.float32(np.inf)


@njit(cache=True, nogil=True)
def _criterion(image, noise, y, x):  # type: ignore[no-untyped-def] # compiled
    """Laplacian without its smooth part, fine structure (both in sigma), and the sigma."""
    values, rows = np.empty(25, dtype=np.float32), np.empty(7, dtype=np.float32)
    sigma = _typical_noise(noise, y, x, values)
    own = _laplacian(image, y, x) / (2 * sigma)
    for j in range(5):
        for i in range(5):
            values[i] = _laplacian(image, y + j - 2, x + i - 2)
        rows[j] = median_in_place(values, 5)
    sharp = own - median_in_place(rows, 5) / (2 * sigma)
    for j in range(7):
        for i in range(7):
            values[i] = _smooth3(image, y + j - 3, x + i - 3)
        rows[j] = median_in_place(values, 7)
    fine = (_smooth3(image, y, x) - median_in_place(rows, 7)) / sigma
    return sharp, fine, sigma


@njit(cache=True, nogil=True)
def _judge(image, noise, closed, mask, candidates, settings):  # type: ignore[no-untyped-def] # compiled
    """Mark candidates that pass, then their significant neighbours, twice."""
    threshold, low, contrast = settings
    ny, nx = image.shape
    hits = np.zeros((ny, nx), dtype=np.bool_)
    values = np.empty(25, dtype=np.float32)
    found = np.empty((candidates.shape[0] * 25 + 1, 2), dtype=np.int64)
    count = 0
    for k in range(candidates.shape[0]):
        y, x = candidates[k]
        if closed[y, x] or mask[y, x]:
            continue
        if _laplacian(image, y, x) <= 2 * threshold * _typical_noise(noise, y, x, values):
            continue
        sharp, fine, _ = _criterion(image, noise, y, x)
        if sharp > threshold and sharp > contrast * max(fine, 0.01):
            hits[y, x] = True
            found[count, 0], found[count, 1] = y, x
            count += 1
    for limit in (threshold, low):
        for k in range(count):
            for j in range(max(found[k, 0] - 1, _BORDER), min(found[k, 0] + 2, ny - _BORDER)):
                for i in range(max(found[k, 1] - 1, _BORDER), min(found[k, 1] + 2, nx - _BORDER)):
                    if hits[j, i] or closed[j, i] or mask[j, i]:
                        continue
                    if _criterion(image, noise, j, i)[0] > limit and count < found.shape[0]:
                        hits[j, i] = True
                        found[count, 0], found[count, 1] = j, i
                        count += 1
    return found[:count].copy()


@njit(cache=True, nogil=True)
def _fill(image, hidden, positions):  # type: ignore[no-untyped-def] # compiled
    """Replace pixels by the median of the good ones in a box that grows until it has some."""
    ny, nx = image.shape
    values = np.empty(15 * 15, dtype=np.float32)
    filled = np.empty(positions.shape[0], dtype=np.float32)
    for k in range(positions.shape[0]):
        y, x = positions[k]
        filled[k] = np.float32(0.0)
        for reach in range(2, 8):
            count = 0
            for j in range(max(y - reach, 0), min(y + reach + 1, ny)):
                for i in range(max(x - reach, 0), min(x + reach + 1, nx)):
                    if not hidden[j, i]:
                        values[count] = image[j, i]
                        count += 1
            if count >= 5:
                filled[k] = median_in_place(values, count)
                break
    for k in range(positions.shape[0]):
        image[positions[k, 0], positions[k, 1]] = filled[k]
