"""How sharp stars are in parts of an image: what tells them from cosmic rays where it changes.

Of a wide lens, or one that is tilted against the detector, stars are sharper in some part of the
field than on average: there, what is too sharp for a star of the average width may well be one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.sources.detect import star_width
from firstlight.errors import InvalidInput

__all__ = ["star_widths"]

Floats = NDArray[np.float64]
Slices = tuple[slice, slice]

_ACROSS = 3  # windows along each axis
_SHARE = 1 / 20  # of the image, in all of them together
_LEAST_SIDE, _FEWEST = 128, 5  # pixels of a window, and stars in it
_FEWEST_WINDOWS = 7
_FITS, _AGREES = 10, 0.02  # that find the least absolute residuals; of the width
_TILES = 2 * _ACROSS  # along each axis
_STEP = 0.93  # between widths: what is sharper by less is safe with the next wider one
_SHARPEST = 0.5  # of the width of most


def star_widths(
    left: NDArray[np.float32], variance: NDArray[np.float32], flags: NDArray[np.uint16]
) -> Floats:
    """FWHM of stars in equal tiles of a sky-subtracted image, along their narrow axis, pixels.

    Parameters
    ----------
    left, variance, flags
        Electrons, electrons squared and the flags plane, ``(ny, nx)``.

    Returns
    -------
    ``(rows, columns)`` of tiles; NaN without stars. Where they are nowhere much sharper than on
    average it is one number, ``(1, 1)``. It is never above that average, and takes few values:
    powers of 0.93 times it.
    """
    typical = _narrow(left, variance, flags, (slice(None), slice(None)))
    if not np.isfinite(typical):
        return np.array([[typical]])
    net = np.array(
        [[_narrow(left, variance, flags, window) for window in row] for row in _windows(left.shape)]
    )
    told = _smooth(np.log(net / typical))
    steps = np.floor(np.clip(told, np.log(_SHARPEST), 0.0) / np.log(_STEP))
    if not steps.any():
        return np.array([[typical]])
    return np.asarray(typical * _STEP**steps)


def _narrow(
    left: NDArray[np.float32],
    variance: NDArray[np.float32],
    flags: NDArray[np.uint16],
    window: Slices,
) -> float:
    """Of the stars in a window; NaN where there are too few to tell."""
    try:
        found = star_width(left[window], variance[window], flags[window])
    except InvalidInput:  # no pixel of it can be used
        return float("nan")
    whole = window[0] == slice(None)
    if not np.isfinite(found.fwhm) or (found.stars < _FEWEST and not whole):
        return float("nan")
    # The narrow axis of trailed stars: it is what a cosmic ray must be sharper than.
    return float(found.fwhm / np.sqrt(found.elongation))


def _windows(shape: tuple[int, ...]) -> list[list[Slices]]:
    """In the middles of three by three equal parts, as far as these reach."""
    ny, nx = shape
    side = max(int(np.sqrt(_SHARE * ny * nx) / _ACROSS), _LEAST_SIDE)
    rows, columns = (
        [
            slice(max(int(middle) - side // 2, 0), min(int(middle) + side // 2, size))
            for middle in (np.arange(_ACROSS) + 0.5) * size / _ACROSS
        ]
        for size in (ny, nx)
    )
    return [[(row, column) for column in columns] for row in rows]


def _smooth(net: Floats) -> Floats:
    """Values in the middles of the tiles of what is known in windows, NaN where it is not.

    Tilt and curvature of the focus: a plane, and the square of the distance from the middle.
    Where rays outnumber the stars of a window its width is that of rays, so that what does not
    agree with the others counts little; 0 where too few are known.
    """
    here, there = (_terms((np.arange(n) + 0.5) * 2.0 / n - 1.0) for n in (_ACROSS, _TILES))
    known = np.isfinite(net).ravel()
    if np.count_nonzero(known) < _FEWEST_WINDOWS:
        return np.zeros((_TILES, _TILES))
    terms, values = here[known], net.ravel()[known]
    weights = np.ones(len(values))
    for _ in range(_FITS):
        root = np.sqrt(weights)[:, None]
        fit = np.linalg.lstsq(root * terms, root[:, 0] * values, rcond=None)[0]
        weights = 1.0 / np.maximum(np.abs(values - terms @ fit), _AGREES)
    return np.asarray((there @ fit).reshape(_TILES, _TILES))


def _terms(place: Floats) -> Floats:
    y, x = (each.ravel() for each in np.meshgrid(place, place, indexing="ij"))
    return np.stack([np.ones_like(x), x, y, x * x + y * y], axis=1)
