"""Stamps of candidates: new image, reference and difference, for all of them at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from firstlight.algorithms.flags import UNUSABLE, Flag
from firstlight.algorithms.resampling.image_pair import PsfGrid
from firstlight.algorithms.subtraction.subtract import Subtraction
from firstlight.errors import InvalidInput

__all__ = ["CandidateStamps", "cut_candidates", "difference_psfs"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

NEW, REFERENCE, DIFFERENCE = 0, 1, 2
_NO_DATA = int(Flag.NO_DATA)


@dataclass(frozen=True, slots=True)
class CandidateStamps:
    """Square cut-outs with the pixel that a candidate is in at the middle.

    Attributes
    ----------
    pixels
        New image, reference and difference in electrons without sky, ``(n, 3, k, k)``, k odd;
        NaN outside the image.
    variance
        Of the difference, electrons squared, ``(n, k, k)``; NaN outside the image.
    flags
        Of the difference, ``(n, k, k)``; NO_DATA outside the image.
    row, column
        Of the image's pixel that is element ``[0, 0]`` of a stamp, ``(n,)``; it may lie outside.
    """

    pixels: NDArray[np.float32]
    variance: NDArray[np.float32]
    flags: NDArray[np.uint16]
    row: Integers
    column: Integers

    @property
    def radius(self) -> int:
        """Pixels on each side of the middle one."""
        return int(self.pixels.shape[-1] // 2)

    @property
    def inside(self) -> NDArray[np.bool_]:
        """True on pixels of the image, ``(n, k, k)``."""
        return np.asarray((self.flags & np.uint16(_NO_DATA)) == 0)

    @property
    def usable(self) -> NDArray[np.bool_]:
        """True where the difference says something, ``(n, k, k)``."""
        with np.errstate(invalid="ignore"):
            good = np.isfinite(self.pixels[:, DIFFERENCE]) & (self.variance > 0)
        good &= np.isfinite(self.variance)
        return np.asarray(good & ((self.flags & np.uint16(UNUSABLE)) == 0))

    def __len__(self) -> int:
        return len(self.pixels)


def cut_candidates(
    new: NDArray[np.float32],
    reference: NDArray[np.float32],
    subtraction: Subtraction,
    places: tuple[Floats, Floats],
    radius: int,
) -> CandidateStamps:
    """Cut stamps around places.

    Parameters
    ----------
    new, reference
        Electrons without sky on the pixels of the difference, ``(ny, nx)``.
    places
        x and y, finite, pixels, ``(n,)`` each; they may lie outside the image.
    radius
        Pixels on each side of the one the place is in.

    Raises
    ------
    InvalidInput
        When the planes have different shapes.
    """
    shape = subtraction.difference.shape
    for name, plane in (("new", new), ("reference", reference)):
        if plane.shape != shape:
            raise InvalidInput(
                "Stamps are cut from images on the same pixels.",
                field=name,
                found=plane.shape,
                expected=shape,
            )
    x, y = (np.rint(place).astype(np.int64) - radius for place in places)
    side = 2 * radius + 1
    pixels = np.full((len(x), 3, side, side), np.nan, np.float32)
    variance = np.full((len(x), side, side), np.nan, np.float32)
    flags = np.full((len(x), side, side), _NO_DATA, np.uint16)
    planes = (new, reference, subtraction.difference, subtraction.variance, subtraction.flags)
    _cut(planes, x, y, (pixels, variance, flags))
    return CandidateStamps(pixels, variance, flags, y, x)


def difference_psfs(psfs: PsfGrid, x: Floats, y: Floats) -> Floats:
    """PSF of the difference at places ``(n,)``: stamps ``(n, k, k)`` centred on their middle.

    They have as many points a pixel as those of `psfs`.
    """
    if not len(x):
        return np.empty((0, *psfs.stamps.shape[2:]))
    return np.stack([psfs.at(float(i), float(j)) for i, j in zip(x, y, strict=True)])


@njit(cache=True, nogil=True)
def _cut(planes, x, y, stamps):  # type: ignore[no-untyped-def] # compiled
    new, reference, difference, spread, bits = planes
    pixels, variance, flags = stamps
    ny, nx = difference.shape
    side = flags.shape[1]
    for n in range(x.size):
        for j in range(max(0, -y[n]), min(side, ny - y[n])):
            for i in range(max(0, -x[n]), min(side, nx - x[n])):
                row, column = y[n] + j, x[n] + i
                pixels[n, 0, j, i] = new[row, column]
                pixels[n, 1, j, i] = reference[row, column]
                pixels[n, 2, j, i] = difference[row, column]
                variance[n, j, i] = spread[row, column]
                flags[n, j, i] = bits[row, column]
