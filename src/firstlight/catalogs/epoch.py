"""Positions of stars at another epoch, and how well they are then known."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firstlight.algorithms.sky.sky_index import sky_position, unit_vectors

__all__ = ["FASTEST_ARCSEC_PER_YEAR", "error_at_epoch", "move"]

Floats = NDArray[np.float64]

MAS_TO_RADIANS = np.pi / 180.0 / 3.6e6

FASTEST_ARCSEC_PER_YEAR = 10.5
"""No star moves faster on the sky (Barnard's star: 10.39)."""

UNKNOWN_MOTION_MAS_PER_YEAR = 8.0
"""Assumed one-sigma motion of a star whose proper motion is not known: typical of field stars
of magnitude 8 to 12, generous for fainter ones."""


def move(
    ra: ArrayLike, dec: ArrayLike, pmra: ArrayLike, pmdec: ArrayLike, years: ArrayLike
) -> tuple[Floats, Floats]:
    """Apply proper motion along a straight line in space, which is right at the poles too.

    Parameters
    ----------
    ra, dec
        Degrees, shape ``(n,)``.
    pmra, pmdec
        Milliarcseconds a Julian year, `pmra` with the factor cos(dec). NaN is taken as 0.
    years
        From the epoch of the position to the wanted one; one number or shape ``(n,)``.

    Returns
    -------
    tuple
        Right ascension in [0, 360) and declination, degrees.

    Notes
    -----
    Butkevich & Lindegren (2014, A&A 570, A62), without radial velocity and parallax.
    """
    lon = np.radians(np.asarray(ra, dtype=np.float64))
    lat = np.radians(np.asarray(dec, dtype=np.float64))
    east = np.stack([-np.sin(lon), np.cos(lon), np.zeros_like(lon)], axis=-1)
    north = np.stack([-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)], axis=-1)
    span = np.asarray(years, dtype=np.float64) * MAS_TO_RADIANS
    eastward = np.nan_to_num(np.asarray(pmra, dtype=np.float64)) * span
    northward = np.nan_to_num(np.asarray(pmdec, dtype=np.float64)) * span
    moved = unit_vectors(ra, dec) + eastward[..., None] * east + northward[..., None] * north
    return sky_position(moved)


def error_at_epoch(
    position_err: Floats, pm_err: Floats, pm_known: NDArray[np.bool_], years: ArrayLike
) -> Floats:
    """One-sigma position error after some years.

    Parameters
    ----------
    position_err
        Arcseconds at the catalogue's epoch, shape ``(n,)``.
    pm_err
        Milliarcseconds a year, shape ``(n,)``; NaN is taken as 0.
    pm_known
        Where False the star may have moved, and nobody knows where to: its error grows by
        `UNKNOWN_MOTION_MAS_PER_YEAR`.
    years
        As in `move`.
    """
    rate = np.where(pm_known, np.nan_to_num(pm_err), UNKNOWN_MOTION_MAS_PER_YEAR)
    return np.hypot(position_err, rate * 1e-3 * np.abs(years))
