"""Put images of different seeing together without losing any information on point sources.

Proper coaddition (Zackay & Ofek 2017, ApJ 836, 188): in Fourier space each frame is multiplied with
its own PSF, the sum is divided by the root of its own noise. What comes out has white noise and a
PSF of its own, and holds all that the frames tell about faint sources, where a mean loses what its
sharpest frames knew. PSFs are local: tiles overlap and go over into each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from firstlight.algorithms.coaddition.coadd import (
    Coadd,
    common_net,
    frame_weights,
    marked_mean,
    outliers_of,
    tells_nothing,
)
from firstlight.algorithms.flags import UNUSABLE
from firstlight.algorithms.resampling.image_pair import AlignedImage, PsfGrid
from firstlight.algorithms.resampling.smooth_fill import smooth_fill
from firstlight.algorithms.subtraction.tile_kernels import fade_out, fast_length, spectrum
from firstlight.errors import InvalidInput

__all__ = ["proper_coadd"]

Bools = NDArray[np.bool_]
Plane = NDArray[np.float32]
Complex = NDArray[np.complex64]

_BLEND = 8  # half the width of the band in which two tiles go over into each other, pixels
_GAP = 33  # side of a square of which half is missing where a frame has a gap rather than a hole
_MOST_FRAMES = 62  # whose gaps fit into the bits of one number
_TURNS = 8  # of filling holes with what the coadd lets expect there
_SMALL = 0.2  # sigma of the sky: changes of a hole that end the filling
_DAMPING = 1e-6  # of power below which the coadd's PSF tells nothing about another's
_NO_POWER = 1e-12  # of the largest: frequencies that no frame tells anything about


@dataclass(frozen=True)
class _Tile:
    """Along one axis: its pixels, those of its transform, and its weight in the blend."""

    start: int
    stop: int
    rows: NDArray[np.intp]
    inside: slice
    weight: Plane


@dataclass(frozen=True)
class _Stack:
    """All frames in one tile: pixels, where they have holes, PSFs and weights."""

    pieces: list[Plane]
    holes: list[Bools]
    stamps: list[Plane]
    weights: NDArray[np.float64]


@dataclass(frozen=True)
class _Given:
    """All frames, of which no more than a tile is read at a time: there may be very many.

    Attributes
    ----------
    factors
        Scales of the frames.
    sky
        What the others show where a frame has a hole, on the coadd's scale.
    missing
        Bits of the frames that have a gap at each pixel, ``(ny, nx)``.
    """

    frames: Sequence[AlignedImage]
    factors: NDArray[np.float64]
    outliers: Bools | None
    sky: Plane
    missing: NDArray[np.int64]

    def stack(
        self, tile: tuple[_Tile, _Tile], stamps: list[Plane], weights: NDArray[np.float64]
    ) -> _Stack:
        """Pixels of all frames in one tile on the coadd's scale, and where they have holes."""
        there = np.ix_(tile[0].rows, tile[1].rows)
        sky, missing = self.sky[there], self.missing[there]
        pieces, holes = [], []
        for k, (frame, factor) in enumerate(zip(self.frames, self.factors, strict=True)):
            closed = _closed(frame, outliers_of(self.outliers, k), there)
            light = frame.pixels[there] / np.float32(factor)
            piece = np.where(closed, sky, light).astype(np.float32, copy=False)
            fade_out(piece, (tile[0].inside.start, tile[1].inside.start))
            pieces.append(piece)
            holes.append(closed & (((missing >> k) & 1) == 0))
        return _Stack(pieces, holes, stamps, weights)


