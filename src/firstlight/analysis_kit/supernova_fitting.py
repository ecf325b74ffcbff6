"""Fitting one template: where to begin, the best parameters, and how well they are known."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import sncosmo
from scipy.optimize import OptimizeResult, least_squares, minimize_scalar
from scipy.stats import chi2 as chi2_distribution

from firstlight.analysis_kit.failures import AnalysisFailed
from firstlight.analysis_kit.supernova_likelihood import Likelihood, Scene, band_flux, covered
from firstlight.analysis_kit.supernova_photometry import Measurements
from firstlight.analysis_kit.supernova_templates import Template

__all__ = ["Fit", "Manner", "fit_template"]

_STARTS = 3
_START_STEP = 2.0  # d
_MOST_STARTS = 800
_START_COLOURS = (0.0, 0.4, 0.9)
_START_REDSHIFTS = 9
_START_ERROR = 0.1  # of the flux: what the shape of a first guess may be off by
_LATEST_ROUNDS = 4
_DOUBTFUL = 0.01  # chance of a chi2 so large, below which the errors are taken as too small
_LEAST_SCATTER, _LARGEST_SCATTER = 0.001, 1.0
_MOST_OUTLIERS = 0.1  # of the measurements: more than that are no outliers, but a wrong template


@dataclass(frozen=True)
class Fit:
    """A template at its best.

    Attributes
    ----------
    values
        Of `likelihood.names`, shape (k,).
    covariance
        Shape (k, k).
    chi2, ndof
        With the errors that were quoted (and the template's own, for SALT).
    log_posterior
        With errors that fit the scatter.
    calls
        How often the model was computed.
    """

    likelihood: Likelihood
    values: np.ndarray
    covariance: np.ndarray
    chi2: float
    log_posterior: float
    calls: int

    @property
    def template(self) -> Template:
        """What was fitted."""
        return self.likelihood.template

    @property
    def data(self) -> Measurements:
        """To what it was fitted."""
        return self.likelihood.data

    @property
    def names(self) -> tuple[str, ...]:
        """Free parameters."""
        return self.likelihood.names

    @property
    def errors(self) -> np.ndarray:
        """One sigma, shape (k,)."""
        return np.asarray(np.sqrt(np.diag(self.covariance)))

    @property
    def ndof(self) -> int:
        """Measurements less free parameters."""
        return self.data.number_measured - len(self.names)

    @property
    def bic(self) -> float:
        """Bayesian information criterion (Schwarz 1978); the extra scatter is a parameter too."""
        free = len(self.names) + (1 if self.likelihood.scatter > 0.0 else 0)
        return -2.0 * self.log_posterior + free * float(np.log(self.data.number_measured))

    @property
    def at_bounds(self) -> tuple[str, ...]:
        """Parameters that ended where they may not go on."""
        lk = self.likelihood
        near = 1e-3 * np.maximum(self.errors, 1e-12)
        stuck = (self.values - lk.low < near) | (lk.high - self.values < near)
        return tuple(name for name, is_stuck in zip(self.names, stuck, strict=True) if is_stuck)

    def model(self) -> sncosmo.Model:
        """A model of one's own with the best parameters."""
        return copy.deepcopy(self.likelihood.set(self.values))

    def value(self, name: str) -> float:
        """Of any parameter of the model, free or fixed."""
        return float(self.likelihood.set(self.values).get(name))


@dataclass(frozen=True)
class Manner:
    """How errors and doubtful measurements are treated.

    Attributes
    ----------
    scatter
        Whether errors are widened by a fraction of the flux, where chi2 shows that measurements or
        template are worse than the quoted errors.
    outlier
        Measurements this many (widened) errors off are left out; None keeps all.
    keep_late
        Whether to keep measurements after the template's end. Otherwise they are left out: it
        says nothing of them. Those before its beginning always stay: there it is dark.
    """

    scatter: bool = True
    outlier: float | None = 5.0
    keep_late: bool = False


def fit_template(
    template: Template, data: Measurements, scene: Scene, manner: Manner | None = None
) -> Fit:
    """The best parameters of a template.

    Raises
    ------
    AnalysisFailed
        Too few measurements, no band within its reach, or no convergence.
    """
    manner = manner or Manner()
    kept, redshift = covered(data, template, scene.redshift)
    likelihood = Likelihood(template, kept, replace(scene, redshift=redshift))
    _enough(likelihood)
    best, calls = _from_best_start(likelihood, _starts(likelihood))
    fit = None
    for _ in range(_LATEST_ROUNDS):
        late = _late(likelihood, best)
        if fit is not None and (manner.keep_late or not late.any()):
            outliers = _outliers(fit, manner.outlier)
            if not outliers.any():
                break
            likelihood = _again(likelihood, ~outliers, "far off the model")
        elif late.any() and not manner.keep_late:
            reason = f"after the end of the template {template.name}"
            likelihood = _again(likelihood, ~late, reason)
        fit = _with_errors(likelihood, best, calls, manner.scatter)
        best, calls = fit.values, fit.calls
    assert fit is not None  # noqa: S101, the loop ran at least once
    return fit


def _late(likelihood: Likelihood, values: np.ndarray) -> np.ndarray:
    return np.asarray(likelihood.data.mjd > likelihood.set(values).maxtime())


def _outliers(fit: Fit, limit: float | None) -> np.ndarray:
    """Measurements too far off, shape (n,); none where they are too many to be a few bad ones."""
    data = fit.data
    found = np.zeros(len(data), dtype=bool)
    if limit is None:
        return found
    offset = fit.likelihood.residuals(fit.values)[: data.number_measured]
    found[~data.is_limit] = np.abs(offset) > limit
    allowed = int(_MOST_OUTLIERS * data.number_measured)
    return found if np.count_nonzero(found) <= allowed else np.zeros_like(found)


def _again(old: Likelihood, chosen: np.ndarray, reason: str) -> Likelihood:
    if not chosen.any():
        raise AnalysisFailed(
            "the model failed to converge: at its best it ends before the measurements begin",
            hint=f"{old.template.name} may be the wrong source, or the first day too late",
        )
    new = Likelihood(old.template, old.data.of(chosen, reason), old.scene)
    _enough(new)
    new.low, new.high = old.low, old.high
    return new


def _enough(likelihood: Likelihood) -> None:
    needed = len(likelihood.names) + 1
    measured = likelihood.data.number_measured
    detected = int(np.count_nonzero(likelihood.data.is_detection))
    if measured < needed or detected < 3:
        raise AnalysisFailed(
            f"too few points: {measured} measurements, {detected} of them detections, "
            f"for {len(likelihood.names)} parameters of {likelihood.template.name}",
            hint=f"{needed} measurements and 3 detections are the least; "
            "fix the redshift, or take fewer cuts",
        )


def _starts(likelihood: Likelihood) -> list[np.ndarray]:
    """The most promising parameters of a coarse grid in redshift, colour and time."""
    redshift = likelihood.scene.redshift
    if redshift.fixed or redshift.value is not None:
        shifts = [redshift.value if redshift.value is not None else redshift.low]
    else:
        parts = np.linspace(0.1, 0.98, _START_REDSHIFTS) ** 2  # closer where most are found
        shifts = list(redshift.low + parts * (redshift.high - redshift.low))
    colour = next((name for name in ("c", "hostebv") if name in likelihood.names), None)
    found: list[tuple[float, np.ndarray]] = []
    for shift in shifts:
        for value in _START_COLOURS if colour else (0.0,):
            start = {"z": float(shift)}
            if colour:
                start[colour] = value
            found += _starts_in_time(likelihood, start)
    if not found:
        raise AnalysisFailed(
            f"the model failed to converge: no time of maximum lets {likelihood.template.name} "
            "be positive where the object was seen"
        )
    found.sort(key=lambda each: each[0])
    return [values for _, values in found[: 2 * _STARTS]]


def _starts_in_time(
    likelihood: Likelihood, start: dict[str, float]
) -> list[tuple[float, np.ndarray]]:
    """The best times of maximum for one redshift and colour, with their misfit."""
    data = likelihood.data
    at = likelihood.names.index("t0")
    low, high = likelihood.low[at], likelihood.high[at]
    step = max(_START_STEP, (high - low) / _MOST_STARTS)
    times = np.arange(low, high + step, step)
    likelihood.model.set(t0=0.0, **start)
    amplitude = likelihood.names[likelihood.amplitude]
    unit = float(likelihood.template.source.get(amplitude))
    likelihood.model.set(**{amplitude: unit})
    shapes = _shapes(likelihood, times)
    measured = ~data.is_limit
    flux, shapes = data.flux[measured], shapes[:, measured]
    weight = 1.0 / (data.error[measured] ** 2 + (_START_ERROR * flux) ** 2)
    scale = (shapes * flux) @ weight / np.maximum(shapes**2 @ weight, 1e-300)
    misfit = np.log1p((flux - scale[:, None] * shapes) ** 2 * weight).sum(axis=1)
    misfit[scale <= 0.0] = np.inf
    found = []
    for index in np.argsort(misfit, kind="stable")[:_STARTS]:
        if not np.isfinite(misfit[index]):
            continue
        typical = unit * scale[index]
        values = {**start, "t0": times[index], amplitude: typical}
        guess = [values.get(name, 0.0) for name in likelihood.names]
        found.append((float(misfit[index]), np.array(guess)))
    return found


def _shapes(likelihood: Likelihood, times: np.ndarray) -> np.ndarray:
    """Model fluxes for maxima at `times`, shape (times, measurements), interpolated."""
    data, model = likelihood.data, likelihood.model
    since = data.mjd[None, :] - times[:, None]
    last = max(float(since.max()), model.maxtime())
    grid = np.arange(model.mintime() - 1.0, last + 1.0, 1.0)
    shapes = np.empty(since.shape)
    for index, band in enumerate(data.bands):
        rows = data.band == index
        curve = band_flux(model, band, grid)
        shapes[:, rows] = np.interp(since[:, rows], grid, curve)
    return shapes


def _from_best_start(likelihood: Likelihood, starts: list[np.ndarray]) -> tuple[np.ndarray, int]:
    best, calls = None, 0
    tried: list[np.ndarray] = []
    likelihood.soften(_START_ERROR)
    for start in starts:
        near = [np.all(np.abs(start - other)[_shape_of(likelihood)] < 4.0) for other in tried]
        if any(near) or len(tried) == _STARTS:
            continue
        tried.append(start)
        likelihood.limit_amplitude(float(start[likelihood.amplitude]))
        found = _optimise(likelihood, start, loss="soft_l1")
        calls += found.nfev
        if best is None or found.cost < best.cost:
            best = found
            low, high = likelihood.low.copy(), likelihood.high.copy()
    if best is None:
        raise AnalysisFailed("the model failed to converge")
    likelihood.low, likelihood.high = low, high
    return np.asarray(best.x), calls


def _shape_of(likelihood: Likelihood) -> np.ndarray:
    """All parameters but the brightness, which is linear and finds itself."""
    return np.asarray(np.arange(len(likelihood.names)) != likelihood.amplitude)


def _optimise(likelihood: Likelihood, start: np.ndarray, loss: str = "linear") -> OptimizeResult:
    scale = np.array([_SCALES.get(name, 1.0) for name in likelihood.names])
    amplitude = likelihood.amplitude
    scale[amplitude] = 0.1 * abs(start[amplitude])
    inside = np.clip(start, likelihood.low + 1e-6 * scale, likelihood.high - 1e-6 * scale)

    def scaled(moved: np.ndarray) -> np.ndarray:
        return likelihood.residuals(inside + moved * scale)

    bounds = (likelihood.low - inside) / scale, (likelihood.high - inside) / scale
    try:
        found = least_squares(
            scaled, np.zeros(len(start)), bounds=bounds, loss=loss, diff_step=1e-5, max_nfev=200
        )
    except ValueError as fault:  # the residuals became infinite
        raise AnalysisFailed(f"the model failed to converge: {fault}") from fault
    found.x = inside + found.x * scale
    return found


_SCALES = {"t0": 1.0, "x1": 0.5, "c": 0.1, "hostebv": 0.1, "z": 0.02}


def _with_errors(
    likelihood: Likelihood, values: np.ndarray, calls: int, allow_scatter: bool
) -> Fit:
    """Widen the errors as far as the measurements ask for it, fit again, and tell the errors."""
    for _ in range(_LATEST_ROUNDS):
        scatter = _scatter(likelihood, values) if allow_scatter else 0.0
        likelihood.widen_errors(values, scatter)
        found = _optimise(likelihood, values)
        calls += found.nfev
        moved = np.abs(found.x - values)
        values = found.x
        covariance = _covariance(likelihood, values)
        if np.all(moved <= 0.02 * np.sqrt(np.diag(covariance))):
            break
    if not found.success or not np.all(np.isfinite(covariance)):
        raise AnalysisFailed(
            "the model failed to converge",
            hint="fix the redshift, choose another source, or look for bad points",
        )
    return Fit(
        likelihood=likelihood,
        values=values,
        covariance=covariance,
        chi2=likelihood.chi2(values),
        log_posterior=likelihood.log_posterior(values),
        calls=calls,
    )


def _scatter(likelihood: Likelihood, values: np.ndarray) -> float:
    """The most probable extra error, as a fraction of the flux; 0 where chi2 asks for none."""
    likelihood.widen_errors(values, 0.0)
    measured = ~likelihood.data.is_limit
    flux = likelihood.flux(values)[measured]
    residual = likelihood.data.flux[measured] - flux
    freedom = max(likelihood.data.number_measured - len(likelihood.names), 1)
    whitened = likelihood.residuals(values)[: len(flux)]
    if chi2_distribution.sf(float(np.sum(whitened**2)), freedom) > _DOUBTFUL:
        return 0.0
    # Where the template tells a covariance, its diagonal is what the scatter comes on top of.
    known = (residual / np.where(whitened == 0.0, np.inf, whitened)) ** 2
    known = np.maximum(known, likelihood.data.error[measured] ** 2)

    def cost(scatter: float) -> float:
        variance = known + (scatter * flux) ** 2
        return float(np.sum(residual**2 / variance) + np.log(variance).sum())

    found = float(minimize_scalar(cost, bounds=(0.0, _LARGEST_SCATTER), method="bounded").x)
    return found if found > _LEAST_SCATTER else 0.0


def _covariance(likelihood: Likelihood, values: np.ndarray) -> np.ndarray:
    """Inverse of the Fisher matrix, by central differences a tenth of an error wide.

    The ranges of the parameters count as flat priors, a twelfth of their width squared: without
    them what one band alone cannot tell, as the colour, would be known perfectly or not at all.
    """
    step = np.array([0.05 * _SCALES.get(name, 1.0) for name in likelihood.names])
    step[likelihood.amplitude] = 0.01 * abs(values[likelihood.amplitude])
    width = likelihood.high - likelihood.low
    known = np.where(np.isfinite(width) & (width > 0.0), 12.0 / np.maximum(width, 1e-300) ** 2, 0.0)
    known[likelihood.amplitude] = 0.0
    covariance: Any = None
    for _ in range(2):
        columns = []
        for index, off in enumerate(step):
            ahead, behind = values.copy(), values.copy()
            ahead[index] = min(values[index] + off, likelihood.high[index])
            behind[index] = max(values[index] - off, likelihood.low[index])
            change = likelihood.residuals(ahead) - likelihood.residuals(behind)
            columns.append(change / (ahead[index] - behind[index]))
        slopes = np.array(columns).T
        covariance = _inverse(slopes.T @ slopes + np.diag(known))
        step = np.clip(0.1 * np.sqrt(np.diag(covariance)), 0.01 * step, 20.0 * step)
    return np.asarray(covariance)


def _inverse(fisher: np.ndarray) -> np.ndarray:
    """Scaled to ones before it is inverted: brightness may be 1e-16 and time 6e4."""
    scale = np.sqrt(np.maximum(np.diag(fisher), 1e-300))
    inverse = np.linalg.pinv(fisher / np.outer(scale, scale), hermitian=True)
    return np.asarray(inverse / np.outer(scale, scale))
