"""Robust polynomials from pixels to a tangent plane, and which order the stars bear out.

Wrong positions are weighed down by their studentised residuals (Krasker & Welsch 1982, JASA 77,
595): in a corner that hangs on one star, a polynomial of high order passes through that star
wherever it is, and the plain residual tells nothing. Orders are compared where it matters: at
stars that were left out of the fit, r / (1 - h), and over the whole frame, where a higher order
must change more than it makes uncertain (the focused information criterion of Claeskens & Hjort
2003, JASA 98, 900).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.median_deviation import excess_variance
from firstlight.algorithms.sky.projection import polynomial_terms

__all__ = [
    "MEDIAN_OF_ROUND",
    "Basis",
    "Places",
    "PolynomialFit",
    "choose_order",
    "fit_polynomial",
    "through_the_middle",
]

Floats = NDArray[np.float64]

MEDIAN_OF_ROUND = 1.177
"""Sigma: median distance of a round normal error."""

_LEAST_NOISE = 0.002  # pixels: what the pixel grid leaves in any position
_HEAVY = 9.0  # squared sigma from which a left-out star counts by its logarithm only
_ROUNDS = 8
_SETTLED = 0.02  # largest relative change of a weight that asks for no more rounds
_GRID = 9  # points a side at which two orders are compared
_WORTH = 2.0  # change by a higher order, squared, over what noise alone makes of it
_OPTICAL = 3  # the order that lenses and mirrors have first of all; higher ones are refinements
_WORST = 2.5  # errors of a typical star that a refinement may leave in a corner


@dataclass(frozen=True, eq=False)
class Basis:
    """Polynomials over some places that are orthogonal to each other there.

    The powers themselves are nearly alike, so that normal equations of them lose half of all
    digits; those of such polynomials lose none.

    Attributes
    ----------
    columns
        Their values at the places, orthonormal, shape ``(n, rank)``.
    back
        The coefficients of powers that each of them has, shape ``(terms, rank)``. Powers that
        the places do not tell apart are taken as small as can be.
    """

    columns: Floats
    back: Floats

    @classmethod
    def of(cls, design: Floats) -> Basis:
        """From the powers at the places, shape ``(n, terms)``."""
        q, r = np.linalg.qr(design)
        u, size, turn = np.linalg.svd(r, full_matrices=False)
        told = size > np.finfo(np.float64).eps * max(design.shape) * size[0]
        return cls(q @ u[:, told], turn[told].T / size[told])


@dataclass(frozen=True, eq=False)
class Places:
    """Places on a frame in units that keep powers near one.

    Attributes
    ----------
    u, v
        Offsets from the reference pixel over `size`, shape ``(n,)``.
    size
        Pixels.
    crpix
        The reference pixel, x and y, 0-based.
    """

    u: Floats
    v: Floats
    size: float
    crpix: tuple[float, float]
    _bases: dict[int, Basis] = field(default_factory=dict, repr=False)

    @classmethod
    def around(cls, x: Floats, y: Floats, crpix: tuple[float, float]) -> Places:
        """Of 0-based pixels; the farthest has length one."""
        u, v = x - crpix[0], y - crpix[1]
        size = max(float(np.max(np.hypot(u, v))), 1.0)
        return cls(u / size, v / size, size, crpix)

    def grid(self, shape: tuple[int, int]) -> Places:
        """Places all over a frame of `shape` ``(ny, nx)``, corners included, in the same units."""
        x, y = (
            (np.linspace(0.0, n - 1.0, _GRID) - middle) / self.size
            for n, middle in zip(shape[::-1], self.crpix, strict=True)
        )
        u, v = np.meshgrid(x, y)
        return Places(u.ravel(), v.ravel(), self.size, self.crpix)

    def design(self, order: int) -> Floats:
        """Powers of u and v, shape ``(n, terms)``; the constant is first."""
        u, v = (_powers(each, order) for each in (self.u, self.v))
        return np.stack([u[p] * v[q] for p, q in polynomial_terms(order)], axis=1)

    def basis(self, order: int) -> Basis:
        """Orthogonal polynomials up to `order`, made once."""
        if order not in self._bases:
            self._bases[order] = Basis.of(self.design(order))
        return self._bases[order]


@dataclass(frozen=True, eq=False)
class PolynomialFit:
    """A polynomial of both coordinates of a plane.

    Attributes
    ----------
    basis
        Polynomials over the fitted places.
    coefficients
        Of the powers, shape ``(terms, 2)``, pixels.
    weight
        Inverse error that each place was given in the end, shape ``(n,)``.
    off
        Distances of the places from the fit, pixels, shape ``(n,)``.
    leverage
        The share that each place has in its own prediction, shape ``(n,)``.
    spread
        Shape ``(terms, rank)``: the covariance of the powers' coefficients is this times its own
        transpose.
    """

    basis: Basis
    coefficients: Floats
    weight: Floats
    off: Floats
    leverage: Floats
    spread: Floats

    @property
    def studentised(self) -> Floats:
        """Distances as if each came from a place that did not pull the fit, shape ``(n,)``."""
        return np.asarray(self.off / np.sqrt(1.0 - self.leverage))

    @property
    def left_out(self) -> Floats:
        """Distances of the places from the fit to all others, pixels, shape ``(n,)``."""
        return np.asarray(self.off / (1.0 - self.leverage))

    def variance(self, design: Floats) -> Floats:
        """Variance of one coordinate of the fit at some places, square pixels, ``(places,)``."""
        return np.asarray(np.sum((design @ self.spread) ** 2, axis=1))


def fit_polynomial(
    places: Places,
    plane: Floats,
    order: int,
    errors: Floats | None = None,
    weight: Floats | None = None,
) -> PolynomialFit:
    """Least squares, repeated with Cauchy weights of the studentised residuals.

    Parameters
    ----------
    places
        Of the stars on the frame, ``(n,)``.
    plane
        Of the stars on the sky, pixels, shape ``(n, 2)``.
    order
        There should be more places than ``(order + 1) (order + 2) / 2``.
    errors
        One sigma of each place along one axis, pixels, ``(n,)``; all alike if None. What the
        residuals show beyond them is added to all.
    weight
        To begin with, ``(n,)``.
    """
    basis = places.basis(order)
    if weight is None:
        weight = np.ones(len(plane)) if errors is None else _at_first(errors)
    fit = _weighted(basis, plane, weight)
    for _ in range(_ROUNDS):
        distance = fit.studentised
        # A Cauchy weight halves at two sigma.
        weight = 1.0 / np.hypot(_with_excess(errors, distance), 0.5 * distance)
        settled = np.all(np.abs(weight - fit.weight) <= _SETTLED * fit.weight)
        fit = _weighted(basis, plane, weight)
        if settled:
            break
    return fit


def choose_order(
    places: Places,
    plane: Floats,
    orders: Sequence[int],
    errors: Floats | None,
    frame: Places,
) -> int:
    """Index of the lowest of some rising orders that no higher one is better than.

    A higher order is better if it predicts left-out stars better beyond doubt, and if it moves
    positions over the frame by more than it makes them uncertain. Above the third order it must
    besides leave no corner much less certain than a star is: else positions there would be
    extrapolated.

    Parameters
    ----------
    places, plane, errors
        As for `fit_polynomial`.
    frame
        Where positions will be wanted.
    """
    fits = [fit_polynomial(places, plane, order, errors) for order in orders]
    variance = np.square(_with_excess(errors, fits[-1].studentised))
    grids = [frame.design(order) for order in orders]
    doubts = [fit.variance(grid) for fit, grid in zip(fits, grids, strict=True)]
    bound = _WORST**2 * float(np.median(variance))
    best = 0
    for k in range(1, len(orders)):
        if orders[k] > _OPTICAL and np.max(doubts[k]) > bound:
            break
        extra = 2 * (grids[k].shape[1] - grids[best].shape[1])
        gain = _misses(fits[best], variance) - _misses(fits[k], variance)
        moved = grids[k] @ fits[k].coefficients - grids[best] @ fits[best].coefficients
        # Of both coordinates, as the change is.
        doubt = 2.0 * float(np.mean(doubts[k] - doubts[best]))
        worth = float(np.mean(np.sum(moved**2, axis=1))) > _WORTH * doubt
        if worth and gain > 3.0 * np.sqrt(2.0 * extra):
            best = k
    return best


def _at_first(errors: Floats) -> Floats:
    """Weights before there are residuals: the best stars are not yet trusted fully."""
    return np.asarray(1.0 / np.hypot(errors, np.median(errors)))


def _misses(fit: PolynomialFit, variance: Floats) -> float:
    """How badly left-out stars are predicted: chi-squared that bears wrong stars."""
    squared = np.square(fit.left_out) / variance
    return float(np.sum(_HEAVY * np.log1p(squared / _HEAVY)))


def through_the_middle(places: Places, plane: Floats, order: int, weight: Floats) -> Floats:
    """Least-squares coefficients ``(terms - 1, 2)`` without a constant, of given weights."""
    column = weight[:, np.newaxis]
    design = places.design(order)[:, 1:] * column
    return np.asarray(np.linalg.lstsq(design, plane * column, rcond=None)[0], np.float64)


def _powers(values: Floats, most: int) -> list[Floats]:
    powers = [np.ones_like(values)]
    for _ in range(most):
        powers.append(powers[-1] * values)
    return powers


def _weighted(basis: Basis, plane: Floats, weight: Floats) -> PolynomialFit:
    column = weight[:, np.newaxis]
    loaded = basis.columns * column
    # Orthonormal with the weights, too.
    turn = np.linalg.inv(np.linalg.cholesky(loaded.T @ loaded)).T
    loaded = loaded @ turn
    found = turn @ (loaded.T @ (plane * column))
    leverage = np.minimum(np.einsum("ij,ij->i", loaded, loaded), 0.999)
    off = np.hypot(*(plane - basis.columns @ found).T)
    return PolynomialFit(basis, basis.back @ found, weight, off, leverage, basis.back @ turn)


def _with_excess(errors: Floats | None, off: Floats) -> Floats:
    """Errors with the scatter added that the distances `off`, pixels, show beyond them.

    It shows in those whose errors are least. Shape ``(n,)``.
    """
    if errors is None:
        scatter = float(np.median(off)) / MEDIAN_OF_ROUND
        return np.full(len(off), max(scatter, _LEAST_NOISE))
    best = errors <= np.median(errors)
    off, own = off[best], errors[best]
    most = max(float(np.median(off)), 2.0 * _LEAST_NOISE)
    added = excess_variance(np.square(off), np.square(own), MEDIAN_OF_ROUND**2)
    return np.hypot(errors, float(np.sqrt(np.clip(added, _LEAST_NOISE**2, most**2))))
