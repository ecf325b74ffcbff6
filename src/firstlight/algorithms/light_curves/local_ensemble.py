"""The stars that speak for one star: near it, like it, and steady.

Weights are the product of a comparison's precision and of Gaussians of its distance on the sky, of
its difference in brightness and in colour. How wide those Gaussians are is decided by the data:
widths that lower the scatter of the steadiest stars, each predicted by the others, are taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.median_deviation import MAD_TO_SIGMA

__all__ = ["Likeness", "choose_widths", "ensemble_weights", "predict"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Indices = NDArray[np.int64]

_REACHES = (np.inf, 0.5, 0.25)  # candidate radii, in units of the field's half size
_LIKENESSES = (np.inf, 1.0)  # candidate widths, magnitudes
_COLOUR_WIDTH = 0.5  # magnitudes of colour index
_WORTHWHILE = 0.99  # a narrower ensemble must lower the scatter by a hundredth
_FLOOR_MAG = 0.001
_OUTLIER = 4.0


@dataclass(frozen=True)
class Likeness:
    """Where and what each star is.

    Attributes
    ----------
    place
        Position on the sky in units of the field's half size, ``(n_star, 2)``.
    mag
        Brightness, magnitudes, ``(n_star,)``.
    colour
        Colour index, ``(n_star,)``; ``None`` without colours. NaN counts as alike.
    """

    place: Floats
    mag: Floats
    colour: Floats | None = None


def ensemble_weights(
    stars: Likeness, comparisons: Indices, scatter: Floats, reach: float, width: float
) -> Floats:
    """Share of each comparison in each star's ensemble.

    Parameters
    ----------
    comparisons
        Indices of the comparison stars, ``(n_comparison,)``.
    scatter
        Scatter of the comparisons, magnitudes, ``(n_comparison,)``.
    reach, width
        Gaussian widths in place and in magnitude; infinite for none.

    Returns
    -------
    ``(n_star, n_comparison)``; rows sum to one, a star's weight in its own ensemble is zero.
    """
    log_weight = np.zeros((len(stars.mag), len(comparisons)))
    log_weight -= 2.0 * np.log(np.hypot(scatter, _FLOOR_MAG))
    apart = stars.place[:, None, :] - stars.place[comparisons][None, :, :]
    log_weight -= 0.5 * np.nan_to_num(np.square(apart).sum(axis=2)) / reach**2
    unlike = stars.mag[:, None] - stars.mag[comparisons]
    log_weight -= 0.5 * np.nan_to_num(unlike / width) ** 2
    if stars.colour is not None:
        unlike = stars.colour[:, None] - stars.colour[comparisons]
        log_weight -= 0.5 * np.nan_to_num(unlike / _COLOUR_WIDTH) ** 2
    log_weight[comparisons, np.arange(len(comparisons))] = -np.inf
    weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
    shares: Floats = weight / weight.sum(axis=1, keepdims=True)
    return shares


def predict(
    weights: Floats, residual: Floats, valid: Bools, scatter: Floats
) -> tuple[Floats, Floats]:
    """Weighted mean of the comparisons' residuals per star and frame, and its one-sigma error.

    Parameters
    ----------
    weights
        ``(n_star, n_comparison)``.
    residual, valid
        ``(n_comparison, n_frame)``, magnitudes. Outliers beyond four sigma are clipped.
    scatter
        ``(n_comparison,)``.

    Returns
    -------
    Both ``(n_star, n_frame)``. Where no comparison is valid, 0 with an error of 0.
    """
    limit = _OUTLIER * np.hypot(scatter, _FLOOR_MAG)[:, None]
    clipped = np.where(valid, np.clip(np.nan_to_num(residual), -limit, limit), 0.0)
    total = weights @ valid.astype(float)
    safe = np.where(total > 0, total, 1.0)
    variance = np.square(weights) @ np.where(valid, np.square(scatter)[:, None], 0.0)
    return (weights @ clipped) / safe, np.sqrt(variance) / safe


def choose_widths(
    stars: Likeness, comparisons: Indices, residual: Floats, valid: Bools, scatter: Floats
) -> tuple[float, float]:
    """Reach and width of the ensembles that leave the steadiest stars with the least scatter.

    Parameters are those of `ensemble_weights` and `predict`. The widest ensemble wins unless a
    narrower one lowers the mean scatter of the steadier half by a hundredth.
    """
    steadier = np.argsort(scatter, kind="stable")[: max(len(scatter) // 2, 3)]
    best, chosen = np.inf, (np.inf, np.inf)
    for reach in _REACHES:
        for width in _LIKENESSES:
            shares = ensemble_weights(stars, comparisons, scatter, reach, width)
            mean, _ = predict(shares[comparisons[steadier]], residual, valid, scatter)
            left = np.where(valid[steadier], residual[steadier] - mean, np.nan)
            left = left - np.nanmedian(left, axis=1, keepdims=True)
            spread = MAD_TO_SIGMA * np.nanmedian(np.abs(left), axis=1)
            level = float(np.exp(np.log(np.maximum(spread, 1e-6)).mean()))
            if level < best * _WORTHWHILE:
                best, chosen = level, (reach, width)
    return chosen
