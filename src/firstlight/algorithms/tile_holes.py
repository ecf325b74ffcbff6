"""Holes of a tile: filled so that nothing changes there, and counted as what they are not known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from firstlight.algorithms.inpaint import fill_alike, fill_smooth
from firstlight.algorithms.star_cores import fill_cores
from firstlight.algorithms.tile_kernels import TileKernels, cropped

__all__ = ["Pieces", "add_doubt", "fill_pixels", "fill_variances", "find_holes", "take_away"]

Plane = NDArray[np.float32]
Bools = NDArray[np.bool_]
Integers = NDArray[np.int64]

_REACH = 8  # around a hole, within which scores know less, pixels
_DOUBT, _DOUBT_ALONE = 0.02, 0.1  # of a filled pixel: the other image has it or not
_WORTH = 0.01  # of the variance, for doubt to count


@dataclass(frozen=True)
class Pieces:
    """A tile of both images, with what lies around it; all ``(ny, nx)``.

    Attributes
    ----------
    pixels, variances
        Of the new image and the reference.
    hidden
        1, 2 or 3 where the new image, the reference or both have no value, else 0.
    holes
        Rows and columns of the hidden pixels ``(n, 2)``.
    """

    pixels: tuple[Plane, Plane]
    variances: tuple[Plane, Plane]
    hidden: NDArray[np.uint8]
    holes: Integers


def find_holes(hidden: NDArray[np.uint8]) -> Integers:
    """Rows and columns of pixels that are not 0 ``(n, 2)``, row by row."""
    found = np.flatnonzero(hidden.view(np.bool_))
    return np.stack(np.divmod(found, hidden.shape[1]), axis=1)


def fill_variances(pieces: Pieces) -> None:
    """Means of the good pixels around, in place."""
    for plane, (lost, places) in zip(pieces.variances, _by_image(pieces), strict=True):
        fill_smooth(plane, lost, places)


def fill_pixels(pieces: Pieces, psfs: tuple[Plane, Plane], kernels: TileKernels) -> None:
    """Likeliest values if nothing changed, in place.

    Parameters
    ----------
    psfs
        Of the new image and the reference in the middle of the tile, ``(k, k)``.
    kernels
        Of the tile.
    """
    for plane, (lost, places) in zip(pieces.pixels, _by_image(pieces), strict=True):
        fill_smooth(plane, lost, places)
    fill_cores(pieces.pixels, pieces.variances, pieces.hidden, pieces.holes, psfs)
    fill_alike(pieces.pixels, pieces.hidden, pieces.holes, kernels.static)


def _by_image(pieces: Pieces) -> list[tuple[Bools, Integers]]:
    """Where each of the two images has no value, as a plane and as places."""
    which = pieces.hidden[pieces.holes[:, 0], pieces.holes[:, 1]]
    return [((pieces.hidden & bit) != 0, pieces.holes[(which & bit) != 0]) for bit in (1, 2)]


def take_away(known: Plane, pieces: Pieces, kernels: TileKernels) -> None:
    """Take from what scores are based on the share that lies in holes, in place.

    A hole in an image takes away the share of the squared kernel of the score that lies on it.
    """
    own, other = (cropped(square, _REACH) / square.sum() for square in kernels.squares)
    losses = np.stack([own, other, np.maximum(own, other)]).astype(np.float32)
    rows, columns = pieces.holes.T
    which = pieces.hidden[rows, columns].astype(np.int64) - 1
    _add_stamps(known, pieces.holes, which, losses, np.full(len(rows), -1.0, np.float32))


def add_doubt(flux_variance: Plane, pieces: Pieces, kernels: TileKernels) -> None:
    """Add what the values of filled pixels may be wrong by to the variance of fluxes, in place.

    At the cores of stars it is far above any variance of pixels, so that it would spoil the
    transform of the whole tile.
    """
    rows, columns = pieces.holes.T
    which = pieces.hidden[rows, columns]
    share = np.where(which == 3, _DOUBT_ALONE, _DOUBT)
    for number in (0, 1):
        doubt = np.square(share * pieces.pixels[number][rows, columns])
        chosen = (which & (number + 1)) != 0
        chosen &= doubt > _WORTH * pieces.variances[number][rows, columns]
        if chosen.any():
            reach = kernels.psf.shape[0] // 2
            stamps = (cropped(kernels.squares[number], reach) / kernels.unit**2)[None]
            same = np.zeros(int(chosen.sum()), np.int64)
            factors = doubt[chosen].astype(np.float32)
            _add_stamps(flux_variance, pieces.holes[chosen], same, stamps, factors)


@njit(cache=True, nogil=True)
def _add_stamps(plane, places, which, stamps, factors):  # type: ignore[no-untyped-def] # compiled
    ny, nx = plane.shape
    reach = stamps.shape[-1] // 2
    for n in range(places.shape[0]):
        y, x = places[n]
        stamp, factor = stamps[which[n]], factors[n]
        left, right = max(x - reach, 0), min(x + reach + 1, nx)
        for j in range(max(y - reach, 0), min(y + reach + 1, ny)):
            source, target = stamp[j - y + reach], plane[j]
            for i in range(left, right):
                target[i] += factor * source[i - x + reach]
