"""Flux of a star while a dark disc passes before it.

The star has quadratic limb darkening, ``I = 1 - u1 (1 - mu) - u2 (1 - mu)**2``; the flux is that of
Mandel & Agol (2002, ApJ 580, L171), here by integrating the arcs of the star that the disc hides.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["limb_darkened", "scaled_axis", "separation", "transit_flux"]

Floats = NDArray[np.float64]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(32)
# Towards its ends the integrand grows as a square root; in the angle phi it is smooth.
_ANGLE = 0.5 * np.pi * (_NODES + 1.0)
_PLACE = -np.cos(_ANGLE)
_SHARE = 0.5 * np.pi * _WEIGHTS * np.sin(_ANGLE)
# With fewer points than this the model is computed at each; else interpolated from a table of one
# side of the transit, whose nodes are in the flat part, the way out, and beyond.
_FEW = 200
_FLAT, _SLOPE, _OUTSIDE = 60, 90, 12
_SHORT = 0.002  # an exposure of this share of the transit does not smear it


def limb_darkened(distance: Floats, ratio: Floats, u1: Floats, u2: Floats) -> Floats:
    """Flux of the star, 1 outside of the transit.

    Parameters
    ----------
    distance
        Of the two centres, in stellar radii.
    ratio
        Radius of the disc in stellar radii, below 1.
    u1, u2
        Of the limb darkening. All four are broadcast to one shape.

    Returns
    -------
    array
        Of that shape; exact to better than 1e-6.
    """
    shape = np.broadcast_shapes(*(np.shape(each) for each in (distance, ratio, u1, u2)))
    z, k, a, b = (
        np.broadcast_to(np.asarray(each, float), shape).ravel()
        for each in (np.abs(distance), ratio, u1, u2)
    )
    flux = np.ones(z.size)
    inside = np.flatnonzero(z < 1.0 + k)
    if inside.size:
        z, k, a, b = (each[inside] for each in (np.maximum(z, 1e-9), k, a, b))
        hidden = (1.0 - a - b) * _overlap(z, k) + _curved(z, k, a + 2.0 * b, -b)
        flux[inside] = 1.0 - hidden / (np.pi * (1.0 - a / 3.0 - b / 6.0))
    return flux.reshape(shape)


def _overlap(z: Floats, k: Floats) -> Floats:
    """Area that two discs, of radius 1 and `k`, share."""
    area = np.where(z <= 1.0 - k, np.pi * k**2, 0.0)
    edge = z > 1.0 - k
    z, k = z[edge], k[edge]
    own = np.arccos(np.clip((z**2 + k**2 - 1.0) / (2.0 * z * k), -1.0, 1.0))
    star = np.arccos(np.clip((z**2 + 1.0 - k**2) / (2.0 * z), -1.0, 1.0))
    kite = (1.0 + k - z) * (z + k - 1.0) * (z + 1.0 - k) * (z + 1.0 + k)
    area[edge] = k**2 * own + star - 0.5 * np.sqrt(np.maximum(kite, 0.0))
    return area


def _curved(z: Floats, k: Floats, c1: Floats, c2: Floats) -> Floats:
    """Hidden light of the part ``c1 mu + c2 mu**2`` of the intensity.

    At the distance r from the star's centre the disc hides an arc of ``2 kappa``. In mu, where
    ``r dr = -mu dmu``, nothing in the integrand diverges.
    """
    high = np.sqrt(np.clip(1.0 - (z - k) ** 2, 0.0, 1.0))
    low = np.sqrt(np.clip(1.0 - (z + k) ** 2, 0.0, 1.0))
    half = 0.5 * (high - low)
    mu = (0.5 * (high + low))[:, None] + half[:, None] * _PLACE
    radius = np.sqrt(np.maximum(1.0 - mu**2, 1e-300))
    cosine = (1.0 - mu**2 + (z**2 - k**2)[:, None]) / (2.0 * z[:, None] * radius)
    arc = np.arccos(np.clip(cosine, -1.0, 1.0))
    part = 2.0 * arc * mu**2 * (c1[:, None] + c2[:, None] * mu)
    hidden = half * (part @ _SHARE)
    # A disc over the star's centre hides whole rings.
    whole = z < k
    ring = 2.0 * np.pi * (c1 * (1.0 - high**3) / 3.0 + c2 * (1.0 - high**4) / 4.0)
    return np.asarray(hidden + np.where(whole, ring, 0.0), np.float64)


def scaled_axis(period: Floats, ratio: Floats, impact: Floats, duration: Floats) -> Floats:
    """Semi-major axis of a circular orbit in stellar radii.

    `duration` is from first to last contact.

    From ``z**2 = a**2 sin(phi)**2 + b**2 cos(phi)**2 = (1 + k)**2`` at the contacts (Winn 2010,
    eq. 14, without approximation).
    """
    angle = np.pi * duration / period
    return np.asarray(
        np.sqrt((1.0 + ratio) ** 2 - (impact * np.cos(angle)) ** 2) / np.sin(angle), np.float64
    )


def separation(
    away: Floats, ratio: Floats, impact: Floats, duration: Floats, period: Floats | None
) -> Floats:
    """Distance of the centres in stellar radii, `away` days from mid-transit.

    On a circular orbit, or on a straight path where `period` is None.
    """
    if period is None:
        speed = 2.0 * np.sqrt(np.maximum((1.0 + ratio) ** 2 - impact**2, 0.0)) / duration
        return np.asarray(np.hypot(impact, speed * away), np.float64)
    axis = scaled_axis(period, ratio, impact, duration)
    angle = 2.0 * np.pi * away / period
    distance = np.hypot(axis * np.sin(angle), impact * np.cos(angle))
    # Behind the star it hides nothing.
    return np.where(np.cos(angle) > 0, distance, 2.0 + ratio)


def transit_flux(
    away: Floats,
    shape: tuple[Floats, Floats, Floats],
    darkening: tuple[Floats, Floats],
    period: Floats | None = None,
    exposure: float = 0.0,
) -> Floats:
    """Light curves of many transits, smeared over the exposure.

    Parameters
    ----------
    away
        ``(m, n)`` days from the nearest mid-transit.
    shape
        Ratio of radii, impact parameter, duration from first to last contact (days); ``(m,)``.
    darkening
        ``(m,)`` each.
    period
        ``(m,)``, or None for a straight path.
    exposure
        Days.

    Returns
    -------
    array
        ``(m, n)``.
    """
    if away.shape[1] <= _FEW and exposure <= _SHORT * float(shape[2].min()):
        return _exact(away, shape, darkening, period)
    # A transit is symmetric: a table of one side serves all points.
    side = _nodes(shape, exposure)
    table = _exact(side, shape, darkening, period)
    found = np.empty(away.shape)
    for index, (times, nodes, flux) in enumerate(zip(away, side, table, strict=True)):
        smeared = _smeared(nodes, flux, exposure, float(shape[2][index]))
        found[index] = np.interp(np.abs(times), nodes, smeared)
    return found


def _nodes(shape: tuple[Floats, Floats, Floats], exposure: float) -> Floats:
    """``(m, nodes)`` days from mid-transit, dense about the contacts, where the flux bends."""
    ratio, impact, duration = (each[:, None] for each in shape)
    first = 0.5 * duration
    chord = np.maximum((1.0 - ratio) ** 2 - impact**2, 0.0) / ((1.0 + ratio) ** 2 - impact**2)
    second = first * np.sqrt(chord)
    reach = 0.5 * exposure + 1e-3 * duration
    flat = second * np.sin(0.5 * np.pi * np.linspace(0.0, 1.0, _FLAT, endpoint=False))
    slope = second + (first - second) * 0.5 * (1.0 - np.cos(np.pi * np.linspace(0.0, 1.0, _SLOPE)))
    return np.concatenate([flat, slope, first + reach * np.linspace(0.05, 1.0, _OUTSIDE)], axis=1)


def _smeared(nodes: Floats, flux: Floats, exposure: float, duration: float) -> Floats:
    """The flux averaged over the exposure (Kipping 2010, section 3)."""
    if exposure <= _SHORT * duration:
        return flux
    count = int(np.clip(np.ceil(80 * exposure / duration), 5, 25))
    shifts = exposure * ((np.arange(count) + 0.5) / count - 0.5)
    moments = np.abs(nodes[:, None] + shifts[None, :])
    return np.asarray(np.interp(moments, nodes, flux, right=1.0).mean(axis=1), np.float64)


def _exact(
    away: Floats,
    shape: tuple[Floats, Floats, Floats],
    darkening: tuple[Floats, Floats],
    period: Floats | None,
) -> Floats:
    ratio, impact, duration = (each[:, None] for each in shape)
    u1, u2 = (each[:, None] for each in darkening)
    whole = None if period is None else period[:, None]
    return limb_darkened(separation(away, ratio, impact, duration, whole), ratio, u1, u2)
