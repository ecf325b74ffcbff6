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

from firstlight.algorithms.resampling.image_pair import AlignedImage, Matching, PsfGrid
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
    """

    difference: Plane
    variance: Plane
    flux: Plane
    flux_variance: Plane
    static: Plane
    psfs: PsfGrid


@dataclass(frozen=True)
class _Tile:
    """Where a tile is along one axis: its pixels with the overlap, and the transform's.

    The first `shared` pixels belong to the tile before as well; `length` is the image's.
    """

    start: int
    stop: int
    origin: int
    size: int
    length: int
    shared: int
    weight: Plane

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
    for j, y in enumerate(ys):
        for i, x in enumerate(xs):
            pieces = _pieces((new, reference), hidden, y, x)
            if len(pieces.holes):
                fill_variances(pieces)
            own = tile_kernels(matching, (j, i), _noise(pieces))
            trust = np.zeros(0, np.float32)
            if len(pieces.holes):
                place = (float(matching.psf.x[i]), float(matching.psf.y[j]))
                psfs = tuple(each.psfs.at(*place).astype(np.float32) for each in (new, reference))
                trust = fill_pixels(pieces, (psfs[0], psfs[1]), own)
            told = _one_tile(pieces, matching, (j, i), own)
            _share_known(told, pieces, (own, trust), (y, x))
            stamps[j, i] = own.psf
            for plane, part in zip(planes, told, strict=True):
                _place(plane, part, (y.start, x.start), (y.weight, x.weight), _overlap(y, x))
    psfs_there = PsfGrid(stamps, matching.psf.x, matching.psf.y)
    return Filtered(difference, variance, flux, flux_variance, static, psfs_there)


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
        found.append(_Tile(start, stop, origin, size, length, shared, weight))
    return found


def _overlap(y: _Tile, x: _Tile) -> tuple[int, int, int, int]:
    """Rows and columns that earlier tiles have written, and where the tile is in its grid."""
    return y.shared, x.shared, y.start - y.origin, x.start - x.origin


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


def _noise(pieces: Pieces) -> tuple[float, float]:
    """Median variances, those of the sky; of an image that has no value here the other's."""
    new, reference = (float(np.median(plane[::_STEP, ::_STEP])) for plane in pieces.variances)
    return new or reference or 1.0, reference or new or 1.0


