"""Positions and shapes weighted with a Gaussian window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["FWHM_OF_SIGMA", "Shapes", "Windowed", "adaptive_shapes", "windowed_positions"]

FWHM_OF_SIGMA = float(2.0 * np.sqrt(2.0 * np.log(2.0)))
_NARROWEST = 1.0  # sigma of a window in pixels; a narrower one sees the pixel grid, not the star


@dataclass(frozen=True, slots=True)
class Windowed:
    """Windowed positions.

    Attributes
    ----------
    x, y
        Pixels; the start where the iteration did not converge.
    x_error, y_error
        One sigma from the variance plane; NaN where it did not converge.
    converged
        False where the window ran away, left the image or held no light.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    x_error: NDArray[np.float64]
    y_error: NDArray[np.float64]
    converged: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Shapes:
    """Second moments of the light, as those of the Gaussian that fits best.

    Attributes
    ----------
    a, b
        Sigma along the long and the short axis, pixels; NaN where there is no solution.
    theta
        Angle of the long axis from +x towards +y, radians, in (-pi/2, pi/2].
    """

    a: NDArray[np.float64]
    b: NDArray[np.float64]
    theta: NDArray[np.float64]


def windowed_positions(
    data: NDArray[np.float32],
    variance: NDArray[np.float32],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    sigma: float,
) -> Windowed:
    """Centroid in a Gaussian window that follows the centroid.

    The fixed point of ``sum(w (r - r0) I) = 0``, found by Newton's method, is what
    source-extractor calls XWIN, YWIN. The error follows from the same derivative:
    ``sum(w^2 (x - x0)^2 v) / (sum(w I (1 - (x - x0)^2 / sigma^2)))^2``.

    Parameters
    ----------
    data, variance
        Sky-subtracted image and variance ``(ny, nx)``. Pixels whose variance is not finite are
        replaced by the ones opposite the centre.
    x, y
        Where to start, pixels.
    sigma
        Of the window, pixels: that of the point spread function for the smallest error.
    """
    result = np.empty((x.size, 4))
    converged = np.empty(x.size, dtype=np.bool_)
    start = np.stack([x, y], axis=1).astype(np.float64)
    _window(data, variance, start, max(float(sigma), _NARROWEST), result, converged)
    return Windowed(result[:, 0], result[:, 1], result[:, 2], result[:, 3], converged)


def adaptive_shapes(
    data: NDArray[np.float32],
    variance: NDArray[np.float32],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    start: float,
    largest: float,
) -> Shapes:
    """Elliptical Gaussian whose shape equals that of the light seen through it.

    Adaptive moments (Bernstein & Jarvis 2002, AJ 123, 583), iterated by ``1/C = 1/M - 1/W``,
    exact for Gaussians: W the window, M the moments of the light in it, C the source and the
    next window (or a wider one, where C is narrower than a pixel grid can sample). The centre
    stays fixed. The pixel is part of the measured width.

    Parameters
    ----------
    data, variance
        Sky-subtracted image and variance ``(ny, nx)``.
    x, y
        Centres, pixels.
    start
        Sigma of the first window, pixels.
    largest
        Sigma at which the window is stopped: a source without an edge, or a bad sky.
    """
    matrices = np.empty((x.size, 3))
    centres = np.stack([x, y], axis=1).astype(np.float64)
    _adapt(data, variance, centres, (max(float(start), _NARROWEST), float(largest)), matrices)
    xx, yy, xy = matrices.T
    mean, half = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    with np.errstate(invalid="ignore"):
        minor = np.sqrt(np.maximum(mean - half, 0.0))
    return Shapes(np.sqrt(mean + half), minor, 0.5 * np.arctan2(2 * xy, xx - yy))