def proper_coadd(
    frames: Sequence[AlignedImage],
    scales: Sequence[float] | None = None,
    *,
    outliers: Bools | None = None,
) -> Coadd:
    """Put frames together.

    Parameters
    ----------
    frames
        On one grid of pixels, without sky; the net of the first frame's PSFs makes the tiles.
    scales
        What a source of one in the coadd has in each frame; 1 if None.
    outliers
        Of `find_outliers`, ``(frames, ny, nx)``.

    Returns
    -------
    Coadd
        Its PSFs are those of the set of frames that makes up most of a tile. Holes of a frame are
        filled with what the coadd lets expect of its PSF there, and count in the variance; where a
        frame has a gap (an edge, a dead part) the coadd is made without it.

    Notes
    -----
    With frames ``M_j`` of scale ``F_j``, variance ``s_j^2`` and PSF ``P_j`` the coadd is
    ``sum(F_j / s_j^2 conj(P_j) M_j) / sqrt(sum(F_j^2 / s_j^2 |P_j|^2))``, over its own value for
    a frequency of zero, which puts it on the scale of fluxes.

    Raises
    ------
    InvalidInput
        More than 62 frames: put them together in groups.
    """
    if len(frames) > _MOST_FRAMES:
        raise InvalidInput(
            "Too many frames.", field="frames", found=len(frames), expected=f"{_MOST_FRAMES}"
        )
    factors = np.ones(len(frames)) if scales is None else np.asarray(scales, np.float64)
    weights, mean = frame_weights(frames, scales, outliers), marked_mean(frames, scales, outliers)
    sky = mean.pixels.copy()
    smooth_fill(sky, mean.used == 0)
    given = _Given(frames, factors, outliers, sky, _gaps(frames, outliers))
    grids = common_net([frame.psfs for frame in frames])
    ys, xs = (
        _tiles(length, nodes, grids[0].radius)
        for length, nodes in zip(mean.pixels.shape, (grids[0].y, grids[0].x), strict=True)
    )
    pixels = np.zeros_like(mean.pixels)
    stamps = np.empty_like(grids[0].stamps)
    for j, y in enumerate(ys):
        for i, x in enumerate(xs):
            tile = given.stack((y, x), [grid.stamps[j, i] for grid in grids], weights)
            gaps = given.missing[y.start : y.stop, x.start : x.stop]
            part, stamps[j, i] = _one_tile(tile, gaps, (y.inside, x.inside))
            part *= y.weight[:, None] * x.weight
            pixels[y.start : y.stop, x.start : x.stop] += part
    pixels[~np.isfinite(mean.variance)] = 0.0
    return replace(mean, pixels=pixels, psfs=PsfGrid(stamps, grids[0].x, grids[0].y))


def _closed(frame: AlignedImage, outliers: Bools | None, where: tuple[Any, ...]) -> Bools:
    """Pixels of a frame that are not used."""
    closed = tells_nothing(frame, outliers, where)
    closed |= (frame.flags[where] & int(UNUSABLE)) != 0
    return closed


def _gaps(frames: Sequence[AlignedImage], outliers: Bools | None) -> NDArray[np.int64]:
    """Bits of the frames that have a gap at each pixel, ``(ny, nx)``."""
    missing = np.zeros(frames[0].shape, np.int64)
    for k, frame in enumerate(frames):
        closed = _closed(frame, outliers_of(outliers, k), (slice(None),))
        if closed.any():
            share = uniform_filter(closed.astype(np.float32), _GAP, mode="nearest")
            missing |= (share > 0.5).astype(np.int64) << k
    return missing


