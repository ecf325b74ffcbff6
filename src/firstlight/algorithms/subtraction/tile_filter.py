"""Difference and score of a pair of images, tile by tile in Fourier space.

Within a tile the kernels of the `Matching` are constant. Neighbouring tiles overlap and go over
into each other with weights that add up to one, so that no seam shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy.fft
from numba import njit
from numpy.typing import NDArray

from firstlight.algorithms.psf.model import PsfModel
from firstlight.algorithms.resampling.image_pair import AlignedImage, Matching, PsfGrid
from firstlight.algorithms.subtraction.bent_light import BentLight
from firstlight.algorithms.subtraction.between_pixels import points_between, undersampled
from firstlight.algorithms.subtraction.response import (
    FluxResponse,
    PhaseResponse,
    SourceReader,
    mean_phases,
)
from firstlight.algorithms.subtraction.tile_holes import (
    Pieces,
    add_doubt,
    fill_pixels,
    fill_variances,
    find_holes,
    take_away,
)
from firstlight.algorithms.subtraction.tile_kernels import (
    TileKernels,
    cropped,
    fade_out,
    fast_length,
    spectra,
    spectrum,
    tile_kernels,
)

__all__ = ["Filtered", "filter_tiles"]

Floats = NDArray[np.float64]
Plane = NDArray[np.float32]

_BLEND = 8  # half the width of the band in which two tiles go over into each other, pixels
_STEP = 7  # every so many pixels are looked at for the level of the noise
_LEAST_KNOWN = np.float32(0.3)  # share of a source that must be seen
_BRIGHT, _DEEP = 10.0, 8  # of the noise, and pixels: whose mirror image may do harm
_RELAXED = {"contract", "reassoc", "arcp", "nsz"}  # infinities keep their meaning
_TELLING = 9  # tiles, of how sources read that are not on the middle of a pixel
_OF_REFERENCE = 2  # from which a pixel is hidden in the reference
_SPARE = 4  # pixels around a tile beyond the reach of its kernels


@dataclass(frozen=True)
class Filtered:
    """What comes out of the tiles; planes ``(ny, nx)``.

    Attributes
    ----------
    difference, variance
        Electrons in the new image.
    flux, flux_variance
        Of a point source centred on each pixel; 0 and infinite where too little of it is seen.
    static
        Flux of a point source that stands in the reference at each pixel, by the same filter,
        electrons in the new image.
    psfs
        Of the difference.
    response
        Of `flux` to sources that are not in the middle of a tile and of a pixel; None where the
        PSF is known there alone.
    between
        `psfs` at two points a pixel (`points_between`), on the same net; None where pixels tell
        as much.
    """

    difference: Plane
    variance: Plane
    flux: Plane
    flux_variance: Plane
    static: Plane
    psfs: PsfGrid
    response: FluxResponse | None
    between: PsfGrid | None


@dataclass(frozen=True)
class _Tile:
    """Where a tile is along one axis: its pixels with the overlap, and the transform's.

    The first `shared` pixels belong to the tile before as well; `length` is the image's. `inner`
    are its borders without the overlap.
    """

    start: int
    stop: int
    origin: int
    size: int
    length: int
    shared: int
    weight: Plane
    inner: tuple[int, int]

    @property
    def before(self) -> int:
        """Pixels of the grid before the tile; after it there are as many, or one more."""
        return self.start - self.origin

    def places(self) -> NDArray[np.int64]:
        """Pixels of the image that the transform's are, also beyond its border."""
        return np.arange(self.origin, self.origin + self.size)

    def beyond(self) -> NDArray[np.bool_]:
        """Which of them lie a few pixels beyond the border."""
        places = self.places()
        depth = np.maximum(-places, places - self.length + 1)
        return np.asarray((depth > 0) & (depth <= _DEEP))


