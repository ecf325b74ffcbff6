"""How probable the measurements are, given a template and its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import sncosmo
from scipy.linalg import cholesky, solve_triangular
from scipy.special import log_ndtr

from firstlight.analysis_kit.failures import AnalysisFailed
from firstlight.analysis_kit.supernova_bandpasses import Passband
from firstlight.analysis_kit.supernova_photometry import Measurements
from firstlight.analysis_kit.supernova_templates import Template

__all__ = ["Likelihood", "RedshiftPrior", "Scene", "band_flux"]

HOST_DUST = "hostebv"
_RANGES = {"x1": (-4.0, 4.0), "c": (-0.5, 2.5), HOST_DUST: (0.0, 2.0)}
_WIDEST = 1.3  # of a stretched template
_JUST_BEFORE = 1e-3  # d: on the very edge rounding lets SALT's spectra vanish
_TAIL = 0.015 * 0.4 * np.log(10.0)  # a day: 0.015 mag, as of cobalt that loses some gamma rays
_AMPLITUDES = ("x0", "amplitude")


@dataclass(frozen=True)
class RedshiftPrior:
    """What is known of the redshift before the fit.

    Attributes
    ----------
    value, error
        Mean and deviation of a Gaussian; None where nothing is known but the range.
    low, high
        The range; equal where the redshift is fixed.
    told
        The same in words.
    """

    low: float
    high: float
    value: float | None = None
    error: float | None = None
    told: str = ""

    @property
    def fixed(self) -> bool:
        """Whether it is no parameter of the fit."""
        return self.low == self.high


@dataclass(frozen=True)
class Scene:
    """What lies between the supernova and us: its distance and dust."""

    redshift: RedshiftPrior
    milky_way: float = 0.0
    host_dust: bool = False


def band_flux(model: sncosmo.Model, band: Passband, mjd: np.ndarray) -> np.ndarray:
    """µJy (AB) through a band, shape (n,), at rising times.

    Zero before the template begins. After its end it fades slowly: nobody should believe that,
    but a search for the time of maximum can then cross the end.
    """
    mjd = np.asarray(mjd, dtype=np.float64)
    end = model.maxtime() - _JUST_BEFORE
    flux = model.flux(np.minimum(mjd, end), band.wave) @ band.weight
    flux *= np.exp(-_TAIL * np.clip(mjd - end, 0.0, None))
    flux[mjd < model.mintime()] = 0.0
    return np.asarray(flux)


def _bright_time(data: Measurements) -> float:
    """MJD about which the supernova was bright: a template that ends before it explains nothing."""
    relative = np.zeros(len(data))
    for index in range(len(data.bands)):
        rows = (data.band == index) & ~data.is_limit
        if rows.any():
            relative[rows] = data.flux[rows] / max(float(data.flux[rows].max()), 1e-300)
    brightest = np.argsort(-relative, kind="stable")[: max(3, len(data) // 5)]
    return float(np.median(data.mjd[brightest]))


class Likelihood:
    """Of the free parameters of a template, for one set of measurements.

    Attributes
    ----------
    names
        Free parameters, in the order of every array of them.
    low, high
        Their ranges, shape (k,).
    scatter
        Error beyond those quoted, as a fraction of the model's flux.
    """

    def __init__(self, template: Template, data: Measurements, scene: Scene) -> None:
        self.template = template
        self.data = data
        self.scene = scene
        self.model = _model(template, scene)
        self.scatter = 0.0
        self.names = self._free_names()
        self.low, self.high = self._ranges()
        self._whitening: np.ndarray | None = None
        self._error = data.error
        self._of_band = [np.flatnonzero(data.band == index) for index in range(len(data.bands))]

    def _free_names(self) -> tuple[str, ...]:
        fixed = {"mwebv", "hostr_v", "mwr_v"} | ({"z"} if self.scene.redshift.fixed else set())
        if len(self.data.bands) == 1:
            fixed |= {"c", HOST_DUST}  # one band tells brightness or colour, not both
        return tuple(name for name in self.model.param_names if name not in fixed)

    def _ranges(self) -> tuple[np.ndarray, np.ndarray]:
        ranges = dict(_RANGES)
        redshift, data = self.scene.redshift, self.data
        ranges["z"] = (redshift.low, redshift.high)
        seen = data.mjd[data.is_detection] if data.is_detection.any() else data.mjd
        source, stretch = self.model.source, 1.0 + redshift.high
        ranges["t0"] = (
            _bright_time(data) - source.maxphase() * stretch,
            seen.max() - source.minphase() * _WIDEST * stretch,
        )
        pairs = [ranges.get(name, (-np.inf, np.inf)) for name in self.names]
        low, high = np.array(pairs).T
        return low, high

    @property
    def amplitude(self) -> int:
        """Where the parameter of the brightness stands."""
        return next(i for i, name in enumerate(self.names) if name in _AMPLITUDES)

    def limit_amplitude(self, typical: float) -> None:
        """Give the brightness a range about a first guess of it."""
        self.low[self.amplitude], self.high[self.amplitude] = typical * 1e-4, typical * 1e4

    def set(self, values: np.ndarray) -> sncosmo.Model:
        """The model with these parameters; one object, changed in place."""
        self.model.set(**dict(zip(self.names, values, strict=True)))
        return self.model

    def flux(self, values: np.ndarray) -> np.ndarray:
        """µJy that the model has where there are measurements, shape (n,)."""
        model = self.set(values)
        flux = np.empty(len(self.data))
        for band, rows in zip(self.data.bands, self._of_band, strict=True):
            flux[rows] = band_flux(model, band, self.data.mjd[rows])
        return flux

    def residuals(self, values: np.ndarray) -> np.ndarray:
        """Half their sum of squares is the negative logarithm of the posterior, less a constant.

        Shape (measured + limits + priors,). Of a limit L with error s the probability is that of
        a Gaussian below it, Φ((L - model) / s), so its residual is sqrt(-2 ln Φ).
        """
        flux = self.flux(values)
        limit = self.data.is_limit
        offset = (self.data.flux - flux)[~limit]
        if self._whitening is None:
            measured = offset / self._error[~limit]
        else:
            measured = solve_triangular(self._whitening, offset, lower=True)
        room = (self.data.flux - flux)[limit] / self._error[limit]
        below = np.sqrt(-2.0 * np.minimum(log_ndtr(room), 0.0))
        return np.concatenate([measured, below, self._prior(values)])

    def _prior(self, values: np.ndarray) -> np.ndarray:
        redshift = self.scene.redshift
        if redshift.fixed or redshift.value is None or redshift.error is None:
            return np.empty(0)
        offset = values[self.names.index("z")] - redshift.value
        return np.array([offset / redshift.error])

    def log_posterior(self, values: np.ndarray) -> float:
        """Logarithm of likelihood times prior; the flat priors are the ranges, and cost nothing."""
        return float(-0.5 * np.sum(self.residuals(values) ** 2) - self.log_normalisation)

    @property
    def log_normalisation(self) -> float:
        """Of the Gaussians of the measurements: it tells how large their errors were made."""
        if self._whitening is not None:
            spread = float(np.sum(np.log(np.diag(self._whitening))))
        else:
            spread = float(np.sum(np.log(self._error[~self.data.is_limit])))
        return spread + 0.5 * self.data.number_measured * float(np.log(2.0 * np.pi))

    def chi2(self, values: np.ndarray) -> float:
        """Of the measurements, with the template's own covariance and without `scatter`."""
        plain = Likelihood(self.template, self.data, self.scene)
        plain.widen_errors(values, 0.0)
        return float(np.sum(plain.residuals(values)[: self.data.number_measured] ** 2))

    def soften(self, fraction: float) -> None:
        """Widen the errors by a fraction of what was measured, for a first guess."""
        self._error = np.hypot(self.data.error, fraction * self.data.flux)
        self._whitening = None

    def widen_errors(self, values: np.ndarray, scatter: float) -> None:
        """Add the template's own covariance, where it tells one, and a scatter.

        Both are fractions of the flux of the model at `values`, and stay as they are while the
        parameters move: errors that follow the model would pull it to be faint.
        """
        self.scatter = scatter
        flux = self.flux(values)
        self._error = np.hypot(self.data.error, scatter * flux)
        covariance = self._model_covariance(values, flux)
        if covariance is None:
            self._whitening = None
            return
        measured = ~self.data.is_limit
        covariance = covariance[np.ix_(measured, measured)] + np.diag(self._error[measured] ** 2)
        self._whitening = cholesky(covariance, lower=True)

    def _model_covariance(self, values: np.ndarray, flux: np.ndarray) -> np.ndarray | None:
        """As SALT's templates have it: what supernovae scatter about them."""
        if not hasattr(self.template.source, "bandflux_rcov"):
            return None
        model = self.set(values)
        bands = np.array([self.data.bands[index].band for index in self.data.band], dtype=object)
        relative = model._bandflux_rcov(bands, self.data.mjd)  # noqa: SLF001, bandfluxcov would do all fluxes again
        return np.asarray(flux * relative * flux[:, None])


