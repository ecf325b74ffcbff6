"""The PSF of an image, learned from its single, clear stars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.photometry.growth_curve import uncrowded
from firstlight.algorithms.psf.fit import fit_psf
from firstlight.algorithms.psf.model import PsfModel
from firstlight.algorithms.sources.sharpest_stars import point_sources

__all__ = ["learn_psf"]

FEWEST_ALONE = 3
MOST_FROM_OTHERS = 0.01  # of the light of a star that tells the PSF
ALONE = 3.0  # FWHM


def learn_psf(
    planes: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint16]],
    sources: Mapping[str, NDArray[Any]],
    places: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    fwhm: float,
) -> PsfModel | None:
    """Fit the PSF to the stars among the sources.

    Parameters
    ----------
    planes
        Electrons without sky, variance of the sky, flags, ``(ny, nx)`` each.
    sources
        Columns as `point_sources` takes them.
    places
        x, y and flux of the sources, ``(n,)`` each.
    fwhm
        Of the stars, pixels.

    Returns
    -------
    None where there are too few stars.
    """
    x, y, flux = places
    stars = point_sources(sources)
    alone = uncrowded(x, y, flux, ALONE * fwhm, MOST_FROM_OTHERS)
    chosen = np.flatnonzero(stars & alone & (flux > 0))
    if len(chosen) < FEWEST_ALONE:
        chosen = np.flatnonzero(stars & (flux > 0))
    return fit_psf(*planes, (x[chosen], y[chosen], flux[chosen]), fwhm)
