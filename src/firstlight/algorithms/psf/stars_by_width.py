"""Tell stars from galaxies before the PSF is known: by how their width changes over the image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.median_deviation import MAD_TO_SIGMA
from firstlight.algorithms.sources.sharpest_stars import half_sample_mode

__all__ = ["STARS_PER_TERM", "stars_by_width"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

STARS_PER_TERM = 4
"""Fewest stars for each term of a polynomial of the place."""

_WIDTHS = 0.4  # range of the logarithm of width in which galaxies are looked for
_NARROW = 0.1  # of what is wider than stars, as many are narrower: rays and blends
_AT_FIRST = 0.5  # share of stars
_OTHER_STARTS = (0.05, 0.15, 0.3)  # quantiles of the widths, beside their mode
_FIRST_SCATTER = 0.01  # at least, of the stars at the narrow edge
_LEAST_SCATTER = 0.002
_TURNS = 4  # with each polynomial
_STRAY = 5.0  # sigma of the others, for a star of another width
_FIRM = 1e-9  # of the normal equations: they can be solved whatever the places are
_NEVER = 1e-9


def stars_by_width(width: Floats, spread: Floats, designs: Sequence[Floats]) -> Bools:
    """Which of some sources are stars.

    A mixture, by expectation and maximization (Dempster, Laird & Rubin 1977, J. R. Stat. Soc. B
    39, 1): stars scatter around a polynomial of the place, and galaxies are wider by anything. It
    starts at the narrow edge of all widths, where only stars are, without regard to the place,
    and the polynomial is bent little by little; of several starts the most likely end is taken.
    Where bright galaxies outnumber bright stars, as
    far from the Milky Way, the scatter of all widths would hold those that are a tenth wider for
    stars, and the PSF would be some per cent too wide.

    Parameters
    ----------
    width, spread
        Logarithm of the width of each source, and its variance, ``(n,)``.
    designs
        Terms of the place in polynomials of rising degree, each ``(n, m)``.
    """
    clear = np.asarray(width[spread <= np.median(spread)])
    middle = half_sample_mode(clear)
    below = middle - clear[clear <= middle]
    scatter = max(MAD_TO_SIGMA * float(np.median(below)), _FIRST_SCATTER)
    starts = [(middle, scatter)]
    starts += [(float(np.quantile(clear, each)), _FIRST_SCATTER) for each in _OTHER_STARTS]
    found = [_mixture(width, spread, designs, start) for start in starts]
    return max(found, key=lambda one: one[0])[1]


def _mixture(
    width: Floats, spread: Floats, designs: Sequence[Floats], start: tuple[float, float]
) -> tuple[float, Bools]:
    """How likely the best mixture is that a first middle and scatter lead to, and its stars."""
    middle, scatter = start
    off = width - middle
    star, other = _densities(off, spread + scatter**2, _AT_FIRST)
    for design in designs:
        odds = star / (star + other)
        if STARS_PER_TERM * design.shape[1] > odds.sum():
            break
        for _ in range(_TURNS):
            loaded = design * (odds / (spread + scatter**2))[:, None]
            square = loaded.T @ design
            square += np.diag(_FIRM * np.diag(square))
            off = width - design @ np.linalg.solve(square, loaded.T @ width)
            scatter = _own_scatter(off, spread, odds / np.square(spread + scatter**2))
            star, other = _densities(off, spread + scatter**2, float(odds.mean()))
            odds = star / (star + other)
    near = np.abs(off) <= _STRAY * np.sqrt(spread + scatter**2)
    return float(np.log(star + other).sum()), np.asarray((star > other) & near)


def _densities(off: Floats, variance: Floats, share: float) -> tuple[Floats, Floats]:
    """Of stars and of all else at each width; `share` is that of the stars."""
    star = share * np.exp(-0.5 * off**2 / variance) / np.sqrt(2.0 * np.pi * variance)
    other = (1.0 - share + _NEVER) * np.where(off > 0.0, 1.0, _NARROW) / _WIDTHS
    return np.asarray(star), np.asarray(other)


def _own_scatter(off: Floats, spread: Floats, weight: Floats) -> float:
    """Scatter of the stars beyond their errors."""
    excess = float((weight * (off**2 - spread)).sum() / max(weight.sum(), _NEVER))
    return float(np.sqrt(max(excess, _LEAST_SCATTER**2)))
