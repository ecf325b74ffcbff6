"""One worker at a time for each piece of sky; others work beside it elsewhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from firstlight.algorithms.sky.sky_index import ORDER, healpix_index
from firstlight.services.transaction_locks import lock_names

__all__ = ["lock_sky"]

Floats = NDArray[np.float64]
_ORDER = 7  # cells of 27 arcminutes: a section of a mosaic lies in a few
# A server has room for a few thousand locks in all. Cells that share a lock wait in vain, no more.
_MOST_LOCKS = 256


def lock_sky(session: Session, ra: Floats, dec: Floats, margin: float) -> None:
    """Wait for all others that change objects near some places, and hold them off to the end.

    Parameters
    ----------
    ra, dec
        ICRS degrees, ``(n,)``.
    margin
        Degrees around the places; less than half a degree.
    """
    if session.get_bind().dialect.name != "postgresql":
        return
    across = margin / np.maximum(np.cos(np.radians(np.abs(dec) + margin)), margin / 180.0)
    cells: set[int] = set()
    for east in (-1.0, 0.0, 1.0):
        for north in (-1.0, 0.0, 1.0):
            there = np.clip(dec + north * margin, -90.0, 90.0)
            index = healpix_index(ra + east * np.minimum(across, 180.0), there)
            cells.update(np.unique(index >> (2 * (ORDER - _ORDER))).tolist())
    lock_names(session, *(f"objects of the sky {cell % _MOST_LOCKS}" for cell in cells))
