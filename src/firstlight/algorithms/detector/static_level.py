"""The dark current that a sequence without dark frames shows of itself.

Where the sky drifts over the detector, the median over the frames of a pixel's excess above the sky
is what stays with the pixel. Subtracting it keeps warm pixels usable: masking them instead, and
filling in from their neighbours, costs an undersampled star percents of its flux.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from firstlight.errors import InvalidInput

__all__ = ["FEWEST_FRAMES", "drift_is_enough", "static_level"]

FEWEST_FRAMES = 9
_ROWS = 64  # rows at a time: keeps the sorted copy small


def drift_is_enough(shift: NDArray[np.float64], fwhm: float) -> bool:
    """Whether stars move enough for `static_level`.

    Parameters
    ----------
    shift
        Position of the field in each frame relative to any one, pixels, ``(n_frame, 2)``.
    fwhm
        Of the stars, pixels.

    Returns
    -------
    True when no place within five FWHM is visited by a star in more than a third of the frames.
    """
    apart = np.hypot(*(shift[:, None, :] - shift[None, :, :]).transpose(2, 0, 1))
    company = (apart < 5.0 * fwhm).sum(axis=1)
    return bool(company.max() <= len(shift) / 3.0)


def static_level(
    frames: NDArray[np.floating], sky: NDArray[np.floating] | None = None
) -> NDArray[np.float32]:
    """Median excess of each pixel over the frames.

    Parameters
    ----------
    frames
        Frames of one exposure time, ``(n_frame, ny, nx)``; NaN where a pixel is unusable.
    sky
        Sky level to subtract first, broadcast against `frames`; none when it is already gone.

    Returns
    -------
    ``(ny, nx)``, in the unit of the frames; 0 where a pixel was never usable. With stars on a pixel
    for a share ``f`` of the frames it is too high by about ``1.25 f`` sigma of the noise.

    Raises
    ------
    InvalidInput
        With fewer than `FEWEST_FRAMES` frames: the noise of the level would add to every frame.
    """
    if len(frames) < FEWEST_FRAMES:
        raise InvalidInput(
            "too few frames for a static level",
            found=len(frames),
            expected=f"at least {FEWEST_FRAMES}",
        )
    out = np.zeros(frames.shape[1:], dtype=np.float32)
    for start in range(0, frames.shape[1], _ROWS):
        rows = slice(start, start + _ROWS)
        part = np.asarray(frames[:, rows], dtype=np.float32)
        if sky is not None:
            part = part - np.broadcast_to(sky, frames.shape)[:, rows]
        usable = np.isfinite(part).any(axis=0)
        level = np.zeros(part.shape[1:], dtype=np.float32)
        lost = np.isnan(part[:, usable]).any()
        median = np.nanmedian if lost else np.median
        level[usable] = median(part[:, usable], axis=0)
        out[rows] = level
    return out
