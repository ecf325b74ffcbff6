"""Whether a peak of a difference is a ray or a source: which of them the new image shows.

A source that is new has the point spread function, wherever in a pixel it lies; a ray leaves a
short, straight and narrow track. Both are laid over the new image, without what the reference
tells of the light that stands there, at all places, lengths and directions. What the best of one
kind gains in chi squared over the best of the other is twice the logarithm of the ratio of their
likelihoods, and no other number tells the two better apart (Neyman & Pearson 1933, Philosophical
Transactions of the Royal Society A 231, 289). In the difference they are not told apart as well:
the filter that whitens it takes out of the new image what the reference does not see, and where
that has the worse seeing rays are smeared out until they look like sources.

How much more a ray has to gain depends on how many of them there are: on how much of the image
lies near known hits, whether the peak does, and how wide stars are, for the wider these are the
fewer rays are left to be told from them here.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, TypeVar

import numpy as np
import scipy.fft
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from firstlight.algorithms.flags import UNUSABLE, Flag
from firstlight.algorithms.resampling.image_pair import AlignedImage, shifted
from firstlight.algorithms.sources.moments import FWHM_OF_SIGMA
from firstlight.algorithms.subtraction.flux_ratio import FluxRatio
from firstlight.algorithms.subtraction.rays_left import Maps, peaks
from firstlight.algorithms.subtraction.tile_kernels import cropped, spectrum

__all__ = ["forget_rays", "likely_rays"]

Floats = NDArray[np.float64]
Plane = NDArray[np.float32]
Bools = NDArray[np.bool_]
Integers = NDArray[np.int64]

_LEAST_SCORE = 4.5  # of a peak that is looked at
_REACH = 5  # pixels around it
_SIDE = 2 * _REACH + 1
_PARTS = 4  # places a pixel along each axis
_SOURCES, _RAYS = 1.5, 1.1  # pixels, how far from the peak a source is sought, and a ray
# Pixels of length, and directions of each: more of them make no difference to what is seen.
_LENGTHS = ((0.8, 1), (1.6, 6), (2.5, 8), (3.5, 12), (5.0, 12), (8.0, 12))
# One sigma across, pixels: charge diffuses by a third of a pixel, and a pixel is wide.
_ACROSS = 0.42
_LIT = 0.1  # of the largest weight of a track
_FREE = 1.0  # in chi squared, at least, of each pixel that a hit beside it may have spilled into
_STANDS = 4.0  # sigma of a pixel of the reference whose light is taken away
_PIXEL_ERROR = 0.05  # of that light, from pixel to pixel
_FLUX_ERROR = 0.1  # of all of it
# Of what sharper kernels add to it: all of it, and from pixel to pixel.
_SHARPNESS_ERROR, _SHAPE_ERROR = 1.0, 0.2
_PSF_ERROR = 0.02  # of what a source gains, that another shape may gain more
_KERNEL = 12  # pixels, radius
_GRID = 64  # pixels, side of the transforms of kernels
_NEAR, _NET = 3, 16  # pixels: beside a hit; between those that tell how much of an image is
_AT_ONCE = 256  # peaks
# What a ray must gain more, in chi squared: less the logarithm of the share of the image that is
# near hits, twice, unless it is near one itself; and more where light stands: there are sources.
_PRICE, _PRICE_ON_LIGHT = -5.9, 4.0
_PIXELS = 26.0  # of a star, by whose square that grows
_LEAST_SHARE, _MOST_SHARE = 1e-4, 0.06
_SHARPEST = 15.0  # pixels of a star; those that have fewer look like hits, whatever PSF is told
_FORGOTTEN = 1.0  # FWHM around a ray
_Kind = TypeVar("_Kind", bound=np.generic)
_RAY, _UNUSABLE = int(Flag.COSMIC_RAY), int(UNUSABLE)


class _Shapes(NamedTuple):
    """Things in a window, ``(n, _SIDE**2)``, and their squares."""

    light: Plane
    squares: Plane


class _Windows(NamedTuple):
    """What is known around peaks, ``(n, _SIDE**2)``.

    `light` is what is not static times `weight`, one over the variance; `spilled` tells which
    pixels a known hit may have spilled into. `doubts` are, of some of the peaks, rows whose
    products with a shape, squared, are what less is known of it: static light is not certain.
    """

    light: Plane
    weight: Plane
    spilled: Bools
    doubts: dict[int, Plane]

    def of(self, numbers: Integers) -> _Windows:
        """Of some peaks."""
        doubts = {k: self.doubts[n] for k, n in enumerate(numbers) if n in self.doubts}
        return _Windows(self.light[numbers], self.weight[numbers], self.spilled[numbers], doubts)

    def without_spilled(self) -> _Windows:
        """As if nothing were known of pixels that a hit may have spilled into."""
        known = ~self.spilled
        doubts = {k: rows * known[k] for k, rows in self.doubts.items()}
        return _Windows(self.light * known, self.weight * known, self.spilled, doubts)


def forget_rays(maps: Maps, images: tuple[AlignedImage, AlignedImage], ratio: FluxRatio) -> int:
    """Flag peaks of a difference that are rays rather than sources, and clear the maps, in place.

    Parameters
    ----------
    maps
        Of the difference.
    images
        The new one and the reference, on the same pixels.
    ratio
        Light of the new image over that of the reference.

    Returns
    -------
    How many peaks were rays.
    """
    pixels = _pixels_of_star(images[0])
    if pixels < _SHARPEST:
        return 0
    rows, columns = peaks(maps.score, np.float32(_LEAST_SCORE))
    new = maps.score[rows, columns] > 0
    rows, columns = rows[new], columns[new]
    score = maps.score[rows, columns]
    ray, lit = likely_rays(images, ratio, maps.flags, (rows, columns), score)
    reach = _FORGOTTEN * FWHM_OF_SIGMA * np.sqrt(pixels / (4 * np.pi))
    _forget(tuple(maps), rows[ray], columns[ray], lit[ray], reach)
    return int(ray.sum())


def likely_rays(
    images: tuple[AlignedImage, AlignedImage],
    ratio: FluxRatio,
    flags: NDArray[np.uint16],
    places: tuple[Integers, Integers],
    score: Plane,
) -> tuple[Bools, Bools]:
    """Which peaks of a difference are rays rather than sources.

    Parameters
    ----------
    images, ratio
        As for `forget_rays`.
    flags
        Of the difference: COSMIC_RAY where a hit is known, of either image.
    places
        Rows and columns of the peaks, ``(n,)``.
    score
        Their signal-to-noise ratios in the difference, ``(n,)``.

    Returns
    -------
    True for rays ``(n,)``; and which pixels around each the best track lights, ``(n, 11, 11)``.
    """
    rows, columns = places
    ray = np.zeros(len(rows), np.bool_)
    lit = np.zeros((len(rows), _SIDE, _SIDE), np.bool_)
    if not len(rows):
        return ray, lit
    share, beside = _near_hits(flags, rows, columns)
    rarity = -2 * np.log(np.clip(share, _LEAST_SHARE, _MOST_SHARE))
    # Where hot pixels are everywhere it says little to be beside one.
    usual = 2 * np.log(max(share / _MOST_SHARE, 1.0))
    price = _PRICE + np.where(beside, usual, rarity) + (_pixels_of_star(images[0]) / _PIXELS) ** 2
    tiles = _Tiles(images, ratio)
    for first in range(0, len(rows), _AT_ONCE):
        some = slice(first, first + _AT_ONCE)
        windows = _windows(images, flags, tiles, rows[some], columns[some])
        gain, best = _ray_gain(windows)
        source = tiles.source_gain(windows, rows[some], columns[some])
        # Where light stands the difference tells more of what is new than its doubts leave here.
        static = list(windows.doubts)
        source[static] = np.maximum(source[static], score[some][static] ** 2)
        gain -= (1 + _PSF_ERROR) * source
        gain[static] -= _PRICE_ON_LIGHT
        ray[some] = gain > price[some]
        track = _tracks().light[best].reshape(-1, _SIDE, _SIDE)
        lit[some] = track > _LIT * track.max(axis=(1, 2), keepdims=True)
    return ray, lit


@lru_cache(maxsize=1)
def _tracks() -> _Shapes:
    """Rays of all lengths, directions and places."""
    pixels = np.arange(-_REACH, _REACH + 1)
    most = int(_RAYS * _PARTS)
    around = np.arange(-most, most + 1) / _PARTS
    places = np.stack(np.meshgrid(around, around), axis=-1).reshape(-1, 2)
    places = places[np.hypot(*places.T) <= _RAYS]
    found = []
    for length, angles in _LENGTHS:
        along = (np.arange(round(10 * length)) + 0.5) / 10 - length / 2
        for angle in np.pi * np.arange(angles) / angles:
            for place in places:
                x, y = place[0] + along * np.cos(angle), place[1] + along * np.sin(angle)
                across = np.exp(-0.5 * ((pixels - x[:, None]) / _ACROSS) ** 2)
                down = np.exp(-0.5 * ((pixels - y[:, None]) / _ACROSS) ** 2)
                found.append((down.T @ across).ravel())
    light = np.array(found) / np.linalg.norm(found, axis=1)[:, None]
    return _Shapes(light.astype(np.float32), (light**2).astype(np.float32))


def _ray_gain(windows: _Windows) -> tuple[Floats, Integers]:
    """What a ray gains in chi squared ``(n,)``, and the number of its track.

    Beside a known hit it may be that it has spilled, and what else there is a track.
    """
    gain, best = _track_gain(windows)
    numbers = np.flatnonzero(windows.spilled.any(axis=1))
    if len(numbers):
        some = windows.of(numbers)
        height = np.maximum(some.light, 0.0) ** 2 / np.maximum(some.weight, np.float32(1e-30))
        # As in `rays_left`: the more a pixel tells, the less it is by chance.
        free = np.maximum(height - np.maximum(np.log(np.maximum(height, 1.0)), _FREE), 0.0)
        spilled = np.where(some.spilled, free, 0.0).sum(axis=1)
        rest = _track_gain(some.without_spilled())[0]
        gain[numbers] = np.maximum(gain[numbers], spilled + rest)
    return gain, best


def _track_gain(windows: _Windows) -> tuple[Floats, Integers]:
    """What the best track gains in chi squared ``(n,)``, and its number."""
    gain = _gain(_tracks(), windows)
    best = gain.argmax(axis=0)
    return gain[best, np.arange(len(best))].astype(np.float64), best


def _gain(shapes: _Shapes, windows: _Windows) -> Plane:
    """What each shape gains at each peak in chi squared, ``(shapes, peaks)``."""
    match = shapes.light @ windows.light.T
    np.maximum(match, 0.0, out=match)
    power = shapes.squares @ windows.weight.T
    for k, rows in windows.doubts.items():
        power[:, k] -= np.square(shapes.light @ rows.T).sum(axis=1)
    np.maximum(power, np.float32(1e-30), out=power)
    match *= match
    match /= power
    return np.asarray(match)


class _Tiles:
    """What is known of the PSFs where they are told, made for a tile when it is asked for."""

    def __init__(self, images: tuple[AlignedImage, AlignedImage], ratio: FluxRatio) -> None:
        self._new, self._reference = images
        self._ratio = ratio
        self._x, self._y = self._new.psfs.x, self._new.psfs.y
        self._sources: dict[int, _Shapes] = {}
        self._waves: dict[int, tuple[NDArray[np.complex64], NDArray[np.complex64]]] = {}
        self.peak = float(self._reference.psfs.stamps.max(axis=(2, 3)).mean())
        self.noise = _typical(self._new.variance), _typical(self._reference.variance)

    def numbers(self, rows: Integers, columns: Integers) -> Integers:
        """The tile of each place ``(n,)``."""
        row = np.abs(rows[:, None] - self._y).argmin(axis=1)
        return np.asarray(row * len(self._x) + np.abs(columns[:, None] - self._x).argmin(axis=1))

    def source_gain(self, windows: _Windows, rows: Integers, columns: Integers) -> Floats:
        """What the best place of a source gains in chi squared ``(n,)``."""
        tile, told = self.numbers(rows, columns), np.zeros(len(rows))
        for number in np.unique(tile):
            here = np.flatnonzero(tile == number)
            if number not in self._sources:
                drawn = _sources(self._new, *self._place(int(number)))
                self._sources[number] = _Shapes(drawn, drawn**2)
            told[here] = _gain(self._sources[number], windows.of(here)).max(axis=0)
        return told

    def static_kernels(self, number: int, light: float) -> Floats:
        """By which the reference becomes the new image ``(2, k, k)``: carefully, and boldly.

        The second kernel is the best in the mean of squares for a source of so much light in the
        reference; with the first one its noise stays below that of the new image.
        """
        place = self._place(number)
        if number not in self._waves:
            self._waves[number] = _spectrum(self._reference, place), _spectrum(self._new, place)
        there, here = self._waves[number]
        ratio = self._ratio.at(*place)
        careful = self.noise[1] * ratio**2 / self.noise[0] * np.abs(here) ** 2
        bold = np.minimum(careful, self.noise[1] / light**2)
        waves = ratio * here * np.conj(there) / (np.abs(there) ** 2 + np.stack([careful, bold]))
        kernels = np.roll(scipy.fft.irfft2(waves, (_GRID, _GRID)), (_KERNEL, _KERNEL), (1, 2))
        return np.asarray(kernels[:, : 2 * _KERNEL + 1, : 2 * _KERNEL + 1])

    def _place(self, number: int) -> tuple[float, float]:
        row, column = divmod(number, len(self._x))
        return float(self._x[column]), float(self._y[row])


def _typical(variance: Plane) -> float:
    some = variance[::_NET, ::_NET]
    some = some[np.isfinite(some)]
    return float(np.median(some)) if some.size else 1.0


def _pixels_of_star(image: AlignedImage) -> float:
    """Pixels of even light that would be as hard to see."""
    stamp = image.psfs.stamps[len(image.psfs.y) // 2, len(image.psfs.x) // 2].astype(np.float64)
    return float(stamp.sum() ** 2 / (stamp**2).sum())


def _spectrum(image: AlignedImage, place: tuple[float, float]) -> NDArray[np.complex64]:
    """Of the PSF at a place, about its middle."""
    stamp = cropped(image.psfs.at(*place).astype(np.float32), _GRID // 2 - 1)
    return spectrum(stamp, (_GRID, _GRID))


def _sources(image: AlignedImage, x: float, y: float) -> Plane:
    """Stars around the middle of a window, as at a place, ``(places, _SIDE**2)``."""
    most = int(_SOURCES * _PARTS)
    steps = np.arange(-most, most + 1)
    whole = (steps + _PARTS // 2) // _PARTS
    parts = np.arange(_PARTS) / _PARTS - 0.5
    stamps = _drawn(image, x, y, parts, _REACH + int(np.abs(whole).max()))
    part = steps + _PARTS // 2 - _PARTS * whole
    middle = stamps.shape[-1] // 2
    seen = middle - whole[:, None] + np.arange(-_REACH, _REACH + 1)
    chosen = stamps[part[:, None], part[None, :]]
    n = len(steps)
    rows = np.arange(n)[:, None, None, None], np.arange(n)[None, :, None, None]
    drawn = chosen[rows[0], rows[1], seen[:, None, :, None], seen[None, :, None, :]]
    return np.asarray(drawn.reshape(n * n, -1), np.float32)


def _drawn(image: AlignedImage, x: float, y: float, parts: Floats, radius: int) -> Floats:
    """Stars off the middle of a pixel by parts of it, down and right, ``(p, p, k, k)``."""
    down, right = (each.ravel() for each in np.meshgrid(parts, parts, indexing="ij"))
    if image.model is not None:
        # The nearest pixel of half a one is that of the place.
        across, along = (np.maximum(each, -0.499) for each in (right, down))
        stamps = image.model.stamps(np.rint(x) + across, np.rint(y) + along, radius)
    else:
        own = image.psfs.at(x, y)
        own = np.pad(own, max(radius - own.shape[0] // 2, 0))
        seen = slice(own.shape[0] // 2 - radius, own.shape[0] // 2 + radius + 1)
        each = (shifted(own, i, j)[seen, seen] for j, i in zip(down, right, strict=True))
        stamps = np.stack(list(each))
    return np.asarray(stamps.reshape(len(parts), len(parts), *stamps.shape[1:]))


def _windows(
    images: tuple[AlignedImage, AlignedImage],
    flags: NDArray[np.uint16],
    tiles: _Tiles,
    rows: Integers,
    columns: Integers,
) -> _Windows:
    """Light that is not static around peaks."""
    new, reference = images
    pixels, spread = (_around(plane, rows, columns, _REACH) for plane in (new.pixels, new.variance))
    bits = _around(flags, rows, columns, _REACH + 1)
    inner = np.s_[:, 1:-1, 1:-1]
    good = (bits[inner] & _UNUSABLE) == 0
    good &= np.isfinite(pixels) & np.isfinite(spread) & (spread > 0)
    beside = maximum_filter((bits & _RAY) != 0, (1, 3, 3))[inner]
    light = np.where(good, pixels, np.float32(0.0)).reshape(len(rows), -1)
    spread = np.where(good, spread, np.float32(1.0)).reshape(len(rows), -1)
    good, beside = (each.reshape(len(rows), -1) for each in (good, beside))
    weight = np.where(good, 1 / spread, np.float32(0.0))
    there = _around(reference.pixels, rows, columns, _REACH + _KERNEL)
    there = np.nan_to_num(there, posinf=0.0, neginf=0.0)
    # Stars at the rim of a window count as much as those in its middle.
    height = there[:, _KERNEL:-_KERNEL, _KERNEL:-_KERNEL].max(axis=(1, 2))
    tile, doubts = tiles.numbers(rows, columns), {}
    for k in np.flatnonzero(height > _STANDS * np.sqrt(tiles.noise[1])).tolist():
        kernels = tiles.static_kernels(int(tile[k]), float(height[k]) / tiles.peak)
        static, sharp = _convolved(there[k], kernels).reshape(2, -1)
        noise = tiles.noise[1] * (kernels[0] ** 2).sum() + (_PIXEL_ERROR * static) ** 2
        noise += (_SHAPE_ERROR * (sharp - static)) ** 2
        weight[k] = np.where(good[k], 1 / (spread[k] + noise), 0.0)
        light[k] -= np.where(good[k], static, 0.0)
        unsure = np.stack([_FLUX_ERROR * static, _SHARPNESS_ERROR * (sharp - static)])
        known = np.linalg.cholesky(np.eye(2) + (unsure * weight[k]) @ unsure.T)
        doubts[k] = np.linalg.solve(known, unsure * weight[k]).astype(np.float32)
    weighted = light * weight
    for k, doubt in doubts.items():
        weighted[k] -= doubt.T @ (doubt @ light[k])
    return _Windows(weighted, weight, beside & good, doubts)


def _convolved(plane: Plane, kernels: Floats) -> Floats:
    """The part of a plane that whole kernels see, ``(kernels, _SIDE, _SIDE)``."""
    size = scipy.fft.next_fast_len(plane.shape[0], real=True)
    waves = scipy.fft.rfft2(plane.astype(np.float64), (size, size))
    whole = scipy.fft.irfft2(waves * scipy.fft.rfft2(kernels, (size, size)), (size, size))
    seen = slice(2 * _KERNEL, 2 * _KERNEL + _SIDE)
    return np.asarray(whole[:, seen, seen])


def _around(plane: NDArray[_Kind], rows: Integers, columns: Integers, reach: int) -> NDArray[_Kind]:
    """Pixels around places; beyond the border those of it."""
    steps = np.arange(-reach, reach + 1)
    j = np.clip(rows[:, None] + steps, 0, plane.shape[0] - 1)
    i = np.clip(columns[:, None] + steps, 0, plane.shape[1] - 1)
    return np.asarray(plane[j[:, :, None], i[:, None, :]])


def _near_hits(flags: NDArray[np.uint16], rows: Integers, columns: Integers) -> tuple[float, Bools]:
    """Share of the image that is near hits, and whether places are ``(n,)``."""
    ny, nx = flags.shape
    net = np.mgrid[_NET // 2 : ny : _NET, _NET // 2 : nx : _NET].reshape(2, -1).T
    share = float(_beside(flags, net).mean()) if len(net) else 0.0
    return share, _beside(flags, np.stack([rows, columns], axis=1))


@njit(cache=True, nogil=True)
def _beside(flags, places):  # type: ignore[no-untyped-def] # compiled
    """Whether a hit is within some pixels of places ``(n, 2)``."""
    found = np.zeros(places.shape[0], np.bool_)
    for n in range(places.shape[0]):
        y, x = places[n]
        for j in range(max(y - _NEAR, 0), min(y + _NEAR + 1, flags.shape[0])):
            for i in range(max(x - _NEAR, 0), min(x + _NEAR + 1, flags.shape[1])):
                found[n] |= (flags[j, i] & _RAY) != 0
    return found


@njit(cache=True, nogil=True)
def _forget(maps, rows, columns, lit, reach):  # type: ignore[no-untyped-def] # compiled
    """Flag the pixels of rays, and take what is around them out of flux and score."""
    flags, flux, error, score = maps[2:]
    ny, nx = score.shape
    half = lit.shape[1] // 2
    for n in range(rows.size):
        y, x = rows[n], columns[n]
        for j in range(max(y - half, 0), min(y + half + 1, ny)):
            for i in range(max(x - half, 0), min(x + half + 1, nx)):
                if lit[n, j - y + half, i - x + half]:
                    flags[j, i] |= np.uint16(_RAY)
        for j in range(max(int(y - reach), 0), min(int(y + reach) + 2, ny)):
            for i in range(max(int(x - reach), 0), min(int(x + reach) + 2, nx)):
                if (j - y) ** 2 + (i - x) ** 2 <= reach**2:
                    flux[j, i], score[j, i], error[j, i] = 0.0, 0.0, np.inf
