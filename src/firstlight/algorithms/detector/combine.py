"""Stack frames with rejection, row block by row block, and build master calibrations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.median_deviation import MAD_TO_SIGMA
from firstlight.errors import InvalidInput

__all__ = [
    "Combined",
    "FrameNoise",
    "combine",
    "master_bias",
    "master_dark",
    "master_flat",
    "rows_of",
]

# Reads the same rows of every frame: an array (frames, rows, nx).
RowReader = Callable[[slice], NDArray[np.generic]]

_ENOUGH_FRAMES = 10  # from here a pixel's own scatter says something


@dataclass(frozen=True, slots=True)
class Combined:
    """A stack of frames.

    Attributes
    ----------
    data
        Weighted mean of what was kept, float32 ``(ny, nx)``; NaN where nothing was.
    variance
        Of that mean; infinite where nothing was kept.
    used
        Number of frames kept, per pixel.
    """

    data: NDArray[np.float32]
    variance: NDArray[np.float32]
    used: NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class FrameNoise:
    """What scatter to expect of a pixel: without it three frames cannot reject anything.

    Attributes
    ----------
    read_noise
        ADU.
    gain
        Electrons per ADU.
    """

    read_noise: float
    gain: float


def rows_of(frames: Sequence[NDArray[np.generic]]) -> RowReader:
    """Serve row blocks from frames in memory (or memory-mapped)."""

    def read(rows: slice) -> NDArray[np.generic]:
        return np.stack([frame[rows] for frame in frames])

    return read


def combine(
    read: RowReader,
    shape: tuple[int, int],
    *,
    offset: NDArray[np.floating] | float = 0.0,
    scales: NDArray[np.floating] | None = None,
    noise: FrameNoise | None = None,
    clip: float = 4.5,
    megabytes: float = 64.0,
) -> Combined:
    """Average ``(frame - offset) * scale`` over frames without outliers.

    A value is an outlier if it is more than `clip` sigma from the median of its pixel. Sigma is
    what `noise` predicts at the median; without a model it is the typical scatter of the row's
    pixels, or the pixel's own where that is much larger and there are ten frames or more. Where
    all values contradict their median, as of two frames one of which is hit, those below it are
    kept, since cosmic rays only add. Frames are weighted with the inverse square of their scale
    (equal noise before scaling).

    Parameters
    ----------
    read
        Returns the same rows of every frame, ``(frames, rows, nx)``; called with slices that
        cover the frame once. NaN is never used.
    shape
        ``(ny, nx)`` of a frame.
    offset
        Subtracted from every frame: a number or a plane.
    scales
        One for each frame; ones if None.
    noise
        Of a single unscaled frame.
    clip
        In sigma.
    megabytes
        Memory to use for a block.
    """
    ny, nx = shape
    first = np.asarray(read(slice(0, 1)))
    count = first.shape[0]
    if first.ndim != 3 or first.shape[1:] != (1, nx) or count == 0:
        raise InvalidInput("The reader gives no frames of that shape.", found=first.shape)
    factors = np.ones(count) if scales is None else np.asarray(scales, dtype=np.float64)
    if factors.shape != (count,) or not (np.isfinite(factors) & (factors > 0)).all():
        raise InvalidInput("Each frame needs a positive scale.", field="scales", found=factors)
    plane = np.broadcast_to(np.asarray(offset, dtype=np.float32), shape)
    block = int(np.clip(megabytes * 1e6 / (count * nx * 4 * 5), 1, ny))
    data = np.empty(shape, dtype=np.float32)
    variance = np.empty(shape, dtype=np.float32)
    used = np.empty(shape, dtype=np.uint16)
    for start in range(0, ny, block):
        rows = slice(start, min(start + block, ny))
        values = np.asarray(read(rows), dtype=np.float32) - plane[rows]
        values *= factors[:, None, None].astype(np.float32)
        data[rows], variance[rows], used[rows] = _average(values, factors, noise, clip)
    return Combined(data, variance, used)


def master_bias(
    read: RowReader, shape: tuple[int, int], *, noise: FrameNoise | None = None
) -> Combined:
    """Mean bias in ADU; the gain of `noise` does not matter, for a bias has no photons."""
    quiet = None if noise is None else FrameNoise(noise.read_noise, float("inf"))
    return combine(read, shape, noise=quiet)


def master_dark(
    read: RowReader,
    shape: tuple[int, int],
    exposure_times: Sequence[float],
    *,
    gain: float,
    bias: NDArray[np.floating] | float = 0.0,
    noise: FrameNoise | None = None,
) -> Combined:
    """Mean dark rate in electrons per second; longer exposures weigh more."""
    times = np.asarray(exposure_times, dtype=np.float64)
    if times.size == 0 or not (times > 0).all():
        raise InvalidInput("A dark needs an exposure time.", field="exposure_times", found=times)
    return combine(read, shape, offset=bias, scales=gain / times, noise=noise)


def master_flat(
    read: RowReader,
    shape: tuple[int, int],
    *,
    bias: NDArray[np.floating] | float = 0.0,
    noise: FrameNoise | None = None,
) -> Combined:
    """Mean flat with median one; each frame is first divided by its own level.

    The median, not the mean: dead pixels and dark corners then leave the scale of the rest, and
    with it the zero point, alone.
    """
    levels = _levels(read, shape, bias)
    if not (levels > 0).all():
        raise InvalidInput("A flat has no light.", field="level", found=levels)
    flat = combine(read, shape, offset=bias, scales=1.0 / levels, noise=noise)
    good = np.isfinite(flat.data)
    middle = float(np.median(flat.data[good]))
    return Combined(
        flat.data / np.float32(middle), flat.variance / np.float32(middle * middle), flat.used
    )


def _levels(
    read: RowReader, shape: tuple[int, int], offset: NDArray[np.floating] | float
) -> NDArray[np.float64]:
    """Median of the middle half of each frame, from every eighth of its rows."""
    ny, nx = shape
    columns = slice(nx // 4, nx - nx // 4)
    plane = np.broadcast_to(np.asarray(offset, dtype=np.float32), shape)
    parts = []
    for y in range(ny // 4, ny - ny // 4, max(1, ny // 64)):
        row = np.asarray(read(slice(y, y + 1)), dtype=np.float32)[:, 0, columns]
        parts.append(row - plane[y, columns])
    return np.asarray(np.nanmedian(np.concatenate(parts, axis=1), axis=1), dtype=np.float64)


def _average(
    values: NDArray[np.float32],
    factors: NDArray[np.float64],
    noise: FrameNoise | None,
    clip: float,
) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.integer]]:
    """Mean, variance of the mean and number kept, for one block of rows."""
    present = np.isfinite(values)
    whole = bool(present.all())
    if not whole:
        # A pixel that no frame has would make the median warn; it is dropped below.
        values = np.where(present, values, np.float32(np.nan))
        values[:, ~present.any(axis=0)] = 0.0
    centre = np.median(values, axis=0) if whole else np.nanmedian(values, axis=0)
    distance = np.abs(values - centre)
    scale = factors[:, None, None].astype(np.float32)
    if noise is None:
        sigma = np.broadcast_to(_sample_scatter(values, distance), values.shape)
    else:
        # A bias level is subtracted, and has no Poisson noise.
        counts = np.maximum(centre / scale, 0.0)
        sigma = scale * np.sqrt(noise.read_noise**2 + counts / noise.gain)
    kept = present & (distance <= clip * sigma)
    kept |= present & ~kept.any(axis=0) & (values <= centre)
    weight = np.where(kept, 1.0 / scale**2, 0.0)
    total = weight.sum(axis=0)
    some = total > 0
    safe = np.where(some, total, 1.0)
    mean = (weight * np.where(kept, values, 0.0)).sum(axis=0) / safe
    spread = (weight**2 * sigma**2).sum(axis=0) / safe**2
    return (
        np.where(some, mean, np.nan),
        np.where(some, spread, np.inf),
        kept.sum(axis=0),
    )


def _sample_scatter(
    values: NDArray[np.float32], distance: NDArray[np.float32]
) -> NDArray[np.floating]:
    """Sigma of the row's typical pixel, or the pixel's own where that is much larger."""
    count, rows, _ = values.shape
    if count == 1:
        return np.zeros(values.shape[1:], dtype=np.float32)
    # Differences of frames need no centre, so that three frames are as good as thirty.
    steps = np.abs(np.diff(values, axis=0)).transpose(1, 0, 2).reshape(rows, -1)
    row = np.nanmedian(steps, axis=1)[:, None] / np.float32(0.6745 * np.sqrt(2.0))
    # In whole ADU many values agree exactly.
    row = np.broadcast_to(np.maximum(row, 1e-6), values.shape[1:])
    if count < _ENOUGH_FRAMES:
        return row
    own = MAD_TO_SIGMA * np.nanmedian(distance, axis=0)
    return np.where(own > 1.5 * row, own, row)