def _model(template: Template, scene: Scene) -> sncosmo.Model:
    """The template behind the dust of its host, if it has no colour of its own, and of ours."""
    effects: list[Any] = []
    names, frames = [], []
    if scene.host_dust and "c" not in template.source.param_names:
        effects, names, frames = [sncosmo.F99Dust(r_v=3.1)], ["host"], ["rest"]
    if scene.milky_way:
        effects.append(sncosmo.F99Dust(r_v=3.1))
        names, frames = [*names, "mw"], [*frames, "obs"]
    model = sncosmo.Model(template.source, effects, names, frames)
    model.set(z=scene.redshift.low)
    if scene.milky_way:
        model.set(mwebv=scene.milky_way)
    return model


def covered(
    data: Measurements, template: Template, redshift: RedshiftPrior
) -> tuple[Measurements, RedshiftPrior]:
    """The bands that the template reaches, and the redshifts at which it reaches all of them.

    Raises
    ------
    AnalysisFailed
        It reaches none.
    """
    reference = redshift.value if redshift.value is not None else redshift.low
    source = template.source
    inside: Mapping[int, bool] = {
        index: source.minwave() * (1.0 + reference) <= band.reach[0]
        and band.reach[1] <= source.maxwave() * (1.0 + reference)
        for index, band in enumerate(data.bands)
    }
    if not any(inside.values()):
        raise AnalysisFailed(
            f"no usable band: the template {template.name} reaches none of "
            f"{', '.join(band.name for band in data.bands)} at redshift {reference:g}",
            hint="choose another source, or change the redshift",
        )
    chosen = np.array([inside[index] for index in data.band])
    kept = data.of(chosen, f"outside the wavelengths of {template.name}")
    if redshift.fixed:
        return kept, redshift
    bluest = min(band.reach[0] for band in kept.bands)
    reddest = max(band.reach[1] for band in kept.bands)
    low = max(redshift.low, reddest / source.maxwave() - 1.0)
    high = min(redshift.high, bluest / source.minwave() - 1.0)
    if low >= high:
        raise AnalysisFailed(
            f"at no redshift from {redshift.low:g} to {redshift.high:g} does {template.name} reach "
            f"{', '.join(band.name for band in kept.bands)}",
            hint="choose another source, or another range of redshift",
        )
    return kept, RedshiftPrior(low, high, redshift.value, redshift.error, redshift.told)