def filter_tiles(
    new: AlignedImage, reference: AlignedImage, hidden: NDArray[np.uint8], matching: Matching
) -> Filtered:
    """Subtract.

    Parameters
    ----------
    new, reference
        On the same pixels.
    hidden
        1, 2 or 3 where the new image, the reference or both have no value, else 0.
    matching
        Kernels on the net of the tiles' middles.

    Notes
    -----
    With kernels a, b, the source's shape p, transforms written in capitals and the variances
    ``v_n, v_r`` of the sky, ``Q = v_n |A|^2 + v_r |B|^2``:

    - ``D = (A N - B R) / sqrt(Q)`` has white noise of unit variance (Zackay, Ofek & Gal-Yam
      2016, ApJ 830, 27, equation 13, where ``A = F_r P_r`` and ``B = F_n P_n``);
    - a source of one electron in it is ``A P / sqrt(Q)`` (equations 14 and 15);
    - ``S = conj(A P) (A N - B R) / Q`` is its matched filter (equation 12), and the flux of a
      source is ``S / F`` with ``F = mean of |A P|^2 / Q`` over all frequencies;
    - the variance of S is ``v_n(x) * k_n^2 + v_r(x) * k_r^2`` with the kernels
      ``K_n = conj(A P) A / Q`` and ``K_r = conj(A P) B / Q`` (equations 26 to 29).

    Beyond the border both images are mirrored: what is alike in both stays alike. Noise and
    sources are mirrored with it, so fluxes and variances near it are divided by how much of
    them is seen, as they are beside holes.
    """
    shape = new.shape
    xs = _tiles(shape[1], len(matching.psf.x), matching)
    ys = _tiles(shape[0], len(matching.psf.y), matching)
    difference, variance, flux, flux_variance, static = planes = tuple(
        np.empty(shape, np.float32) for _ in range(5)
    )
    stamps = np.empty((len(ys), len(xs), *matching.psf.stamps.shape[2:]), np.float32)
    looked_at = None if new.model is None else _LookedAt(new.model, (ys, xs), matching.psf)
    bent = BentLight.of(matching)
    for j, y in enumerate(ys):
        for i, x in enumerate(xs):
            pieces = _pieces((new, reference), hidden, y, x)
            if len(pieces.holes):
                fill_variances(pieces)
            noise = _noise(pieces)
            _bend(pieces, bent, (j, i), (y, x), noise[1])
            own = tile_kernels(matching, (j, i), noise)
            trust = np.zeros(0, np.float32)
            if len(pieces.holes):
                place = (float(matching.psf.x[i]), float(matching.psf.y[j]))
                psfs = tuple(each.psfs.at(*place).astype(np.float32) for each in (new, reference))
                trust = fill_pixels(pieces, (psfs[0], psfs[1]), own)
            for plane in pieces.pixels:
                fade_out(plane, (y.before, x.before))
            parts, unit = _one_tile(pieces, matching, (j, i), own)
            seen = _share_known(parts[3], pieces, (own, trust), (y, x))
            stamps[j, i] = own.psf
            if looked_at is not None:
                looked_at.look(j, i, own)
            scales = (1.0 / unit, *own.shares)
            lit = seen.known, seen.shares, seen.noise
            _place(planes, (*parts, *pieces.variances), scales, lit, _aims(y, x))
    psfs_there = PsfGrid(stamps, matching.psf.x, matching.psf.y)
    response = None if looked_at is None else looked_at.response()
    between = None if looked_at is None else looked_at.between()
    return Filtered(
        difference, variance, flux, flux_variance, static, psfs_there, response, between
    )


