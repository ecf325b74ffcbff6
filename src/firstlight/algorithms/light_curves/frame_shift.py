"""How far the field moves over the detector from frame to frame, with no catalogue."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, rfft2

from firstlight.algorithms.median_deviation import scatter_about_median

__all__ = ["frame_shifts"]

_LIMIT = 5.0  # sigma: bright stars must not outvote the others
_CLEAR = 8.0  # sigma of the correlation map, for a peak that is no accident
_LARGEST = 1024  # pixels a side; larger frames are binned


def frame_shifts(
    frames: Iterable[NDArray[np.floating]], static: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Shift of each frame against the first, by correlation of what moves.

    Parameters
    ----------
    frames
        Of one shape ``(ny, nx)``, sky subtracted; NaN where a pixel is unusable.
    static
        What all frames have in common, ``(ny, nx)``: hot pixels, or the stars of a field that
        stays. It is taken off first, so that a field that stays leaves nothing to correlate.

    Returns
    -------
    ndarray
        ``(n_frame, 2)``, x and y in pixels, to about a pixel (the bin, for large frames); zero
        where no shift is seen.
    """
    shifts: list[tuple[float, float]] = []
    first: NDArray[np.complexfloating] | None = None
    step = max(1, -(-max(static.shape) // _LARGEST))
    for frame in frames:
        spectrum = rfft2(_moving(frame - static, step))
        if first is None:
            first = spectrum
            shape = (frame.shape[0] // step, frame.shape[1] // step)
            shifts.append((0.0, 0.0))
            continue
        x, y = _peak(irfft2(spectrum * np.conj(first), s=shape))
        shifts.append((step * x, step * y))
    return np.array(shifts, dtype=np.float64).reshape(-1, 2)


def _moving(residual: NDArray[np.floating], step: int) -> NDArray[np.float32]:
    """Stars of a residual frame: binned, limited, with the noise cut away."""
    ny, nx = residual.shape[0] // step, residual.shape[1] // step
    image = np.nan_to_num(residual[: ny * step, : nx * step]).astype(np.float32)
    image = image.reshape(ny, step, nx, step).mean(axis=(1, 3))
    sample = image[::4, ::4]
    noise = scatter_about_median(sample) or 1.0
    stars = np.clip(image / noise, 0.0, _LIMIT)
    return np.asarray(stars - stars.mean(), dtype=np.float32)


def _peak(correlation: NDArray[np.floating]) -> tuple[float, float]:
    ny, nx = correlation.shape
    y, x = np.unravel_index(int(np.argmax(correlation)), correlation.shape)
    if correlation[y, x] < _CLEAR * float(np.std(correlation)):
        return 0.0, 0.0
    # Past the middle a shift is negative: the correlation is periodic.
    return (float(x) + nx // 2) % nx - nx // 2, (float(y) + ny // 2) % ny - ny // 2
