"""Asterisms of four stars, and the table in which they are looked up by shape.

A quad's two widest-apart stars A and B span a frame in which the places of the other two, C and
D, are four numbers that do not change with position, rotation and scale: its code (Lang et al.
2010, AJ 139, 1782). A mirror image negates two of them.

Stars are chosen over the whole field: each has a *dominance*, the distance to its fifth nearest
brighter neighbour (adaptive non-maximal suppression, Brown, Szeliski & Winder 2005, CVPR). All
stars with a dominance above some length are equally dense everywhere, in crowded fields as in
sparse ones, on the sky as on an image with vignetting or a nebula. Quads join each star of such
a set with its nearest neighbours in it, for a ladder of lengths.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from firstlight.algorithms.sky.sky_index import unit_vectors

__all__ = [
    "QuadTable",
    "build_quad_table",
    "dominance",
    "neighbour_quads",
    "on_plane",
    "plane_codes",
    "read_only",
    "sky_codes",
    "tangent_frame",
]

Floats = NDArray[np.float64]
Progress = Callable[[float], None]

RIVALS = 5
"""A star's dominance is the distance to this brighter neighbour."""

RE_BINS, IM_BINS, BIN = 25, 44, 0.04
"""The table's grid: the codes' real parts are in [0, 1], the imaginary ones in [-0.87, 0.87]."""

CODE_UNIT = 21845.0
"""Codes are stored as ``(value + 1) * CODE_UNIT`` in 16 bits."""

SIZE_UNIT = 4096.0
"""Sizes (radians) are stored as ``log2(size) * SIZE_UNIT + 65535``."""

ZONES = 360
"""Zones of declination in which stars are sorted by right ascension."""


class QuadTable(NamedTuple):
    """Quads of a catalogue by shape, and its stars by place.

    Plain read-only arrays, so that it can be memory-mapped and handed to compiled code.

    Attributes
    ----------
    bins
        Where each cell of the grid begins in the quads, shape ``(cells + 1,)``.
    codes, members, sizes
        Code, stars A, B, C, D and length AB of each quad, in the order of the cells.
    vectors, star_ra, levels
        Unit vector, right ascension in degrees, and the highest rung of the ladder that still
        has the star; stars are sorted by zone of declination, then right ascension.
    zones
        Where each zone begins in the stars, shape ``(ZONES + 1,)``.
    density
        Stars per square degree at each rung; rung 0 has all stars.
    """

    bins: NDArray[np.int32]
    codes: NDArray[np.uint16]
    members: NDArray[np.uint32]
    sizes: NDArray[np.uint16]
    vectors: NDArray[np.float32]
    star_ra: NDArray[np.float32]
    levels: NDArray[np.uint8]
    zones: NDArray[np.int32]
    density: Floats


def build_quad_table(
    ra: ArrayLike,
    dec: ArrayLike,
    mag: ArrayLike,
    *,
    area: float,
    triples: Sequence[int] = (20,),
    progress: Progress | None = None,
) -> QuadTable:
    """Table of the quads of a catalogue or a part of it.

    Parameters
    ----------
    ra, dec, mag
        Stars, in degrees, in any order.
    area
        The area they cover, square degrees.
    triples
        Quads begun at each star, for each rung of the ladder; the last holds for the rest.
    progress
        Called with the fraction done.
    """
    report = progress or (lambda _: None)
    order = _zone_order(np.asarray(ra, float), np.asarray(dec, float))
    lon, lat = np.asarray(ra, float)[order] % 360.0, np.asarray(dec, float)[order]
    vectors = unit_vectors(lon, lat)
    levels, density = _ladder(vectors, np.asarray(mag, float)[order], area, report)
    rungs = []
    for rung in range(len(density)):
        star = np.flatnonzero(levels >= rung)
        count = triples[min(rung, len(triples) - 1)]
        rungs.append(star[neighbour_quads(vectors[star], count)].astype(np.uint32))
        report(0.5 + 0.3 * (1 - 0.5 ** (rung + 1)))
    members = np.unique(np.sort(np.concatenate(rungs), axis=1), axis=0)
    report(0.85)
    codes, members, sizes = sky_codes(np.ascontiguousarray(vectors), members)
    cell = _cells(codes)
    by_cell = np.argsort(cell, kind="stable")
    report(0.95)
    bins = np.zeros(RE_BINS**2 * IM_BINS**2 + 1, np.int32)
    np.cumsum(np.bincount(cell, minlength=len(bins) - 1), out=bins[1:])
    zone = _zone(lat)
    return read_only(
        QuadTable(
            bins=bins,
            codes=np.round((codes[by_cell] + 1.0) * CODE_UNIT).astype(np.uint16),
            members=members[by_cell],
            sizes=np.round(np.log2(sizes[by_cell]) * SIZE_UNIT + 65535).astype(np.uint16),
            vectors=vectors.astype(np.float32),
            star_ra=lon.astype(np.float32),
            levels=levels,
            zones=np.searchsorted(zone, np.arange(ZONES + 1)).astype(np.int32),
            density=density,
        )
    )


