"""Fill hidden pixels so smoothly that interpolating across their edge does not ring.

The filled values make the sum of squared Laplacians of the image least (a thin plate laid through
the good pixels), found by conjugate gradients on the hidden pixels alone.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["smooth_fill"]

_DEEP = 12  # pixels from the nearest good one; beyond, nothing good can be told of a value
_TURNS = 200
_PRECISION = 1e-3

# Pixels of the squared Laplacian and their weights.
_ROWS = np.array([0, -1, 1, 0, 0, -1, -1, 1, 1, -2, 2, 0, 0])
_COLUMNS = np.array([0, 0, 0, -1, 1, -1, 1, -1, 1, 0, 0, -2, 2])
_WEIGHTS = np.array([20, -8, -8, -8, -8, 2, 2, 2, 2, 1, 1, 1, 1], dtype=np.float64)


def smooth_fill(plane: NDArray[np.float32], hidden: NDArray[np.bool_]) -> None:
    """Replace hidden pixels, in place.

    Pixels further than 12 rows and columns from any good pixel of their row and column get an
    average of the nearest ones; an image without any good pixel becomes zero.

    Parameters
    ----------
    plane
        Image ``(ny, nx)``, C-contiguous; hidden pixels may hold anything, NaN too.
    hidden
        True where the value is not to be believed.
    """
    places = _places(hidden)
    if not len(places):
        return
    if len(places) == plane.size:
        plane[:] = 0.0
        return
    distance = _first_guess(plane, hidden, places)
    near = places[distance <= _DEEP]
    if len(near):
        _smooth(plane, near, _neighbours(near, plane.shape))


@njit(cache=True, nogil=True)
def _places(hidden):  # type: ignore[no-untyped-def] # compiled
    """Rows and columns of the pixels that are True ``(n, 2)``, row by row."""
    ny, nx = hidden.shape
    rows = np.empty(ny, np.int64)
    for y in range(ny):
        count = 0
        for x in range(nx):
            count += hidden[y, x]
        rows[y] = count
    places = np.empty((rows.sum(), 2), np.int64)
    n = 0
    for y in range(ny):
        # Most rows have none, and need not be looked at again.
        if rows[y]:
            for x in range(nx):
                if hidden[y, x]:
                    places[n, 0], places[n, 1] = y, x
                    n += 1
    return places


@njit(cache=True, nogil=True)
def _neighbours(places, shape):  # type: ignore[no-untyped-def] # compiled
    """Flat index of the thirteen pixels around each place; the image mirrors at its edges."""
    ny, nx = shape
    index = np.empty((places.shape[0], _WEIGHTS.size), np.int64)
    for k in range(places.shape[0]):
        for i in range(_WEIGHTS.size):
            y = _mirrored(places[k, 0] + _ROWS[i], ny)
            x = _mirrored(places[k, 1] + _COLUMNS[i], nx)
            index[k, i] = y * nx + x
    return index


@njit(cache=True, nogil=True)
def _mirrored(place, size):  # type: ignore[no-untyped-def] # compiled
    if place < 0:
        place = -1 - place
    if place >= size:
        place = 2 * size - 1 - place
    return min(max(place, 0), size - 1)


@njit(cache=True, nogil=True)
def _first_guess(plane, hidden, places):  # type: ignore[no-untyped-def] # compiled
    """Weigh the nearest good pixels of the row and the column; return the distance of the nearest.

    Every hidden pixel asks its neighbours, which were asked before it: one sweep down and one up.
    """
    ny, nx = plane.shape
    count = len(places)
    total = np.zeros(count)
    weight = np.zeros(count)
    nearest = np.zeros(count, dtype=np.int64) + (ny + nx)
    for sense in (1, -1):
        value_y, steps_y = np.zeros(nx), np.zeros(nx, dtype=np.int64)
        value_x, steps_x = 0.0, 0
        for n in range(count):
            k = n if sense == 1 else count - 1 - n
            y, x = places[k, 0], places[k, 1]
            before = y - sense
            if 0 <= before < ny:
                if not hidden[before, x]:
                    value_y[x], steps_y[x] = plane[before, x], 1
                elif steps_y[x]:
                    steps_y[x] += 1
            before = x - sense
            if not 0 <= before < nx:
                steps_x = 0
            elif not hidden[y, before]:
                value_x, steps_x = plane[y, before], 1
            elif steps_x:
                steps_x += 1
            if steps_y[x]:
                total[k] += value_y[x] / steps_y[x]
                weight[k] += 1.0 / steps_y[x]
                nearest[k] = min(nearest[k], steps_y[x])
            if steps_x:
                total[k] += value_x / steps_x
                weight[k] += 1.0 / steps_x
                nearest[k] = min(nearest[k], steps_x)
    every = np.ones(count)
    middle = _product(total, every) / max(_product(weight, every), 1e-30)
    for k in range(count):
        known = weight[k] > 0
        plane[places[k, 0], places[k, 1]] = total[k] / weight[k] if known else middle
    return nearest


@njit(cache=True, nogil=True)
def _smooth(plane, places, neighbours):  # type: ignore[no-untyped-def] # compiled
    """Solve each group of hidden pixels that the stencil connects by itself."""
    flat = plane.reshape(-1)
    count = len(places)
    # Only pixels near hidden ones are asked for: memory that is not touched costs nothing.
    own = np.empty(flat.size, dtype=np.int32)
    for k in range(count):
        for i in range(_WEIGHTS.size):
            own[neighbours[k, i]] = -1
    for k in range(count):
        own[neighbours[k, 0]] = k
    # A bright core must not decide when the fill of a faint hit is good enough.
    taken = np.zeros(count, dtype=np.bool_)
    group = np.empty(count, dtype=np.int64)
    for k in range(count):
        if taken[k]:
            continue
        group[0], size, asked = k, 1, 0
        taken[k] = True
        while asked < size:
            for i in range(1, _WEIGHTS.size):
                j = own[neighbours[group[asked], i]]
                if j >= 0 and not taken[j]:
                    taken[j] = True
                    group[size] = j
                    size += 1
            asked += 1
        members = group[:size]
        inside = np.empty((size, _WEIGHTS.size), dtype=np.int64)
        for m in range(size):
            own[neighbours[members[m], 0]] = m
        for m in range(size):
            for i in range(_WEIGHTS.size):
                inside[m, i] = own[neighbours[members[m], i]]
        _solve(flat, neighbours, members, inside)


@njit(cache=True, nogil=True)
def _solve(flat, neighbours, members, inside):  # type: ignore[no-untyped-def] # compiled
    """Conjugate gradients for a squared Laplacian of zero at every member of a group."""
    size = len(members)
    rest, found, image = np.zeros(size), np.zeros(size), np.empty(size)
    step = np.empty(size)
    for m in range(size):
        for i in range(_WEIGHTS.size):
            rest[m] -= _WEIGHTS[i] * flat[neighbours[members[m], i]]
        step[m] = rest[m]
    power = _product(rest, rest)
    enough = _PRECISION * _PRECISION * power
    for _ in range(_TURNS):
        if power <= enough:
            break
        for m in range(size):
            total = 0.0
            for i in range(_WEIGHTS.size):
                j = inside[m, i]
                if j >= 0:
                    total += _WEIGHTS[i] * step[j]
            image[m] = total
        length = power / _product(step, image)
        for m in range(size):
            found[m] += length * step[m]
            rest[m] -= length * image[m]
        previous, power = power, _product(rest, rest)
        for m in range(size):
            step[m] = rest[m] + power / previous * step[m]
    for m in range(size):
        flat[neighbours[members[m], 0]] += found[m]


@njit(cache=True, nogil=True)
def _product(a, b):  # type: ignore[no-untyped-def] # compiled
    total = 0.0
    for k in range(a.size):
        total += a[k] * b[k]
    return total
