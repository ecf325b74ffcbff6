"""Carry an image, its noise and its flags onto the pixel grid of another.

The image becomes a B-spline of degree seven (Unser, Aldroubi & Eden 1993, IEEE Trans. Signal
Processing 41, 821 and 834) whose coefficients are found by recursive filters; its values at the new
positions, times the area of a new pixel, are the new image. A windowed sinc of about the same reach
(Lanczos-3) errs eight times as much on stars, degree five 1.5 times as much in nearly the same
time. Pixels that do not show the sky are first replaced by a smooth fill, or they would ring: the
filters reach far, though they fall by 0.54 a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from firstlight.algorithms.flags import DTYPE, UNUSABLE, Flag
from firstlight.algorithms.resampling.coordinate_map import CoordinateMap, cubic_taps, sample_map
from firstlight.algorithms.resampling.smooth_fill import smooth_fill
from firstlight.errors import InvalidInput

__all__ = ["REACH", "Resampled", "resample", "resample_psf"]

Floats = NDArray[np.float64]

# Unusable pixels are marked in the result up to this many pixels from their centres, along x and
# along y; beyond, their filled values weigh little and err smoothly.
REACH = 2.0

_MARGIN = 4  # pixels around the planes, so that no position asks for a pixel outside
_CHUNK = 512  # target pixels whose weights stay in the first cache
_SHORT = 6  # pixels of a run that are summed one by one
_STRIP = 128  # columns that are filtered together
_BUNDLE = 16  # rows that are filtered together
_MEMORY = 28  # pixels after which both poles have forgotten in float32
_FILL_ERROR = 0.13  # of a filled pixel's neighbours, one pixel away: share of their contrast
_TOLERANCE = 0.3  # error from a fill that an unmarked pixel may have, sigma
_NO_VALUE = 1e30  # stands for an infinite variance, which no weight can multiply
# Of degree seven: the roots within the unit circle of the polynomial of its samples at the pixels.
_POLES = (-0.5352804307964382, -0.12255461519232669, -0.009148694809608277)
_GAIN = float(np.prod([(1 - z) * (1 - 1 / z) for z in _POLES]))
# At a distance f in [0, 1) from the pixel before it, the weights of the pixels from three before
# to four after, times 5040: coefficients of rising powers of f.
_BASIS = np.array(
    [
        [1, -7, 21, -35, 35, -21, 7, -1],
        [120, -392, 504, -280, 0, 84, -42, 7],
        [1191, -1715, 315, 665, -315, -105, 105, -21],
        [2416, 0, -1680, 0, 560, 0, -140, 35],
        [1191, 1715, 315, -665, -315, 105, 105, -35],
        [120, 392, 504, 280, 0, -84, -42, 21],
        [1, 7, 21, 35, 35, 21, 7, -7],
        [0, 0, 0, 0, 0, 0, 0, 1],
    ],
    dtype=np.float32,
) / np.float32(5040)
_EDGE, _LOST, _FILLED = int(Flag.EDGE), int(Flag.NO_DATA), int(Flag.INTERPOLATED)


@dataclass(frozen=True, eq=False)
class Resampled:
    """An image on a new grid.

    Attributes
    ----------
    pixels
        Light in each new pixel, float32 ``(ny, nx)``, in the unit of the source: a source's sum
        over pixels is kept. 0 outside the source image.
    variance
        Of independent pixels with the same noise over a star or an aperture, float32 ``(ny, nx)``:
        fluxes get their true errors from it. The scatter of single pixels is smaller, by up to a
        half in the middle between four source pixels, since neighbours share noise. Infinite
        outside the source image and where the source's is.
    flags
        Of all source pixels within `REACH` along both axes; INTERPOLATED too where one of them was
        filled, EDGE where one lies outside the source image, NO_DATA outside of it. The flags of
        filled pixels reach further, some 12 pixels, where bright light changes fast beside them: in
        an unmarked pixel the error from their fill stays below 0.3 sigma, for stars of a full width
        of 2.5 pixels or more.
    """

    pixels: NDArray[np.float32]
    variance: NDArray[np.float32]
    flags: NDArray[np.uint16]


class _Source(NamedTuple):
    """Planes with a margin: spline coefficients, variance, flags of the reach."""

    spline: NDArray[np.float32]
    spread: NDArray[np.float32]
    marks: NDArray[np.uint16]


class _Net(NamedTuple):
    """Nodes of the positions and the area, with the weights between them."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    area: NDArray[np.float64]
    taps: NDArray[np.float64]


