"""What of static sources is left in a difference beside noise, learned from the sources themselves.

The kernels of a subtraction are not exact: PSFs, positions and flat fields have errors, and so
a bright star leaves more than its photons' noise. Zackay, Ofek & Gal-Yam 2016 (ApJ 830, 27,
equations 30 to 33) count errors of the positions in the variance of the score; errors in
proportion to a source's light are counted likewise here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from firstlight.algorithms.median_deviation import excess_variance

__all__ = ["ResidualNoise", "measure_residual"]

Floats = NDArray[np.float64]
Plane = NDArray[np.float32]

_BRIGHT = 100.0  # signal-to-noise ratio of a static source that tells of errors
_FEWEST = 10
_FAINTER = 30.0  # signal-to-noise ratio that must do where bright ones are few
_FEWEST_SHIFTS = 3  # sources that tell of positions
_MOST = 100  # of the brightest: on fainter ones photons hide what is looked for
_AROUND = 3  # pixels around a source that are looked at
_CHANCE = 4.0  # variances that noise alone makes of the largest residual of a source
_SPREAD = 1.2  # of the median residual; with it 49 of 50 bright stars stay below 4 sigma
_UNKNOWN = 0.005  # of a source's light, where too few sources tell
_NORMAL = 0.4549  # median of the square of a normal variate


@dataclass(frozen=True)
class ResidualNoise:
    """What is uncertain at a static source beside its photons.

    Attributes
    ----------
    position
        One sigma of the shift between the images along each axis, pixels.
    relative
        One sigma of what is left of a source's light, as a share of it. Where stars are
        undersampled, only of light as sharp as theirs: see `sharp_light`.
    """

    position: float
    relative: float


def measure_residual(
    flux: Plane, variance: Plane, static: Plane, hidden: NDArray[np.uint8]
) -> ResidualNoise:
    """From the residuals at bright static sources.

    Parameters
    ----------
    flux, variance
        Of a new source at each pixel, and its variance by photons and readout, ``(ny, nx)``.
    static
        Flux of what stands in the reference, by the same filter.
    hidden
        Not 0 where a pixel of either image has no value; sources beside such are left out.

    Returns
    -------
    A shift is fitted to each source's residual; the position error is the robust scatter of the
    shifts above what noise makes of them. The relative error is 1.2 times the median, over the
    100 brightest sources, of the largest share of its light that a source leaves: the median,
    since some of them have changed. Where fewer than ten sources are bright enough half a percent
    is taken to be uncertain.
    """
    places = _static_maxima(static, variance, hidden, _BRIGHT)
    few = len(places[0]) < _FEWEST
    if few:
        places = _static_maxima(static, variance, hidden, _FAINTER)
    if few and len(places[0]) < _FEWEST_SHIFTS:
        return ResidualNoise(0.0, _UNKNOWN)
    order = np.argsort(-static[places], kind="stable")[:_MOST]
    steps = np.arange(-_AROUND, _AROUND + 1)
    j = places[0][order][:, None, None] + steps[:, None]
    i = places[1][order][:, None, None] + steps
    light, value = static[j, i].astype(np.float64), flux[j, i].astype(np.float64)
    noise = variance[j, i].astype(np.float64)
    slopes = [
        (static[j + dj, i + di].astype(np.float64) - static[j - dj, i - di]) / 2.0
        for dj, di in ((0, 1), (1, 0))
    ]
    shifts = np.stack(
        [(value * each).sum(axis=(1, 2)) / np.square(each).sum(axis=(1, 2)) for each in slopes]
    )
    # A source that has moved does not matter, nor that fainter ones have larger errors.
    error = _shift_variance(light, noise)
    position = max(excess_variance(np.square(shifts), error, _NORMAL), 0.0)
    if few:
        return ResidualNoise(float(np.sqrt(position)), _UNKNOWN)
    steep = position * (np.square(slopes[0]) + np.square(slopes[1]))
    # Places on the wings say little of a share of the light that is not there.
    inner = light > 0.3 * light.max(axis=(1, 2), keepdims=True)
    excess = (np.square(value) - _CHANCE * noise - steep) / np.square(np.maximum(light, 1e-9))
    largest = np.sqrt(np.maximum(np.where(inner, excess, 0.0).max(axis=(1, 2)), 0.0))
    relative = _SPREAD * float(np.median(largest))
    return ResidualNoise(float(np.sqrt(position)), relative)


def _shift_variance(light: Floats, noise: Floats) -> Floats:
    """By noise, of each source ``(n,)``.

    The score's noise has the correlation that its peak has, so for a peak of relative curvature
    c and signal-to-noise ratio s the variance of a shift is ``1 / (c s^2)``.
    """
    m = _AROUND
    peak = light[:, m, m]
    curvature = (2.0 * peak - light[:, m, m - 1] - light[:, m, m + 1]) / peak
    return noise[:, m, m] / np.square(peak) / np.maximum(curvature, 1e-3)


@njit(cache=True, nogil=True)
def _static_maxima(static, variance, hidden, bright):  # type: ignore[no-untyped-def] # compiled
    ny, nx = static.shape
    margin = 4 * _AROUND
    rows, columns = [0], [0]
    rows.pop()
    columns.pop()
    square, nothing = np.float32(bright * bright), np.float32(0.0)
    clear = np.empty(nx, np.bool_)
    for y in range(margin, ny - margin):
        own, spread = static[y], variance[y]
        some = False
        # Few rows have any, and without a branch a row is looked through much faster.
        for x in range(nx):
            faint = (own[x] <= nothing) | (own[x] * own[x] < square * spread[x])
            clear[x] = not faint
            some |= not faint
        for x in range(margin, nx - margin if some else 0):
            if not clear[x]:
                continue
            value, highest = own[x], True
            for j in range(y - 1, y + 2):
                for i in range(x - 1, x + 2):
                    if static[j, i] > value:
                        highest = False
            wide = hidden[
                y - 2 * _AROUND : y + 2 * _AROUND + 1, x - 2 * _AROUND : x + 2 * _AROUND + 1
            ]
            if highest and not wide.any():
                rows.append(y)
                columns.append(x)
    return np.array(rows), np.array(columns)
