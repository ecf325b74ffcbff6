"""Galactic coordinates of positions on the sky."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firstlight.algorithms.sky.sky_index import sky_position, unit_vectors

__all__ = ["galactic"]

Floats = NDArray[np.float64]

# The Hipparcos and Tycho Catalogues (ESA SP-1200), volume 1, equation 1.5.11, transposed.
_TO_GALACTIC = np.array(
    [
        [-0.0548755604, -0.8734370902, -0.4838350155],
        [+0.4941094279, -0.4448296300, +0.7469822445],
        [-0.8676661490, -0.1980763734, +0.4559837762],
    ]
)


def galactic(ra: ArrayLike, dec: ArrayLike) -> tuple[Floats, Floats]:
    """Galactic longitude and latitude.

    Parameters
    ----------
    ra, dec
        ICRS degrees, shape ``(n,)``.

    Returns
    -------
    tuple of numpy.ndarray
        Degrees, shape ``(n,)``, longitude in [0, 360). Good to a milliarcsecond.
    """
    return sky_position(unit_vectors(ra, dec) @ _TO_GALACTIC.T)
