"""Pixels of the detector that are always too bright or too dark."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, median_filter
from scipy.special import erf

from firstlight.algorithms.sources.moments import FWHM_OF_SIGMA
from firstlight.errors import InvalidInput

__all__ = [
    "StaticPattern",
    "dead_pixels_from_flat",
    "hot_pixels_from_dark",
    "hot_pixels_from_frame",
    "hot_pixels_from_sequence",
]

_REACH = 3  # pixels to each side that are the surroundings in a flat
_RING = np.ones((3, 3), dtype=bool)
_RING[1, 1] = False
_MOST = 4.0  # sigma that one frame may add to the mean: a passing star counts no more
_LEAST_SHARE = 0.6  # of the frames in which a hot pixel stands out at all


@dataclass(frozen=True, slots=True)
class StaticPattern:
    """What stays with the detector while the sky moves.

    Attributes
    ----------
    hot, cold
        True where a pixel is above or below its neighbours throughout.
    contrast
        Mean of each pixel above the median of its neighbours, in sigma of one frame, each frame
        limited to 4 sigma.
    frames
        How many were used.
    """

    hot: NDArray[np.bool_]
    cold: NDArray[np.bool_]
    contrast: NDArray[np.float32]
    frames: int


def hot_pixels_from_dark(dark: NDArray[np.floating], threshold: float = 8.0) -> NDArray[np.bool_]:
    """Flag pixels of a master dark that stand out by `threshold` sigma from their surroundings."""
    contrast = _above_neighbours(np.asarray(dark, dtype=np.float32))
    return np.asarray(contrast > threshold * _scatter(contrast), dtype=np.bool_)


def dead_pixels_from_flat(
    flat: NDArray[np.floating], low: float = 0.6, high: float = 1.4
) -> NDArray[np.bool_]:
    """Flag pixels whose response is below `low` or above `high` times that of their surroundings.

    Pixels that are not finite, or without response around them, are flagged too.
    """
    image = np.asarray(flat, dtype=np.float32)
    clean = np.where(np.isfinite(image), image, np.float32(0.0))
    around = np.pad(clean, _REACH, mode="symmetric")
    return np.asarray(_unlike_median(clean, around, np.float32(low), np.float32(high)))


def hot_pixels_from_frame(
    data: NDArray[np.floating], fwhm: float, threshold: float = 6.0
) -> NDArray[np.bool_]:
    """Flag single pixels that are sharper than any star of that width, in one frame.

    A cosmic ray of one pixel looks the same; only a dark or a sequence tells them apart.

    Parameters
    ----------
    data
        ``(ny, nx)``, with or without sky.
    fwhm
        Of the stars as measured, pixels.
    threshold
        In sigma of the contrast.
    """
    image = np.asarray(data, dtype=np.float32)
    contrast = _above_neighbours(image)
    sigma = _scatter(contrast)
    sky = median_filter(image[::4, ::4], 9, mode="reflect")
    level = np.repeat(np.repeat(sky, 4, axis=0), 4, axis=1)[: image.shape[0], : image.shape[1]]
    neighbour = maximum_filter(image - level, footprint=_RING, mode="reflect")
    limit = 1.5 * _peak_over_neighbour(fwhm)
    # The noise of the neighbour is taken to be in the star's favour.
    sharp = (image - level) > limit * np.maximum(neighbour, 2.0 * sigma)
    return np.asarray(sharp & (contrast > threshold * sigma), dtype=np.bool_)


def hot_pixels_from_sequence(
    frames: Iterable[NDArray[np.generic]], threshold: float = 6.0
) -> StaticPattern:
    """Find the static pattern in raw frames of a field that drifts over the detector.

    Each frame adds its contrast (pixel less the median of its eight neighbours, in sigma) to one
    running sum and one count, so any number of frames needs three planes of memory. A star adds
    at most 4 sigma while it passes; it must stay less than a third of the frames on a pixel.

    Parameters
    ----------
    frames
        Of one shape and one exposure time, read one after the other. At least five.
    threshold
        In sigma of the mean of all frames.

    Raises
    ------
    InvalidInput
        Fewer than five frames, or frames of different shapes.
    """
    total: NDArray[np.float32] | None = None
    above = below = np.zeros((0, 0), dtype=np.int32)
    count = 0
    for frame in frames:
        image = np.asarray(frame, dtype=np.float32)
        if total is None:
            total = np.zeros(image.shape, dtype=np.float32)
            above, below = np.zeros(image.shape, np.int32), np.zeros(image.shape, np.int32)
        if image.shape != total.shape:
            raise InvalidInput(
                "Frames of a sequence differ in shape.", found=image.shape, expected=total.shape
            )
        contrast = _above_neighbours(image)
        contrast /= _scatter(contrast)
        above += contrast > 0.5
        below += contrast < -0.5
        total += np.clip(contrast, -_MOST, _MOST)
        count += 1
    if total is None or count < 5:
        raise InvalidInput("A static pattern needs five frames.", found=count, expected=">= 5")
    mean = total / np.float32(count)
    # Fixed-pattern noise adds to 1/sqrt(N), so the scatter is measured, not assumed.
    limit = threshold * max(_scatter(mean), 1.0 / np.sqrt(count))
    hot = (mean > limit) & (above >= _LEAST_SHARE * count)
    cold = (mean < -limit) & (below >= _LEAST_SHARE * count)
    return StaticPattern(hot, cold, mean, count)


def _above_neighbours(image: NDArray[np.float32]) -> NDArray[np.float32]:
    clean = np.where(np.isfinite(image), image, np.float32(np.nanmedian(image)))
    return np.asarray(clean - median_filter(clean, footprint=_RING, mode="reflect"))


@njit(cache=True)
def _unlike_median(image, around, low, high):  # type: ignore[no-untyped-def] # compiled
    """Whether pixels are outside of `low` to `high` times the median of their surroundings.

    A median is at most a value where half of its numbers are, so these need only be counted.
    """
    ny, nx = image.shape
    width = around.shape[0] - ny + 1
    half = width * width // 2 + 1
    unlike = np.ones(image.shape, np.bool_)
    for y in range(ny):
        for x in range(nx):
            value = image[y, x]
            if value <= 0.0:
                continue
            most, least = value / low, value / high
            below, above = 0, 0
            for j in range(width):
                for i in range(width):
                    other = around[y + j, x + i]
                    below += other <= most
                    above += other >= least
            unlike[y, x] = below < half or above < half
    return unlike


def _scatter(contrast: NDArray[np.float32]) -> float:
    """Robust sigma of a plane, from a part of its pixels."""
    step = max(1, int(np.sqrt(contrast.size / 200_000)))
    sample = contrast[::step, ::step]
    low, high = np.percentile(sample, [15.866, 84.134])
    # Whole counts may all agree.
    return max(float(high - low) / 2, 1e-6)


def _peak_over_neighbour(fwhm: float) -> float:
    """Largest ratio of the brightest pixel of a star to its brightest neighbour."""
    # A measured width holds that of the pixel.
    sigma = np.sqrt(max((fwhm / FWHM_OF_SIGMA) ** 2 - 1 / 12, 0.3**2))
    edges = np.array([-0.5, 0.5, 1.5]) / sigma / np.sqrt(2)
    centre, side = np.diff(erf(edges))
    return float(centre / side)