@njit(cache=True, nogil=True, error_model="numpy")
def _pixel(data, variance, x, y, i, j):  # type: ignore[no-untyped-def] # compiled
    """Value and variance of a pixel, or of the one opposite the centre; zero if neither."""
    if np.isfinite(variance[j, i]):
        return data[j, i], variance[j, i]
    i, j = int(np.rint(2 * x)) - i, int(np.rint(2 * y)) - j
    inside = i >= 0 and j >= 0 and i < data.shape[1] and j < data.shape[0]
    if inside and np.isfinite(variance[j, i]):
        return data[j, i], variance[j, i]
    return np.float32(0.0), np.float32(0.0)


@njit(cache=True, nogil=True, error_model="numpy")
def _sums(data, variance, x, y, sigma):  # type: ignore[no-untyped-def] # compiled
    """Light, first moments, and the derivatives and variances that a Newton step needs."""
    ny, nx = data.shape
    reach = 4.0 * sigma
    left, right = max(int(np.ceil(x - reach)), 0), min(int(x + reach), nx - 1)
    width = right - left + 1
    wx = np.empty(max(width, 0))
    for i in range(width):
        wx[i] = np.exp(-0.5 * ((left + i - x) / sigma) ** 2)
    sx, sy, dx2, dy2, vx, vy = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    narrow = 1.0 / (sigma * sigma)
    for j in range(max(int(np.ceil(y - reach)), 0), min(int(y + reach), ny - 1) + 1):
        dy = j - y
        wy = np.exp(-0.5 * dy * dy * narrow)
        half = np.sqrt(max(reach * reach - dy * dy, 0.0))
        first, last = max(int(np.ceil(x - half)), left), min(int(np.floor(x + half)), right)
        for i in range(first, last + 1):
            dx = i - x
            value, spread = float(data[j, i]), float(variance[j, i])
            if not spread < np.inf:
                value, spread = _pixel(data, variance, x, y, i, j)
            w = wx[i - left] * wy
            light = w * value
            sx += light * dx
            sy += light * dy
            dx2 += light * (1.0 - dx * dx * narrow)
            dy2 += light * (1.0 - dy * dy * narrow)
            vx += w * w * dx * dx * spread
            vy += w * w * dy * dy * spread
    return sx, sy, dx2, dy2, vx, vy


@njit(cache=True, nogil=True, error_model="numpy")
def _window(data, variance, start, sigma, result, converged):  # type: ignore[no-untyped-def] # compiled
    ny, nx = data.shape
    for s in range(start.shape[0]):
        x, y = start[s]
        converged[s] = False
        for _ in range(16):
            sx, sy, dx2, dy2, vx, vy = _sums(data, variance, x, y, sigma)
            if not (dx2 > 0.0 and dy2 > 0.0):
                break
            # A step of more than half a window would leave the range of Newton's method.
            step_x = min(max(sx / dx2, -0.5 * sigma), 0.5 * sigma)
            step_y = min(max(sy / dy2, -0.5 * sigma), 0.5 * sigma)
            x += step_x
            y += step_y
            far = (x - start[s, 0]) ** 2 + (y - start[s, 1]) ** 2 > max(2.0, 4 * sigma * sigma)
            if far or not (x >= 0 and y >= 0 and x <= nx - 1 and y <= ny - 1):
                break
            if step_x * step_x + step_y * step_y < 1e-7:
                converged[s] = True
                break
        if converged[s]:
            result[s, 0], result[s, 1] = x, y
            result[s, 2], result[s, 3] = np.sqrt(vx) / dx2, np.sqrt(vy) / dy2
        else:
            result[s, 0], result[s, 1] = start[s]
            result[s, 2], result[s, 3] = np.nan, np.nan