def read_only(table: QuadTable) -> QuadTable:
    """The same table with arrays that cannot be written.

    Compiled code takes writeable and memory-mapped arrays for different types; one kind means
    that it is compiled once.
    """
    for array in table:
        array.setflags(write=False)
    return table


def dominance(points: Floats, progress: Progress | None = None) -> Floats:
    """Distance of each point to its fifth nearest brighter neighbour.

    Parameters
    ----------
    points
        Shape ``(n, d)``, brightest first; plane or unit vectors.
    progress
        Called with the fraction done.

    Returns
    -------
    Distances in the unit of `points`, shape ``(n,)``; infinite for the brightest five, which
    have no such neighbour. Where many fainter stars crowd round a star it can be too small.
    """
    reach = np.full(len(points), np.inf)
    begin = RIVALS
    while begin < len(points):
        # Stars of similar brightness share one tree, of which at most a fifth is fainter.
        end = min(len(points), int(1.25 * begin) + 8)
        near = min(2 * RIVALS + 4, end)
        distance, who = cKDTree(points[:end]).query(points[begin:end], k=near)
        brighter = who < np.arange(begin, end)[:, np.newaxis]
        enough = np.cumsum(brighter, axis=1) >= RIVALS
        column = np.where(enough.any(axis=1), enough.argmax(axis=1), near - 1)
        reach[begin:end] = distance[np.arange(end - begin), column]
        begin = end
        if progress is not None:
            progress(end / len(points))
    return reach


def neighbour_quads(points: Floats, count: int) -> NDArray[np.intp]:
    """Each point with three of its nearest neighbours, nearest first.

    Parameters
    ----------
    points
        Shape ``(n, d)``.
    count
        Quads to begin at each point.

    Returns
    -------
    Indices, shape ``(quads, 4)``; the same four can come up more than once. Empty for fewer
    than four points.
    """
    triples = _triples(count)
    near = min(int(triples.max()) + 1, len(points) - 1)
    triples = triples[triples.max(axis=1) < near]
    if near < 3:
        return np.empty((0, 4), np.intp)
    _, who = cKDTree(points).query(points, k=near + 1)
    others = who[:, 1:][:, triples]
    first = np.broadcast_to(
        np.arange(len(points))[:, np.newaxis, np.newaxis], (*others.shape[:2], 1)
    )
    quads = np.concatenate([first, others], axis=2).reshape(-1, 4)
    # Two points at one place may each come up as the other's nearest, or as their own.
    quads = quads[np.all(np.diff(np.sort(quads, axis=1), axis=1) > 0, axis=1)]
    return np.asarray(quads, np.intp)


def _triples(count: int) -> NDArray[np.intp]:
    """The first `count` triples of neighbours 0, 1, 2, ..., near ones first."""
    reach = 3
    while reach * (reach - 1) * (reach - 2) // 6 < count:
        reach += 1
    found = sorted(combinations(range(reach), 3), key=lambda t: (t[2], t[1], t[0]))
    return np.array(found[:count], np.intp)


@njit(cache=True)
def _code(px: Floats, py: Floats, code: Floats, order: NDArray[np.uint32]) -> float:
    """Write the code of four points and which of them are A, B, C, D; return the length AB."""
    widest, a, b = -1.0, 0, 1
    for i in range(3):
        for j in range(i + 1, 4):
            span = (px[i] - px[j]) ** 2 + (py[i] - py[j]) ** 2
            if span > widest:
                widest, a, b = span, i, j
    c = 0
    while c in (a, b):
        c += 1
    d = 6 - a - b - c
    dx, dy = px[b] - px[a], py[b] - py[a]
    if widest <= 0.0:
        code[:] = 0.0
        order[0], order[1], order[2], order[3] = a, b, c, d
        return 0.0
    re_c = ((px[c] - px[a]) * dx + (py[c] - py[a]) * dy) / widest
    im_c = ((py[c] - py[a]) * dx - (px[c] - px[a]) * dy) / widest
    re_d = ((px[d] - px[a]) * dx + (py[d] - py[a]) * dy) / widest
    im_d = ((py[d] - py[a]) * dx - (px[d] - px[a]) * dy) / widest
    if re_c + re_d > 1.0:
        a, b = b, a
        re_c, im_c, re_d, im_d = 1.0 - re_c, -im_c, 1.0 - re_d, -im_d
    if re_c > re_d:
        c, d = d, c
        re_c, im_c, re_d, im_d = re_d, im_d, re_c, im_c
    code[0], code[1], code[2], code[3] = re_c, im_c, re_d, im_d
    order[0], order[1], order[2], order[3] = a, b, c, d
    return float(np.sqrt(widest))


