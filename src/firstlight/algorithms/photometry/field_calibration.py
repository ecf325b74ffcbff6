"""The zero point of an image as it changes over the field and with colour, with its covariance.

``catalogue = -2.5 log10(flux) + P(x, y) + c (colour - pivot)``, where P is a polynomial of order
0 to 2. Weighted least squares with an intrinsic scatter and rejection in turns. A prediction for
one star holds the errors of all the coefficients and their correlations, and the scatter that
stars show beyond their known errors where there is evidence of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.median_deviation import scatter_about_median
from firstlight.algorithms.photometry.zero_point import (
    NotEnoughStars,
    References,
    fit_zero_point,
    intrinsic_scatter,
)

__all__ = ["FieldCalibration", "Prediction", "fit_field"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_TO_MAG = 2.5 / np.log(10.0)
_OUTLIER = 4.0  # sigma
_LEAST_LIMIT = 0.002  # magnitudes: nobody is an outlier by less
_LEAST_SNR = 10.0
_TURNS = 15
_TERMS = (1, 3, 6)  # of polynomials of order 0, 1, 2
_STARS_PER_TERM = 4
_WORTHWHILE = 3.0  # improvement of chi-square a term, for a higher order
_FEWEST_FOR_COLOUR = 10
_SMALLEST_COLOUR_RANGE = 0.1
_EVIDENCE = 1.0  # sigma of chi-square, for a scatter beyond the known errors


@dataclass(frozen=True)
class Prediction:
    """What turns the flux of one star into a magnitude.

    Attributes
    ----------
    zero
        Magnitude of one electron there, for that colour.
    error
        One sigma of all below together.
    fit_error
        Of the coefficients, with their correlations.
    colour_error
        Of the colour term times what is not known of the colour.
    scatter
        Of single stars beyond their known errors; 0 without evidence of any.
    """

    zero: float
    error: float
    fit_error: float
    colour_error: float
    scatter: float


@dataclass(frozen=True)
class FieldCalibration:
    """Zero point over an image.

    Attributes
    ----------
    coefficients, covariance
        Of the terms of the polynomial, then the colour term, if there is one.
    order
        Of the polynomial in the scaled place, ``(pixels - middle) / reach``.
    pivot
        Mean colour of the stars used; NaN without a colour term.
    colour_spread
        Standard deviation of their colours; NaN without a colour term.
    intrinsic
        Scatter that makes chi-square equal to its degrees of freedom, magnitudes.
    significant
        Whether there is evidence of that scatter.
    rms
        Weighted scatter of the residuals of the stars used, magnitudes.
    used
        Which stars informed the fit, ``(n,)``.
    residual
        Catalogue less fitted magnitude of every star with a flux, ``(n,)``, else NaN.
    """

    coefficients: Floats
    covariance: Floats
    order: int
    middle: tuple[float, float]
    reach: tuple[float, float]
    pivot: float
    colour_spread: float
    intrinsic: float
    significant: bool
    rms: float
    used: Bools
    residual: Floats

    @property
    def colour_term(self) -> float | None:
        """Magnitudes per magnitude of colour, None where it was not fitted."""
        return float(self.coefficients[-1]) if np.isfinite(self.pivot) else None

    @property
    def colour_term_err(self) -> float | None:
        """One sigma of the colour term."""
        return float(np.sqrt(self.covariance[-1, -1])) if np.isfinite(self.pivot) else None

    def zero(self, x: Floats, y: Floats) -> Floats:
        """Zero point at places in pixels, for a star of the pivot's colour; any shape."""
        spatial = _polynomial(*self._scaled(x, y), self.order)
        return np.asarray(spatial @ self.coefficients[: spatial.shape[-1]])

    def predict(
        self, x: float, y: float, colour: float | None = None, colour_err: float = 0.0
    ) -> Prediction:
        """The zero point for one star.

        Parameters
        ----------
        x, y
            Pixels.
        colour, colour_err
            Its colour index and one-sigma error. An unknown colour counts as the mean of the
            field's stars with their spread as its error.
        """
        row = _polynomial(*self._scaled(np.array([x]), np.array([y])), self.order)[0]
        doubt = 0.0
        if np.isfinite(self.pivot):
            term, term_err = float(self.coefficients[-1]), self.colour_term_err or 0.0
            if colour is None:
                row = np.append(row, 0.0)
                doubt = self.colour_spread * abs(term)
            else:
                row = np.append(row, colour - self.pivot)
                doubt = colour_err * float(np.hypot(term, term_err))
        fit = float(np.sqrt(row @ self.covariance @ row))
        scatter = self.intrinsic if self.significant else 0.0
        error = float(np.sqrt(fit**2 + doubt**2 + scatter**2))
        return Prediction(float(row @ self.coefficients), error, fit, doubt, scatter)

    def _scaled(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        return _scale(x, y, self.middle, self.reach)


@dataclass(frozen=True)
class _Data:
    """What is fitted: one row a star."""

    value: Floats
    noise: Floats
    u: Floats
    v: Floats
    colour: Floats | None  # less the pivot
    may: Bools


@dataclass(frozen=True)
class _Fit:
    coefficients: Floats
    covariance: Floats
    intrinsic: float
    chi: float
    used: Bools
    residual: Floats


def fit_field(
    flux: Floats,
    flux_err: Floats,
    references: References,
    places: tuple[Floats, Floats],
    shape: tuple[int, int],
    *,
    excluded: Bools | None = None,
    order: int | None = None,
    colour_term: bool = True,
) -> FieldCalibration:
    """Fit the zero point of one image.

    Parameters
    ----------
    flux, flux_err
        Electrons of the matched stars and one-sigma errors, ``(n,)``.
    references
        The catalogue's values of the same stars.
    places
        x and y, pixels, each ``(n,)``.
    shape
        ``(ny, nx)`` of the image.
    excluded
        Stars to leave out, ``(n,)``.
    order
        Of the polynomial; by default the highest of 0, 1, 2 that the stars justify.
    colour_term
        Whether to fit one, where the catalogue has colours of enough stars.

    Raises
    ------
    NotEnoughStars
        With fewer than three usable stars, or fewer than the order asked for needs.
    """
    first = fit_zero_point(flux, flux_err, References(references.mag, references.mag_err),
                           saturated=excluded)  # fmt: skip
    data, pivot, spread = _prepare(
        (flux, flux_err), references if colour_term else _without_colour(references),
        (places, shape), (first.zero, excluded),
    )  # fmt: skip
    fit, chosen = _choose(data, first.used & data.may, order)
    used = fit.used
    middle, reach = _frame(shape)
    weight = 1.0 / (np.square(data.noise[used]) + fit.intrinsic**2 + 1e-12)
    freedom = max(int(used.sum()) - len(fit.coefficients), 1)
    return FieldCalibration(
        coefficients=fit.coefficients,
        covariance=fit.covariance,
        order=chosen,
        middle=middle,
        reach=reach,
        pivot=pivot,
        colour_spread=spread,
        intrinsic=fit.intrinsic,
        significant=bool(fit.chi > freedom + _EVIDENCE * np.sqrt(2.0 * freedom)),
        rms=float(np.sqrt((weight * fit.residual[used] ** 2).sum() / weight.sum())),
        used=used,
        residual=fit.residual,
    )


def _without_colour(references: References) -> References:
    return References(references.mag, references.mag_err)


def _frame(shape: tuple[int, int]) -> tuple[tuple[float, float], tuple[float, float]]:
    ny, nx = shape
    return ((nx - 1) / 2.0, (ny - 1) / 2.0), (max(nx / 2.0, 1.0), max(ny / 2.0, 1.0))


def _scale(
    x: Floats, y: Floats, middle: tuple[float, float], reach: tuple[float, float]
) -> tuple[Floats, Floats]:
    return (np.asarray(x) - middle[0]) / reach[0], (np.asarray(y) - middle[1]) / reach[1]


def _polynomial(u: Floats, v: Floats, order: int) -> Floats:
    """Terms along a last axis."""
    terms = [np.ones(np.shape(u)), u, v, u * u, u * v, v * v]
    return np.stack(terms[: _TERMS[order]], axis=-1)


def _prepare(
    light: tuple[Floats, Floats],
    references: References,
    where: tuple[tuple[Floats, Floats], tuple[int, int]],
    rough: tuple[float, Bools | None],
) -> tuple[_Data, float, float]:
    """The rows to fit, the colour pivot and the spread of colours (NaN without a term)."""
    flux, flux_err = light
    zero, excluded = rough
    good = np.isfinite(flux) & (flux > 0) & np.isfinite(flux_err) & np.isfinite(references.mag)
    if excluded is not None:
        good &= ~excluded
    safe = np.where(good, flux, 1.0)
    error = np.where(good, flux_err, 1.0)
    # By what the catalogue predicts: a limit on the measured flux would choose lucky noise.
    with np.errstate(over="ignore"):
        expected = np.exp((zero - np.where(good, references.mag, zero)) / _TO_MAG)
    bright = good & (expected > _LEAST_SNR * error)
    if bright.sum() >= _STARS_PER_TERM:
        good = bright
    pivot = spread = float("nan")
    centred = None
    if references.colour is not None:
        known = good & np.isfinite(references.colour)
        colours = references.colour[known]
        if known.sum() >= _FEWEST_FOR_COLOUR and np.ptp(colours) > _SMALLEST_COLOUR_RANGE:
            pivot, spread = float(colours.mean()), float(colours.std(ddof=1))
            centred = np.nan_to_num(references.colour - pivot)
            good = known
    # By the expected flux again: the observed one would give lucky noise more weight, and the
    # mean of a logarithm is below the logarithm of the mean.
    ratio = np.where(good, error / np.maximum(expected, 1e-9), 0.0)
    value = references.mag + _TO_MAG * (np.log(safe) + 0.5 * np.minimum(ratio, 0.3) ** 2)
    value = np.where(good, value, np.nan)
    noise = np.hypot(_TO_MAG * ratio, np.nan_to_num(references.mag_err))
    u, v = _scale(*where[0], *_frame(where[1]))
    return _Data(value, noise, u, v, centred, good), pivot, spread


def _choose(data: _Data, start: Bools, order: int | None) -> tuple[_Fit, int]:
    """The fit of the order asked for, or of the highest that is worth its terms."""
    if order is not None:
        return _fit(data, _design(data, order), start), order
    best, chosen = _fit(data, _design(data, 0), start), 0
    for higher in (1, 2):
        design = _design(data, higher)
        if data.may.sum() < _STARS_PER_TERM * design.shape[1]:
            break
        fit = _fit(data, design, best.used)
        # On the same stars and with the same scatter, or the two do not compare.
        both = best.used & fit.used
        weight = 1.0 / (np.square(data.noise[both]) + fit.intrinsic**2 + 1e-12)
        gain = (weight * (best.residual[both] ** 2 - fit.residual[both] ** 2)).sum()
        if gain > _WORTHWHILE * (_TERMS[higher] - _TERMS[chosen]):
            best, chosen = fit, higher
    return best, chosen


def _design(data: _Data, order: int) -> Floats:
    design = _polynomial(data.u, data.v, order)
    if data.colour is None:
        return design
    return np.concatenate([design, data.colour[:, None]], axis=1)


def _fit(data: _Data, design: Floats, start: Bools) -> _Fit:
    """Weighted least squares, intrinsic scatter and rejection until nothing changes."""
    used = start
    intrinsic = scatter_about_median(data.value[used]) if used.any() else 0.0
    chi = 0.0
    for _ in range(_TURNS):
        _require(used, design.shape[1])
        weight = 1.0 / (np.square(data.noise[used]) + intrinsic**2 + 1e-12)
        loaded = design[used] * weight[:, None]
        covariance = np.linalg.pinv(loaded.T @ design[used]).astype(np.float64)
        solution = covariance @ (loaded.T @ data.value[used])
        residual = data.value - design @ solution
        freedom = max(int(used.sum()) - design.shape[1], 1)
        chi = float((residual[used] ** 2 / (np.square(data.noise[used]) + 1e-12)).sum())
        before, earlier = used, intrinsic
        intrinsic = intrinsic_scatter(residual[used], data.noise[used], freedom)
        sigma = np.sqrt(np.square(data.noise) + intrinsic**2)
        with np.errstate(invalid="ignore"):
            near = np.abs(residual) <= np.maximum(_OUTLIER * sigma, _LEAST_LIMIT)
        used = data.may & near
        if np.array_equal(before, used) and abs(intrinsic - earlier) < 1e-3 * earlier + 1e-6:
            break
    return _Fit(solution, covariance, intrinsic, chi, before, residual)


def _require(used: Bools, terms: int) -> None:
    if used.sum() < max(3, terms + 1):
        raise NotEnoughStars(found=int(used.sum()), expected=f"at least {max(3, terms + 1)}")
