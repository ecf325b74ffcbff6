"""How large the errors of a field's light curves really are.

Formal errors know photons and the sky. The scatter of the field's stars against their formal
errors tells the rest: a factor (a gain that is not quite right, correlated pixels) and a floor
(scintillation, pixel response, what the ensemble could not remove), and which frames are worse.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["NoiseModel", "fit_noise_model"]

Floats = NDArray[np.float64]

_FACTORS = np.geomspace(0.25, 4.0, 49)
_FLOORS = np.concatenate([[0.0], np.geomspace(2e-4, 0.05, 49)])


@dataclass(frozen=True)
class NoiseModel:
    """``sigma**2 = (factor * formal)**2 + floor**2``, in magnitudes, times the frame's noise."""

    factor: float
    floor: float

    def sigma(self, formal: Floats) -> Floats:
        """One-sigma errors for formal ones, magnitudes, any shape."""
        return np.hypot(self.factor * formal, self.floor)


def fit_noise_model(scatter: Floats, formal: Floats) -> NoiseModel:
    """Fit factor and floor to stars most of which are constant.

    Parameters
    ----------
    scatter
        Observed robust scatter of each star, magnitudes, shape ``(n_star,)``.
    formal
        Typical formal error of each star, magnitudes, shape ``(n_star,)``.

    Returns
    -------
    The model with the least sum of absolute logarithmic deviations, which variable stars, always
    above it, move little. Factor 1 and floor 0 with fewer than five usable stars; the factor stays
    1 with fewer than twenty, too few to tell it from the floor.
    """
    good = np.isfinite(scatter) & np.isfinite(formal) & (scatter > 0) & (formal > 0)
    if good.sum() < 5:
        return NoiseModel(1.0, 0.0)
    factors = _FACTORS if good.sum() >= 20 else np.ones(1)
    model = np.square(factors[:, None, None] * formal[good]) + np.square(_FLOORS)[None, :, None]
    misfit = np.abs(np.log(np.square(scatter[good])) - np.log(model)) @ _evenly(formal[good])
    a, b = np.unravel_index(np.argmin(misfit), misfit.shape)
    return NoiseModel(float(factors[a]), float(_FLOORS[b]))


def _evenly(formal: Floats) -> Floats:
    """Weights that give each range of formal errors the same say: faint stars are many."""
    level = np.log(formal)
    bins = np.floor((level - level.min()) / 0.3).astype(int)
    weights: Floats = 1.0 / np.bincount(bins)[bins]
    return weights
