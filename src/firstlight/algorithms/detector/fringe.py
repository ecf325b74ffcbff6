"""Interference of the night sky's lines in a thin detector: how much there is, and its removal.

The pattern stays; its strength follows the lines of the sky, not its level, so it is fitted to
each image. Pattern and image are averaged in small blocks without what is not sky, both lose
a plane in each tile of blocks (so neither the sky's level nor its slope counts), and the
strength is the slope of the one over the other, clipped so that stars and galaxies do not count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from firstlight.algorithms.median_deviation import scatter_about_median
from firstlight.errors import InvalidInput

__all__ = ["FringeFit", "fit_fringe", "remove_fringe"]

Plane = NDArray[np.float32]

_SIDE = 8  # pixels of a block: small against the width of a fringe
_TILE = 32  # blocks: large against the width of a fringe
_FULLEST = 0.5  # share of its pixels that a block needs
_FEWEST = 50  # blocks
_TURNS = 8
_FIRST_CLIP, _CLIP = 6.0, 3.0  # sigma of a block
_CLIPPED = 0.9733  # share of the variance left after clipping a Gaussian at 3 sigma


@dataclass(frozen=True, slots=True)
class FringeFit:
    """Strength of a pattern in an image.

    Attributes
    ----------
    scale
        Electrons in the image per unit of the pattern.
    error
        One sigma of `scale`; infinite where the image shows too little sky to tell.
    blocks
        How many blocks counted.
    """

    scale: float
    error: float
    blocks: int

    @property
    def is_seen(self) -> bool:
        """Whether it stands out of its error by three sigma."""
        return bool(np.isfinite(self.error)) and self.scale > 3.0 * self.error


def fit_fringe(data: Plane, hidden: NDArray[np.bool_], pattern: Plane) -> FringeFit:
    """Measure how strongly a pattern shines in an image.

    Parameters
    ----------
    data
        Electrons ``(ny, nx)``, flat-fielded, with its sky.
    hidden
        True where a pixel cannot be used.
    pattern
        Of the same shape, any unit; pixels that are not finite are left out.

    Raises
    ------
    InvalidInput
        The planes do not fit.
    """
    for name, plane in (("hidden", hidden), ("pattern", pattern)):
        if plane.shape != data.shape:
            raise InvalidInput(
                "The planes do not fit.", field=name, found=plane.shape, expected=data.shape
            )
    light, shape, full = _blocks(
        np.ascontiguousarray(data, np.float32),
        np.ascontiguousarray(hidden),
        np.ascontiguousarray(pattern, np.float32),
        _SIDE,
    )
    rows, columns = np.indices(light.shape)
    tiles = (rows // _TILE) * (columns.max(initial=0) // _TILE + 1) + columns // _TILE
    used = full >= _FULLEST
    values = np.column_stack([light[used], shape[used]]).astype(float)
    kept = _flattened(values, tiles[used], np.column_stack([rows[used], columns[used]]))
    return _slope(values[:, 0], values[:, 1], tiles[used], kept)


def remove_fringe(
    data: Plane, variance: Plane, pattern: Plane, fit: FringeFit, pattern_variance: Plane | None
) -> None:
    """Take a fitted pattern off, in place.

    Parameters
    ----------
    data, variance
        Electrons and electrons squared; the variance gains the errors of strength and pattern.
    pattern
        As given to `fit_fringe`; where it is not finite the pixels stay as they are.
    fit
        Strength.
    pattern_variance
        Squared error of the pattern, or None where it is not known.
    """
    spread = np.zeros((1, 1), np.float32) if pattern_variance is None else pattern_variance
    numbers = (np.float32(fit.scale), np.float32(fit.error))
    _take_off(data, variance, np.ascontiguousarray(pattern, np.float32), spread, numbers)


def _slope(
    light: NDArray[np.float64],
    shape: NDArray[np.float64],
    tiles: NDArray[np.int64],
    kept: NDArray[np.bool_],
) -> FringeFit:
    """Line of `light` over `shape` with a free level in each tile."""
    scale, left = 0.0, light
    for turn in range(_TURNS):
        if kept.sum() < _FEWEST:
            break
        y, x = _centred(light, tiles, kept), _centred(shape, tiles, kept)
        power = float((x[kept] ** 2).sum())
        if power <= 0:
            break
        scale = float((x[kept] * y[kept]).sum()) / power
        left = y - scale * x
        limit = _CLIP * scatter_about_median(left[kept])
        if turn == _TURNS - 1:
            noise = float(np.mean(left[kept] ** 2)) / _CLIPPED
            return FringeFit(scale, float(np.sqrt(noise / power)), int(kept.sum()))
        kept = np.abs(left) <= max(limit, 1e-12)
    return FringeFit(0.0, float("inf"), int(kept.sum()))


def _flattened(
    values: NDArray[np.float64], tiles: NDArray[np.int64], places: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Take a plane off each column of `values` in each tile, in place.

    Returns the blocks whose light, the first column, is not far from the median of their tile:
    bright stars are not among them, and do not tilt the plane. The same blocks count in all
    columns, so that what is proportional stays so.
    """
    kept = np.zeros(len(values), dtype=bool)
    for tile in np.unique(tiles):
        here = np.flatnonzero(tiles == tile)
        off = values[here, 0] - np.median(values[here, 0])
        good = np.abs(off) <= _FIRST_CLIP * max(scatter_about_median(off), 1e-12)
        kept[here] = good
        plane = np.column_stack([np.ones(len(here)), places[here] - places[here].mean(axis=0)])
        if good.sum() > plane.shape[1]:
            terms = np.linalg.lstsq(plane[good], values[here][good], rcond=None)[0]
            values[here] -= plane @ terms
    return kept


def _centred(
    values: NDArray[np.float64], tiles: NDArray[np.int64], kept: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Values less the mean of those kept in their tile."""
    total = np.bincount(tiles[kept], values[kept], minlength=int(tiles.max()) + 1)
    count = np.bincount(tiles[kept], minlength=int(tiles.max()) + 1)
    centred: NDArray[np.float64] = values - (total / np.maximum(count, 1))[tiles]
    return centred


@njit(cache=True, nogil=True)
def _blocks(data, hidden, pattern, side):  # type: ignore[no-untyped-def] # compiled
    """Means of image and pattern over the same good pixels of each block, and their share."""
    rows, columns = data.shape[0] // side, data.shape[1] // side
    light = np.zeros((rows, columns), dtype=np.float32)
    shape = np.zeros((rows, columns), dtype=np.float32)
    count = np.zeros((rows, columns), dtype=np.float32)
    for y in range(rows * side):
        for x in range(columns * side):
            value = pattern[y, x]
            if not hidden[y, x] and np.isfinite(value):
                light[y // side, x // side] += data[y, x]
                shape[y // side, x // side] += value
                count[y // side, x // side] += 1
    full = np.maximum(count, np.float32(1))
    return light / full, shape / full, count / np.float32(side * side)


@njit(cache=True, nogil=True)
def _take_off(data, variance, pattern, spread, numbers):  # type: ignore[no-untyped-def] # compiled
    """Pattern off the image and both errors on its variance; one pixel stands for no spread."""
    scale, error = numbers
    for y in range(data.shape[0]):
        for x in range(data.shape[1]):
            value = pattern[y, x]
            if np.isfinite(value):
                data[y, x] -= scale * value
                own = spread[y, x] if spread.size > 1 else spread[0, 0]
                # An unknown error of one pixel of the pattern would make the pixel useless.
                own = own if np.isfinite(own) else np.float32(0)
                variance[y, x] += error * error * value * value + scale * scale * own
