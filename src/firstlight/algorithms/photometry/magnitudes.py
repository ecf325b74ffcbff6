"""Fluxes in microjansky and magnitudes in AB or another system."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["AB_OFFSETS", "AB_ZERO_POINT_UJY", "ab_offset", "flux_ujy", "magnitude_error"]

Floats = NDArray[np.float64]

AB_ZERO_POINT_UJY = 23.9
"""Magnitude of a source of one microjansky in the AB system."""

AB_OFFSETS: dict[tuple[str, str], float] = {
    # Pickles & Depagne (2010), table 1: Vega has 3689 Jy in V_T; -2.5 log10(3689 / 3631).
    ("VT", "Vega"): -0.017,
    # Riello et al. (2021), Gaia EDR3 zero points: 25.8010 (AB) - 25.6874 (Vega).
    ("G", "Vega"): 0.1136,
}


def ab_offset(band: str, system: str) -> float:
    """AB magnitude minus magnitude in `system`; zero for AB and for bands not tabulated."""
    return AB_OFFSETS.get((band, system), 0.0)


def flux_ujy(electrons: ArrayLike, zero_point: ArrayLike, offset: float = 0.0) -> Floats:
    """Flux in microjansky of a count in electrons.

    Parameters
    ----------
    electrons
        Any shape; negative counts give negative fluxes.
    zero_point
        Magnitude of one electron, in a system whose AB offset is `offset`.
    """
    scale = 10.0 ** (-0.4 * (np.asarray(zero_point, float) + offset - AB_ZERO_POINT_UJY))
    return np.asarray(np.asarray(electrons, float) * scale)


def magnitude_error(flux: ArrayLike, flux_err: ArrayLike) -> Floats:
    """One-sigma magnitude error, NaN where the flux is not positive."""
    value, error = np.asarray(flux, float), np.asarray(flux_err, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(value > 0, 2.5 / np.log(10) * error / value, np.nan))
