"""From pixel values to grey levels for pictures: limits and stretches."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.median_deviation import scatter_about_median
from firstlight.errors import InvalidInput

__all__ = ["Stretch", "arcsinh_limits", "percentile_limits", "to_levels", "zscale_limits"]

Image = NDArray[Any]
Stretch = Literal["linear", "arcsinh"]

BLANK_LIMITS = (0.0, 1.0)  # of an image without one finite pixel
SAMPLES = 1000
# Bounds of the arithmetic in float32.
WIDEST = 1e30
NARROWEST = 1e-30


def zscale_limits(
    image: Image, *, contrast: float = 0.25, samples: int = SAMPLES
) -> tuple[float, float]:
    """Limits that show the sky background and faint sources.

    A line is fitted to the sorted values of a regular sample of pixels, stars and holes
    clipped away; its slope over `contrast` sets the range around the median.

    Parameters
    ----------
    image
        Shape ``(ny, nx)``; pixels that are not finite are left out.
    contrast
        Between 0 and 1; the smaller, the wider the range.
    samples
        About how many pixels to look at.

    Returns
    -------
    tuple
        ``low < high``, also for a constant image. ``(0, 1)`` where no pixel is finite.

    Notes
    -----
    The rule is that of IRAF's display task (``zscale``; NOAO, Tody & Valdes).
    """
    if not 0.0 < contrast <= 1.0:
        raise InvalidInput(field="contrast", found=contrast, expected="above 0, at most 1")
    values = _sample(image, samples)
    if values.size == 0:
        return BLANK_LIMITS
    low, high = float(values[0]), float(values[-1])
    median = float(np.median(values))
    slope, kept = _clipped_slope(values)
    # Too few pixels follow a line: the image is not mostly sky, so show all of it.
    if kept >= max(5, values.size // 2) and slope > 0.0:
        centre = (values.size - 1) // 2
        reach = slope / contrast
        low = max(low, median - centre * reach)
        high = min(high, median + (values.size - 1 - centre) * reach)
    return _ordered(low, high)


def percentile_limits(
    image: Image, low: float = 1.0, high: float = 99.5, *, samples: int = 100_000
) -> tuple[float, float]:
    """Limits at two percentiles of the finite pixels, with the promises of `zscale_limits`."""
    if not 0.0 <= low < high <= 100.0:
        raise InvalidInput(
            field="percentiles", found=f"{low}, {high}", expected="0 <= low < high <= 100"
        )
    values = _sample(image, samples)
    if values.size == 0:
        return BLANK_LIMITS
    bottom, top = np.percentile(values, [low, high])
    return _ordered(float(bottom), float(top))


def arcsinh_limits(image: Image) -> tuple[float, float, float]:
    """Limits and softening with which an arcsinh stretch shows the noise and the stars.

    Returns
    -------
    tuple
        `low`, two sigma of the noise below the median; `high`, above which one pixel in a
        thousand lies, and at least ten sigma above the median; and the softening that puts the
        bend at three sigma, as a fraction of the range. ``(0, 1, 0.1)`` where no pixel is
        finite. The noise is 1.4826 times the median absolute deviation.
    """
    values = _sample(image, 100_000)
    if values.size == 0:
        return *BLANK_LIMITS, 0.1
    median = float(np.median(values))
    sigma = scatter_about_median(values)
    top = max(float(np.percentile(values, 99.9)), median + 10.0 * sigma)
    low, high = _ordered(median - 2.0 * sigma, top)
    return low, high, float(np.clip(3.0 * sigma / (high - low), 1e-4, 1.0))


def to_levels(
    image: Image,
    low: float,
    high: float,
    *,
    stretch: Stretch = "linear",
    softening: float = 0.1,
) -> NDArray[np.uint8]:
    """Grey levels of an image: `low` and below is 0, `high` and above is 255.

    Parameters
    ----------
    image
        Shape ``(ny, nx)``. NaN becomes 0.
    stretch
        ``arcsinh`` keeps bright and faint in one picture (Lupton et al. 2004, PASP 116, 133):
        linear below `softening`, logarithmic above.
    softening
        As a fraction of the range.

    Returns
    -------
    array
        ``uint8``, shape ``(ny, nx)``, in the order of the input: row 0 is still row 0.
    """
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise InvalidInput(field="limits", found=f"{low}, {high}", expected="finite, low < high")
    if max(-low, high) > WIDEST or high - low < NARROWEST:
        raise InvalidInput(
            field="limits",
            found=f"{low}, {high}",
            expected=f"within {WIDEST:g} and at least {NARROWEST:g} apart",
        )
    # Cut before the arithmetic, so that no pixel can overflow it.
    scaled = np.clip(np.asarray(image, dtype=np.float32), np.float32(low), np.float32(high))
    scaled -= np.float32(low)
    scaled *= np.float32(1.0 / (high - low))
    np.nan_to_num(scaled, copy=False, nan=0.0)
    np.minimum(scaled, np.float32(1.0), out=scaled)  # the limits were rounded
    if stretch == "arcsinh":
        if not softening > 0.0:
            raise InvalidInput(field="softening", found=softening, expected="above 0")
        scaled *= np.float32(1.0 / softening)
        np.arcsinh(scaled, out=scaled)
        scaled *= np.float32(1.0 / np.arcsinh(1.0 / softening))
    elif stretch != "linear":
        raise InvalidInput(field="stretch", found=stretch, expected="linear or arcsinh")
    scaled *= np.float32(255.0)
    scaled += np.float32(0.5)
    return scaled.astype(np.uint8)


def _sample(image: Image, samples: int) -> NDArray[np.float64]:
    """Sorted finite values of a regular grid of about `samples` pixels, none beyond `WIDEST`."""
    step = max(1, int(np.sqrt(image.size / samples)))
    # Half a step in: the border of a detector is not its sky.
    grid = np.asarray(image)[step // 2 :: step, step // 2 :: step]
    values = grid[np.isfinite(grid)].astype(np.float64)
    if values.size == 0 and step > 1:
        values = np.asarray(image)[np.isfinite(image)].astype(np.float64)
    return np.sort(values).clip(-WIDEST, WIDEST)


def _clipped_slope(values: NDArray[np.float64]) -> tuple[float, int]:
    """Slope per rank of a line through sorted values, and how many it keeps."""
    ranks = np.arange(values.size, dtype=np.float64)
    keep = np.ones(values.size, dtype=bool)
    # What lies beside an outlier is likely its wing.
    reach = np.ones(max(1, values.size // 100))
    slope = 0.0
    for _ in range(5):
        if keep.sum() < 5:
            return 0.0, int(keep.sum())
        slope, intercept = np.polyfit(ranks[keep], values[keep], 1)
        residual = values - (slope * ranks + intercept)
        away = np.abs(residual) > 2.5 * residual[keep].std()
        grown = np.convolve(away, reach, mode="same") > 0.5
        if np.array_equal(keep, ~grown):
            break
        keep = ~grown
    return float(slope), int(keep.sum())


def _ordered(low: float, high: float) -> tuple[float, float]:
    """Limits that `to_levels` takes: finite, and far enough apart for float32."""
    low, high = (min(max(limit, -WIDEST), WIDEST) for limit in (low, high))
    if high - low > max(NARROWEST, 1e-7 * max(abs(low), abs(high))):
        return low, high
    margin = max(0.5, abs(low) * 1e-6)
    return max(low - margin, -WIDEST), min(low + margin, WIDEST)