def _share_known(
    told: tuple[Plane, ...],
    pieces: Pieces,
    fill: tuple[TileKernels, Plane],
    place: tuple[_Tile, _Tile],
) -> None:
    """Divide fluxes and variances by the share of a source that can be seen, in place."""
    _, _, flux, flux_variance, static = told
    own, trust = fill
    outside = [tile.beyond() for tile in place]
    bordering = any(each.any() for each in outside)
    if not bordering and not len(pieces.holes):
        return
    if len(pieces.holes):
        # A hole of the new image alone is filled from the reference.
        between = (trust > 0) | (pieces.hidden[tuple(pieces.holes.T)] == 1)
        add_doubt(flux_variance, pieces, own, pieces.holes, between)
    if bordering:
        # A star on the border is mirrored as if it were symmetric.
        light = pieces.pixels[0] > _BRIGHT * np.sqrt(own.noise[0])
        light &= outside[0][:, None] | outside[1]
        places = np.argwhere(light)
        add_doubt(flux_variance, pieces, own, places, np.zeros(len(places), np.bool_))
    known, noise = np.ones_like(flux), [np.ones(tile.size, np.float32) for tile in place]
    if len(pieces.holes):
        take_away(known, pieces, own, trust)
    for axis, tile in enumerate(place):
        seen = np.ones(tile.size, np.float32)
        _along_border(seen, tile, own.edge_seen[1 - axis])
        _along_border(noise[axis], tile, own.edge_noise[1 - axis])
        known *= seen[:, None] if axis == 0 else seen
        noise[axis] /= seen
    _divide((flux, flux_variance, static), known, (noise[0], noise[1]))


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
) -> tuple[Plane, ...]:
    """Difference, its variance, flux, its variance, static flux."""
    ny, nx = pieces.hidden.shape
    told = spectra(matching, place, (ny, nx))
    new, reference = (scipy.fft.rfft2(plane) for plane in pieces.pixels)
    score = np.empty_like(new)
    unit = _mix(told.new, told.reference, told.psf, own.noise, (new, reference, score))
    # new holds the difference now, and reference the static part of the score.
    unit /= ny * nx
    new_kernel, reference_kernel = (
        spectrum(cropped(kernel, (min(ny, nx) - 1) // 2), (ny, nx)) for kernel in own.squares
    )
    spread, other = (scipy.fft.rfft2(plane) for plane in pieces.variances)
    spread *= new_kernel
    other *= reference_kernel
    spread += other
    back = {"s": (ny, nx), "overwrite_x": True}
    difference, score_map, static, variance = (
        scipy.fft.irfft2(each, **back) for each in (new, score, reference, spread)
    )
    planes = (difference, score_map, static, variance)
    noise = _scale_in_place(planes, pieces.variances, (1.0 / own.peak, 1.0 / unit, *own.shares))
    return difference, noise, score_map, variance, static


@njit(cache=True, nogil=True, fastmath=True)
def _mix(a, b, p, noise, planes):  # type: ignore[no-untyped-def] # compiled
    """D over N, S, and the static part of S over R; returns the sum of |A P|^2 / Q."""
    new, reference, score = planes
    v_n, v_r = np.float32(noise[0]), np.float32(noise[1])
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
            new[j, i] = rest * np.sqrt(inverse)
            score[j, i] = matched * rest
            reference[j, i] = matched * fixed
            power = (source.real * source.real + source.imag * source.imag) * inverse
            # Half of the frequencies stand for two.
            row += power if i in (0, last) else power + power
        total += row
    return total


@njit(cache=True, nogil=True, fastmath=True)
def _scale_in_place(planes, variances, scales):  # type: ignore[no-untyped-def] # compiled
    difference, score, static, spread = planes
    ny, nx = difference.shape
    result = np.empty((ny, nx), np.float32)
    scale, unit = np.float32(scales[0]), np.float32(scales[1])
    of_new, of_reference = np.float32(scales[2]), np.float32(scales[3])
    for y in range(ny):
        for x in range(nx):
            difference[y, x] *= scale
            score[y, x] *= unit
            static[y, x] *= unit
            spread[y, x] *= unit * unit
            result[y, x] = of_new * variances[0][y, x] + of_reference * variances[1][y, x]
    return result


@njit(cache=True, nogil=True)
def _divide(planes, known, noise):  # type: ignore[no-untyped-def] # compiled
    flux, variance, static = planes
    along, across = noise
    zero, one, infinite = np.float32(0.0), np.float32(1.0), np.float32(np.inf)
    for y in range(known.shape[0]):
        for x in range(known.shape[1]):
            share = known[y, x]
            factor = one / share if share >= _LEAST_KNOWN else zero
            flux[y, x] *= factor
            static[y, x] *= factor
            spread = variance[y, x] * along[y] * across[x] * factor
            variance[y, x] = spread if factor > zero else infinite


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


@njit(cache=True, nogil=True, fastmath=True)
def _place(plane, part, start, weights, overlap):  # type: ignore[no-untyped-def] # compiled
    """Write a tile, or add it where an earlier tile has written its share."""
    along, across = weights
    for y in range(along.size):
        weight = along[y]
        source = part[y + overlap[2], overlap[3] : overlap[3] + across.size]
        target = plane[start[0] + y, start[1] : start[1] + across.size]
        written = across.size if y < overlap[0] else overlap[1]
        for x in range(written):
            target[x] += source[x] * weight * across[x]
        for x in range(written, across.size):
            target[x] = source[x] * weight * across[x]
