"""Put images of one place, on one grid of pixels, together: weighted and clipped mean.

The weight of a frame is one number, the inverse variance of its sky: with weights that follow the
photons of a star in each pixel the star's shape would depend on its brightness.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from firstlight.algorithms.flags import DTYPE, UNUSABLE, Flag
from firstlight.algorithms.order_statistics import median_in_place
from firstlight.algorithms.resampling.image_pair import AlignedImage, PsfGrid
from firstlight.algorithms.sources.moments import FWHM_OF_SIGMA
from firstlight.errors import InvalidInput

__all__ = [
    "ChosenFrames",
    "Coadd",
    "choose_frames",
    "clipped_mean",
    "common_net",
    "find_outliers",
    "frame_weights",
    "marked_mean",
    "tells_nothing",
    "weighted_mean",
]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Plane = NDArray[np.float32]

_SATURATED, _LOST = int(Flag.SATURATED), int(Flag.NO_DATA)
_BAD = DTYPE(int(Flag.BAD))
_ROWS = 64  # of all frames, that are stacked at a time
_STEP = 4  # rows and columns between pixels that tell the variance of the sky
_SEEN = 1e-3  # of a PSF's peak: fainter parts do not tell how PSFs differ
_NEAR = 0.4  # of the limit for an outlier: what suffices for its neighbours
_TURNS = 2  # neighbours of neighbours
_MISPLACED = 0.1  # of the light beside a pixel: what the registration may be wrong by
_MOST_NOISE = 2.0  # variance of a frame's pixel, over what those of the others let expect


@dataclass(frozen=True, eq=False)
class Coadd:
    """Several frames in one.

    Attributes
    ----------
    pixels
        On the flux scale that frames of scale 1 have, float32 ``(ny, nx)``; 0 where no frame has
        a value.
    variance
        As in `AlignedImage`; infinite where no frame has a value.
    flags
        Of the frames that were used, and SATURATED of any: frames of other seeing stand there
        alone. Where every frame is unusable, the flags of all, beside the mean of all.
    used
        Number of frames that make up the pixel, uint16 ``(ny, nx)``.
    psfs
        Of a pixel that all frames make up.
    """

    pixels: Plane
    variance: Plane
    flags: NDArray[np.uint16]
    used: NDArray[np.uint16]
    psfs: PsfGrid

    @property
    def image(self) -> AlignedImage:
        """Without the number of frames."""
        return AlignedImage(self.pixels, self.variance, self.flags, self.psfs)


@dataclass(frozen=True, eq=False)
class ChosenFrames:
    """Which frames to put together.

    Attributes
    ----------
    frames
        Their numbers, the most telling first.
    flux_error
        One sigma of the flux of a faint star in the coadd of these, on the flux scale of frames
        of scale 1.
    share
        Of the information on faint stars that all frames together have.
    """

    frames: NDArray[np.intp]
    flux_error: float
    share: float


def choose_frames(
    fwhm: Sequence[float],
    noise: Sequence[float],
    scales: Sequence[float] | None = None,
    *,
    at_most: int | None = None,
    widest: float | None = None,
    enough: float = 0.98,
) -> ChosenFrames:
    """Choose the fewest frames that tell nearly all about faint stars.

    A frame tells ``scale^2 / (noise^2 A)``, where A is the noise-equivalent area of its PSF
    (King 1983, PASP 95, 163; ``4 pi (fwhm / 2.355)^2`` of a Gaussian): seeing counts as much as
    depth.

    Parameters
    ----------
    fwhm
        Of the PSFs, pixels, ``(n,)``.
    noise
        Sigma of the sky in a pixel.
    scales
        Of the flux: what a source of one in the coadd has in the frame; 1 if None.
    at_most
        Number of frames.
    widest
        Largest full width, pixels: sharper frames alone also part blends.
    enough
        Share of what all frames tell, at which the rest is left out.

    Raises
    ------
    InvalidInput
        No frame is left, or a number is not positive.
    """
    width, sigma = np.asarray(fwhm, np.float64), np.asarray(noise, np.float64)
    scale = np.ones(len(width)) if scales is None else np.asarray(scales, np.float64)
    for name, values in (("fwhm", width), ("noise", sigma), ("scales", scale)):
        if values.shape != width.shape or not (np.isfinite(values) & (values > 0)).all():
            raise InvalidInput("Each frame needs a positive number.", field=name, found=values)
    told = scale**2 / (sigma**2 * 4 * np.pi * (width / FWHM_OF_SIGMA) ** 2)
    fit = np.flatnonzero(width <= (np.inf if widest is None else widest))
    if not fit.size:
        raise InvalidInput(
            "No frame is sharp enough.", field="fwhm", found=width, expected=f"at most {widest}"
        )
    order = fit[np.argsort(-told[fit], kind="stable")]
    reached = np.cumsum(told[order]) / told[order].sum()
    count = int(np.searchsorted(reached, enough - 1e-12)) + 1
    order = order[: min(count, len(order) if at_most is None else at_most)]
    kept = float(told[order].sum())
    return ChosenFrames(order, kept**-0.5, kept / float(told.sum()))


def frame_weights(
    frames: Sequence[AlignedImage],
    scales: Sequence[float] | None = None,
    outliers: Bools | None = None,
) -> Floats:
    """Inverse variance of the sky of each frame on the coadd's flux scale, ``(n,)``.

    0 for a frame without a usable pixel. Of `find_outliers`, `outliers` are left out.

    Raises
    ------
    InvalidInput
        There are no frames, they differ in shape, a scale is not positive, or no frame has a
        usable pixel.
    """
    factors = np.ones(len(frames)) if scales is None else np.asarray(scales, np.float64)
    if factors.shape != (len(frames),) or not (np.isfinite(factors) & (factors > 0)).all():
        raise InvalidInput("Each frame needs a positive scale.", field="scales", found=factors)
    shapes = {frame.shape for frame in frames}
    if len(shapes) != 1:
        raise InvalidInput("The frames do not fit.", field="frames", found=sorted(shapes))
    told = zip(frames, factors, strict=True)
    weights = np.array(
        [
            factor**2 / _sky_variance(frame, outliers_of(outliers, k))
            for k, (frame, factor) in enumerate(told)
        ]
    )
    if not weights.any():
        raise InvalidInput("No frame has a usable pixel.", field="frames", found=len(frames))
    return weights


def weighted_mean(frames: Sequence[AlignedImage], scales: Sequence[float] | None = None) -> Coadd:
    """Average all usable pixels.

    Where a hole of a frame meets a bright star, the star has the PSF of the other frames there, not
    the stated one: `proper_coadd` puts that right.

    Parameters
    ----------
    frames
        On one grid of pixels, without sky.
    scales
        What a source of one in the coadd has in each frame; 1 if None.
    """
    return _mean(frames, scales, None)


def marked_mean(
    frames: Sequence[AlignedImage],
    scales: Sequence[float] | None = None,
    outliers: Bools | None = None,
) -> Coadd:
    """Average all usable pixels but outliers; those and what `tells_nothing` are marked BAD.

    As `weighted_mean` of frames that are flagged so, without a copy of their flags.
    """
    return _mean(frames, scales, outliers, marks=True)


def outliers_of(outliers: Bools | None, number: int) -> Bools | None:
    """Those of one frame ``(ny, nx)``, where any are known."""
    return None if outliers is None else outliers[number]


def tells_nothing(
    frame: AlignedImage, outliers: Bools | None, where: tuple[Any, ...] = (slice(None),)
) -> Bools:
    """Which pixels of a frame have no number, or are outliers, whatever their flags.

    Parameters
    ----------
    outliers
        Of this frame, ``(ny, nx)``.
    where
        The pixels that are looked at.
    """
    pixels, variance = frame.pixels[where], frame.variance[where]
    closed: Bools = ~(np.isfinite(pixels) & np.isfinite(variance) & (variance > 0))
    if outliers is not None:
        closed |= outliers[where]
    return closed


def clipped_mean(
    frames: Sequence[AlignedImage], scales: Sequence[float] | None = None, *, clip: float = 4.5
) -> Coadd:
    """Average all usable pixels but outliers, as `find_outliers` tells them."""
    return _mean(frames, scales, find_outliers(frames, scales, clip=clip))


def find_outliers(
    frames: Sequence[AlignedImage],
    scales: Sequence[float] | None = None,
    *,
    clip: float = 4.5,
    room: NDArray[np.uint8] | None = None,
) -> Bools:
    """Find what one frame shows and the others do not: cosmic rays, trails, passing things.

    A pixel is an outlier if it is further from the median of the frames than `clip` sigma and than
    the PSFs differ: of the median's largest value within a pixel, the share by which the frame's
    PSF differs from the middle of all on the same footing, and a tenth for misplaced stars. Its
    neighbours need less. Of two frames the higher value is the outlier, since cosmic rays only add.

    Parameters
    ----------
    frames, scales
        As for `weighted_mean`.
    clip
        In sigma.
    room
        Zeros, ``(frames, ny, nx)``, into which they are written, as into a file where there are
        many frames; memory of its own if None.

    Returns
    -------
    numpy.ndarray
        True for outliers among usable pixels, ``(frames, ny, nx)``.
    """
    weights = frame_weights(frames, scales)
    factors = np.ones(len(frames)) if scales is None else np.asarray(scales, np.float64)
    middle, ratio = (np.zeros(frames[0].shape, np.float32) for _ in range(2))
    shape = (len(frames), *frames[0].shape)
    levels = np.zeros(shape, np.uint8) if room is None else np.asarray(room)
    if len(frames) < 2:
        return levels > 1
    for rows, block in _blocks(frames, None):
        _centre(block, factors, weights, (middle[rows], ratio[rows]))
    beside = maximum_filter(np.abs(middle), 3)
    shares = _psf_differences([frame.psfs for frame in frames])
    for rows, block in _blocks(frames, None):
        told = (middle[rows], ratio[rows], beside[rows])
        _compare(block, factors, weights, told, (clip, shares), levels[:, rows])
    for level in levels:
        for _ in range(_TURNS):
            _grow(level)
    # The same bytes: of many frames a second array would be as large as all that is found.
    np.right_shift(levels, 1, out=levels)
    return levels.view(np.bool_)


def _sky_variance(frame: AlignedImage, outliers: Bools | None) -> float:
    some = np.s_[::_STEP, ::_STEP]
    variance = frame.variance[some]
    good = ((frame.flags[some] & int(UNUSABLE)) == 0) & np.isfinite(variance) & (variance > 0)
    good &= np.isfinite(frame.pixels[some])
    if outliers is not None:
        good &= ~outliers[some]
    return float(np.median(variance[good])) if good.any() else np.inf


def _mean(
    frames: Sequence[AlignedImage],
    scales: Sequence[float] | None,
    outliers: Bools | None,
    *,
    marks: bool = False,
) -> Coadd:
    weights = frame_weights(frames, scales, outliers if marks else None)
    factors = np.ones(len(frames)) if scales is None else np.asarray(scales, np.float64)
    shape = frames[0].shape
    pixels, variance = np.empty(shape, np.float32), np.empty(shape, np.float32)
    flags, used = np.empty(shape, DTYPE), np.empty(shape, np.uint16)
    for rows, block in _blocks(frames, outliers, marks=marks):
        _average(block, factors, weights, (pixels[rows], variance[rows], flags[rows], used[rows]))
    return Coadd(pixels, variance, flags, used, _mean_psf([f.psfs for f in frames], weights))


def _blocks(
    frames: Sequence[AlignedImage], outliers: Bools | None, *, marks: bool = False
) -> Iterator[tuple[slice, tuple[Plane, Plane, NDArray[np.uint16], Bools]]]:
    """Some rows of all frames at a time: pixels, variance, flags, whether they are usable."""
    for start in range(0, frames[0].shape[0], _ROWS):
        rows = slice(start, start + _ROWS)
        pixels = np.stack([frame.pixels[rows] for frame in frames])
        variance = np.stack([frame.variance[rows] for frame in frames])
        flags = np.stack([frame.flags[rows] for frame in frames])
        usable = (flags & int(UNUSABLE)) == 0
        usable &= np.isfinite(pixels) & np.isfinite(variance) & (variance > 0)
        if outliers is not None:
            usable &= ~outliers[:, rows]
        if marks:
            for k, frame in enumerate(frames):
                flags[k][tells_nothing(frame, outliers_of(outliers, k), (rows,))] |= _BAD
        yield rows, (pixels, variance, flags, usable)


def _mean_psf(grids: Sequence[PsfGrid], weights: Floats) -> PsfGrid:
    first = common_net(grids)
    stamps = [grid.stamps.astype(np.float64) for grid in first]
    mean = np.tensordot(weights / weights.sum(), np.stack(stamps), axes=1)
    return PsfGrid(mean.astype(np.float32), first[0].x, first[0].y)


def common_net(grids: Sequence[PsfGrid]) -> list[PsfGrid]:
    """All on the net and with the radius of the first."""
    x, y, radius = grids[0].x, grids[0].y, grids[0].radius
    found = []
    for grid in grids:
        own = grid if np.array_equal(grid.x, x) and np.array_equal(grid.y, y) else grid.on(x, y)
        if own.radius != radius:
            own = PsfGrid(_resized(own.stamps, radius), x, y)
        found.append(own)
    return found


def _resized(stamps: NDArray[np.float32], radius: int) -> NDArray[np.float32]:
    more = radius - stamps.shape[-1] // 2
    if more >= 0:
        return np.pad(stamps, ((0, 0), (0, 0), (more, more), (more, more)))
    return np.ascontiguousarray(stamps[..., -more:more, -more:more])


def _psf_differences(grids: Sequence[PsfGrid]) -> Floats:
    """Largest difference of each PSF from the middle one, relative to what is beside, ``(n,)``."""
    stamps = np.stack([grid.stamps for grid in common_net(grids)])
    # Each pixel as `_centre` takes it.
    middle = stamps.min(axis=0) if len(stamps) == 2 else np.median(stamps, axis=0)
    beside = maximum_filter(middle, (1, 1, 3, 3))
    seen = beside > _SEEN * middle.max()
    return np.array([float((np.abs(each - middle)[seen] / beside[seen]).max()) for each in stamps])


@njit(cache=True, nogil=True)
def _average(block, factors, weights, told):  # type: ignore[no-untyped-def] # compiled
    pixels, variance, flags, usable = block
    mean, spread, marks, used = told
    count, ny, nx = pixels.shape
    infinite = np.float32(np.inf)
    for y in range(ny):
        for x in range(nx):
            number = 0
            any_flags, bits = 0, 0
            for k in range(count):
                any_flags |= flags[k, y, x]
                if usable[k, y, x]:
                    number += 1
                    bits |= flags[k, y, x]
            light = noise = total = 0.0
            for k in range(count):
                finite = np.isfinite(pixels[k, y, x]) and variance[k, y, x] < infinite
                if usable[k, y, x] or (number == 0 and finite):
                    light += weights[k] / factors[k] * pixels[k, y, x]
                    noise += (weights[k] / factors[k]) ** 2 * variance[k, y, x]
                    total += weights[k]
            used[y, x] = number
            if total > 0:
                mean[y, x], spread[y, x] = light / total, noise / (total * total)
                marks[y, x] = bits | (any_flags & _SATURATED) if number else any_flags
            else:
                mean[y, x], spread[y, x], marks[y, x] = 0.0, infinite, any_flags | _LOST


@njit(cache=True, nogil=True)
def _centre(block, factors, weights, told):  # type: ignore[no-untyped-def] # compiled
    """Median of the usable frames, of two the lower, and of their variances over those of the sky.

    The ratio is 0 with fewer than two frames.
    """
    pixels, variance, _, usable = block
    middle, ratio = told
    count, ny, nx = pixels.shape
    values, ratios = np.empty(count), np.empty(count)
    for y in range(ny):
        for x in range(nx):
            number = 0
            for k in range(count):
                if usable[k, y, x]:
                    values[number] = pixels[k, y, x] / factors[k]
                    ratios[number] = variance[k, y, x] * weights[k] / factors[k] ** 2
                    number += 1
            if number < 2:
                middle[y, x] = values[0] if number else 0.0
                ratio[y, x] = 0.0
            elif number == 2:
                middle[y, x] = min(values[0], values[1])
                ratio[y, x] = min(ratios[0], ratios[1])
            else:
                middle[y, x] = median_in_place(values, number)
                ratio[y, x] = median_in_place(ratios, number)


@njit(cache=True, nogil=True)
def _compare(block, factors, weights, told, limits, levels):  # type: ignore[no-untyped-def] # compiled
    """2 for outliers, 1 for what may be part of one beside it."""
    pixels, variance, _, usable = block
    middle, ratio, beside = told
    clip, shares = limits
    count, ny, nx = pixels.shape
    for y in range(ny):
        for x in range(nx):
            if not ratio[y, x] > 0:
                continue
            number, total = 0, 0.0
            for k in range(count):
                if usable[k, y, x]:
                    number += 1
                    total += 1.0 / weights[k]
            # Of the middle itself; a median is less certain than a mean.
            spread = ratio[y, x] * total / number * (1.0 if number == 2 else np.pi / 2 / number)
            for k in range(count):
                if not usable[k, y, x]:
                    continue
                # The light of a hit must not excuse it, should it be in the variance.
                own = min(
                    variance[k, y, x] / factors[k] ** 2, _MOST_NOISE * ratio[y, x] / weights[k]
                )
                limit = clip * np.sqrt(own + spread) + (shares[k] + _MISPLACED) * beside[y, x]
                off = abs(pixels[k, y, x] / factors[k] - middle[y, x])
                if off > limit:
                    levels[k, y, x] = 2
                elif off > _NEAR * limit:
                    levels[k, y, x] = 1


@njit(cache=True, nogil=True)
def _grow(level):  # type: ignore[no-untyped-def] # compiled
    """Make outliers of the candidates beside outliers, one pixel further."""
    ny, nx = level.shape
    for y in range(ny):
        for x in range(nx):
            if level[y, x] != 1:
                continue
            for j in range(max(y - 1, 0), min(y + 2, ny)):
                for i in range(max(x - 1, 0), min(x + 2, nx)):
                    if level[j, i] == 2:
                        level[y, x] = 3
    for y in range(ny):
        for x in range(nx):
            if level[y, x] == 3:
                level[y, x] = 2
