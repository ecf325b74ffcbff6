"""Tell stars from galaxies before the PSF is known: by how their width changes over the image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.median_deviation import MAD_TO_SIGMA
from firstlight.algorithms.sources.sharpest_stars import half_sample_mode

__all__ = ["STARS_PER_TERM", "stars_by_width", "weighted_fit"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

STARS_PER_TERM = 4
"""Fewest stars for each term of a polynomial of the place."""

_ODD, _WIDTHS = 0.15, 0.4  # share of what is neither star nor galaxy, and the range of its widths
_NARROW = 0.1  # of such things, of the density above the stars' width: rays and blends
_TYPICAL, _SIZES = 0.06, (0.02, 0.15)  # half of the galaxies' mean excess: at first, and limits
_AT_FIRST = 0.5  # share of stars
_OTHER_STARTS = (0.05, 0.2)  # quantiles of the widths, beside their mode
_NARROW_EDGE = 0.1  # quantile of the widths off a slope
_TILT, _TILTS = 0.06, 8  # slope over half an image that widths may have at first, and directions
_FIRST_SCATTER = 0.01  # at least, of the stars at the narrow edge
_LEAST_SCATTER, _USUAL_SCATTER = 0.002, 0.01  # of stars beyond their errors
_TURNS = 4  # with each polynomial
_STRAY = 5.0  # sigma of the others, for a star of another width
_FIRM = 1e-9  # of the normal equations: they can be solved whatever the places are
_NEVER = 1e-9


def stars_by_width(width: Floats, spread: Floats, designs: Sequence[Floats]) -> Bools:
    """Which of some sources are stars.

    A mixture, by expectation and maximization (Dempster, Laird & Rubin 1977, J. R. Stat. Soc. B
    39, 1): stars scatter around a polynomial of the place, and galaxies are wider. It
    starts at the narrow edge of all widths, where only stars are, without regard to the place or
    on a slope, and the polynomial is bent little by little; of all starts the most likely end is
    taken. Where bright galaxies outnumber bright stars, as far from the Milky Way, the scatter of
    all widths would hold those that are a tenth wider for stars, and the PSF would be some per
    cent too wide.

    Parameters
    ----------
    width, spread
        Logarithm of the width of each source, and its variance, ``(n,)``.
    designs
        Terms of the place in polynomials of rising degree, each ``(n, m)``.
    """
    certain = spread <= np.median(spread)
    clear = np.asarray(width[certain])
    middle = half_sample_mode(clear)
    below = middle - clear[clear <= middle]
    scatter = max(MAD_TO_SIGMA * float(np.median(below)), _FIRST_SCATTER)
    starts = [(middle, scatter)]
    starts += [(float(np.quantile(clear, each)), _FIRST_SCATTER) for each in _OTHER_STARTS]
    found = [
        _mixture(width, spread, designs, (width - first, scatter)) for first, scatter in starts
    ]
    if len(designs) > 1:
        for angle in 2.0 * np.pi * np.arange(_TILTS) / _TILTS:
            rest = width - designs[1][:, 1:] @ (_TILT * np.array([np.cos(angle), np.sin(angle)]))
            off = rest - np.quantile(rest[certain], _NARROW_EDGE)
            found.append(_mixture(width, spread, designs[1:], (off, 2.0 * _FIRST_SCATTER)))
    return max(found, key=lambda one: one[0])[1]


def _mixture(
    width: Floats, spread: Floats, designs: Sequence[Floats], start: tuple[Floats, float]
) -> tuple[float, Bools]:
    """How likely the best mixture is that first deviations and a scatter lead to, and its stars."""
    off, scatter = start
    size = _TYPICAL
    star, other = _densities(off, spread + scatter**2, _AT_FIRST, size)
    for design in designs:
        odds = star / (star + other)
        if STARS_PER_TERM * design.shape[1] > odds.sum():
            break
        for _ in range(_TURNS):
            off = width - design @ weighted_fit(design, width, odds / (spread + scatter**2))
            scatter = _own_scatter(off, spread, odds / np.square(spread + scatter**2))
            size = _own_size(off, 1.0 - odds)
            star, other = _densities(off, spread + scatter**2, float(odds.mean()), size)
            odds = star / (star + other)
    near = np.abs(off) <= _STRAY * np.sqrt(spread + scatter**2)
    likely = float(np.log(star + other).sum()) - 0.5 * (scatter / _USUAL_SCATTER) ** 2
    return likely, np.asarray((star > other) & near)


def weighted_fit(design: Floats, values: Floats, weight: Floats) -> Floats:
    """Terms ``(m,)`` of the polynomial that is closest to some values ``(n,)``."""
    loaded = design * weight[:, None]
    square = loaded.T @ design
    square += np.diag(_FIRM * np.diag(square))
    return np.asarray(np.linalg.solve(square, loaded.T @ values))


def _densities(off: Floats, variance: Floats, share: float, size: float) -> tuple[Floats, Floats]:
    """Of stars and of all else at each width; `share` is that of the stars.

    Galaxies are wider by twice `size` in the mean, and few are hardly wider: a gamma distribution.
    """
    star = share * np.exp(-0.5 * off**2 / variance) / np.sqrt(2.0 * np.pi * variance)
    above = np.maximum(off, 0.0)
    galaxy = (1.0 - _ODD) * above / size**2 * np.exp(-above / size)
    odd = _ODD * np.where(off > 0.0, 1.0, _NARROW) / _WIDTHS
    return np.asarray(star), np.asarray((1.0 - share + _NEVER) * (galaxy + odd))


def _own_size(off: Floats, share: Floats) -> float:
    """Half of what galaxies are wider than stars, in the mean."""
    weight = share * (off > 0.0)
    mean = float((weight * off).sum() / max(weight.sum(), _NEVER))
    return float(np.clip(mean / 2.0, *_SIZES))


def _own_scatter(off: Floats, spread: Floats, weight: Floats) -> float:
    """Scatter of the stars beyond their errors."""
    excess = float((weight * (off**2 - spread)).sum() / max(weight.sum(), _NEVER))
    return float(np.sqrt(max(excess, _LEAST_SCATTER**2)))
