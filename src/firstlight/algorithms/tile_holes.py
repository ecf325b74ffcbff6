"""Holes of a tile: filled so that nothing changes there, and counted as what they are not known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from firstlight.algorithms.inpaint import fill_alike
from firstlight.algorithms.smooth_fill import smooth_fill
from firstlight.algorithms.star_cores import fill_cores
from firstlight.algorithms.tile_kernels import TileKernels, cropped

__all__ = ["Pieces", "add_doubt", "fill_pixels", "fill_variances", "find_holes", "take_away"]

Plane = NDArray[np.float32]
Integers = NDArray[np.int64]

_REACH = 8  # around a hole, within which scores know less, pixels
# What a made-up pixel may be wrong by, as a share of its value: mirrored beyond the border, filled
# and in the other image, filled in both.
_DOUBT = np.array([0.3, 0.02, 0.02, 0.1])
_STEP = 7  # every so many pixels are looked at for the level of the noise
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
    """Smooth values, in place, and never much below the sky's."""
    rows, columns = pieces.holes.T
    for plane, lost in _by_image(pieces, pieces.variances):
        smooth_fill(plane, lost)
        least = float(np.median(plane[::_STEP, ::_STEP])) / 2.0
        plane[rows, columns] = np.maximum(plane[rows, columns], np.float32(least))


def fill_pixels(pieces: Pieces, psfs: tuple[Plane, Plane], kernels: TileKernels) -> None:
    """Likeliest values if nothing changed, in place.

    Parameters
    ----------
    psfs
        Of the new image and the reference in the middle of the tile, ``(k, k)``.
    kernels
        Of the tile.
    """
    for plane, lost in _by_image(pieces, pieces.pixels):
        smooth_fill(plane, lost)
    fill_cores(pieces.pixels, pieces.variances, pieces.hidden, pieces.holes, psfs)
    fill_alike(pieces.pixels, pieces.hidden, pieces.holes, kernels.static)


def _by_image(
    pieces: Pieces, planes: tuple[Plane, Plane]
) -> Iterator[tuple[Plane, NDArray[np.bool_]]]:
    """The planes of those images that have holes, and where these are."""
    which = pieces.hidden[pieces.holes[:, 0], pieces.holes[:, 1]]
    for bit, plane in zip((1, 2), planes, strict=True):
        if (which & bit).any():
            yield plane, (pieces.hidden & bit) != 0


def take_away(known: Plane, pieces: Pieces, kernels: TileKernels) -> None:
    """Take from what scores are based on the share that lies in holes, in place.

    A hole in an image takes away the share of the squared kernel of the score that lies on it.
    """
    own, other = (cropped(square, _REACH) / square.sum() for square in kernels.squares)
    losses = np.stack([own, other, np.maximum(own, other)]).astype(np.float32)
    rows, columns = pieces.holes.T
    which = pieces.hidden[rows, columns].astype(np.int64) - 1
    _add_stamps(known, pieces.holes, which, losses, np.full(len(rows), -1.0, np.float32))


def add_doubt(flux_variance: Plane, pieces: Pieces, kernels: TileKernels, places: Integers) -> None:
    """Add what the values of made-up pixels may be wrong by to the variance of fluxes, in place.

    At the cores of stars it is far above any variance of pixels, so that it would spoil the
    transform of the whole tile.

    Parameters
    ----------
    places
        Rows and columns of pixels that were filled, or mirrored, ``(n, 2)``.
    """
    rows, columns = places.T
    which = pieces.hidden[rows, columns]
    share = _DOUBT[which]
    for number in (0, 1):
        doubt = np.square(share * pieces.pixels[number][rows, columns])
        chosen = (which == 0) | ((which & (number + 1)) != 0)
        chosen &= doubt > _WORTH * pieces.variances[number][rows, columns]
        if chosen.any():
            reach = kernels.psf.shape[0] // 2
            stamps = (cropped(kernels.squares[number], reach) / kernels.unit**2)[None]
            same = np.zeros(int(chosen.sum()), np.int64)
            factors = doubt[chosen].astype(np.float32)
            _add_stamps(flux_variance, places[chosen], same, stamps, factors)


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