class _Row(NamedTuple):
    """Positions in one row of the target: whole pixels of the margined planes, and the rest.

    Positions outside the source have -1 for `j`.
    """

    i: NDArray[np.int32]
    j: NDArray[np.int32]
    across: NDArray[np.float32]
    along: NDArray[np.float32]
    area: NDArray[np.float32]


def resample(
    pixels: NDArray[np.float32],
    variance: NDArray[np.float32],
    flags: NDArray[np.uint16] | None,
    positions: CoordinateMap,
    *,
    hidden: Flag = UNUSABLE,
) -> Resampled:
    """Carry an image onto the grid of a coordinate map.

    Both grids must sample the PSF (full width of 2 pixels or more): a much coarser target grid is
    aliased, since nothing is averaged.

    Parameters
    ----------
    pixels
        Image ``(ny, nx)``; values that are not finite are filled and marked NO_DATA. With the sky
        subtracted, or the area of the pixels makes it uneven.
    variance
        Of its pixels, which are independent; pixels whose variance is not a positive number are
        filled and marked NO_DATA.
    flags
        Flags plane, or None for an image without any.
    positions
        Source pixels of the target's pixels.
    hidden
        Bits of pixels that are filled before, since their values are not of the sky.

    Raises
    ------
    InvalidInput
        The planes do not fit.
    """
    for name, plane in (("variance", variance), ("flags", flags)):
        if plane is not None and plane.shape != pixels.shape:
            raise InvalidInput(
                "The planes do not fit.", field=name, found=plane.shape, expected=pixels.shape
            )
    marks = np.zeros(pixels.shape, DTYPE) if flags is None else flags
    xs, ys = positions.x, positions.y
    across, along = positions.jacobian()[0]
    # Target rows that run along source rows in the same sense read them without a jump.
    if abs(along) > abs(across):
        pixels, variance = np.ascontiguousarray(pixels.T), np.ascontiguousarray(variance.T)
        marks = np.ascontiguousarray(marks.T)
        xs, ys, across = ys, xs, positions.jacobian()[1, 0]
    if across < 0:
        pixels, variance, marks = pixels[:, ::-1], variance[:, ::-1], marks[:, ::-1]
        xs = pixels.shape[1] - 1 - xs
    source = _prepare(pixels, variance, marks, int(hidden))
    step = positions.step
    net = _Net(xs, ys, positions.area, cubic_taps(np.arange(step) / step))
    target = Resampled(
        np.empty(positions.shape, np.float32),
        np.empty(positions.shape, np.float32),
        np.empty(positions.shape, DTYPE),
    )
    _sample(source, net, (target.pixels, target.variance, target.flags))
    return target


def resample_psf(
    stamp: NDArray[np.floating],
    corner: tuple[float, float],
    positions: CoordinateMap,
    place: tuple[int, int],
    radius: int,
) -> NDArray[np.float32]:
    """Carry the PSF of a star in the middle of a target pixel.

    Parameters
    ----------
    stamp
        Share of the light of a star at ``positions.at(*place)`` in each source pixel, without
        noise, with a margin of at least 8 pixels over `radius` on every side.
    corner
        Place (x, y) of ``stamp[0, 0]``, source pixels.
    positions
        As for `resample`.
    place
        Target pixel (x, y).
    radius
        Half the side of the result, target pixels.

    Returns
    -------
    numpy.ndarray
        Share of the light in each target pixel, float32 ``(2 radius + 1, 2 radius + 1)``.
    """
    size = 2 * radius + 1

    def nearby(x: Floats, y: Floats) -> tuple[Floats, Floats]:
        xs, ys = positions.at(x + (place[0] - radius), y + (place[1] - radius))
        return xs - corner[0], ys - corner[1]

    light = np.asarray(stamp, np.float32)
    return resample(light, np.ones_like(light), None, sample_map(nearby, (size, size))).pixels


