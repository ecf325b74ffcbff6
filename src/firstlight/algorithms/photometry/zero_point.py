"""How bright is one electron: the photometric zero point of an image, with an honest error.

The model is ``m = -2.5 log10(flux) + zero + k (colour - pivot) + spatial terms``, where `flux` is
in electrons per exposure or per second, as the caller gave it. Residuals are measured against flux
errors, catalogue errors and an intrinsic scatter that is estimated; outliers are rejected; stars
that the detector saturated and stars that were only found because noise lifted them are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.median_deviation import MAD_TO_SIGMA, scatter_about_median
from firstlight.errors import UserError

__all__ = [
    "NotEnoughStars",
    "References",
    "ZeroPointFit",
    "fit_zero_point",
    "intrinsic_scatter",
]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_TO_MAG = 2.5 / np.log(10.0)
_OUTLIER = 4.0  # sigma
_LEAST_LIMIT = 0.002  # magnitudes: nobody is an outlier by less
_FAINTEST_SNR = 10.0
_FEWEST = 3
_FEWEST_FOR_COLOUR = 10
_SMALLEST_COLOUR_RANGE = 0.1
_FEWEST_PER_TERM = 5
_TURNS = 12
_BRIGHT_GROUP = 5


class NotEnoughStars(UserError):
    """Too few reference stars for a zero point."""

    code = "zero_point.too_few_stars"


@dataclass(frozen=True)
class References:
    """Catalogue values of the matched stars, each ``(n,)``, NaN where unknown.

    Attributes
    ----------
    mag, mag_err
        Magnitude and one-sigma error; an unknown error counts as zero, the intrinsic scatter
        takes it up.
    colour
        Colour index; ``None`` where the catalogue has none.
    """

    mag: Floats
    mag_err: Floats
    colour: Floats | None = None


@dataclass(frozen=True)
class ZeroPointFit:
    """A zero point.

    Attributes
    ----------
    zero, zero_err
        Zero point and its one-sigma standard error, magnitudes, at colour `pivot` and at the mean
        place of the stars used.
    colour_term, colour_term_err
        Magnitudes per magnitude of colour; 0 and NaN when not fitted.
    pivot
        Median colour of the stars used; NaN when no colour term was fitted.
    gradient
        Change in x and in y, magnitudes per pixel; zeros when not fitted.
    centre
        Place where the gradient adds nothing, pixels.
    intrinsic
        Scatter beyond the known errors, magnitudes.
    limiting_mag
        Magnitude of a star whose flux is five times its error (``snr`` times, as asked for).
    used
        Which stars informed the fit, ``(n,)``.
    residual
        Catalogue less fitted magnitude of every star with a positive flux, ``(n,)``, else NaN.
    """

    zero: float
    zero_err: float
    colour_term: float
    colour_term_err: float
    pivot: float
    gradient: tuple[float, float]
    centre: tuple[float, float]
    intrinsic: float
    limiting_mag: float
    used: Bools
    residual: Floats

    def magnitude(
        self,
        flux: Floats,
        colour: Floats | None = None,
        position: tuple[Floats, Floats] | None = None,
    ) -> Floats:
        """Calibrated magnitudes; NaN where the flux is not positive.

        An unknown colour counts as the pivot, an unknown place as the centre.
        """
        safe = np.where(flux > 0, flux, np.nan)
        out: Floats = self.zero - _TO_MAG * np.log(safe)
        if colour is not None and np.isfinite(self.pivot):
            out = out + self.colour_term * np.nan_to_num(colour - self.pivot)
        if position is not None:
            out = out + self.gradient[0] * (position[0] - self.centre[0])
            out = out + self.gradient[1] * (position[1] - self.centre[1])
        return out


def fit_zero_point(
    flux: Floats,
    flux_err: Floats,
    references: References,
    *,
    saturated: Bools | None = None,
    position: tuple[Floats, Floats] | None = None,
    snr: float = 5.0,
) -> ZeroPointFit:
    """Fit the zero point of one image.

    Parameters
    ----------
    flux, flux_err
        Electrons (per exposure or per second: the zero point is for the same) and one-sigma
        errors of the matched stars, shape ``(n,)``.
    references
        The catalogue's values of the same stars.
    saturated
        Stars to leave out, shape ``(n,)``. Brighter stars that fall short of the others together
        are found and left out as well.
    position
        Pixels ``(x, y)``, each ``(n,)``; fits a gradient over the image when given and there are
        stars enough.
    snr
        Signal-to-noise ratio that defines the limiting magnitude.

    Raises
    ------
    NotEnoughStars
        With fewer than three usable stars at any stage.

    Notes
    -----
    The faint limit is set on the flux that the *catalogue* magnitude predicts: a limit on the
    measured flux would keep faint stars lifted by noise and drop those lowered by it (Eddington).
    """
    good = np.isfinite(flux) & (flux > 0) & np.isfinite(flux_err) & (flux_err > 0)
    good &= np.isfinite(references.mag)
    if saturated is not None:
        good &= ~saturated
    _require(good)
    safe = np.where(good, flux, 1.0)
    shift = np.where(good, references.mag + _TO_MAG * np.log(safe), np.nan)
    noise = np.hypot(_TO_MAG * flux_err / safe, np.nan_to_num(references.mag_err))
    kept = _not_selected_by_noise(flux, flux_err, references.mag, shift, good)
    kept = _not_short_of_light(references.mag, shift, noise, kept)
    design, pivot, centre = _design(references.colour, position, kept)
    if np.isfinite(pivot):
        kept = kept & np.isfinite(design[:, 1])
    solution, covariance, intrinsic, used = _robust_fit(design, shift, noise, kept)
    terms = dict(zip(_names(pivot, centre), range(len(solution)), strict=True))
    errors = np.sqrt(np.diag(covariance))
    colour = terms.get("colour")
    slopes = [float(solution[terms[k]]) if k in terms else 0.0 for k in ("x", "y")]
    zero = float(solution[0])
    return ZeroPointFit(
        zero=zero,
        zero_err=float(errors[0]),
        colour_term=0.0 if colour is None else float(solution[colour]),
        colour_term_err=float("nan") if colour is None else float(errors[colour]),
        pivot=pivot,
        gradient=(slopes[0], slopes[1]),
        centre=centre if centre is not None else (0.0, 0.0),
        intrinsic=intrinsic,
        limiting_mag=zero - _TO_MAG * float(np.log(_limiting_flux(flux, flux_err, good, snr))),
        used=used,
        residual=shift - np.nan_to_num(design) @ solution,
    )


def _require(usable: Bools, fewest: int = _FEWEST) -> None:
    if usable.sum() < fewest:
        raise NotEnoughStars(
            found=int(usable.sum()),
            expected=f"at least {fewest}",
            hint="check the plate solution, the catalogue's limit and the saturation level",
        )


def _not_selected_by_noise(
    flux: Floats, flux_err: Floats, mag: Floats, shift: Floats, good: Bools
) -> Bools:
    strong = good & (flux > 2.0 * _FAINTEST_SNR * flux_err)
    if strong.sum() < _FEWEST:
        strong = good
    rough = float(np.median(shift[strong]))
    expected = np.exp((rough - mag) / _TO_MAG)
    kept = good & (expected > _FAINTEST_SNR * flux_err)
    return kept if kept.sum() >= _FEWEST else good


def _not_short_of_light(mag: Floats, shift: Floats, noise: Floats, kept: Bools) -> Bools:
    """Leave out the bright end as far as groups of stars there fall short of the rest."""
    index = np.flatnonzero(kept)
    if len(index) < 4 * _BRIGHT_GROUP:
        return kept
    order = index[np.argsort(mag[index], kind="stable")]
    middle = float(np.median(shift[order]))
    scatter = scatter_about_median(shift[order])
    first = 0
    for start in range(len(order) // 3):
        group = order[start : start + _BRIGHT_GROUP]
        error = 1.25 * np.hypot(scatter, np.median(noise[group])) / np.sqrt(_BRIGHT_GROUP)
        if np.median(shift[group]) > middle - _OUTLIER * error:
            break
        first = start + _BRIGHT_GROUP
    out = kept.copy()
    out[order[:first]] = False
    return out


def _design(
    colour: Floats | None, position: tuple[Floats, Floats] | None, kept: Bools
) -> tuple[Floats, float, tuple[float, float] | None]:
    """Columns ``(n, n_term)``, the colour pivot (NaN for none), the centre (None for none)."""
    columns = [np.ones(len(kept))]
    pivot, centre = float("nan"), None
    if colour is not None:
        known = kept & np.isfinite(colour)
        if known.sum() >= _FEWEST_FOR_COLOUR and np.ptp(colour[known]) > _SMALLEST_COLOUR_RANGE:
            pivot = float(np.median(colour[known]))
            columns.append(colour - pivot)
    if position is not None and kept.sum() >= _FEWEST_PER_TERM * (len(columns) + 2):
        centre = (float(position[0][kept].mean()), float(position[1][kept].mean()))
        columns += [position[0] - centre[0], position[1] - centre[1]]
    return np.stack(columns, axis=1), pivot, centre


def _names(pivot: float, centre: tuple[float, float] | None) -> list[str]:
    names = ["zero"]
    if np.isfinite(pivot):
        names.append("colour")
    if centre is not None:
        names += ["x", "y"]
    return names


def _robust_fit(
    design: Floats, value: Floats, noise: Floats, kept: Bools
) -> tuple[Floats, Floats, float, Bools]:
    """Weighted least squares, intrinsic scatter and rejection until nothing changes."""
    _require(kept, max(_FEWEST, design.shape[1] + 1))
    middle = float(np.median(value[kept]))
    scatter = scatter_about_median(value[kept])
    used = kept & (np.abs(value - middle) <= 2.0 * _OUTLIER * np.hypot(scatter, noise))
    intrinsic = scatter
    solution = np.zeros(design.shape[1])
    covariance: Floats = np.eye(design.shape[1])
    for _ in range(_TURNS):
        _require(used, max(_FEWEST, design.shape[1] + 1))
        weight = 1.0 / (np.square(noise[used]) + intrinsic**2 + 1e-12)
        loaded = design[used] * weight[:, None]
        covariance = np.linalg.inv(loaded.T @ design[used]).astype(np.float64)
        solution = covariance @ (loaded.T @ value[used])
        residual = value - np.nan_to_num(design) @ solution
        freedom = int(used.sum()) - design.shape[1]
        earlier, intrinsic = intrinsic, intrinsic_scatter(residual[used], noise[used], freedom)
        sigma = np.sqrt(np.square(noise) + intrinsic**2)
        # Stars that agree better than the catalogue's errors allow show up their blends.
        seen = MAD_TO_SIGMA * float(np.median(np.abs(residual[used]) / (sigma[used] + 1e-9)))
        limit = _OUTLIER * min(seen, 1.0) * sigma
        before, used = used, kept & (np.abs(residual) <= np.maximum(limit, _LEAST_LIMIT))
        if np.array_equal(before, used) and abs(intrinsic - earlier) < 1e-3 * earlier + 1e-6:
            break
    return solution, covariance, intrinsic, used


def intrinsic_scatter(residual: Floats, noise: Floats, freedom: int) -> float:
    """The scatter with which chi-square equals its degrees of freedom, by bisection."""

    def excess(scatter: float) -> float:
        chi = np.square(residual) / (np.square(noise) + scatter**2 + 1e-12)
        return float(chi.sum()) - freedom

    if excess(0.0) <= 0:
        return 0.0
    low, high = 0.0, 10.0 * float(np.abs(residual).max())
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return 0.5 * (low + high)


def _limiting_flux(flux: Floats, flux_err: Floats, good: Bools, snr: float) -> float:
    """Flux at `snr`, from a variance that is sky plus a part in proportion to flux."""
    variance = np.square(flux_err[good])
    slope, sky = 0.0, float(np.median(variance))
    if good.sum() >= 5:
        design = np.stack([np.ones(good.sum()), flux[good]], axis=1) / variance[:, None]
        (sky, slope), *_ = np.linalg.lstsq(design, np.ones(good.sum()), rcond=None)
        sky, slope = max(float(sky), float(variance.min()) * 1e-3), max(float(slope), 0.0)
    # flux**2 = snr**2 (sky + slope flux)
    half = 0.5 * snr**2 * slope
    return half + float(np.sqrt(half**2 + snr**2 * sky))
