"""The sky that is left in a difference, where both images' own maps of it disagree.

A map of the sky of one image holds the light of the faint stars that it does not tell from the
sky, and how many these are depends on its depth and its seeing. In the difference they are gone:
its empty pixels tell what the two maps disagree by (Alard & Lupton 1998, ApJ 503, 325, fit it
with the kernel). A level of a tenth of a pixel's noise is half a sigma of a faint source.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from firstlight.algorithms.order_statistics import median_in_place
from firstlight.algorithms.subtraction.empty_sky import empty_sky
from firstlight.algorithms.subtraction.subtract import Subtraction

__all__ = ["take_sky_away"]

Floats = NDArray[np.float64]

_CELL = 128.0  # pixels on a side, about
_STEP = 3  # every so many pixels are looked at along either axis
_QUIET = 1.1  # of the median error
_FEWEST = 0.1  # of a cell's pixels must be empty sky


def take_sky_away(found: Subtraction) -> None:
    """Take away what is left of the sky, in place: fluxes in empty sky are about zero then.

    Notes
    -----
    The median flux of empty places in cells of about 128 pixels, bilinear between them. A cell
    with hardly any empty sky takes the level of the others.
    """
    levels = _levels(found)
    if levels is None:
        return
    stamp = found.psfs.stamps[0, 0].astype(np.float64)
    # What a flux of the matched filter is as a level of the difference.
    level = float(np.square(stamp).sum() / stamp.sum())
    _take_away((found.difference, found.flux, found.score), found.flux_error, levels, level)


def _levels(found: Subtraction) -> Floats | None:
    """Median flux in cells ``(rows, columns)``; None without empty sky."""
    ny, nx = found.flux.shape
    rows, columns = (max(1, round(side / _CELL)) for side in (ny, nx))
    quiet = empty_sky(found, _STEP, _QUIET)
    edges = [_shares(side, count) for side, count in zip(quiet.shape, (rows, columns), strict=True)]
    values, counts = np.empty(quiet.size, np.float32), np.empty((rows, columns), np.int64)
    _gather(found.flux, quiet, _STEP, (edges[0], edges[1]), (values, counts))
    levels = np.full((rows, columns), np.nan)
    enough = counts > _FEWEST * np.outer(np.diff(edges[0]), np.diff(edges[1]))
    stops = np.cumsum(counts).reshape(counts.shape)
    for cell in zip(*np.nonzero(enough), strict=True):
        there = values[stops[cell] - counts[cell] : stops[cell]]
        levels[cell] = median_in_place(there, len(there))
    if not np.isfinite(levels).any():
        return None
    return np.where(np.isfinite(levels), levels, np.nanmedian(levels))


def _shares(length: int, count: int) -> NDArray[np.int64]:
    """Where equal parts of an axis begin and end ``(count + 1,)``; the first are the longer."""
    part, rest = divmod(length, count)
    return np.cumsum([0] + rest * [part + 1] + (count - rest) * [part])


@njit(cache=True, nogil=True)
def _gather(flux, quiet, step, edges, out):  # type: ignore[no-untyped-def] # compiled
    """Put the quiet pixels of a net in line, cell by cell, and count those of each."""
    values, counts = out
    rows, columns = edges
    n = 0
    for j in range(rows.size - 1):
        for i in range(columns.size - 1):
            before = n
            for y in range(rows[j], rows[j + 1]):
                for x in range(columns[i], columns[i + 1]):
                    if quiet[y, x]:
                        values[n] = flux[y * step, x * step]
                        n += 1
            counts[j, i] = n - before


@njit(cache=True, nogil=True)
def _take_away(planes, error, levels, per_flux):  # type: ignore[no-untyped-def] # compiled
    difference, flux, score = planes
    ny, nx = flux.shape
    rows, columns = levels.shape
    cell, place = np.empty(nx, np.int64), np.empty(nx)
    for x in range(nx):
        place[x] = min(max((x + 0.5) * columns / nx - 0.5, 0.0), columns - 1.0)
        cell[x] = min(int(place[x]), max(columns - 2, 0))
    line, level = np.empty(columns), np.empty(nx, np.float32)
    per = np.float32(per_flux)
    for y in range(ny):
        v = min(max((y + 0.5) * rows / ny - 0.5, 0.0), rows - 1.0)
        j = min(int(v), max(rows - 2, 0))
        below = min(j + 1, rows - 1)
        for i in range(columns):
            line[i] = (1.0 - v + j) * levels[j, i] + (v - j) * levels[below, i]
        _between(line, cell, place, level)
        _lower(difference[y], flux[y], (score[y], error[y]), level, per)


@njit(cache=True, nogil=True)
def _between(line, cell, place, level):  # type: ignore[no-untyped-def] # compiled
    """Levels along a row, between the middles of its cells."""
    start, nx = 0, level.size
    while start < nx:
        i, stop = cell[start], start + 1
        while stop < nx and cell[stop] == i:
            stop += 1
        left, right = line[i], line[min(i + 1, line.size - 1)]
        for x in range(start, stop):
            level[x] = np.float32((1.0 - place[x] + i) * left + (place[x] - i) * right)
        start = stop


@njit(cache=True, nogil=True, error_model="numpy")
def _lower(difference, flux, told, level, per):  # type: ignore[no-untyped-def] # compiled
    score, error = told
    nothing = np.float32(0.0)
    for x in range(level.size):
        difference[x] -= per * level[x]
    # Where nothing is known flux and score stay 0.
    for x in range(level.size):
        known = score[x] != nothing
        flux[x] = flux[x] - level[x] if known else flux[x]
        score[x] = score[x] - level[x] / error[x] if known else score[x]
