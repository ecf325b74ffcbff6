"""What a source looks like in a difference that is not on the middle of a pixel.

A stamp of pixels tells what lies between them where stars are wide enough. A star hardly wider
than a pixel is undersampled: no interpolation of its pixels gives those of a star half a pixel
further. The effective PSF does (Anderson & King 2000, PASP 112, 1360), and filtered as the new
image was it is that of the difference. At two points a pixel any star that pixels can hold is
sampled well, since the pixel itself smooths it, so that from there on interpolation is right.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import scipy.fft
from numba import njit
from numpy.typing import ArrayLike, NDArray

from firstlight.algorithms.subtraction.interpolation import SINE_REACH, sine_taps

__all__ = ["POINTS", "StarShapes", "drawn_between", "points_between", "undersampled"]

Floats = NDArray[np.float64]
Plane = NDArray[np.float32]

POINTS = 2
"""Points a pixel of the stamps that tell a PSF between the pixels."""

_TRUSTED = 0.01  # of a star's light, by the root of squares: what interpolation may do to it
_HALF = 0.5 - 1e-6  # of a pixel: the nearest one is still that of the place


class StarShapes(Protocol):
    """What tells the PSF at any place, as `PsfModel` does."""

    def stamps(self, x: ArrayLike, y: ArrayLike, radius: int | None = None) -> Floats:
        """Stamps ``(n, 2 radius + 1, 2 radius + 1)``, each around the pixel nearest to it."""


def undersampled(shapes: StarShapes, place: tuple[float, float], radius: int) -> bool:
    """Whether pixels of a star on the middle of one do not tell those of a star between them.

    Parameters
    ----------
    place
        x and y, pixels.
    radius
        Half the side of what is looked at, pixels.
    """
    middle, between = _four(shapes, place, radius)[::3]
    size = scipy.fft.next_fast_len(2 * radius + 5, real=True)
    turn = np.exp(-2j * np.pi * _HALF * scipy.fft.fftfreq(size))
    # A wave of two pixels is moved neither way, as in any interpolation.
    turn[np.abs(np.abs(scipy.fft.fftfreq(size)) - 0.5) < 1e-9] = 1.0
    waves = scipy.fft.fft2(middle, (size, size)) * turn * turn[:, None]
    moved = scipy.fft.ifft2(waves).real[: len(middle), : len(middle)]
    return bool(np.linalg.norm(moved - between) > _TRUSTED * np.linalg.norm(middle))


def points_between(
    shapes: StarShapes, place: tuple[float, float], kernel: Plane, radius: int
) -> Plane:
    """A source of one electron in the difference, at two points a pixel.

    Parameters
    ----------
    place
        Whose PSF it is: x and y, pixels.
    kernel
        By which the new image becomes the difference, a stamp ``(k, k)``, k odd.
    radius
        Half the side, pixels.

    Returns
    -------
    ``(4 radius + 1, 4 radius + 1)``; every second row and column is what pixels hold of a source
    on the middle of the middle one.
    """
    side = 2 * radius + 1
    size = scipy.fft.next_fast_len(side + kernel.shape[0] - 1, real=True)
    waves = scipy.fft.rfft2(_four(shapes, place, radius), (size, size))
    waves *= scipy.fft.rfft2(kernel.astype(np.float64), (size, size))
    half = kernel.shape[0] // 2
    seen = slice(half, half + side)
    parts = scipy.fft.irfft2(waves, (size, size))[:, seen, seen]
    whole = np.empty((POINTS * side, POINTS * side), np.float32)
    # Moved right by half a pixel, a pixel holds what lies half a pixel to the left.
    for part, (down, right) in zip(parts, ((0, 0), (0, 1), (1, 0), (1, 1)), strict=True):
        whole[1 - down :: POINTS, 1 - right :: POINTS] = part
    return whole[1:, 1:]


def _four(shapes: StarShapes, place: tuple[float, float], radius: int) -> Floats:
    """Stars on the middle of a pixel, half a one to the right, down, and both ``(4, k, k)``."""
    x, y = np.rint(place)
    across, along = np.array([0.0, _HALF, 0.0, _HALF]), np.array([0.0, 0.0, _HALF, _HALF])
    return shapes.stamps(x + across, y + along, radius)


@njit(cache=True, nogil=True)
def drawn_between(points, down, right):  # type: ignore[no-untyped-def] # compiled
    """Pixels ``(k, k)`` of a source off the middle by parts of a pixel, from two points a pixel."""
    side = points.shape[0] // 2 + 1
    rows, columns = np.empty((side, points.shape[1])), np.empty((side, side))
    _pick(points, POINTS * down, rows)
    _pick(rows.T.copy(), POINTS * right, columns)
    return columns.T.copy()


@njit(cache=True, nogil=True)
def _pick(plane, step, picked):  # type: ignore[no-untyped-def] # compiled
    """Every second row, moved by so many, by a windowed sine cardinal."""
    first = int(np.floor(-step)) - SINE_REACH + 1
    last = plane.shape[0] - 1
    picked[:] = 0.0
    taps = sine_taps(first, 2 * SINE_REACH, step)
    for j in range(picked.shape[0]):
        for k in range(taps.size):
            row = min(max(POINTS * j + first + k, 0), last)
            for i in range(plane.shape[1]):
                picked[j, i] += taps[k] * plane[row, i]
