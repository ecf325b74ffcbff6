"""HEALPix cells by the cdshealpix library, which takes half a second to load."""

from __future__ import annotations

import astropy.units as u
import numpy as np
from astropy.coordinates import Latitude, Longitude
from cdshealpix import nested
from numpy.typing import NDArray

__all__ = ["cells_of_cone", "cells_of_positions"]

Floats = NDArray[np.float64]


def cells_of_positions(ra: Floats, dec: Floats, order: int) -> NDArray[np.int64]:
    """Cell numbers, nested scheme, of positions in degrees, shape ``(n,)``."""
    longitude = Longitude(np.mod(ra, 360.0), u.deg)
    cells = nested.lonlat_to_healpix(longitude, Latitude(dec, u.deg), order, num_threads=1)
    return np.asarray(cells, dtype=np.int64)


def cells_of_cone(
    ra: float, dec: float, radius: float, order: int, refined: int
) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """Cells that together cover a cone, and the order of each.

    Parameters
    ----------
    ra, dec, radius
        Degrees.
    order
        Of the smallest cells.
    refined
        The cover is computed at so much higher an order, which tightens it.
    """
    cells, orders, _ = nested.cone_search(
        Longitude(np.mod(ra, 360.0), u.deg),
        Latitude(dec, u.deg),
        radius * u.deg,
        depth=order,
        depth_delta=refined,
    )
    return cells, orders