class _LookedAt:
    """What has been read of sources through the filters of the tiles so far."""

    def __init__(
        self, shapes: PsfModel, tiles: tuple[list[_Tile], list[_Tile]], psfs: PsfGrid
    ) -> None:
        self._shapes, self._tiles, self._psfs = shapes, tiles, psfs
        middle = float(psfs.x[len(psfs.x) // 2]), float(psfs.y[len(psfs.y) // 2])
        self._sharp = undersampled(shapes, middle, psfs.radius)
        self._points: list[Plane] = []
        rows, columns = (len(along) for along in tiles)
        self._nodes: list[list[Floats]] = [[] for _ in range(rows)]
        self._phases: list[PhaseResponse] = []
        self._mean = 1.0
        # Parts of a pixel are much the same in all tiles: some of them tell.
        self._every = -(-rows * columns // _TELLING)

    def look(self, row: int, column: int, own: TileKernels) -> None:
        """Look through the filter of the next tile."""
        y, x = self._tiles[0][row], self._tiles[1][column]
        reader = SourceReader(self._shapes, (y.inner, x.inner), own.flux)
        if (row * len(self._tiles[1]) + column) % self._every == 0:
            phases, self._mean = reader.phases(own.alike)
            self._phases.append(phases)
        self._nodes[row].append(self._mean * reader.nodes())
        if self._sharp:
            place = float(self._psfs.x[column]), float(self._psfs.y[row])
            self._points.append(points_between(self._shapes, place, own.light, self._psfs.radius))

    def between(self) -> PsfGrid | None:
        """PSFs of the difference at two points a pixel, where these are needed."""
        if not self._sharp:
            return None
        stamps = np.stack(self._points)
        net = len(self._psfs.y), len(self._psfs.x)
        return PsfGrid(stamps.reshape(*net, *stamps.shape[1:]), self._psfs.x, self._psfs.y)

    def response(self) -> FluxResponse:
        """Of all tiles."""
        edges, blends = [], []
        for along in self._tiles:
            borders = [tile.inner[0] for tile in along] + [along[-1].inner[1]]
            edges.append(np.array(borders, np.float64))
            blends.append(along[-1].shared // 2)
        return FluxResponse(
            np.block(self._nodes),
            (edges[0], edges[1]),
            (blends[0], blends[1]),
            mean_phases(self._phases),
        )


def _tiles(length: int, count: int, matching: Matching) -> list[_Tile]:
    """Equal tiles along an axis, in grids whose length a transform is fast for."""
    edges = np.rint(np.linspace(0, length, count + 1)).astype(int)
    blend = min(_BLEND, length // (2 * count))
    reach = max(grid.radius for grid in (matching.new, matching.reference, matching.psf))
    found = []
    widest = int(np.diff(edges).max()) + 2 * blend
    size = fast_length(widest + 2 * (reach + _SPARE))
    for first, last in pairwise(edges):
        start = int(first) - blend if first > 0 else 0
        stop = int(last) + blend if last < length else length
        weight = np.ones(stop - start, np.float32)
        ramp = (np.arange(2 * blend, dtype=np.float32) + 0.5) / max(2 * blend, 1)
        if first > 0:
            weight[: 2 * blend] = ramp
        if last < length:
            weight[len(weight) - 2 * blend :] = ramp[::-1]
        origin = start - (size - (stop - start)) // 2
        shared = 2 * blend if first > 0 else 0
        borders = int(first), int(last)
        found.append(_Tile(start, stop, origin, size, length, shared, weight, borders))
    return found


def _aims(y: _Tile, x: _Tile) -> tuple[tuple[int, int, int, Plane], ...]:
    """Where the tile is in the image and in its grid, what earlier tiles have written, weights."""
    return tuple((tile.start, tile.before, tile.shared, tile.weight) for tile in (y, x))


def _pieces(
    images: tuple[AlignedImage, AlignedImage], hidden: NDArray[np.uint8], y: _Tile, x: _Tile
) -> Pieces:
    """The tile's grid of pixels of all planes, mirrored beyond the border."""
    rows, columns = _mirrored(y, hidden.shape[0]), _mirrored(x, hidden.shape[1])
    pixels, variances = ([np.empty((y.size, x.size), np.float32) for _ in images] for _ in range(2))
    for image, light, spread in zip(images, pixels, variances, strict=True):
        _take(image.pixels, rows, columns, light)
        _take(image.variance, rows, columns, spread)
    where = np.empty((y.size, x.size), np.uint8)
    _take(hidden, rows, columns, where)
    return Pieces((pixels[0], pixels[1]), (variances[0], variances[1]), where, find_holes(where))


def _bend(
    pieces: Pieces,
    bent: BentLight,
    place: tuple[int, int],
    tile: tuple[_Tile, _Tile],
    noise: float,
) -> None:
    """Let the reference's stars change within the tile as those of the new image do."""
    y, x = tile
    pixels = _mirrored(y, y.length), _mirrored(x, x.length)
    bent.follow(pieces.pixels[1], pieces.hidden < _OF_REFERENCE, place, pixels, noise)


def _noise(pieces: Pieces) -> tuple[float, float]:
    """Median variances, those of the sky; of an image that has no value here the other's."""
    new, reference = (float(np.median(plane[::_STEP, ::_STEP])) for plane in pieces.variances)
    return new or reference or 1.0, reference or new or 1.0


@dataclass(frozen=True)
class _Seen:
    """What is seen of a source centred on each pixel of a tile, and of its noise.

    Attributes
    ----------
    known
        Share that does not lie in holes, ``(ny, nx)``, or a single 1 where there are none.
    shares
        Of what lies within the image's borders, along y and along x.
    noise
        Variance of the score over that elsewhere, over the share, along y and along x.
    """

    known: Plane
    shares: tuple[Plane, Plane]
    noise: tuple[Plane, Plane]


def _share_known(
    flux_variance: Plane,
    pieces: Pieces,
    fill: tuple[TileKernels, Plane],
    place: tuple[_Tile, _Tile],
) -> _Seen:
    """The share of sources that is seen; doubt is added to the variance in place."""
    own, trust = fill
    known = np.ones((1, 1), np.float32)
    shares, noise = ([np.ones(tile.size, np.float32) for tile in place] for _ in range(2))
    if len(pieces.holes):
        # A hole of the new image alone is filled from the reference.
        between = (trust > 0) | (pieces.hidden[tuple(pieces.holes.T)] == 1)
        add_doubt(flux_variance, pieces, own, pieces.holes, between)
        known = np.ones_like(flux_variance)
        take_away(known, pieces, own, trust)
    outside = [tile.beyond() for tile in place]
    if any(each.any() for each in outside):
        # A star on the border is mirrored as if it were symmetric.
        limit = np.float32(_BRIGHT * np.sqrt(own.noise[0]))
        places = _bright_beyond(pieces.pixels[0], limit, outside[0], outside[1])
        add_doubt(flux_variance, pieces, own, places, np.zeros(len(places), np.bool_))
        for axis, tile in enumerate(place):
            _along_border(shares[axis], tile, own.edge_seen[1 - axis])
            _along_border(noise[axis], tile, own.edge_noise[1 - axis])
            noise[axis] /= shares[axis]
    return _Seen(known, (shares[0], shares[1]), (noise[0], noise[1]))


def _along_border(factors: Plane, tile: _Tile, profile: Plane) -> None:
    """Multiply by a profile from either border of the image inwards, in place."""
    steps = np.arange(len(profile))
    for places in (steps - tile.origin, tile.length - 1 - tile.origin - steps):
        seen = (places >= 0) & (places < tile.size)
        factors[places[seen]] *= profile[seen]


def _mirrored(tile: _Tile, length: int) -> NDArray[np.int64]:
    place = tile.places() % (2 * length)
    return np.where(place < length, place, 2 * length - 1 - place)


def _one_tile(
    pieces: Pieces, matching: Matching, place: tuple[int, int], own: TileKernels
) -> tuple[tuple[Plane, Plane, Plane, Plane], float]:
    """Difference, score, that of static sources, variance of a flux; score of one electron."""
    ny, nx = pieces.hidden.shape
    told = spectra(matching, place, (ny, nx))
    new, reference = (scipy.fft.rfft2(plane) for plane in pieces.pixels)
    score = np.empty_like(new)
    scales = (*own.noise, 1.0 / own.peak)
    unit = _mix(told.new, told.reference, told.psf, scales, (new, reference, score))
    # new holds the difference now, and reference the static part of the score.
    unit /= ny * nx
    new_kernel, reference_kernel = (
        spectrum(cropped(kernel, (min(ny, nx) - 1) // 2) / np.float32(unit**2), (ny, nx))
        for kernel in own.squares
    )
    spread, other = (scipy.fft.rfft2(plane) for plane in pieces.variances)
    _add_products(spread, new_kernel, other, reference_kernel)
    back = {"s": (ny, nx), "overwrite_x": True}
    difference, score_map, static, variance = (
        scipy.fft.irfft2(each, **back) for each in (new, score, reference, spread)
    )
    return (difference, score_map, static, variance), unit


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _mix(a, b, p, scales, planes):  # type: ignore[no-untyped-def] # compiled
    """D over N, S, and the static part of S over R; returns the sum of |A P|^2 / Q.

    `scales` are both variances of the sky, and what D is multiplied by.
    """
    new, reference, score = planes
    v_n, v_r, scale = np.float32(scales[0]), np.float32(scales[1]), np.float32(scales[2])
    one = np.float32(1.0)
    last = a.shape[1] - 1
    total = 0.0
    for j in range(a.shape[0]):
        row = 0.0
        for i in range(a.shape[1]):
            u, v, shape = a[j, i], b[j, i], p[j, i]
            u2 = u.real * u.real + u.imag * u.imag
            v2 = v.real * v.real + v.imag * v.imag
            inverse = one / (v_n * u2 + v_r * v2)
            fixed = v * reference[j, i]
            rest = u * new[j, i] - fixed
            source = u * shape
            matched = source.conjugate() * inverse
            new[j, i] = rest * (np.sqrt(inverse) * scale)
            score[j, i] = matched * rest
            reference[j, i] = matched * fixed
            power = (source.real * source.real + source.imag * source.imag) * inverse
            # Half of the frequencies stand for two.
            row += power if i in (0, last) else power + power
        total += row
    return total


@njit(cache=True, nogil=True, fastmath=True)
def _add_products(a, b, c, d):  # type: ignore[no-untyped-def] # compiled
    """``a = a b + c d``, in place."""
    for j in range(a.shape[0]):
        for i in range(a.shape[1]):
            a[j, i] = a[j, i] * b[j, i] + c[j, i] * d[j, i]


@njit(cache=True, nogil=True)
def _bright_beyond(pixels, limit, rows, columns):  # type: ignore[no-untyped-def] # compiled
    """Rows and columns of pixels above a limit in some rows and columns ``(n, 2)``."""
    every, chosen = np.arange(columns.size), np.flatnonzero(columns)
    most = 0
    for y in range(rows.size):
        most += every.size if rows[y] else chosen.size
    places, count = np.empty((most, 2), np.int64), 0
    for y in range(rows.size):
        for x in every if rows[y] else chosen:
            if pixels[y, x] > limit:
                places[count, 0], places[count, 1] = y, x
                count += 1
    return places[:count]


@njit(cache=True, nogil=True)
def _take(plane, rows, columns, piece):  # type: ignore[no-untyped-def] # compiled
    # Within the image columns are neighbours: copied as one, which is three times as fast.
    first, last = 0, columns.size
    while first + 1 < last and columns[first + 1] != columns[first] + 1:
        first += 1
    stop = first + 1
    while stop < last and columns[stop] == columns[stop - 1] + 1:
        stop += 1
    for y in range(rows.size):
        source, target = plane[rows[y]], piece[y]
        target[first:stop] = source[columns[first] : columns[first] + stop - first]
        for x in range(first):
            target[x] = source[columns[x]]
        for x in range(stop, last):
            target[x] = source[columns[x]]


@njit(cache=True, nogil=True, fastmath=_RELAXED, error_model="numpy")
def _place(planes, parts, scales, seen, aims):  # type: ignore[no-untyped-def] # compiled
    """Write a tile, or add it where an earlier tile has written its share.

    Fluxes and variances are divided by the share of a source that can be seen.
    """
    difference, variance, flux, flux_variance, static = planes
    light, score, still, spread, new, reference = parts
    top, from_row, rows_before, along = aims[0]
    left, first, columns_before, across = aims[1]
    unit = np.float32(scales[0])
    of_new, of_reference = np.float32(scales[1]), np.float32(scales[2])
    columns = across.size
    source = slice(first, first + columns)
    weight, factor, line = (
        np.empty(columns, np.float32), np.empty(columns, np.float32), np.empty(columns, np.float32)
    )  # fmt: skip
    for y in range(along.size):
        row, target = from_row + y, (top + y, slice(left, left + columns))
        written = columns if y < rows_before else columns_before
        _share_of_row(seen, row, first, factor)
        noise, noises = seen[2][0][row], seen[2][1][source]
        for x in range(columns):
            weight[x] = along[y] * across[x]
        _put(difference[target], light[row, source], weight, written)
        own, other = new[row, source], reference[row, source]
        for x in range(columns):
            line[x] = of_new * own[x] + of_reference * other[x]
        _put(variance[target], line, weight, written)
        own = spread[row, source]
        for x in range(columns):
            value = own[x] * (noise * noises[x]) * factor[x]
            line[x] = value if factor[x] > 0 else np.float32(np.inf)
        _put(flux_variance[target], line, weight, written)
        for x in range(columns):
            factor[x] *= unit
        own, other = score[row, source], still[row, source]
        for x in range(columns):
            line[x] = own[x] * factor[x]
        _put(flux[target], line, weight, written)
        for x in range(columns):
            line[x] = other[x] * factor[x]
        _put(static[target], line, weight, written)


@njit(cache=True, nogil=True, fastmath=_RELAXED, error_model="numpy")
def _share_of_row(seen, row, first, factor):  # type: ignore[no-untyped-def] # compiled
    """What fluxes of a row are multiplied by: 0 where too little is seen."""
    known, shares, _ = seen
    nothing, one = np.float32(0.0), np.float32(1.0)
    here, across = shares[0][row], shares[1][first : first + factor.size]
    for x in range(factor.size):
        factor[x] = here * across[x]
    if known.size > 1:
        holes = known[row, first : first + factor.size]
        for x in range(factor.size):
            factor[x] *= holes[x]
    for x in range(factor.size):
        factor[x] = one / factor[x] if factor[x] >= _LEAST_KNOWN else nothing


@njit(cache=True, nogil=True, fastmath=_RELAXED)
def _put(target, line, weight, written):  # type: ignore[no-untyped-def] # compiled
    for x in range(written):
        target[x] += line[x] * weight[x]
    for x in range(written, target.size):
        target[x] = line[x] * weight[x]
