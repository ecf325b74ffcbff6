"""Holes of a tile: filled so that nothing changes there, and counted as what they are not known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from firstlight.algorithms.resampling.smooth_fill import smooth_fill
from firstlight.algorithms.subtraction.inpaint import fill_alike
from firstlight.algorithms.subtraction.star_cores import fill_cores
from firstlight.algorithms.subtraction.tile_kernels import TileKernels, cropped

__all__ = ["Pieces", "add_doubt", "fill_pixels", "fill_variances", "find_holes", "take_away"]

Plane = NDArray[np.float32]
Integers = NDArray[np.int64]

_REACH = 8  # around a hole, within which scores know less, pixels
# What a made-up pixel may be wrong by, as a share of its value: one that lies between others, in
# one image or in both; and one at the border of a large hole or of the image, where a star whose
# middle is not seen is made up of its wings. Neighbours are wrong together, while variances add
# as if each were wrong on its own, so these are some five times the error of one.
_DOUBT, _DOUBT_BOTH, _DOUBT_OUTSIDE = 0.02, 0.3, 1.0
_GUESS, _NEAR = 0.3, 3  # of the brightest pixel so near: what neighbours may be wrong by
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


def fill_pixels(pieces: Pieces, psfs: tuple[Plane, Plane], kernels: TileKernels) -> Plane:
    """Put in the likeliest values if nothing changed, in place.

    Parameters
    ----------
    psfs
        Of the new image and the reference in the middle of the tile, ``(k, k)``.
    kernels
        Of the tile.

    Returns
    -------
    Inverse variance of what its neighbours say of each pixel of the reference that is a hole
    ``(n,)``.
    """
    for plane, lost in _by_image(pieces, pieces.pixels):
        smooth_fill(plane, lost)
    rows, columns = pieces.holes.T
    known, light = _look_around(pieces.pixels[1], pieces.hidden, pieces.holes)
    trust = 1.0 / (pieces.variances[1][rows, columns] + (_GUESS * light) ** 2)
    # Where the reference's own pixels know nothing, the new image's are the better start.
    trust = np.where(known, trust, 0.0).astype(np.float32)
    at = rows[~known], columns[~known]
    scale = float(kernels.static.rn.sum() / kernels.static.rr.sum())
    only = pieces.hidden[at] == 2
    pieces.pixels[1][at] = np.where(only, scale * pieces.pixels[0][at], pieces.pixels[1][at])
    fill_cores(pieces.pixels, pieces.variances, pieces.hidden, pieces.holes, psfs, scale)
    fill_alike(pieces.pixels, pieces.hidden, pieces.holes, kernels.static, trust)
    return trust


def _by_image(
    pieces: Pieces, planes: tuple[Plane, Plane]
) -> Iterator[tuple[Plane, NDArray[np.bool_]]]:
    """The planes of those images that have holes, and where these are."""
    which = pieces.hidden[pieces.holes[:, 0], pieces.holes[:, 1]]
    for bit, plane in zip((1, 2), planes, strict=True):
        if (which & bit).any():
            yield plane, (pieces.hidden & bit) != 0


def take_away(known: Plane, pieces: Pieces, kernels: TileKernels, trust: Plane) -> None:
    """Take from what scores are based on the share that lies in holes, in place.

    A hole in the new image takes away the share of the squared kernel of the score that lies on
    it. One in the reference takes ``k_r^2 / (F (c + t))``, where F is the score of one electron,
    c how much the difference depends on the pixel, and t, `trust`, what its neighbours know of
    it.
    """
    rows, columns = pieces.holes.T
    which = pieces.hidden[rows, columns]
    own, other = (cropped(square, _REACH) for square in kernels.squares)
    losses = np.stack([own / kernels.squares[0].sum(), other / kernels.unit])
    rr = kernels.static.rr
    curvature = float(rr[rr.shape[0] // 2, rr.shape[1] // 2])
    factors = np.where(which == 2, -1.0 / (curvature + trust), -1.0)
    stamps = (which == 2).astype(np.int64)
    _add_stamps(known, pieces.holes, stamps, losses, factors.astype(np.float32))


def add_doubt(
    flux_variance: Plane,
    pieces: Pieces,
    kernels: TileKernels,
    places: Integers,
    between: NDArray[np.bool_],
) -> None:
    """Add what the values of made-up pixels may be wrong by to the variance of fluxes, in place.

    At the cores of stars it is far above any variance of pixels, so that it would spoil the
    transform of the whole tile.

    Parameters
    ----------
    places
        Rows and columns of pixels that were filled, or mirrored, ``(n, 2)``.
    between
        Which of them lie between others that are known ``(n,)``.
    """
    rows, columns = places.T
    which = pieces.hidden[rows, columns]
    share = np.where(which == 3, _DOUBT_BOTH, np.where(between, _DOUBT, _DOUBT_OUTSIDE))
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
def _look_around(reference, hidden, places):  # type: ignore[no-untyped-def] # compiled
    """Whether each place lies between good pixels of the reference, and the largest value near.

    Good pixels on one side alone do not know what stands beyond the border of a large hole.
    """
    ny, nx = reference.shape
    known = np.zeros(places.shape[0], np.bool_)
    largest = np.zeros(places.shape[0], np.float32)
    for n in range(places.shape[0]):
        y, x = places[n]
        sides = np.zeros(4, np.bool_)
        for step in range(1, _NEAR + 1):
            sides[0] |= y >= step and hidden[y - step, x] & 2 == 0
            sides[1] |= y + step < ny and hidden[y + step, x] & 2 == 0
            sides[2] |= x >= step and hidden[y, x - step] & 2 == 0
            sides[3] |= x + step < nx and hidden[y, x + step] & 2 == 0
        known[n] = (sides[0] and sides[1]) or (sides[2] and sides[3])
        for j in range(max(y - _NEAR, 0), min(y + _NEAR + 1, ny)):
            for i in range(max(x - _NEAR, 0), min(x + _NEAR + 1, nx)):
                largest[n] = max(largest[n], abs(reference[j, i]))
    return known, largest


@njit(cache=True, nogil=True)
def _add_stamps(plane, places, which, stamps, factors):  # type: ignore[no-untyped-def] # compiled
    ny, nx = plane.shape
    side = stamps.shape[-1]
    for n in range(places.shape[0]):
        top, left = places[n, 0] - side // 2, places[n, 1] - side // 2
        stamp, factor = stamps[which[n]], factors[n]
        first, stop = max(-left, 0), min(side, nx - left)
        for j in range(max(-top, 0), min(side, ny - top)):
            source, target = stamp[j, first:stop], plane[top + j, left + first : left + stop]
            for i in range(source.size):
                target[i] += factor * source[i]
