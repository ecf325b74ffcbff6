"""How much more light one image has of the same sources than another, from their stars."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numba import njit
from numpy.typing import NDArray

from firstlight.algorithms.median_deviation import MAD_TO_SIGMA
from firstlight.algorithms.resampling.image_pair import AlignedImage, PsfGrid
from firstlight.algorithms.subtraction.tile_kernels import fast_length

__all__ = ["FluxRatio", "bright_sources", "measure_ratio"]

Floats = NDArray[np.float64]
Plane = NDArray[np.float32]

_BRIGHT = 20.0  # highest pixel of a star over the noise of the sky, at least
_STEP = 13  # every so many pixels are looked at for it
_MOST = 400
_FEWEST = 3
_FOR_SLOPES = 40  # stars, for a ratio that changes over the image
_FLOOR = 0.003  # relative one-sigma error of a star's ratio, however bright: no star rules alone
_CLIP = 4.0
_TURNS = 5
_INNER = 4  # pixels around a star whose light is compared


@dataclass(frozen=True)
class FluxRatio:
    """Light in the new image over that in the reference.

    Attributes
    ----------
    terms
        Ratio in the middle, and its change to the right and upper border; one or three.
    error
        One sigma of the ratio in the middle; infinite where there were no stars.
    shape
        Of the images, ``(ny, nx)``.
    stars
        How many it rests on.
    """

    terms: tuple[float, ...]
    error: float
    shape: tuple[int, int]
    stars: int

    def at(self, x: float, y: float) -> float:
        """The ratio at a place."""
        u, v = _scaled(np.array([x]), np.array([y]), self.shape)
        return float(np.array([1.0, u[0], v[0]])[: len(self.terms)] @ np.array(self.terms))


def measure_ratio(
    new: AlignedImage, reference: AlignedImage, hidden: NDArray[np.uint8]
) -> FluxRatio:
    """Compare the light of the brightest stars and galaxies.

    Parameters
    ----------
    new, reference
        On the same pixels.
    hidden
        Not 0 where either has no value, ``(ny, nx)``.

    Returns
    -------
    With fewer than three sources a ratio of 1 and an infinite error.

    Notes
    -----
    Of everything that did not change ``P_r * N = ratio P_n * R`` holds pixel by pixel, whatever
    its shape. Each source's ratio is the slope of one against the other around its middle, with
    a constant for what is left of the sky; a plane is fitted to the ratios and stars that do not
    fit, such as variable ones, are left out.
    """
    x, y = bright_sources(new, reference, hidden, _MOST)
    if len(x) < _FEWEST:
        return FluxRatio((1.0,), float("inf"), new.shape, 0)
    slope, error = _slopes(new, reference, (x, y))
    return _plane(slope, error, _scaled(x, y, new.shape), new.shape)


def _scaled(x: Floats, y: Floats, shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """Places as -1 to 1 over an image."""
    ny, nx = shape
    return (2.0 * x + 1.0) / nx - 1.0, (2.0 * y + 1.0) / ny - 1.0


def bright_sources(
    new: AlignedImage, reference: AlignedImage, hidden: NDArray[np.uint8], most: int
) -> tuple[Floats, Floats]:
    """The brightest local maxima of the reference whose surroundings are all good.

    Parameters
    ----------
    new, reference
        On the same pixels.
    hidden
        Not 0 where either has no value, ``(ny, nx)``.
    most
        So many at most.

    Returns
    -------
    x and y, whole pixels, brightest first; so far from the border that stamps of the PSF are
    inside.
    """
    margin = reference.psfs.radius + _INNER
    net = np.s_[::_STEP, ::_STEP]
    sky = reference.variance[net][hidden[net] == 0]
    if not sky.size:
        return np.zeros(0), np.zeros(0)
    limit = _BRIGHT * float(np.sqrt(np.median(sky)))
    rows, columns = _maxima(reference.pixels, limit, hidden, margin)
    order = np.argsort(-reference.pixels[rows, columns], kind="stable")
    chosen: list[int] = []
    for n in order:
        j, i = rows[n], columns[n]
        around = np.s_[j - 2 * _INNER : j + 2 * _INNER + 1, i - 2 * _INNER : i + 2 * _INNER + 1]
        if not hidden[around].any() and new.pixels[j, i] > 0:
            chosen.append(int(n))
        if len(chosen) == most:
            break
    return columns[chosen].astype(np.float64), rows[chosen].astype(np.float64)


@njit(cache=True, nogil=True)
def _maxima(pixels, limit, lost, margin):  # type: ignore[no-untyped-def] # compiled
    ny, nx = pixels.shape
    rows, columns = [0], [0]
    rows.pop()
    columns.pop()
    least = np.float32(limit)
    for y in range(margin, ny - margin):
        for x in range(margin, nx - margin):
            value = pixels[y, x]
            if not value >= least or lost[y, x]:
                continue
            highest = True
            for j in range(y - 1, y + 2):
                for i in range(x - 1, x + 2):
                    if pixels[j, i] > value:
                        highest = False
            if highest:
                rows.append(y)
                columns.append(x)
    return np.array(rows), np.array(columns)


def _slopes(
    new: AlignedImage, reference: AlignedImage, stars: tuple[Floats, Floats]
) -> tuple[Floats, Floats]:
    """Ratio of each star and its one sigma ``(n,)``."""
    radius = max(new.psfs.radius, reference.psfs.radius)
    ours = _convolved(new, reference.psfs, stars, radius)
    theirs = _convolved(reference, new.psfs, stars, radius)
    ours -= ours.mean(axis=(1, 2), keepdims=True)
    theirs -= theirs.mean(axis=(1, 2), keepdims=True)
    power = np.square(theirs).sum(axis=(1, 2))
    slope = (ours * theirs).sum(axis=(1, 2)) / power
    rest = ours - slope[:, None, None] * theirs
    # What is left is smooth: its values are not independent of each other.
    alike = min(_smoothness(new.psfs, reference.psfs), ours[0].size / 4.0)
    error = np.sqrt(np.square(rest).mean(axis=(1, 2)) * alike / power)
    return slope, error


def _smoothness(*grids: PsfGrid) -> float:
    """Pixels that a PSF is spread over."""
    return float(sum(1.0 / np.square(grid.stamps[0, 0].astype(np.float64)).sum() for grid in grids))


def _convolved(
    image: AlignedImage, psfs: PsfGrid, stars: tuple[Floats, Floats], radius: int
) -> Floats:
    """Pixels around each star after convolution with the other image's PSF ``(n, k, k)``."""
    half = radius + _INNER
    size = fast_length(2 * half + 1)
    pieces = np.zeros((len(stars[0]), size, size), np.float32)
    kernels = np.zeros_like(pieces)
    own = psfs.radius
    for n, (x, y) in enumerate(zip(*stars, strict=True)):
        i, j = int(x), int(y)
        pieces[n, : 2 * half + 1, : 2 * half + 1] = image.pixels[
            j - half : j + half + 1, i - half : i + half + 1
        ]
        kernels[n, : 2 * own + 1, : 2 * own + 1] = psfs.at(x, y)
    product = scipy.fft.rfft2(pieces) * scipy.fft.rfft2(kernels)
    full = scipy.fft.irfft2(product, s=(size, size))
    # The middle of the star comes to lie where the middles of both stamps add up to.
    middle = half + own
    cut = slice(middle - _INNER, middle + _INNER + 1)
    if middle + _INNER >= size:
        full = np.roll(full, (-own, -own), axis=(1, 2))
        cut = slice(half - _INNER, half + _INNER + 1)
    return np.asarray(full[:, cut, cut], np.float64)


