"""The HEALPix cell of one position, in plain Python.

The library that does whole arrays starts a thread for each call, which costs a busy machine
milliseconds: too much for one position at a time. Formulae of Górski et al. 2005 (ApJ 622, 759).
"""

from __future__ import annotations

import math

__all__ = ["healpix_cell"]

_SPREAD = (
    (16, 0x0000FFFF0000FFFF),
    (8, 0x00FF00FF00FF00FF),
    (4, 0x0F0F0F0F0F0F0F0F),
    (2, 0x3333333333333333),
    (1, 0x5555555555555555),
)


def healpix_cell(ra: float, dec: float, order: int) -> int:
    """Number of the cell that holds a position, nested scheme.

    Parameters
    ----------
    ra, dec
        Degrees; right ascension in any turn.
    order
        From 0 to 29.

    Returns
    -------
    int
        A position on the rim of cells is in one of them.
    """
    side = 1 << order
    z = math.sin(math.radians(dec))
    quarter = (ra % 360.0) / 90.0 % 4.0
    if abs(z) <= 2 / 3:
        face, x, y = _equatorial(z, quarter, side, order)
    else:
        face, x, y = _polar(z, math.cos(math.radians(dec)), quarter, side)
    return (face << 2 * order) + _spread(x) + (_spread(y) << 1)


def _equatorial(z: float, quarter: float, side: int, order: int) -> tuple[int, int, int]:
    """Base cell and place in it between the polar caps."""
    along, across = side * (0.5 + quarter), side * z * 0.75
    rising, falling = int(along - across), int(along + across)
    up, down = rising >> order, falling >> order
    face = up | 4  # of the equatorial belt, unless the two differ
    if up != down:
        face = up if up < down else down + 8
    return face, falling & (side - 1), side - (rising & (side - 1)) - 1


def _polar(z: float, distance: float, quarter: float, side: int) -> tuple[int, int, int]:
    """Base cell and place in it on a polar cap; `distance` is the cosine of the latitude."""
    column = min(3, int(quarter))
    within = quarter - column
    reach = side * distance / math.sqrt((1 + abs(z)) / 3)
    rising = min(int(within * reach), side - 1)
    falling = min(int((1 - within) * reach), side - 1)
    if z > 0:
        return column, side - falling - 1, side - rising - 1
    return column + 8, rising, falling


def _spread(number: int) -> int:
    """Put a zero between the bits."""
    for shift, mask in _SPREAD:
        number = (number | number << shift) & mask
    return number