@njit(cache=True, nogil=True, error_model="numpy")
def _seen(data, variance, x, y, window):  # type: ignore[no-untyped-def] # compiled
    """Light seen through an elliptical window: its second moments."""
    ny, nx = data.shape
    xx, yy, xy = window
    inverse = 1.0 / (xx * yy - xy * xy)
    reach_y = 3.5 * np.sqrt(yy)
    # Along a row the logarithm of the window is a parabola: each step's factor follows from the
    # one before by one multiplication, and only the row's first needs an exponential.
    bend = np.exp(-yy * inverse)
    total, mxx, myy, mxy = 0.0, 0.0, 0.0, 0.0
    for j in range(max(int(np.ceil(y - reach_y)), 0), min(int(y + reach_y), ny - 1) + 1):
        dy = j - y
        # Half the row's part of the ellipse in which the window is worth a look.
        squared = (12.25 - dy * dy / yy) / (inverse * yy)
        if squared <= 0.0:
            continue
        middle, half = x + dy * xy / yy, np.sqrt(squared)
        first, last = max(int(np.ceil(middle - half)), 0), min(int(np.floor(middle + half)), nx - 1)
        dx = first - x
        weight = np.exp(-0.5 * (dx * dx * yy - 2.0 * dx * dy * xy + dy * dy * xx) * inverse)
        step = np.exp(-0.5 * ((2.0 * dx + 1.0) * yy - 2.0 * dy * xy) * inverse)
        for i in range(first, last + 1):
            dx = i - x
            value = float(data[j, i])
            if not variance[j, i] < np.inf:
                value = float(_pixel(data, variance, x, y, i, j)[0])
            light = weight * value
            weight *= step
            step *= bend
            total += light
            mxx += light * dx * dx
            myy += light * dy * dy
            mxy += light * dx * dy
    scale = 1.0 / total if total > 0.0 else np.nan
    return scale * mxx, scale * myy, scale * mxy


@njit(cache=True, nogil=True, error_model="numpy")
def _behind(moments, window):  # type: ignore[no-untyped-def] # compiled
    """Covariance C of a Gaussian with these moments in this window: 1/C = 1/M - 1/W.

    The third value returned is NaN if the light is not narrower than the window alone makes it.
    """
    mxx, myy, mxy = moments
    wxx, wyy, wxy = window
    m, w = mxx * myy - mxy * mxy, wxx * wyy - wxy * wxy
    if not (mxx > 0.0 and myy > 0.0 and m > 0.0):
        return np.nan, np.nan, np.nan
    ixx, iyy, ixy = myy / m - wyy / w, mxx / m - wxx / w, wxy / w - mxy / m
    i = ixx * iyy - ixy * ixy
    if not (ixx > 0.0 and i > 1e-6 * ixx * iyy):
        return np.nan, np.nan, np.nan
    return iyy / i, ixx / i, -ixy / i


@njit(cache=True, nogil=True, error_model="numpy")
def _adapt(data, variance, centres, limits, matrices):  # type: ignore[no-untyped-def] # compiled
    start, largest = limits[0] ** 2, limits[1] ** 2
    floor = _NARROWEST * _NARROWEST
    for s in range(centres.shape[0]):
        x, y = centres[s]
        window = (start, start, 0.0)
        found = (np.nan, np.nan, np.nan)
        for _ in range(15):
            shape = _behind(_seen(data, variance, x, y, window), window)
            if np.isnan(shape[2]):
                # Wider than what this window can tell: look again through a larger one.
                shape = (2.0 * window[0], 2.0 * window[1], 0.0)
            elif abs(shape[0] - found[0]) + abs(shape[1] - found[1]) < 0.002 * (
                shape[0] + shape[1]
            ):
                found = shape
                break
            else:
                found = shape
            narrow = shape[0] * shape[1] - shape[2] ** 2 < floor * (shape[0] + shape[1] - floor)
            more = 2.5 * floor if narrow else 0.0
            window = (shape[0] + more, shape[1] + more, shape[2])
            if window[0] + window[1] > 2.0 * largest:
                found = (np.nan, np.nan, np.nan)
                break
        matrices[s, 0], matrices[s, 1], matrices[s, 2] = found
