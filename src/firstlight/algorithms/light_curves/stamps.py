"""Square cut-outs that keep the colour of every pixel: their corners lie on superpixels.

A superpixel is the 2 by 2 block that the colour mosaic repeats. A stamp holds a whole number of
them with one in the middle, so the same element of two stamps is always a pixel of the same
colour. A stamp follows its star: in every frame the superpixel that holds the star's centre is
the one in the middle, and the centre is at most one pixel (in x and in y) from the stamp's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firstlight.errors import InvalidInput

__all__ = ["MARGIN", "Stamps", "cut_stamps", "same_colour_filled", "stamp_corners", "stamp_side"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

SMALLEST, LARGEST = 6, 62
REACH_FWHM = 1.7  # a circle of this radius holds 95 % of a Moffat profile of power 3.5
MARGIN = 2  # pixels on each side, by which comparisons of two stamps may shift one of them


@dataclass(frozen=True)
class Stamps:
    """Cut-outs of one frame.

    Attributes
    ----------
    pixels
        Values of the frame, ``(n, side, side)`` in the order (y, x); NaN where `whole` is false.
    ymin, xmin
        The corner: element ``[k, 0, 0]`` is pixel ``[ymin[k], xmin[k]]``, ``(n,)`` each.
    whole
        False where a part of the stamp lies outside the frame, or the place is not finite.
    """

    pixels: NDArray[np.float32]
    ymin: Integers
    xmin: Integers
    whole: NDArray[np.bool_]


def stamp_side(fwhm: float, wander: float = 0.0) -> int:
    """Smallest side that holds a star and the shift of a comparison.

    Sides are 6, 10, 14 and so on: an odd number of superpixels, with an even number of pixels
    on either side of the middle one.

    Parameters
    ----------
    fwhm
        Of the stars, pixels.
    wander
        How far from its nominal place the star may be in a frame, pixels. Zero for stamps that
        follow their stars; the drift of the field for stamps at the same pixels in all frames.

    Raises
    ------
    InvalidInput
        When the two are not finite and positive, or the stamp would be larger than 62 pixels: no
        longer the surroundings of one star.
    """
    if not (np.isfinite(fwhm) and fwhm > 0 and np.isfinite(wander) and wander >= 0):
        raise InvalidInput(
            "A stamp needs the width and the wander of the stars.",
            field="fwhm, wander",
            found=(fwhm, wander),
            expected="positive numbers of pixels",
        )
    # The star is up to one pixel from the middle: one pixel more on either side.
    needed = 2 * (REACH_FWHM * fwhm + wander + 1 + MARGIN)
    side = SMALLEST + 4 * max(0, int(np.ceil((needed - SMALLEST) / 4)))
    if side > LARGEST:
        raise InvalidInput(
            "Stars this wide or wandering this far do not fit a stamp.",
            field="side",
            found=side,
            expected=f"at most {LARGEST} pixels",
            hint="cut stamps that follow their stars",
        )
    return side


def stamp_corners(x: ArrayLike, y: ArrayLike, side: int) -> tuple[Integers, Integers]:
    """Lowest row and column of the stamps around places, both even, in the shape of `x`.

    For example x = 7, y = 5 and a side of 6 give ``(2, 4)``: rows 2 to 7, columns 4 to 9. Places
    that are not finite give a corner outside any frame.

    Raises
    ------
    InvalidInput
        When the side is not 6, 10, 14 and so on.
    """
    if side < SMALLEST or (side - 2) % 4:
        raise InvalidInput(
            "A stamp has its middle superpixel on the colour mosaic.",
            field="side",
            found=side,
            expected="6, 10, 14, 18 and so on",
        )
    corners = []
    for place in (y, x):
        value = np.asarray(place, dtype=np.float64)
        known = np.where(np.isfinite(value), value, -1e6)
        corners.append((2 * np.floor((known + 0.5) / 2)).astype(np.int64) - (side - 2) // 2)
    return corners[0], corners[1]


def cut_stamps(data: NDArray[np.floating], x: ArrayLike, y: ArrayLike, side: int) -> Stamps:
    """Cut a stamp around each place of one frame.

    Parameters
    ----------
    data
        Colour mosaic ``(ny, nx)`` whose first pixel begins a superpixel.
    x, y
        Places, pixels, 0-based, ``(n,)`` each.
    side
        From `stamp_side`.
    """
    ymin, xmin = stamp_corners(np.atleast_1d(x), np.atleast_1d(y), side)
    ny, nx = data.shape
    whole = (ymin >= 0) & (xmin >= 0) & (ymin + side <= ny) & (xmin + side <= nx)
    pixels = np.full((len(xmin), side, side), np.nan, dtype=np.float32)
    steps = np.arange(side)
    rows = ymin[whole][:, None, None] + steps[None, :, None]
    columns = xmin[whole][:, None, None] + steps[None, None, :]
    pixels[whole] = data[rows, columns]
    return Stamps(pixels, ymin, xmin, whole)


def same_colour_filled(
    data: NDArray[np.floating], bad: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Replace bad pixels by the mean of the good ones of their colour two pixels away.

    Parameters
    ----------
    data
        Colour mosaic ``(ny, nx)``.
    bad
        True where a value says nothing, ``(ny, nx)``. Values that are not finite are bad too.

    Returns
    -------
    The mosaic, and where it is still bad: pixels with none of the four neighbours good, zero.
    """
    lost = bad | ~np.isfinite(data)
    image = np.where(lost, 0, data).astype(np.float32)
    rows, columns = np.nonzero(lost)
    total, count = np.zeros(len(rows)), np.zeros(len(rows))
    for down, right in ((-2, 0), (2, 0), (0, -2), (0, 2)):
        j, i = rows + down, columns + right
        there = (j >= 0) & (i >= 0) & (j < data.shape[0]) & (i < data.shape[1])
        there[there] = ~lost[j[there], i[there]]
        total[there] += image[j[there], i[there]]
        count[there] += 1
    some = count > 0
    image[rows[some], columns[some]] = total[some] / count[some]
    still = np.zeros(lost.shape, dtype=bool)
    still[rows[~some], columns[~some]] = True
    return image, still
