"""Shapes of a transit, and a fit of them: depth, mid-time, duration.

Two shapes: a trapezoid, whose depth is that of its flat bottom; and a dark disc before a star with
quadratic limb darkening on a straight path, whose depth is the light lost at mid-transit. The first
is the convention of surveys and needs no knowledge; the second needs a duration and an impact
parameter from elsewhere and is rounder, so its depth is a little larger for the same planet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult, least_squares

from firstlight.errors import InvalidInput

__all__ = ["TransitFit", "fit_trapezoid", "limb_darkened", "trapezoid"]

Floats = NDArray[np.float64]

_RADII = 200  # nodes of the integral over the stellar disc: error below 1e-5


@dataclass(frozen=True)
class TransitFit:
    """A fitted trapezoid.

    Attributes
    ----------
    depth, depth_err
        Light lost at the bottom relative to the baseline.
    mid_time, mid_time_err
        In the unit and scale of the times given.
    duration
        Full width at half depth, same unit.
    ingress
        Duration of the ingress, same unit.
    baseline
        Polynomial coefficients of the baseline in time from `mid_time`, lowest first.
    scatter
        Standard deviation of the points outside the transit about the baseline; NaN without any.
    model
        Fitted flux at the given times, ``(n,)``.
    """

    depth: float
    depth_err: float
    mid_time: float
    mid_time_err: float
    duration: float
    ingress: float
    baseline: tuple[float, ...]
    scatter: float
    model: Floats


def trapezoid(
    time: Floats, mid_time: float, duration: float, ingress: float, depth: float
) -> Floats:
    """Flux of a trapezoidal dip from 1, ``(n,)``; `duration` is the width at half depth."""
    inside = (duration + ingress) / 2.0 - np.abs(time - mid_time)
    return 1.0 - depth * np.clip(inside / max(ingress, 1e-9), 0.0, 1.0)


def limb_darkened(
    separation: Floats, radius_ratio: float, darkening: tuple[float, float] = (0.0, 0.0)
) -> Floats:
    """Flux of a star behind a dark disc, ``(n,)``.

    Parameters
    ----------
    separation
        Distance of the two centres in stellar radii, ``(n,)``.
    radius_ratio
        Radius of the disc in stellar radii.
    darkening
        Quadratic law: ``I = 1 - u1 (1 - mu) - u2 (1 - mu)**2``.

    Notes
    -----
    The hidden light is an integral over rings of the star, each weighted by the part of it that is
    hidden; nodes crowd at both ends, where the integrand has roots.
    """
    flux = np.ones(len(separation))
    angle = np.pi * (np.arange(_RADII) + 0.5) / _RADII
    u1, u2 = darkening
    total = np.pi * (1.0 - u1 / 3.0 - u2 / 6.0)
    for i in np.flatnonzero(separation < 1.0 + radius_ratio):
        apart = float(separation[i])
        low, high = max(0.0, apart - radius_ratio), min(1.0, apart + radius_ratio)
        ring = low + (high - low) * 0.5 * (1.0 - np.cos(angle))
        step = (high - low) * 0.5 * np.sin(angle) * np.pi / _RADII
        cosine = (ring**2 + apart**2 - radius_ratio**2) / np.maximum(2.0 * ring * apart, 1e-15)
        hidden = np.arccos(np.clip(cosine, -1.0, 1.0))
        mu = np.sqrt(np.maximum(1.0 - ring**2, 0.0))
        light = 1.0 - u1 * (1.0 - mu) - u2 * (1.0 - mu) ** 2
        flux[i] -= float(np.sum(2.0 * ring * hidden * light * step)) / total
    return flux


def fit_trapezoid(
    time: Floats,
    flux: Floats,
    error: Floats,
    guess: tuple[float, float],
    *,
    baseline_degree: int = 1,
) -> TransitFit:
    """Fit a trapezoid on a polynomial baseline.

    Parameters
    ----------
    time, flux, error
        Points of the light curve, ``(n,)``; those with a NaN are left out.
    guess
        Mid-time and duration to start from.
    baseline_degree
        Degree of the polynomial that multiplies the trapezoid.

    Returns
    -------
    Errors come from the curvature of chi-square, scaled so that reduced chi-square is 1.

    Raises
    ------
    InvalidInput
        With fewer points than parameters.
    """
    good = np.isfinite(time) & np.isfinite(flux) & np.isfinite(error) & (error > 0)
    n_free = 4 + baseline_degree + 1
    if good.sum() <= n_free:
        raise InvalidInput(
            "too few points to fit a transit",
            found=int(good.sum()),
            expected=f"more than {n_free}",
        )
    t, f, e = time[good] - guess[0], flux[good], error[good]
    width = guess[1]

    def shape(p: Floats, at: Floats) -> Floats:
        return trapezoid(at, p[0] * width, abs(p[1]) * width, abs(p[2]) * width, p[3])

    def model(p: Floats, at: Floats) -> Floats:
        base = sum(c * (at / width) ** k for k, c in enumerate(p[4:]))
        out: Floats = shape(p, at) * base
        return out

    level = float(np.percentile(f, 75.0))
    best = _best_of(lambda p: (model(p, t) - f) / e, n_free, level)
    p = best.x
    chi = 2.0 * best.cost / (len(t) - n_free)
    covariance = np.linalg.pinv(best.jac.T @ best.jac) * chi
    outside = np.abs(t - p[0] * width) > (abs(p[1]) + abs(p[2])) * width / 2.0
    left = (f - model(p, t))[outside]
    return TransitFit(
        depth=float(p[3]),
        depth_err=float(np.sqrt(covariance[3, 3])),
        mid_time=guess[0] + float(p[0]) * width,
        mid_time_err=float(np.sqrt(covariance[0, 0])) * width,
        duration=abs(float(p[1])) * width,
        ingress=abs(float(p[2])) * width,
        baseline=tuple(float(c) / width**k for k, c in enumerate(p[4:])),
        scatter=float(np.std(left)) if len(left) > 1 else float("nan"),
        model=model(p, time - guess[0]),
    )


def _best_of(residual: Callable[[Floats], Floats], n_free: int, level: float) -> OptimizeResult:
    """The best of several descents: chi-square has steps wherever an edge meets a point."""
    best = None
    for shift in (-0.15, 0.0, 0.15):
        for ingress in (0.1, 0.25):
            start = np.zeros(n_free)
            start[:5] = shift, 1.0, ingress, 0.01, level
            scale = np.full(n_free, 0.05)
            found = least_squares(residual, start, x_scale=scale)
            if best is None or found.cost < best.cost:
                best = found
    return best
