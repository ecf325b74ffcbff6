"""Small pictures of real stars, quickly: what a pretend site's cameras see."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.sky.projection import tangent_plane
from firstlight.algorithms.sources.moments import FWHM_OF_SIGMA
from firstlight.catalogs.base import ReferenceCatalog, ReferenceStars

__all__ = ["PEDESTAL", "Field", "all_sky_picture", "bin_down", "pack_levels"]

Pixels = NDArray[np.uint16]

PEDESTAL = 100
ELECTRONS_AT_20 = 0.5  # a second, of a star of V_T = 20
SKY_RATE = 12.0  # electrons a second and pixel
READ_NOISE = 8.0
FWHM = 2.6
REACH = 8  # pixels around a star that it lights
BRIGHTEST = 65535


class Field:
    """One field of real stars. Drawing it again with other noise is cheap.

    Parameters
    ----------
    catalog
        Where the stars come from.
    ra, dec
        Centre, ICRS degrees.
    scale
        Arcseconds per pixel; north is up and east to the left.
    shape
        ``(ny, nx)``.
    """

    def __init__(
        self,
        catalog: ReferenceCatalog,
        ra: float,
        dec: float,
        *,
        scale: float,
        shape: tuple[int, int],
    ) -> None:
        radius = np.hypot(*shape) / 2 * scale / 3600
        stars = catalog.cone(ra, dec, float(radius))
        self._light = _light(stars, (ra, dec), scale, shape)

    def expose(self, seconds: float, random: np.random.Generator) -> Pixels:
        """One raw frame in ADU (one electron each), shape ``(ny, nx)``."""
        mean = (self._light + np.float32(SKY_RATE)) * np.float32(seconds)
        noise = random.standard_normal(mean.shape, dtype=np.float32)
        mean += noise * np.sqrt(mean + np.float32(READ_NOISE**2)) + np.float32(PEDESTAL)
        return np.asarray(np.clip(np.rint(mean), 0, BRIGHTEST), np.uint16)


def _light(
    stars: ReferenceStars, centre: tuple[float, float], scale: float, shape: tuple[int, int]
) -> NDArray[np.float32]:
    """Electrons a second of all stars, shape `shape`."""
    east, north = (angle * 3600 / scale for angle in tangent_plane(stars.ra, stars.dec, *centre))
    x, y = (shape[1] - 1) / 2 - east, (shape[0] - 1) / 2 + north
    rate = ELECTRONS_AT_20 * 10 ** (0.4 * (20 - stars.mag))
    light = np.zeros((shape[0] + 2 * REACH, shape[1] + 2 * REACH), np.float32)
    inside = (x > -0.5) & (x < shape[1] - 0.5) & (y > -0.5) & (y < shape[0] - 0.5)
    steps = np.arange(-REACH, REACH + 1)
    sigma = FWHM / FWHM_OF_SIGMA
    for at_x, at_y, electrons in zip(x[inside], y[inside], rate[inside], strict=True):
        column, row = round(at_x), round(at_y)
        across = np.exp(-((steps + column - at_x) ** 2) / (2 * sigma**2))
        along = np.exp(-((steps + row - at_y) ** 2) / (2 * sigma**2))
        stamp = np.outer(along, across) * (electrons / (2 * np.pi * sigma**2))
        light[row : row + 2 * REACH + 1, column : column + 2 * REACH + 1] += stamp
    return light[REACH:-REACH, REACH:-REACH]


def bin_down(pixels: Pixels, factor: int) -> Pixels:
    """Mean of blocks of `factor` x `factor` pixels; what is over at the edges is left out."""
    rows, columns = (side // factor * factor for side in pixels.shape)
    blocks = pixels[:rows, :columns].reshape(rows // factor, factor, columns // factor, factor)
    return np.asarray(np.rint(blocks.mean(axis=(1, 3), dtype=np.float32)), np.uint16)


def pack_levels(pixels: Pixels) -> NDArray[np.uint8]:
    """Grey levels of a picture that shows faint stars, row 0 at the bottom."""
    low = float(np.median(pixels[::4, ::4]))
    spread = np.arcsinh(np.maximum(pixels - (low - 30), 0) / 60)
    return np.asarray(np.clip(spread * 45, 0, 255), np.uint8)


def all_sky_picture(side: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """A fish-eye picture of the night sky: round, darker towards the zenith, with stars."""
    axis = (np.arange(side) - (side - 1) / 2) / (side / 2)
    distance = np.hypot(*np.meshgrid(axis, axis)).astype(np.float32)
    levels = 25 + 60 * distance**2 + random.normal(0, 4, distance.shape)
    rows, columns = random.integers(0, side, (2, 150))
    levels[rows, columns] += random.exponential(90, 150)
    return np.where(distance < 1, np.clip(levels, 0, 255), 0).astype(np.uint8)
