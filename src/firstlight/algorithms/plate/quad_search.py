"""Where in a catalogue a frame could be: quads of like shape, each tested on the other stars.

Everything here proposes; nothing decides. `plate_solve` fits the best proposals and decides by
their odds.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from firstlight.algorithms.plate.quads import (
    BIN,
    CODE_UNIT,
    IM_BINS,
    RE_BINS,
    SIZE_UNIT,
    ZONES,
    QuadTable,
    on_plane,
    tangent_frame,
)

__all__ = ["Frame", "FrameQuads", "search"]

Floats = NDArray[np.float64]

WORST_CODE = 0.02
"""Largest tolerance on a code: half a cell of the table, so that two cells a side suffice."""

NEIGHBOURS_TESTED = 48.0
"""Catalogue stars wanted in a frame for a test, or twice its detections where those are fewer."""


class Frame(NamedTuple):
    """One frame's detections and what is known about it. Lengths are pixels, angles radians.

    Attributes
    ----------
    x, y
        Detections on which proposals are tested, from the middle of the frame, shape ``(n,)``.
    half_x, half_y
        Half the width and height.
    scale_low, scale_high
        Radians per pixel.
    parity
        1 for the sky as seen, -1 for mirrored, 0 for unknown.
    noise
        Expected error of a position.
    distortion
        Expected departure of the frame from a similarity, as a fraction.
    """

    x: Floats
    y: Floats
    half_x: float
    half_y: float
    scale_low: float
    scale_high: float
    parity: int
    noise: float
    distortion: float


class FrameQuads(NamedTuple):
    """Quads of the frame: codes and members in the order A, B, C, D, and lengths AB in pixels.

    `members` index the frame's detections.
    """

    codes: Floats
    members: NDArray[np.uint32]
    sizes: Floats


@njit(cache=True)
def search(
    table: QuadTable, frame: Frame, quads: FrameQuads, room: int
) -> tuple[Floats, NDArray[np.int64], int]:
    """Look each quad of the frame up and test what is found.

    Parameters
    ----------
    table, frame, quads
        The catalogue, the frame, and the frame's quads to look up.
    room
        How many proposals to keep, the best.

    Returns
    -------
    Scores (log of the odds of the other stars' agreement against chance, roughly), proposals
    ``(quad of the frame, quad of the table, parity)`` and how many were tested. Unsorted.
    """
    scores, found = np.empty(room), np.empty((room, 3), np.int64)
    kept, tested, worst = 0, 0, 0
    basis, fit = np.empty((3, 3)), np.empty(4)
    for q in range(len(quads.sizes)):
        low, high = _stored_sizes(frame, quads.sizes[q])
        tolerance = min(WORST_CODE, 2.0 * frame.noise / quads.sizes[q] + frame.distortion)
        for flip in (1, -1):
            if frame.parity == -flip:
                continue
            for row in _alike(table, quads.codes[q], flip, tolerance, low, high):
                tested += 1
                score = _test(table, frame, quads.members[q], row, flip, basis, fit)
                if kept < room:
                    worst = kept
                    kept += 1
                elif score <= scores[worst]:
                    continue
                scores[worst] = score
                found[worst, 0], found[worst, 1], found[worst, 2] = q, row, flip
                if kept == room:
                    worst = int(np.argmin(scores))
    return scores[:kept], found[:kept], tested


@njit(cache=True)
def _stored_sizes(frame: Frame, size: float) -> tuple[float, float]:
    """Range of a catalogue quad's stored length, given the frame's."""
    slack = np.log2(1.0 + 2.0 * frame.noise / size + frame.distortion)
    low = (np.log2(size * frame.scale_low) - slack) * SIZE_UNIT + 65535
    high = (np.log2(size * frame.scale_high) + slack) * SIZE_UNIT + 65535
    return low, high


@njit(cache=True)
def _alike(
    table: QuadTable, code: Floats, flip: int, tolerance: float, low: float, high: float
) -> list[int]:
    """Quads of the table with this code within the tolerance and a length in range."""
    rows = [0 for _ in range(0)]  # numba needs the type of an empty list
    wanted = np.empty(4)
    wanted[0], wanted[1], wanted[2], wanted[3] = code[0], flip * code[1], code[2], flip * code[3]
    first, last = np.empty(4, np.int64), np.empty(4, np.int64)
    for i in range(4):
        middle = 0.0 if i % 2 == 0 else IM_BINS / 2
        top = RE_BINS - 1 if i % 2 == 0 else IM_BINS - 1
        first[i] = min(max(int(np.floor((wanted[i] - tolerance) / BIN + middle)), 0), top)
        last[i] = min(max(int(np.floor((wanted[i] + tolerance) / BIN + middle)), 0), top)
        wanted[i] = (wanted[i] + 1.0) * CODE_UNIT
    nearest = (tolerance * CODE_UNIT) ** 2
    for i0 in range(first[0], last[0] + 1):
        for i1 in range(first[1], last[1] + 1):
            for i2 in range(first[2], last[2] + 1):
                cell = ((i0 * IM_BINS + i1) * RE_BINS + i2) * IM_BINS
                for row in range(table.bins[cell + first[3]], table.bins[cell + last[3] + 1]):
                    if table.sizes[row] < low or table.sizes[row] > high:
                        continue
                    off = 0.0
                    for k in range(4):
                        off += (table.codes[row, k] - wanted[k]) ** 2
                    if off <= nearest:
                        rows.append(row)
    return rows


@njit(cache=True)
def _test(
    table: QuadTable,
    frame: Frame,
    members: NDArray[np.uint32],
    row: int,
    flip: int,
    basis: Floats,
    fit: Floats,
) -> float:
    """Score one proposal: do other catalogue stars fall on detections.

    With k stars found where chance gives lambda, the score is k ln(k / lambda) - (k - lambda),
    the exponent of the Poisson tail. The quad's own four stars do not count.
    """
    stars = table.members[row]
    for k in range(3):
        basis[2, k] = 0.0
        for i in range(4):
            basis[2, k] += table.vectors[stars[i], k]
    # The second round has its tangent point in the middle of the frame, as the optics have.
    for _ in range(2):
        tangent_frame(basis)
        if not _similarity(table, frame, members, stars, flip, basis, fit):
            return -1.0
        for k in range(3):
            basis[2, k] += fit[2] * basis[0, k] + fit[3] * basis[1, k]
    tangent_frame(basis)
    if not _similarity(table, frame, members, stars, flip, basis, fit):
        return -1.0
    return float(_agreement(table, frame, members, stars, flip, basis, fit))


@njit(cache=True)
def _similarity(
    table: QuadTable,
    frame: Frame,
    members: NDArray[np.uint32],
    stars: NDArray[np.uint32],
    flip: int,
    basis: Floats,
    fit: Floats,
) -> bool:
    """Least-squares similarity of four pairs, (s + i t) w + (p + i q), into `fit`.

    False where the scale is out of range. A frame that shows the sky as seen has east on the
    left: x is negated to make its turn the sky's.
    """
    mx, my, me, mn = 0.0, 0.0, 0.0, 0.0
    for i in range(4):
        east, north = on_plane(basis, table.vectors[stars[i]])
        mx += -flip * frame.x[members[i]] / 4
        my += frame.y[members[i]] / 4
        me += east / 4
        mn += north / 4
    along, across, total = 0.0, 0.0, 0.0
    for i in range(4):
        east, north = on_plane(basis, table.vectors[stars[i]])
        u, v = -flip * frame.x[members[i]] - mx, frame.y[members[i]] - my
        along += u * (east - me) + v * (north - mn)
        across += u * (north - mn) - v * (east - me)
        total += u * u + v * v
    s, t = along / total, across / total
    fit[0], fit[1] = s, t
    fit[2], fit[3] = me - s * mx + t * my, mn - t * mx - s * my
    scale = np.sqrt(s * s + t * t)
    return bool(frame.scale_low <= scale <= frame.scale_high)


@njit(cache=True)
def _agreement(
    table: QuadTable,
    frame: Frame,
    members: NDArray[np.uint32],
    stars: NDArray[np.uint32],
    flip: int,
    basis: Floats,
    fit: Floats,
) -> float:
    """Score of a similarity on all stars but the quad's; 0 as soon as it looks like chance."""
    scale2 = fit[0] ** 2 + fit[1] ** 2
    wanted = min(NEIGHBOURS_TESTED, 2.0 * len(frame.x))
    rung = _rung(table.density, 4.0 * frame.half_x * frame.half_y * scale2, wanted)
    density = len(frame.x) / (4.0 * frame.half_x * frame.half_y)
    qx, qy, slope = _lever(frame, members)
    radius = np.arctan(np.sqrt(scale2 * (frame.half_x**2 + frame.half_y**2))) + 1e-6
    seen, matched, chance = 0, 0, 0.0
    for star in _stars_within(table, basis, radius, rung):
        if star in (stars[0], stars[1], stars[2], stars[3]):
            continue
        east, north = on_plane(basis, table.vectors[star])
        u, v = east - fit[2], north - fit[3]
        x = -flip * (fit[0] * u + fit[1] * v) / scale2
        y = (fit[0] * v - fit[1] * u) / scale2
        if abs(x) > frame.half_x or abs(y) > frame.half_y:
            continue
        reach = 2.0 * frame.noise + slope * np.sqrt((x - qx) ** 2 + (y - qy) ** 2)
        seen += 1
        chance += 1.0 - np.exp(-density * np.pi * reach * reach)
        matched += _detected(frame, x, y, reach)
        if seen >= 16 and matched <= 1.5 * chance:
            return 0.0
    if matched <= chance:
        return 0.0
    return float(matched * np.log(matched / chance) - (matched - chance))


@njit(cache=True)
def _rung(density: Floats, area: float, wanted: float) -> int:
    """The sparsest rung with `wanted` stars in an area in square radians."""
    square_degrees = area * (180.0 / np.pi) ** 2
    rung = len(density) - 1
    while rung > 0 and density[rung] * square_degrees < wanted:
        rung -= 1
    return rung


@njit(cache=True)
def _lever(frame: Frame, members: NDArray[np.uint32]) -> tuple[float, float, float]:
    """The quad's middle, and how fast a prediction's error grows with the distance from it."""
    qx, qy, size = 0.0, 0.0, 0.0
    for i in range(4):
        qx += frame.x[members[i]] / 4
        qy += frame.y[members[i]] / 4
    for i in range(4):
        size += np.sqrt((frame.x[members[i]] - qx) ** 2 + (frame.y[members[i]] - qy) ** 2) / 4
    return qx, qy, frame.noise / size + 0.5 * frame.distortion


@njit(cache=True)
def _detected(frame: Frame, x: float, y: float, reach: float) -> bool:
    closest = np.inf
    for k in range(len(frame.x)):
        closest = min(closest, (frame.x[k] - x) ** 2 + (frame.y[k] - y) ** 2)
    return closest < reach * reach


@njit(cache=True)
def _stars_within(table: QuadTable, basis: Floats, radius: float, rung: int) -> list[int]:
    """Stars of a rung within `radius` (radians) of the frame's row 2."""
    rows = [0 for _ in range(0)]  # numba needs the type of an empty list
    middle, nearest = basis[2], np.cos(radius)
    ra = np.degrees(np.arctan2(middle[1], middle[0])) % 360.0
    dec = np.degrees(np.arcsin(min(1.0, max(-1.0, middle[2]))))
    reach = np.degrees(radius)
    half = 180.0
    if abs(dec) + reach < 89.5:
        half = np.degrees(np.arcsin(np.sin(radius) / np.cos(np.radians(dec)))) + 1e-3
    first = max(0, int((dec - reach + 90.0) * ZONES / 180.0))
    last = min(ZONES - 1, int((dec + reach + 90.0) * ZONES / 180.0))
    for zone in range(first, last + 1):
        begin, end = table.zones[zone], table.zones[zone + 1]
        # One turn of the sky to either side makes the wrap two plain intervals.
        for turn in (-360.0, 0.0, 360.0):
            left, right = max(ra - half + turn, 0.0), min(ra + half + turn, 360.0)
            if left > right:
                continue
            star = begin + np.searchsorted(table.star_ra[begin:end], np.float32(left))
            while star < end and table.star_ra[star] <= right:
                if table.levels[star] >= rung:
                    v = table.vectors[star]
                    if v[0] * middle[0] + v[1] * middle[1] + v[2] * middle[2] >= nearest:
                        rows.append(star)
                star += 1
    return rows
