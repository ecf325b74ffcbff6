"""Two images of one place on one grid of pixels, their PSFs, and what makes them alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import shift

from firstlight.algorithms.flags import UNUSABLE
from firstlight.algorithms.psf.fit import PsfModel

__all__ = [
    "AlignedImage",
    "Matching",
    "PsfGrid",
    "hidden_pixels",
    "psf_grid",
    "shifted",
    "tile_centres",
]

Floats = NDArray[np.float64]
Plane = NDArray[np.float32]

_TILE_SIDE = 512.0
_LEAST_TILES, _LEAST_SIDE = 3, 160.0  # so many along each axis, where they are not below that


@dataclass(frozen=True)
class PsfGrid:
    """Stamps of a PSF, or of any kernel, at the crossings of a net over an image.

    Attributes
    ----------
    stamps
        ``(rows, columns, k, k)``, k odd, the source at the middle of the middle pixel. They are
        taken as they are: a flux is that of a source whose pixels are flux times stamp.
    x, y
        Pixels of the columns ``(columns,)`` and rows ``(rows,)`` of the net, ascending.
    """

    stamps: NDArray[np.float32]
    x: Floats
    y: Floats

    @property
    def radius(self) -> int:
        """Of the stamps, pixels on each side of the middle one."""
        return int(self.stamps.shape[-1] // 2)

    def at(self, x: float, y: float) -> Floats:
        """The stamp at a place ``(k, k)``, bilinear in the net, and half a mesh beyond it."""
        row, v = _between(self.y, y)
        column, u = _between(self.x, x)
        below = min(row + 1, len(self.y) - 1)
        right = min(column + 1, len(self.x) - 1)
        upper, lower = (
            (1 - u) * self.stamps[line, column].astype(np.float64) + u * self.stamps[line, right]
            for line in (row, below)
        )
        return np.asarray((1 - v) * upper + v * lower)

    def on(self, x: Floats, y: Floats) -> PsfGrid:
        """The same kernel on another net."""
        stamps = np.stack([np.stack([self.at(float(i), float(j)) for i in x]) for j in y])
        return PsfGrid(stamps.astype(np.float32), x, y)


def shifted(stamp: Floats, dx: float, dy: float) -> Floats:
    """A stamp moved by part of a pixel, with cubic splines."""
    if dx == 0.0 and dy == 0.0:
        return stamp
    return np.asarray(shift(stamp, (dy, dx), order=3, mode="nearest"))


def _between(nodes: Floats, place: float) -> tuple[int, float]:
    """Number of the node before a place, and the share of the way to the next."""
    if len(nodes) < 2:
        return 0, 0.0
    first = min(max(int(nodes.searchsorted(place)) - 1, 0), len(nodes) - 2)
    share = float((place - nodes[first]) / (nodes[first + 1] - nodes[first]))
    return first, min(max(share, -0.5), 1.5)


def tile_centres(shape: tuple[int, int], tiles: tuple[int, int] | None) -> tuple[Floats, Floats]:
    """Middles x ``(columns,)`` and y ``(rows,)`` of equal tiles of an image ``(ny, nx)``.

    Without `tiles` (rows, columns) they are about 512 pixels on a side, or a third of a small
    image: its PSF changes over the field as that of a large one does.
    """
    told = tiles or tuple(_tiles_along(side) for side in shape)
    y, x = (
        (np.arange(count) + 0.5) * side / count - 0.5
        for side, count in zip(shape, told, strict=True)
    )
    return x, y


def _tiles_along(side: int) -> int:
    few = min(_LEAST_TILES, round(side / _LEAST_SIDE))
    return max(1, few, round(side / _TILE_SIDE))


def psf_grid(
    model: PsfModel, shape: tuple[int, int], tiles: tuple[int, int] | None, radius: int
) -> PsfGrid:
    """Stamps of a PSF model at the middles of the tiles of an image ``(ny, nx)``."""
    x, y = tile_centres(shape, tiles)
    side = 2 * radius + 1
    stamps = np.zeros((len(y), len(x), side, side), np.float32)
    whole = (4 * max(shape) + side, 4 * max(shape) + side)
    for j, row in enumerate(np.rint(y)):
        for i, column in enumerate(np.rint(x)):
            stamp = model.at(float(column), float(row), whole, radius)
            if stamp is None:
                continue
            top = radius - int(row) + stamp.rows.start
            left = radius - int(column) + stamp.columns.start
            height, width = stamp.psf.shape
            stamps[j, i, top : top + height, left : left + width] = stamp.psf
    return PsfGrid(stamps, x, y)


@dataclass(frozen=True)
class AlignedImage:
    """One image of a pair on one grid of pixels.

    Attributes
    ----------
    pixels
        Electrons without sky ``(ny, nx)``.
    variance
        Electrons squared, with the photons of sources. For a resampled image it is the variance
        of the image before resampling, carried to the new places: what counts is the noise over
        an area as large as a star, and interpolation moves noise between neighbours without
        taking any away.
    flags
        Flags plane; unusable pixels are filled in.
    psfs
        Of this image.
    model
        What the PSF is at any place and between the pixels, where that is known.
    steady
        Of a resampled image: `psfs` as if the middle of each stamp were that of a pixel before. How
        they differ tells how stars change, and nothing of parts of pixels. None where `psfs` do.
    """

    pixels: Plane
    variance: Plane
    flags: NDArray[np.uint16]
    psfs: PsfGrid
    model: PsfModel | None = None
    steady: PsfGrid | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        ny, nx = self.pixels.shape
        return ny, nx


def hidden_pixels(new: AlignedImage, reference: AlignedImage) -> NDArray[np.uint8]:
    """Which image says nothing about the sky: 1 the new one, 2 the reference, 3 both, 0 none.

    A pixel says nothing whose flags are unusable, or which or whose variance is no number.
    """
    hidden = np.empty(new.shape, np.uint8)
    _find_hidden(
        (new.pixels, new.variance, new.flags),
        (reference.pixels, reference.variance, reference.flags),
        np.uint16(UNUSABLE),
        hidden,
    )
    return hidden


@njit(cache=True, nogil=True)
def _find_hidden(new, reference, unusable, hidden):  # type: ignore[no-untyped-def] # compiled
    zero, most = np.float32(0.0), np.float32(np.finfo(np.float32).max)
    for y in range(hidden.shape[0]):
        for x in range(hidden.shape[1]):
            # Comparisons with NaN are false.
            good = new[1][y, x] > zero and new[1][y, x] <= most
            good &= abs(new[0][y, x]) <= most and (new[2][y, x] & unusable) == 0
            known = reference[1][y, x] > zero and reference[1][y, x] <= most
            known &= abs(reference[0][y, x]) <= most and (reference[2][y, x] & unusable) == 0
            hidden[y, x] = (0 if good else 1) + (0 if known else 2)


@dataclass(frozen=True)
class Matching:
    """How the static sky of two images is made alike, on a common net.

    Attributes
    ----------
    new, reference
        Kernels a and b with ``a * new = b * reference`` for everything that did not change.
    psf
        A source of one electron in the new image.
    steady
        Kernel a without what it tells of parts of pixels, where that is known.
    """

    new: PsfGrid
    reference: PsfGrid
    psf: PsfGrid
    steady: PsfGrid | None = None
