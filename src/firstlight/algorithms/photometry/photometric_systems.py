"""Magnitudes, fluxes and limits: from one to the other, and from one system to another.

Fluxes are in microjansky. The magnitude of a source in a system is its AB magnitude less the
offset of the filter in that system; the offset of AB is zero.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from firstlight.algorithms.photometry.magnitudes import AB_ZERO_POINT_UJY, magnitude_error

__all__ = [
    "error_at_limit",
    "flux_of_magnitude",
    "limiting_magnitude",
    "magnitude_of_flux",
    "rescaled_flux",
    "st_offset",
]

Floats = NDArray[np.float64]

_LN = np.log(10.0) / 2.5
# Pivot wavelength at which the AB and ST systems agree, in Angstrom (Oke & Gunn 1983; 3631 Jy
# against 3.63e-9 erg/s/cm2/A).
_ST_PIVOT = 5475.0


def flux_of_magnitude(
    mag: ArrayLike, mag_err: ArrayLike, offset: ArrayLike
) -> tuple[Floats, Floats]:
    """Flux and its one-sigma error of a magnitude and its error.

    Parameters
    ----------
    mag, mag_err
        Of any shape; NaN gives NaN.
    offset
        AB magnitude minus magnitude in their system.
    """
    with np.errstate(over="ignore", under="ignore"):
        flux = 10.0 ** (
            -0.4 * (np.asarray(mag, float) + np.asarray(offset, float) - AB_ZERO_POINT_UJY)
        )
        return np.asarray(flux), np.asarray(flux * np.asarray(mag_err, float) * _LN)


def magnitude_of_flux(
    flux: ArrayLike, flux_err: ArrayLike, offset: ArrayLike
) -> tuple[Floats, Floats]:
    """Magnitude and its one-sigma error; NaN where the flux is not positive."""
    value = np.asarray(flux, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        ab = AB_ZERO_POINT_UJY - 2.5 * np.log10(np.where(value > 0, value, np.nan))
    return np.asarray(ab - np.asarray(offset, float)), magnitude_error(flux, flux_err)


def error_at_limit(limit: ArrayLike, sigma: ArrayLike, offset: ArrayLike) -> Floats:
    """One-sigma error of a flux, `sigma` times which has the magnitude `limit`."""
    flux, _ = flux_of_magnitude(limit, 0.0, offset)
    return np.asarray(flux / np.asarray(sigma, float))


def limiting_magnitude(flux_err: ArrayLike, sigma: ArrayLike, offset: ArrayLike) -> Floats:
    """Magnitude of a source of `sigma` errors; NaN where the error is not positive."""
    return magnitude_of_flux(np.asarray(flux_err, float) * np.asarray(sigma, float), 0.0, offset)[0]


def rescaled_flux(flux: ArrayLike, zero_point: ArrayLike, offset: ArrayLike) -> Floats:
    """Flux in microjansky of a flux whose unit has the magnitude `zero_point` in its system."""
    with np.errstate(over="ignore", under="ignore"):
        scale = 10.0 ** (
            -0.4 * (np.asarray(zero_point, float) + np.asarray(offset, float) - AB_ZERO_POINT_UJY)
        )
        return np.asarray(np.asarray(flux, float) * scale)


def st_offset(pivot: float) -> float:
    """AB minus ST magnitude of any source in a filter with this pivot wavelength in Angstrom."""
    return float(-5.0 * np.log10(pivot / _ST_PIVOT))
