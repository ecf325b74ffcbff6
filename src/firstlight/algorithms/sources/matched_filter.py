"""Signal-to-noise of a point source centred on each pixel."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from firstlight.algorithms.order_statistics import kth_smallest

__all__ = ["gaussian_taps", "matched_filter", "sky_variance"]

_TILE = 64  # pixels of the cells whose median variance stands for the sky's
_STEP = 4  # every so many pixels of a cell are looked at


def gaussian_taps(sigma: float) -> NDArray[np.float32]:
    """Samples of a Gaussian, not normalised, out to 3.5 sigma; odd length."""
    reach = max(1, int(np.ceil(3.5 * sigma)))
    offset = np.arange(-reach, reach + 1)
    return np.exp(-0.5 * (offset / sigma) ** 2).astype(np.float32)


def matched_filter(
    data: NDArray[np.float32],
    variance: NDArray[np.float32],
    mask: NDArray[np.bool_] | None,
    sigma: float,
) -> NDArray[np.float32]:
    """Filter an image with a Gaussian, weighted, in units of the noise of the result.

    ``S = sum(G d / v) / sqrt(sum(G^2 / v))``: the signal-to-noise ratio of the flux of a
    Gaussian source centred on the pixel, in an image whose pixels are independent.

    Parameters
    ----------
    data
        Sky-subtracted image ``(ny, nx)``.
    variance
        Of the sky alone; the noise of a source is not part of the hypothesis that there is none.
    mask
        True where a pixel is ignored.
    sigma
        Of the Gaussian, pixels.

    Returns
    -------
    numpy.ndarray
        S, float32 ``(ny, nx)``; 0 where no good pixel is within reach.
    """
    taps = gaussian_taps(sigma)
    weight = np.empty_like(data)
    weighted = np.empty_like(data)
    hidden = np.zeros((1, 1), dtype=np.bool_) if mask is None else mask
    _weigh(data, variance, hidden, weighted, weight)
    _smooth(weighted, taps)
    _smooth(weight, taps * taps)
    _divide(weighted, weight)
    return weighted


def sky_variance(
    data: NDArray[np.float32],
    variance: NDArray[np.float32],
    mask: NDArray[np.bool_] | None,
) -> NDArray[np.float32]:
    """Variance without the Poisson noise of sources.

    A pixel whose variance is well above its cell's median *and* whose value stands out is taken
    to be part of a source, and gets the median; a noisy part of the detector keeps its own.
    """
    ny, nx = data.shape
    medians = np.full((-(-ny // _TILE), -(-nx // _TILE)), np.nan, dtype=np.float32)
    _cell_medians(variance, np.zeros((1, 1), np.bool_) if mask is None else mask, medians)
    known = np.isfinite(medians)
    medians[~known] = np.median(medians[known]) if known.any() else np.float32(1.0)
    result = np.empty_like(data)
    _without_sources(data, variance, medians, result)
    return result


@njit(cache=True, nogil=True)
def _cell_medians(variance, hidden, medians):  # type: ignore[no-untyped-def] # compiled
    ny, nx = variance.shape
    masked = hidden.shape == variance.shape
    values = np.empty((_TILE // _STEP + 1) ** 2, np.float32)
    for j in range(medians.shape[0]):
        for i in range(medians.shape[1]):
            count = 0
            for y in range(j * _TILE, min((j + 1) * _TILE, ny), _STEP):
                for x in range(i * _TILE, min((i + 1) * _TILE, nx), _STEP):
                    lost = np.isnan(variance[y, x]) or (masked and hidden[y, x])
                    if not lost:
                        values[count] = variance[y, x]
                        count += 1
            if count:
                medians[j, i] = kth_smallest(values, count, count // 2)


@njit(cache=True, nogil=True)
def _without_sources(data, variance, medians, result):  # type: ignore[no-untyped-def] # compiled
    for y in range(data.shape[0]):
        row = medians[y // _TILE]
        for x in range(data.shape[1]):
            typical, own = row[x // _TILE], variance[y, x]
            excess = own > np.float32(1.2) * typical
            stands_out = data[y, x] > 0 and data[y, x] * data[y, x] > np.float32(6.25) * own
            result[y, x] = typical if excess and stands_out else own


@njit(cache=True, nogil=True, error_model="numpy")
def _weigh(data, variance, hidden, weighted, weight):  # type: ignore[no-untyped-def] # compiled
    zero, one = np.float32(0.0), np.float32(1.0)
    for y in range(data.shape[0]):
        for x in range(data.shape[1]):
            spread = variance[y, x]
            good = spread > zero and np.isfinite(spread) and np.isfinite(data[y, x])
            if hidden.shape[0] > 1:
                good = good and not hidden[y, x]
            inverse = one / spread
            light = inverse * data[y, x]
            weight[y, x] = inverse if good else zero
            weighted[y, x] = light if good else zero


@njit(cache=True, nogil=True, fastmath=True)
def _smooth(plane, taps):  # type: ignore[no-untyped-def] # compiled
    """Convolve with taps(y) taps(x) in place; nothing lies outside the image."""
    ny, nx = plane.shape
    reach = taps.size // 2
    # A ring of untouched rows, since rows above the current one are already overwritten.
    ring = np.zeros((taps.size, nx), dtype=np.float32)
    padded = np.zeros(nx + 2 * reach, dtype=np.float32)
    for y in range(min(reach, ny)):
        ring[y] = plane[y]
    for y in range(ny):
        newest = ring[(y + reach) % taps.size]
        if y + reach < ny:
            newest[:] = plane[y + reach]
        else:
            newest[:] = np.float32(0.0)
        padded[:] = np.float32(0.0)
        middle = padded[reach : reach + nx]
        for k in range(max(0, reach - y), taps.size):
            row, tap = ring[(y + k - reach) % taps.size], taps[k]
            for x in range(nx):
                middle[x] += tap * row[x]
        out = plane[y]
        out[:] = np.float32(0.0)
        for k in range(taps.size):
            shifted, tap = padded[k : k + nx], taps[k]
            for x in range(nx):
                out[x] += tap * shifted[x]


@njit(cache=True, nogil=True, error_model="numpy")
def _divide(weighted, weight):  # type: ignore[no-untyped-def] # compiled
    for y in range(weighted.shape[0]):
        for x in range(weighted.shape[1]):
            w = weight[y, x]
            told = weighted[y, x] / np.sqrt(w)
            weighted[y, x] = told if w > 0 else np.float32(0.0)
