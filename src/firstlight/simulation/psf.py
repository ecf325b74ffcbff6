"""Stars as the detector sees them: an elliptical Moffat profile integrated over each pixel."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["add_stars", "moffat_matrix", "stamp_radius"]

Floats = NDArray[np.float64]

# Three-point Gauss-Legendre on a pixel of width one.
NODES = np.array([-np.sqrt(0.15), 0.0, np.sqrt(0.15)])
WEIGHTS = np.array([5.0, 8.0, 5.0]) / 18.0


def moffat_matrix(fwhm: Floats, ellipticity: Floats, angle: Floats, beta: float) -> Floats:
    """Matrix M of the profile ``(1 + d.M.d)**-beta`` for offsets d in pixels.

    Parameters
    ----------
    fwhm
        Geometric mean of the two axes, in pixels, shape ``(n,)``.
    ellipticity
        One minus the axis ratio, shape ``(n,)``.
    angle
        Of the long axis, radians from +x to +y, shape ``(n,)``.

    Returns
    -------
    ndarray
        The three elements xx, xy, yy, shape ``(n, 3)``.
    """
    core = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
    ratio = np.sqrt(1 - ellipticity)
    long, short = (ratio / core) ** 2, 1 / (ratio * core) ** 2
    c, s = np.cos(angle), np.sin(angle)
    return np.stack(
        [long * c**2 + short * s**2, (long - short) * c * s, long * s**2 + short * c**2], axis=-1
    )


def stamp_radius(flux: Floats, matrix: Floats, beta: float) -> Floats:
    """Pixels beyond which a star is not drawn, shape ``(n,)``.

    What is left out is two electrons, yet at most 5e-4 and at least 1e-6 of the flux.
    """
    lost = np.clip(2 / np.maximum(flux, 1e-3), 1e-6, 5e-4)
    in_cores = np.sqrt(lost ** (-1 / (beta - 1)) - 1)
    core = (matrix[:, 0] * matrix[:, 2] - matrix[:, 1] ** 2) ** -0.25
    return np.asarray(in_cores * core)


@numba.njit(cache=True)
def add_stars(
    image: Floats, x: Floats, y: Floats, flux: Floats, matrix: Floats, beta: float, radius: Floats
) -> None:
    """Add stars to `image` in place.

    Parameters
    ----------
    image
        Electrons, shape ``(ny, nx)``.
    x, y
        0-based pixel positions; stars outside may reach in with their wings. Shape ``(n,)``.
    flux
        Electrons within infinity, shape ``(n,)``.
    matrix
        From `moffat_matrix`, shape ``(n, 3)``.
    radius
        From `stamp_radius`, shape ``(n,)``.
    """
    ny, nx = image.shape
    for k in range(len(x)):
        x0, y0, reach = x[k], y[k], radius[k]
        xx, xy, yy = matrix[k, 0], matrix[k, 1], matrix[k, 2]
        scale = flux[k] * (beta - 1) / np.pi * np.sqrt(xx * yy - xy * xy)
        first_row = max(0, int(np.ceil(y0 - reach)))
        last_row = min(ny - 1, int(np.floor(y0 + reach)))
        for j in range(first_row, last_row + 1):
            dy = j - y0
            half = np.sqrt(max(reach * reach - dy * dy, 0.0))
            first = max(0, int(np.ceil(x0 - half)))
            last = min(nx - 1, int(np.floor(x0 + half)))
            for i in range(first, last + 1):
                image[j, i] += scale * _pixel(i - x0, dy, xx, xy, yy, beta)


@numba.njit(cache=True, inline="always")
def _pixel(dx: float, dy: float, xx: float, xy: float, yy: float, beta: float) -> float:
    """Integral of the profile over the pixel centred at (`dx`, `dy`) from the star.

    Near the core by quadrature; further out by the value at the centre and the Laplacian,
    which is exact to third order and costs one power instead of nine.
    """
    q = xx * dx * dx + 2 * xy * dx * dy + yy * dy * dy
    if q < 4.0:
        total = 0.0
        for b in range(3):
            v = dy + NODES[b]
            for a in range(3):
                u = dx + NODES[a]
                near = xx * u * u + 2 * xy * u * v + yy * v * v
                total += WEIGHTS[a] * WEIGHTS[b] * (1 + near) ** -beta
        return float(total)
    value = (1 + q) ** -beta
    slope = (xx * dx + xy * dy) ** 2 + (xy * dx + yy * dy) ** 2
    bend = 4 * beta * (beta + 1) * slope / (1 + q) ** 2 - 2 * beta * (xx + yy) / (1 + q)
    return float(value * (1 + bend / 24))