def _plane(
    slope: Floats, error: Floats, place: tuple[Floats, Floats], shape: tuple[int, int]
) -> FluxRatio:
    """Weighted least squares, without the stars that do not fit."""
    count = 3 if len(slope) >= _FOR_SLOPES else 1
    design = np.stack([np.ones(len(slope)), *place], axis=1)[:, :count]
    spread = np.hypot(error, _FLOOR * np.abs(slope))
    good = np.isfinite(slope) & np.isfinite(spread)
    middle = float(np.median(slope[good]))
    good &= np.abs(slope - middle) < 0.3 * abs(middle)
    terms = np.array([middle, 0.0, 0.0])[:count]
    covariance = np.full((count, count), np.inf)
    for _ in range(_TURNS):
        if good.sum() < max(_FEWEST, count):
            break
        loaded = design[good] / spread[good, None] ** 2
        covariance = np.linalg.inv(loaded.T @ design[good])
        terms = covariance @ (loaded.T @ slope[good])
        rest = (slope - design @ terms) / spread
        scale = max(1.0, MAD_TO_SIGMA * float(np.median(np.abs(rest[good]))))
        good = np.isfinite(rest) & (np.abs(rest) < _CLIP * scale)
    return FluxRatio(
        tuple(float(term) for term in terms),
        float(np.sqrt(covariance[0, 0])),
        shape,
        int(good.sum()),
    )
