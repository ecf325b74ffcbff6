"""Single-colour images from detectors with a colour filter on each pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve, convolve1d

from firstlight.algorithms.detector.calibrate import CalibratedImage
from firstlight.algorithms.detector.growth import grown
from firstlight.algorithms.flags import Flag
from firstlight.errors import InvalidInput

__all__ = [
    "Demosaiced",
    "colour_of_pixels",
    "green_interpolated",
    "luminance",
    "without_checkerboard",
]

_PATTERNS = ("RGGB", "BGGR", "GRBG", "GBRG")
_CROSS = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], dtype=np.float32) / 4


@dataclass(frozen=True, slots=True)
class Demosaiced:
    """An image without colour checkerboard.

    Attributes
    ----------
    data, variance
        ``(ny, nx)``, float32; the variance is that of single pixels.
    correlation
        Neighbours share noise: the variance of a sum over an area much larger than a pixel is
        this times the sum of `variance`. Detection with `detect.find_sources` measures it anew.
    """

    data: NDArray[np.float32]
    variance: NDArray[np.float32]
    correlation: float


def colour_of_pixels(shape: tuple[int, int], pattern: str) -> NDArray[np.str_]:
    """Letter R, G or B of each pixel; `pattern` names the first two rows' first two pixels."""
    letters = np.array(list(_checked(pattern))).reshape(2, 2)
    rows, columns = np.arange(shape[0]) % 2, np.arange(shape[1]) % 2
    return letters[rows[:, None], columns[None, :]]


def green_interpolated(
    data: NDArray[np.floating], variance: NDArray[np.floating], pattern: str
) -> Demosaiced:
    """Green pixels as they are; red and blue ones become the mean of their four green neighbours.

    Parameters
    ----------
    data, variance
        Mosaic ``(ny, nx)`` in electrons; no mask: fill bad pixels first.
    pattern
        RGGB, BGGR, GRBG or GBRG, from pixel (0, 0).
    """
    image, noise = (np.asarray(plane, dtype=np.float32) for plane in (data, variance))
    green = colour_of_pixels((image.shape[0], image.shape[1]), pattern) == "G"
    filled = np.where(green, image, convolve(image, _CROSS, mode="mirror"))
    spread = np.where(green, noise, convolve(noise, _CROSS / 4, mode="mirror"))
    # A green pixel counts once and four quarters: two of each block, (2 * 4) / (2 + 2 / 4).
    return Demosaiced(filled, spread, 3.2)


def luminance(data: NDArray[np.floating], variance: NDArray[np.floating]) -> Demosaiced:
    """Smooth with (1, 2, 1) / 4 in x and y: a quarter red, a half green, a quarter blue.

    Each of the four parities has the same total weight at every pixel, so a source of any colour
    leaves no checkerboard, for any pattern; the sum of the image is kept. It widens stars by half
    a squared pixel in variance, and uses all the light, which makes it the image to detect on.

    Parameters
    ----------
    data, variance
        Mosaic ``(ny, nx)`` in electrons; no mask: fill bad pixels first.
    """
    taps = np.array([1, 2, 1], dtype=np.float32) / 4
    image, noise = (np.asarray(plane, dtype=np.float32) for plane in (data, variance))
    for axis in (0, 1):
        image = convolve1d(image, taps, axis=axis, mode="mirror")
        noise = convolve1d(noise, taps**2, axis=axis, mode="mirror")
    return Demosaiced(image, noise, float(1.0 / (taps**2).sum() ** 2))


def _checked(pattern: str) -> str:
    name = pattern.strip().upper()
    if name not in _PATTERNS:
        raise InvalidInput(
            "Unknown colour pattern.", field="pattern", found=pattern, expected=_PATTERNS
        )
    return name


def without_checkerboard(planes: CalibratedImage) -> CalibratedImage:
    """Luminance of a colour mosaic; what is lost stays lost and spreads to its neighbours."""
    lost = ~np.isfinite(planes.variance)
    smooth = luminance(planes.data, np.where(lost, 0.0, planes.variance))
    flags = planes.flags.copy()
    around = np.ones((3, 3), dtype=np.bool_)
    for bit in Flag:
        flags[grown((planes.flags & bit) != 0, around)] |= np.uint16(bit)
    spread = grown(lost, around)
    return CalibratedImage(smooth.data, np.where(spread, np.inf, smooth.variance), flags)
