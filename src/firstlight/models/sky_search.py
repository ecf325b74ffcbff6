"""Cone searches on any table with a position: index ranges in SQL, the exact cut here."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session

from firstlight.algorithms.sky.sky_index import angular_separation, cone_ranges, healpix_index
from firstlight.models.base import OnSky

__all__ = ["find_in_cone", "in_ranges", "place"]

Row = TypeVar("Row", bound=OnSky)


def place(row: OnSky, ra: float, dec: float) -> None:
    """Put a row at a position (ICRS degrees): coordinates and index together."""
    row.ra, row.dec = float(ra) % 360.0, float(dec)
    row.hpx = int(healpix_index(row.ra, row.dec))


def in_ranges(table: type[OnSky], ra: float, dec: float, radius: float) -> ColumnElement[bool]:
    """Condition that holds for every row in the cone, and for few others."""
    return or_(
        *(
            and_(table.hpx >= first, table.hpx < stop)
            for first, stop in cone_ranges(ra, dec, radius)
        )
    )


def find_in_cone(
    session: Session, table: type[Row], ra: float, dec: float, radius: float
) -> list[tuple[Row, float]]:
    """Rows within `radius` degrees of a position, nearest first.

    Returns
    -------
    list of (row, separation)
        Separation in degrees.
    """
    rows = session.scalars(select(table).where(in_ranges(table, ra, dec, radius))).all()
    if not rows:
        return []
    places = np.array([(row.ra, row.dec) for row in rows], dtype=float)
    apart = angular_separation(ra, dec, places[:, 0], places[:, 1])
    order = np.argsort(apart, kind="stable")
    return [(rows[i], float(apart[i])) for i in order if apart[i] <= radius]
