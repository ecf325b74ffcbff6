"""Polygons on the sphere: of any shape, across the meridian, over a pole."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firstlight.algorithms.sky.sky_index import angular_separation, sky_position, unit_vectors
from firstlight.errors import InvalidInput

__all__ = ["bounding_cone", "inside_any_polygon"]

# Beyond this a polygon's inside and outside cannot be told apart by its corners.
WIDEST_DEG = 89.9


def bounding_cone(ra: ArrayLike, dec: ArrayLike) -> tuple[float, float, float]:
    """A cone around a polygon.

    Parameters
    ----------
    ra, dec
        Corners in degrees, shape ``(n,)`` with n of at least 3.

    Returns
    -------
    tuple
        Right ascension, declination and radius in degrees. It holds the sides too: a great
        circle between two points of a cone smaller than a hemisphere stays in the cone.

    Raises
    ------
    InvalidInput
        Fewer than three corners, or the polygon does not fit in a hemisphere.
    """
    corners = unit_vectors(ra, dec)
    if corners.ndim != 2 or len(corners) < 3 or not np.isfinite(corners).all():
        raise InvalidInput(
            field="polygon", found=f"{np.shape(ra)} corners", expected="three corners or more"
        )
    centre = corners.mean(axis=0)
    centre_ra, centre_dec = sky_position(centre)
    reach = angular_separation(centre_ra, centre_dec, ra, dec).max()
    if np.linalg.norm(centre) < 1e-6 or reach > WIDEST_DEG:
        raise InvalidInput(
            "the polygon is too large",
            field="polygon",
            found=f"reaches {reach:.1f} deg from its middle",
            expected="less than a hemisphere",
        )
    return float(centre_ra), float(centre_dec), float(reach)


def inside_any_polygon(
    ra: ArrayLike, dec: ArrayLike, corner_ra: ArrayLike, corner_dec: ArrayLike
) -> NDArray[np.bool_]:
    """Which positions are inside a polygon that need not be convex.

    Parameters
    ----------
    ra, dec
        Positions in degrees, shape ``(n,)``.
    corner_ra, corner_dec
        Corners in degrees, in order, either way round, shape ``(m,)``; sides are great
        circles. The polygon must fit in a hemisphere (see `bounding_cone`). Where sides
        cross, what they go around an odd or even number of times alike is inside.

    Notes
    -----
    A polygon winds around the points inside it: the bearings of its corners, as seen from the
    point, turn by a whole circle and not by none. Points on a side may fall either way.
    """
    centre_ra, centre_dec, reach = bounding_cone(corner_ra, corner_dec)
    ra, dec = np.atleast_1d(np.asarray(ra, float)), np.atleast_1d(np.asarray(dec, float))
    inside = np.zeros(ra.shape, dtype=bool)
    # Elsewhere a polygon around the antipode would turn the bearings just as much.
    near = angular_separation(centre_ra, centre_dec, ra, dec) <= reach
    bearings = _bearings(ra[near], dec[near], np.asarray(corner_ra), np.asarray(corner_dec))
    turns = np.diff(bearings, axis=1, append=bearings[:, :1])
    turns = np.mod(turns + np.pi, 2 * np.pi) - np.pi
    inside[near] = np.abs(turns.sum(axis=1)) > np.pi
    return inside


def _bearings(
    ra: NDArray[np.float64],
    dec: NDArray[np.float64],
    corner_ra: NDArray[np.float64],
    corner_dec: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Directions from each position to each corner, radians, shape ``(n, m)``."""
    turn = np.radians(corner_ra[None, :] - ra[:, None])
    here, there = np.radians(dec)[:, None], np.radians(corner_dec)[None, :]
    east = np.cos(there) * np.sin(turn)
    north = np.cos(here) * np.sin(there) - np.sin(here) * np.cos(there) * np.cos(turn)
    return np.asarray(np.arctan2(east, north))
