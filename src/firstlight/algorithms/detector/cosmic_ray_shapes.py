"""Filters that no light from the sky can excite, and cosmic rays can.

Whatever the sky holds, what an image shows of it is a sum of point spread functions with no
negative term. A filter whose sum over every PSF is zero or less therefore stays at zero or below
on stars, blends and galaxies alike, however bright they are; only charge that did not come
through the optics raises it. Among all such filters, the one most sensitive to a given pattern
of hit pixels is the part of the pattern that the best non-negative sum of PSFs leaves over
(the projection onto the polar of their cone).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

__all__ = ["REACH", "SIDE", "RayShapes", "point_sources", "ray_shapes"]

Floats = NDArray[np.float64]

REACH = 2  # pixels from the middle of a filter to its edge
SIDE = 2 * REACH + 1
_PIXELS = SIDE * SIDE
_FINE = 3  # points along a side over which a pixel is integrated
_AROUND, _STEP = 3.5, 0.5  # of the places of point sources, pixels
_CONE = 0.96  # width of the sharpest star over the measured one; wider ones are blends of it
_CONE_POWER = (
    50.0  # of its Moffat profile, so a Gaussian: blends make wings, nothing takes them off
)
_SHARPEST = 0.86  # what stars in some part of a field may be, beyond that
_POWERS = (2.5, 50.0)
_GRAZES = 0.01  # of its peak
_GUARD = 1.25  # over the largest leak: noise adds to it
_FAINT, _BRIGHT = 4.0, 64.0  # light that the predictors expect, in units of the noise
_LEAST_WIDTH = 1.2  # pixels; sharper stars cannot be told from hits at all

# Hit pixels (row, column) from the one in question; each is used in all its orientations.
_PATTERNS: tuple[tuple[tuple[int, int], ...], ...] = (
    ((0, 0),),
    ((0, 0), (0, 1)),
    ((0, 0), (1, 1)),
    ((0, 0), (0, 1), (1, 0)),
    ((0, 0), (0, 1), (1, 0), (1, 1)),
    ((0, -1), (0, 0), (0, 1)),
    ((-1, -1), (0, 0), (1, 1)),
    tuple((0, i) for i in range(-2, 3)),
    tuple((i, i) for i in range(-2, 3)),
    tuple((j, i) for j in (0, 1) for i in range(3)),
    tuple((j, i) for j in (0, 1) for i in range(-2, 3)),
    (*((i, i) for i in range(-2, 3)), *((i, i + 1) for i in range(-2, 2))),
)


@dataclass(frozen=True, slots=True)
class RayShapes:
    """Filters for stars of one width; windows of ``SIDE`` by ``SIDE`` pixels, row by row.

    Attributes
    ----------
    filters
        ``(n, SIDE * SIDE)``, float32; one on its own pattern with unit charge in each pixel.
    hit
        True on the pixels of the pattern, the same shape.
    gain
        Noise of the filtered value over the noise of a pixel, ``(n,)``.
    leak
        At most this share of the brightest pixel leaks through, of stars sharper than measured.
    single
        True where the pattern is one pixel.
    on_sky, on_stars
        Weights ``(SIDE * SIDE,)`` that predict the middle pixel from the others.
    """

    filters: NDArray[np.float32]
    hit: NDArray[np.bool_]
    gain: NDArray[np.float32]
    leak: NDArray[np.float32]
    single: NDArray[np.bool_]
    on_sky: NDArray[np.float32]
    on_stars: NDArray[np.float32]


def ray_shapes(fwhm: float) -> RayShapes:
    """Filters for stars of `fwhm` as measured (so with the pixel's own width), pixels.

    Widths are rounded to one per cent; the last sixteen are remembered.
    """
    return _shapes(round(float(np.log(max(fwhm, _LEAST_WIDTH))), 2))


@lru_cache(maxsize=16)
def _shapes(log_fwhm: float) -> RayShapes:
    fwhm = float(np.exp(log_fwhm))
    places = _places(_STEP)
    sources = point_sources(_CONE * fwhm, _CONE_POWER, places).T
    light = np.column_stack([sources / np.linalg.norm(sources, axis=0), np.ones(_PIXELS)])
    filters, hit = [], []
    for pattern in _PATTERNS:
        charge = np.zeros((SIDE, SIDE))
        charge[tuple(np.array(pattern).T + REACH)] = 1.0
        left = charge.ravel() - light @ nnls(light, charge.ravel())[0]
        best = (left / (left @ left)).reshape(SIDE, SIDE)
        for turned, seen in _orientations(best, charge):
            filters.append(turned)
            hit.append(seen > 0)
    bank, patterns = np.array(filters), np.array(hit)
    return RayShapes(
        filters=bank.astype(np.float32),
        hit=patterns,
        gain=np.linalg.norm(bank, axis=1).astype(np.float32),
        leak=_leak(bank, fwhm).astype(np.float32),
        single=patterns.sum(axis=1) == 1,
        on_sky=_predictor(sources, _FAINT).astype(np.float32),
        on_stars=_predictor(sources, _BRIGHT).astype(np.float32),
    )


def point_sources(fwhm: float, power: float, places: Floats) -> Floats:
    """Moffat profiles at `places` ``(n, 2)`` (row, column) from the middle, as windows ``(n, p)``.

    `fwhm` holds the width of a pixel, which is taken out, and then integrated over.
    """
    width = np.sqrt(max(fwhm**2 - 0.68**2, 0.5**2))
    core = 0.5 * width / np.sqrt(2 ** (1 / power) - 1)
    fine = (np.arange(_FINE) + 0.5) / _FINE - 0.5
    points = (np.arange(-REACH, REACH + 1)[:, None] + fine).ravel()
    dy, dx = points - places[:, :1], points - places[:, 1:]
    profile = (1 + (dy[:, :, None] ** 2 + dx[:, None, :] ** 2) / core**2) ** -power
    pixels = profile.reshape(len(places), SIDE, _FINE, SIDE, _FINE).mean(axis=(2, 4))
    return np.asarray(pixels.reshape(len(places), _PIXELS))


def _places(step: float) -> Floats:
    steps = np.arange(-_AROUND, _AROUND + step / 2, step)
    return np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)


def _orientations(best: Floats, charge: Floats) -> list[tuple[Floats, Floats]]:
    """Filter and pattern, turned and mirrored, each different pattern once."""
    found: dict[bytes, tuple[Floats, Floats]] = {}
    for mirrored, seen in ((best, charge), (best.T, charge.T)):
        for turn in range(4):
            pair = np.rot90(mirrored, turn).ravel(), np.rot90(seen, turn).ravel()
            found.setdefault(pair[1].tobytes(), pair)
    return list(found.values())


def _leak(bank: Floats, fwhm: float) -> Floats:
    """Largest response to a star, over the largest pixel of the window."""
    places = _places(_STEP / 2)
    stars = np.vstack([point_sources(_SHARPEST * fwhm, power, places) for power in _POWERS])
    # Where a star only grazes the window, what leaks is below any threshold.
    stars = stars[stars.max(axis=1) > _GRAZES * stars.max()]
    return np.asarray(_GUARD * (stars @ bank.T / stars.max(axis=1)[:, None]).max(axis=0))


def _predictor(sources: Floats, peak: float) -> Floats:
    """Best linear prediction of the middle pixel for stars anywhere on any constant level."""
    middle = _PIXELS // 2
    light = sources @ sources.T
    light *= peak**2 / light[middle, middle]
    level = 1e3 * peak**2
    others = np.delete(np.arange(_PIXELS), middle)
    known = light[np.ix_(others, others)] + level + np.eye(len(others))
    weights = np.zeros(_PIXELS)
    weights[others] = np.linalg.solve(known, light[others, middle] + level)
    return np.asarray(weights / weights.sum())