@njit(cache=True)
def plane_codes(
    x: Floats, y: Floats, members: NDArray[np.uint32]
) -> tuple[Floats, NDArray[np.uint32], Floats]:
    """Codes of quads of points in a plane.

    Parameters
    ----------
    x, y
        Points, shape ``(n,)``.
    members
        Four points of each quad, shape ``(quads, 4)``.

    Returns
    -------
    Codes ``(quads, 4)``, members in the order A, B, C, D, and lengths AB.
    """
    n = len(members)
    codes, ordered, sizes = np.empty((n, 4)), np.empty((n, 4), np.uint32), np.empty(n)
    px, py, order = np.empty(4), np.empty(4), np.empty(4, np.uint32)
    for q in range(n):
        for i in range(4):
            px[i], py[i] = x[members[q, i]], y[members[q, i]]
        sizes[q] = _code(px, py, codes[q], order)
        for i in range(4):
            ordered[q, i] = members[q, order[i]]
    return codes, ordered, sizes


@njit(cache=True)
def sky_codes(
    vectors: Floats, members: NDArray[np.uint32]
) -> tuple[Floats, NDArray[np.uint32], Floats]:
    """Codes of quads of unit vectors, each in the tangent plane at its middle, seen from within.

    As `plane_codes`, with east and north for x and y, and lengths in radians.
    """
    n = len(members)
    codes, ordered, sizes = np.empty((n, 4)), np.empty((n, 4), np.uint32), np.empty(n)
    px, py, order = np.empty(4), np.empty(4), np.empty(4, np.uint32)
    basis = np.empty((3, 3))
    for q in range(n):
        for k in range(3):
            basis[2, k] = (
                vectors[members[q, 0], k]
                + vectors[members[q, 1], k]
                + vectors[members[q, 2], k]
                + vectors[members[q, 3], k]
            )
        tangent_frame(basis)
        for i in range(4):
            px[i], py[i] = on_plane(basis, vectors[members[q, i]])
        sizes[q] = _code(px, py, codes[q], order)
        for i in range(4):
            ordered[q, i] = members[q, order[i]]
    return codes, ordered, sizes


@njit(cache=True)
def tangent_frame(basis: Floats) -> None:
    """Normalise row 2 and make rows 0 and 1 east and north of it (any pair at a pole)."""
    x, y, z = basis[2, 0], basis[2, 1], basis[2, 2]
    length = np.sqrt(x * x + y * y + z * z)
    x, y, z = x / length, y / length, z / length
    flat = np.sqrt(x * x + y * y)
    cos_ra, sin_ra = (x / flat, y / flat) if flat > 1e-12 else (1.0, 0.0)
    basis[0, 0], basis[0, 1], basis[0, 2] = -sin_ra, cos_ra, 0.0
    basis[1, 0], basis[1, 1], basis[1, 2] = -z * cos_ra, -z * sin_ra, flat
    basis[2, 0], basis[2, 1], basis[2, 2] = x, y, z


@njit(cache=True)
def on_plane(basis: Floats, vector: NDArray[np.float32] | Floats) -> tuple[float, float]:
    """Gnomonic offsets, radians, of a vector in a frame made by `tangent_frame`."""
    x, y, z = vector[0], vector[1], vector[2]
    depth = basis[2, 0] * x + basis[2, 1] * y + basis[2, 2] * z
    east = basis[0, 0] * x + basis[0, 1] * y + basis[0, 2] * z
    north = basis[1, 0] * x + basis[1, 1] * y + basis[1, 2] * z
    return east / depth, north / depth


def _ladder(
    vectors: Floats, mag: Floats, area: float, report: Progress
) -> tuple[NDArray[np.uint8], Floats]:
    """The highest rung that each star reaches, and the density of each rung.

    Each rung is half as dense as the one below, down to a dozen stars in all or, for the whole
    sky, as many as fields of 20 degrees need.
    """
    faint_last = np.argsort(mag, kind="stable")
    reach = np.empty(len(vectors))
    reach[faint_last] = dominance(vectors[faint_last], lambda done: report(0.5 * done))
    density = [len(vectors) / area]
    levels = np.zeros(len(vectors), np.uint8)
    while density[-1] * area > 24 and density[-1] > 0.05:
        wanted = 0.5 * density[-1]
        length = np.radians(np.sqrt(RIVALS / (np.pi * wanted)))
        chosen = reach > length
        levels[chosen] = len(density)
        # Where the catalogue is no denser than this rung, all its stars are on it.
        density.append(min(wanted, float(chosen.sum()) / area))
    return levels, np.array(density)


def _cells(codes: Floats) -> NDArray[np.int64]:
    re_c, re_d = (_clipped(codes[:, i] / BIN, RE_BINS) for i in (0, 2))
    im_c, im_d = (_clipped(codes[:, i] / BIN + IM_BINS / 2, IM_BINS) for i in (1, 3))
    return ((re_c * IM_BINS + im_c) * RE_BINS + re_d) * IM_BINS + im_d


def _clipped(place: Floats, bins: int) -> NDArray[np.int64]:
    return np.clip(np.floor(place).astype(np.int64), 0, bins - 1)


def _zone(dec: Floats) -> NDArray[np.int64]:
    return np.clip(((dec + 90.0) * (ZONES / 180.0)).astype(np.int64), 0, ZONES - 1)


def _zone_order(ra: Floats, dec: Floats) -> NDArray[np.intp]:
    return np.asarray(np.lexsort(((ra % 360.0).astype(np.float32), _zone(dec))))