def _prepare(
    pixels: NDArray[np.float32],
    variance: NDArray[np.float32],
    marks: NDArray[np.uint16],
    hidden: int,
) -> _Source:
    image = np.array(pixels, dtype=np.float32, order="C")
    spread = np.pad(variance.astype(np.float32, copy=False), _MARGIN, mode="edge")
    marks = np.pad(marks.astype(DTYPE, copy=False), _MARGIN, constant_values=_EDGE)
    unseen = np.zeros(image.shape, dtype=np.bool_)
    inner = np.s_[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
    if _screen(image, spread[inner], marks[inner], unseen, hidden):
        smooth_fill(image, unseen)
        _mark_doubt(image, spread[inner], marks[inner], unseen)
    _to_spline(image)
    # An image smaller than the margin cannot be mirrored; nothing in it is far from its edge.
    spline = np.pad(image, _MARGIN, mode="reflect" if min(image.shape) > _MARGIN else "edge")
    _spread_marks(marks)
    return _Source(spline, spread, marks)


@njit(cache=True, nogil=True)
def _screen(image, spread, marks, unseen, hidden):  # type: ignore[no-untyped-def] # compiled
    """Find the pixels to be filled, mark them, and return how many."""
    count = 0
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            noise = spread[y, x]
            if not (np.isfinite(noise) and noise > 0):
                spread[y, x] = np.float32(_NO_VALUE)
                marks[y, x] |= np.uint16(_LOST)
                unseen[y, x] = True
            if not np.isfinite(image[y, x]):
                marks[y, x] |= np.uint16(_LOST)
                unseen[y, x] = True
            if unseen[y, x] or (marks[y, x] & hidden) != 0:
                marks[y, x] |= np.uint16(_FILLED)
                unseen[y, x] = True
                count += 1
    return count


@njit(cache=True, nogil=True)
def _mark_doubt(image, spread, marks, unseen):  # type: ignore[no-untyped-def] # compiled
    """Mark good pixels next to filled ones as far as an error of the fill can be noticed.

    The error is a share of the contrast among the good pixels nearby, and falls with the distance.
    """
    ny, nx = image.shape
    for y in range(ny):
        for x in range(nx):
            if not unseen[y, x]:
                continue
            contrast, noise = _surroundings(image, spread, unseen, y, x)
            ratio = _FILL_ERROR * contrast / (_TOLERANCE * np.sqrt(noise))
            if not ratio > 1.0:
                continue
            further = int(np.ceil(1.0 - np.log(ratio) / np.log(-_POLES[0]) - REACH))
            bits = marks[y, x]
            for j in range(max(y - further, 0), min(y + further + 1, ny)):
                for i in range(max(x - further, 0), min(x + further + 1, nx)):
                    if not unseen[j, i]:
                        marks[j, i] |= bits


@njit(cache=True, nogil=True)
def _surroundings(image, spread, unseen, y, x):  # type: ignore[no-untyped-def] # compiled
    """Largest difference of good pixels within 3 pixels, and their least variance.

    Zero and one for a pixel without a good one beside it.
    """
    ny, nx = image.shape
    low, high, noise = np.inf, -np.inf, np.inf
    beside = False
    for j in range(max(y - 3, 0), min(y + 4, ny)):
        for i in range(max(x - 3, 0), min(x + 4, nx)):
            if unseen[j, i]:
                continue
            beside = beside or abs(j - y) + abs(i - x) == 1
            low, high = min(low, image[j, i]), max(high, image[j, i])
            noise = min(noise, spread[j, i])
    return (high - low, noise) if beside else (0.0, 1.0)


@njit(cache=True, nogil=True)
def _spread_marks(marks):  # type: ignore[no-untyped-def] # compiled
    """Give each pixel the flags of the 4x4 pixels from one before to two after it, in place."""
    ny, nx = marks.shape
    line = np.zeros(nx, dtype=marks.dtype)
    # What was in the row above, which is overwritten already.
    above = marks[0].copy()
    marks[0] = 0
    for y in range(1, ny - 2):
        own, c, d = marks[y], marks[y + 1], marks[y + 2]
        for x in range(nx):
            line[x] = above[x] | own[x] | c[x] | d[x]
            above[x] = own[x]
            own[x] = 0
        for x in range(nx - 3):
            own[x + 1] = line[x] | line[x + 1] | line[x + 2] | line[x + 3]
    marks[ny - 2 :] = 0


@njit(cache=True, nogil=True)
def _to_spline(image):  # type: ignore[no-untyped-def] # compiled
    """Replace an image by its B-spline coefficients; it mirrors at its outer pixels."""
    ny, nx = image.shape
    if ny > 1:
        for start in range(0, nx, _STRIP):
            _filter_columns(image, start, min(start + _STRIP, nx))
    if nx > 1:
        turned = np.zeros((nx, _BUNDLE), dtype=np.float32)
        for y in range(0, ny, _BUNDLE):
            count = min(_BUNDLE, ny - y)
            for j in range(count):
                line = image[y + j]
                for x in range(nx):
                    turned[x, j] = line[x]
            _filter_columns(turned, 0, _BUNDLE)
            for j in range(count):
                line = image[y + j]
                for x in range(nx):
                    line[x] = turned[x, j]


@njit(cache=True, nogil=True, fastmath=True)
def _filter_columns(image, start, stop):  # type: ignore[no-untyped-def] # compiled
    """Recursive filters of both poles down and up some columns."""
    count, width = image.shape[0], stop - start
    first = np.empty(width, dtype=np.float32)
    for pole in _POLES:
        z = np.float32(pole)
        gain = np.float32(np.cbrt(_GAIN))
        for x in range(width):
            first[x] = 0
        weight = gain
        for k in range(_MEMORY):
            # The mirrored image has period 2 count - 2.
            place = k % (2 * count - 2)
            line = image[min(place, 2 * count - 2 - place), start:stop]
            for x in range(width):
                first[x] += weight * line[x]
            weight *= z
        line = image[0, start:stop]
        for x in range(width):
            line[x] = first[x]
        for y in range(1, count):
            line, before = image[y, start:stop], image[y - 1, start:stop]
            for x in range(width):
                line[x] = gain * line[x] + z * before[x]
        line, before = image[count - 1, start:stop], image[count - 2, start:stop]
        last = z / (z * z - np.float32(1))
        for x in range(width):
            line[x] = last * (line[x] + z * before[x])
        for y in range(count - 2, -1, -1):
            line, after = image[y, start:stop], image[y + 1, start:stop]
            for x in range(width):
                line[x] = z * (after[x] - line[x])


@njit(cache=True, nogil=True)
def _sample(source, net, target):  # type: ignore[no-untyped-def] # compiled
    """Fill the target row by row."""
    pixels, variance, flags = target
    nx = pixels.shape[1]
    row = _Row(
        np.empty(nx, dtype=np.int32),
        np.empty(nx, dtype=np.int32),
        np.empty(nx, dtype=np.float32),
        np.empty(nx, dtype=np.float32),
        np.empty(nx, dtype=np.float32),
    )
    xs, ys = np.empty(nx), np.empty(nx)
    weights = np.empty((16, _CHUNK), dtype=np.float32)
    ny_source, nx_source = source.spline.shape
    for y in range(pixels.shape[0]):
        _place_row(net.x, net.taps, y, xs)
        _place_row(net.y, net.taps, y, ys)
        _place_row(net.area, net.taps, y, row.area)
        _split(xs, nx_source, row.i, row.across)
        _split(ys, ny_source, row.j, row.along)
        for start in range(0, nx, _CHUNK):
            stop = min(start + _CHUNK, nx)
            _weigh(row.across[start:stop], weights[:8])
            _weigh(row.along[start:stop], weights[8:])
            a = start
            while a < stop:
                b = _run_end(row, a, stop)
                out = (pixels[y, a:b], variance[y, a:b], flags[y, a:b])
                if row.i[a] < 0 or row.j[a] < 0:
                    for x in range(b - a):
                        out[0][x], out[1][x], out[2][x] = 0.0, np.inf, _LOST
                else:
                    _sum_spline(source.spline, row, (a, a - start), weights, out[0])
                    _carry(source, row, a, out)
                a = b


@njit(cache=True, nogil=True)
def _run_end(row, a, stop):  # type: ignore[no-untyped-def] # compiled
    """End of the pixels after `a` that read source pixels side by side in the same rows."""
    i, j = row.i, row.j
    b = a + 1
    if i[a] < 0 or j[a] < 0:
        while b < stop and (i[b] < 0 or j[b] < 0):
            b += 1
    else:
        ahead = i[a] - a
        while b < stop and i[b] - b == ahead and j[b] == j[a]:
            b += 1
    return b


@njit(cache=True, nogil=True, fastmath={"contract", "nsz", "arcp", "reassoc"})
def _place_row(nodes, taps, y, out):  # type: ignore[no-untyped-def] # compiled
    """Values of one row of the target between the nodes; NaN stays NaN."""
    step = taps.shape[1]
    r, t = y // step, y % step
    columns = nodes.shape[1]
    line = np.empty(columns)
    for c in range(columns):
        line[c] = taps[0, t] * nodes[r, c] + taps[1, t] * nodes[r + 1, c]
        line[c] += taps[2, t] * nodes[r + 2, c] + taps[3, t] * nodes[r + 3, c]
    for c in range(columns - 3):
        a, b, d, e = line[c], line[c + 1], line[c + 2], line[c + 3]
        piece = out[c * step : min(c * step + step, out.size)]
        for i in range(piece.size):
            piece[i] = taps[0, i] * a + taps[1, i] * b + taps[2, i] * d + taps[3, i] * e


@njit(cache=True, nogil=True)
def _split(places, size, whole, part):  # type: ignore[no-untyped-def] # compiled
    """Pixel of the margined plane before each place, -1 outside the image, and the rest."""
    low, high = _MARGIN - 0.5, size - _MARGIN - 0.5
    for k in range(places.size):
        place = places[k] + _MARGIN
        inside = low <= place <= high  # not so for NaN
        kept = place if inside else 0.0
        before = np.int32(kept)
        part[k] = np.float32(kept - before)
        whole[k] = before if inside else np.int32(-1)


@njit(cache=True, nogil=True, fastmath=True)
def _weigh(part, weights):  # type: ignore[no-untyped-def] # compiled
    """B-spline at the eight pixels around each place."""
    for n in range(8):
        out = weights[n]
        c0, c1, c2, c3 = _BASIS[n, 0], _BASIS[n, 1], _BASIS[n, 2], _BASIS[n, 3]
        c4, c5, c6, c7 = _BASIS[n, 4], _BASIS[n, 5], _BASIS[n, 6], _BASIS[n, 7]
        for k in range(part.size):
            f = part[k]
            high = c4 + f * (c5 + f * (c6 + f * c7))
            low = c0 + f * (c1 + f * (c2 + f * c3))
            out[k] = low + f * f * f * f * high


@njit(cache=True, nogil=True, fastmath=True)
def _sum_spline(spline, row, starts, weights, out):  # type: ignore[no-untyped-def] # compiled
    """Light of a run of pixels that read source pixels side by side."""
    a, k = starts
    count = out.size
    i, j = row.i[a] - 3, row.j[a] - 3
    for x in range(count):
        out[x] = 0
    w0, w1, w2 = weights[0, k : k + count], weights[1, k : k + count], weights[2, k : k + count]
    w3, w4, w5 = weights[3, k : k + count], weights[4, k : k + count], weights[5, k : k + count]
    w6, w7 = weights[6, k : k + count], weights[7, k : k + count]
    for n in range(8):
        line = spline[j + n, i : i + count + 7]
        w = weights[8 + n, k : k + count]
        for x in range(count):
            near = w2[x] * line[x + 2] + w3[x] * line[x + 3]
            near += w4[x] * line[x + 4] + w5[x] * line[x + 5]
            far = w0[x] * line[x] + w1[x] * line[x + 1] + w6[x] * line[x + 6] + w7[x] * line[x + 7]
            out[x] += w[x] * (near + far)
    area = row.area[a : a + count]
    for x in range(count):
        out[x] *= area[x]


@njit(cache=True, nogil=True)
def _carry(source, row, a, out):  # type: ignore[no-untyped-def] # compiled
    """Variance and flags of a run."""
    _, variance, flags = out
    count = variance.size
    i, j = row.i[a], row.j[a]
    upper, lower = source.spread[j, i : i + count + 1], source.spread[j + 1, i : i + count + 1]
    marks = source.marks[j, i : i + count]
    f, g = row.across[a : a + count], row.along[a : a + count]
    area = row.area[a : a + count]
    for x in range(count):
        above = upper[x] + f[x] * (upper[x + 1] - upper[x])
        below = lower[x] + f[x] * (lower[x + 1] - lower[x])
        value = area[x] * (above + g[x] * (below - above))
        # A weight that rounding made of nothing shall not make a good pixel infinite.
        variance[x] = value if value < np.float32(1e-5 * _NO_VALUE) else np.float32(np.inf)
        flags[x] = marks[x]
