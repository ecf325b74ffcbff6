"""Positions on the sphere and their one-column index (HEALPix, nested, order 29).

A search is a few ranges of the index, bounded in number so that a database query stays short,
followed by an exact cut on the angular distance. See Górski et al. 2005 (ApJ 622, 759).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firstlight.algorithms.sky.healpix_cell import healpix_cell

__all__ = [
    "ORDER",
    "angular_separation",
    "cone_ranges",
    "healpix_index",
    "inside_polygon",
    "polygon_ranges",
    "sky_position",
    "unit_vectors",
]

ORDER = 29
"""Order of the index: cells of 0.4 milliarcseconds, the finest that fits in 64 bits."""

CELLS = 12 * 4**ORDER

_BASE_CELL_DEG = 58.632
# The cover is computed this many orders finer, which tightens it.
_REFINED = 2
# Positions on the rim must not fall out of the cover through rounding.
_RIM_DEG = 1e-8

Floats = NDArray[np.float64]
Range = tuple[int, int]


def healpix_index(ra: ArrayLike, dec: ArrayLike) -> NDArray[np.int64]:
    """Index of the cells that hold positions.

    Parameters
    ----------
    ra, dec
        ICRS degrees, any shape; right ascension in any turn (-10 is 350).

    Returns
    -------
    Cell numbers of order 29, nested scheme, in the shape of the input (a scalar gives shape
    ``()``).

    Raises
    ------
    ValueError
        A position is not finite, or a declination is beyond a pole.
    """
    ra_deg, dec_deg = np.broadcast_arrays(_finite(ra), _finite(dec))
    shape = ra_deg.shape
    if shape == () and abs(float(dec_deg)) <= 90:
        return np.asarray(healpix_cell(float(ra_deg), float(dec_deg), ORDER), dtype=np.int64)
    from firstlight.algorithms.sky.healpix_cover import cells_of_positions  # noqa: PLC0415, slow to load

    return cells_of_positions(ra_deg.ravel(), dec_deg.ravel(), ORDER).reshape(shape)


def cone_ranges(ra: float, dec: float, radius: float, *, max_ranges: int = 32) -> list[Range]:
    """Index ranges that together cover a cone.

    Parameters
    ----------
    ra, dec, radius
        Centre and radius in degrees. A radius of 180 or more is the whole sky.
    max_ranges
        Largest number of ranges; fewer means a looser cover.

    Returns
    -------
    Disjoint half-open ranges ``(first, stop)`` of order-29 cells, ascending: a position within
    the cone has ``first <= healpix_index < stop`` for one of them. Positions outside the cone
    can be in them too.
    """
    if not (np.isfinite(ra) and np.isfinite(dec) and radius >= 0.0):
        raise ValueError(f"no cone at ({ra}, {dec}) with radius {radius}")
    if radius >= 180.0:
        return [(0, CELLS)]
    padded = radius + _RIM_DEG
    from firstlight.algorithms.sky.healpix_cover import cells_of_cone  # noqa: PLC0415, slow to load

    cells, orders = cells_of_cone(ra, dec, padded, _order_for(padded), _REFINED)
    return _ranges(cells, orders, max_ranges)


def polygon_ranges(ra: ArrayLike, dec: ArrayLike, *, max_ranges: int = 32) -> list[Range]:
    """Index ranges that together cover a convex polygon, such as the footprint of an image.

    Parameters
    ----------
    ra, dec
        Corners in degrees, in order, shape ``(n,)`` with n of at least 3; sides are great
        circles.
    max_ranges
        As in `cone_ranges`.

    Returns
    -------
    As `cone_ranges`. The polygon's circumscribed cone is what is covered.
    """
    corners = unit_vectors(ra, dec)
    if corners.ndim != 2 or len(corners) < 3:
        raise ValueError("a polygon needs three corners or more")
    centre = corners.mean(axis=0)
    centre_ra, centre_dec = sky_position(centre)
    reach = angular_separation(centre_ra, centre_dec, ra, dec).max()
    return cone_ranges(float(centre_ra), float(centre_dec), float(reach), max_ranges=max_ranges)


def inside_polygon(
    ra: ArrayLike, dec: ArrayLike, corner_ra: ArrayLike, corner_dec: ArrayLike
) -> NDArray[np.bool_]:
    """Which positions are inside a convex polygon smaller than a hemisphere, rim included.

    Parameters
    ----------
    ra, dec
        Positions in degrees, shape ``(n,)``.
    corner_ra, corner_dec
        Corners in degrees, in order, either way round, shape ``(m,)``.
    """
    corners = unit_vectors(corner_ra, corner_dec)
    normals = np.cross(corners, np.roll(corners, -1, axis=0))
    if np.sum(normals @ corners.mean(axis=0)) < 0:
        normals = -normals
    return np.asarray(np.all(unit_vectors(ra, dec) @ normals.T >= -1e-12, axis=-1))


def angular_separation(
    ra1: ArrayLike, dec1: ArrayLike, ra2: ArrayLike, dec2: ArrayLike
) -> NDArray[np.float64]:
    """Angle between positions, in degrees, in the shape the inputs broadcast to.

    Vincenty's formula on the sphere: exact from zero to antipodes.
    """
    lon1, lat1, lon2, lat2 = (np.radians(np.asarray(a, float)) for a in (ra1, dec1, ra2, dec2))
    turn = lon2 - lon1
    sin1, cos1, sin2, cos2 = np.sin(lat1), np.cos(lat1), np.sin(lat2), np.cos(lat2)
    across = np.hypot(cos2 * np.sin(turn), cos1 * sin2 - sin1 * cos2 * np.cos(turn))
    along = sin1 * sin2 + cos1 * cos2 * np.cos(turn)
    return np.asarray(np.degrees(np.arctan2(across, along)))


def unit_vectors(ra: ArrayLike, dec: ArrayLike) -> Floats:
    """Cartesian unit vectors of positions in degrees, shape ``(..., 3)``."""
    lon, lat = np.radians(np.asarray(ra, float)), np.radians(np.asarray(dec, float))
    return np.stack(
        np.broadcast_arrays(np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)),
        axis=-1,
    )


def sky_position(vectors: ArrayLike) -> tuple[Floats, Floats]:
    """Right ascension in [0, 360) and declination, in degrees, of vectors of any length.

    Parameters
    ----------
    vectors
        Shape ``(..., 3)``.
    """
    v = np.asarray(vectors, float)
    ra = np.mod(np.degrees(np.arctan2(v[..., 1], v[..., 0])), 360.0)
    # The remainder of a tiny negative angle rounds to 360 itself.
    ra = np.where(ra >= 360.0, 0.0, ra)
    dec = np.degrees(np.arctan2(v[..., 2], np.hypot(v[..., 0], v[..., 1])))
    return ra, np.asarray(dec)


def _finite(angle: ArrayLike) -> Floats:
    degrees = np.asarray(angle, dtype=np.float64)
    if not np.all(np.isfinite(degrees)):
        raise ValueError("a position is not finite")
    return degrees


def _order_for(radius: float) -> int:
    """Order whose cells are about a fifth of the radius: tight, and still a few dozen cells."""
    return int(np.clip(np.ceil(np.log2(5.0 * _BASE_CELL_DEG / radius)), 3, ORDER - _REFINED))


def _ranges(cells: NDArray[np.uint64], orders: NDArray[np.uint8], most: int) -> list[Range]:
    """Cells of mixed orders as at most `most` ascending ranges, the smallest gaps closed."""
    shift = 2 * (ORDER - orders.astype(np.int64))
    first = cells.astype(np.int64) << shift
    stop = first + (np.int64(1) << shift)
    by_place = np.argsort(first)
    first, stop = first[by_place], stop[by_place]
    gaps = first[1:] - stop[:-1]
    kept = np.flatnonzero(gaps > 0)
    if len(kept) >= most:
        widest = np.argsort(gaps[kept], kind="stable")[::-1][: max(most, 1) - 1]
        kept = np.sort(kept[widest])
    firsts = first[np.concatenate(([0], kept + 1))]
    stops = stop[np.concatenate((kept, [len(stop) - 1]))]
    return [(int(a), int(b)) for a, b in zip(firsts, stops, strict=True)]