def _tiles(length: int, middles: NDArray[np.float64], reach: int) -> list[_Tile]:
    """Tiles around the nodes of a net, mirrored beyond the border."""
    between = np.rint((middles[1:] + middles[:-1]) / 2 + 0.5).astype(int)
    edges = [0, *(int(edge) for edge in np.clip(between, 1, length - 1)), length]
    blend = min(_BLEND, min(b - a for a, b in pairwise(edges)) // 2)
    found = []
    for first, last in pairwise(edges):
        start, stop = max(first - blend, 0), min(last + blend, length)
        weight = np.ones(stop - start, np.float32)
        ramp = (np.arange(2 * blend, dtype=np.float32) + 0.5) / max(2 * blend, 1)
        if first > 0:
            weight[: 2 * blend] = ramp
        if last < length:
            weight[len(weight) - 2 * blend :] = ramp[::-1]
        size = fast_length(stop - start + 4 * reach)
        before = (size - (stop - start)) // 2
        place = np.arange(start - before, start - before + size) % (2 * length)
        rows = np.where(place < length, place, 2 * length - 1 - place)
        found.append(_Tile(start, stop, rows, slice(before, before + stop - start), weight))
    return found


def _one_tile(
    tile: _Stack, missing: NDArray[np.int64], inside: tuple[slice, slice]
) -> tuple[Plane, Plane]:
    """Pixels of a tile, each made of the frames that have no gap there, and its PSF."""
    shape = tile.pieces[0].shape
    shapes = [spectrum(stamp, shape) for stamp in tile.stamps]
    lights = [scipy.fft.rfft2(piece) for piece in tile.pieces]
    _expect_in_holes(tile, shapes, lights)
    sets, counts = np.unique(missing, return_counts=True)
    part = np.zeros(missing.shape, np.float32)
    psf = np.zeros_like(tile.stamps[0])
    for code in sets[np.argsort(counts)]:
        there = [k for k in range(len(lights)) if not (int(code) >> k) & 1]
        if not there:
            # Nobody knows these pixels; the mean has marked them.
            continue
        light, root = _combined(shapes, lights, tile.weights, there)
        part = np.where(missing == code, scipy.fft.irfft2(light, s=shape)[inside], part)
        psf = _middle(scipy.fft.irfft2(root, s=shape), tile.stamps[0].shape[0] // 2)
    return part, psf


def _combined(
    shapes: list[Complex], lights: list[Complex], weights: NDArray[np.float64], there: list[int]
) -> tuple[Complex, Plane]:
    """Transforms of the coadd of some frames and of its PSF."""
    top = np.zeros_like(lights[0])
    power = np.zeros(lights[0].shape, np.float32)
    for k in there:
        top += np.float32(weights[k]) * np.conj(shapes[k]) * lights[k]
        power += np.float32(weights[k]) * np.abs(shapes[k]) ** 2
    root = np.sqrt(np.maximum(power, np.float32(_NO_POWER) * power.max()))
    return top / (root * root[0, 0]), root / root[0, 0]


def _expect_in_holes(tile: _Stack, shapes: list[Complex], lights: list[Complex]) -> None:
    """Fill holes with the coadd, brought to the frame's PSF; in place, pieces and transforms.

    Without it a hit on a bright star in the sharpest frame would make the star less sharp.
    """
    holed = [k for k, closed in enumerate(tile.holes) if closed.any()]
    if not holed or len(lights) == 1:
        return
    shape = tile.pieces[0].shape
    for _ in range(_TURNS):
        if not holed:
            break
        light, root = _combined(shapes, lights, tile.weights, list(range(len(lights))))
        light *= root / (root * root + np.float32(_DAMPING))
        for k in tuple(holed):
            expected = scipy.fft.irfft2(light * shapes[k], s=shape)[tile.holes[k]]
            # The frame's own share of the coadd holds the last step back (Richardson iteration).
            step = np.float32(2.0 / (2.0 - tile.weights[k] / tile.weights.sum()))
            change = step * (expected - tile.pieces[k][tile.holes[k]])
            tile.pieces[k][tile.holes[k]] += change
            lights[k] = scipy.fft.rfft2(tile.pieces[k])
            if np.abs(change).max() < _SMALL * tile.weights[k] ** -0.5:
                holed.remove(k)


def _middle(kernel: Plane, radius: int) -> Plane:
    """Stamp around the origin of a kernel that wraps around."""
    near = np.arange(-radius, radius + 1)
    return kernel[np.ix_(near % kernel.shape[0], near % kernel.shape[1])]
