"""How well the parameters are known: draws from their posterior, in one of three ways."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from firstlight.analysis_kit.failures import AnalysisFailed
from firstlight.analysis_kit.supernova_fitting import Fit

__all__ = ["SAMPLERS", "Posterior", "sample"]

DRAWS = 10_000
SAMPLERS = ("none", "mcmc", "nest")

_WALKERS = 32
_BURN_IN = 300
_STEPS = 700
_LIVE_POINTS = 200
_MOST_CALLS = 60_000
# Ranges of the nested sampler about the best parameters: the same for every template, so that
# their evidences can be compared.
_DAYS = 30.0
_LOG_BRIGHTNESS = 2.0

Tell = Callable[[float], None]


@dataclass(frozen=True)
class Posterior:
    """Draws of the free parameters.

    Attributes
    ----------
    draws
        Shape (n, k), in the order of `Fit.names`.
    how
        In words.
    log_evidence, log_evidence_error
        Natural logarithms, of the nested sampler only.
    """

    draws: np.ndarray
    how: str
    log_evidence: float | None = None
    log_evidence_error: float | None = None


def sample(fit: Fit, sampler: str, seed: int, tell: Tell = lambda _: None) -> Posterior:
    """Draws from the posterior; the same for the same seed.

    Parameters
    ----------
    sampler
        ``none`` for a Gaussian with the covariance of the fit, cut off at the parameters' ranges;
        ``mcmc`` for the affine-invariant ensemble of emcee (Foreman-Mackey et al. 2013); ``nest``
        for nested sampling by nestle (Skilling 2006; ellipsoids after Feroz et al. 2009), which
        alone gives an evidence. All use the errors that the fit came to.
    tell
        Gets how much of it is done, in 0..1.
    """
    if sampler == "mcmc":
        return _ensemble(fit, seed, tell)
    if sampler == "nest":
        return _nested(fit, seed, tell)
    return _gaussian(fit, seed)


def _gaussian(fit: Fit, seed: int) -> Posterior:
    random = np.random.default_rng(seed)
    low, high = fit.likelihood.low, fit.likelihood.high
    # In units of the errors: brightness may be 1e-16 and time 6e4.
    scale = np.where(fit.errors > 0.0, fit.errors, 1.0)
    correlation = fit.covariance / np.outer(scale, scale)
    values, vectors = np.linalg.eigh(correlation)
    spread = vectors * np.sqrt(np.clip(values, 0.0, None))
    unit = random.standard_normal((4 * DRAWS, len(scale)))
    draws = fit.values + (unit @ spread.T) * scale
    inside = np.all((draws >= low) & (draws <= high), axis=1)
    if np.count_nonzero(inside) >= DRAWS:
        draws = draws[inside]
    return Posterior(np.clip(draws[:DRAWS], low, high), "Gaussian draws from the covariance")


def _log_probability(fit: Fit) -> Callable[[np.ndarray], float]:
    low, high = fit.likelihood.low, fit.likelihood.high

    def log_probability(values: np.ndarray) -> float:
        if np.any(values < low) or np.any(values > high):
            return -np.inf
        found = fit.likelihood.log_posterior(values)
        return found if np.isfinite(found) else -np.inf

    return log_probability


def _ensemble(fit: Fit, seed: int, tell: Tell) -> Posterior:
    try:
        import emcee  # noqa: PLC0415, of the extra, and only for this sampler
    except ImportError as fault:
        raise _missing("emcee") from fault

    begin = _gaussian(fit, seed).draws[:_WALKERS]
    # Strictly inside, and no two in one place, though a parameter may be at its end.
    nudge = np.random.default_rng(seed).uniform(0.0, 1e-3, begin.shape) * fit.errors
    begin = np.where(begin + nudge > fit.likelihood.high, begin - nudge, begin + nudge)
    sampler = emcee.EnsembleSampler(_WALKERS, begin.shape[1], _log_probability(fit))
    state = emcee.State(begin, random_state=np.random.RandomState(seed).get_state())
    total = _BURN_IN + _STEPS
    for done, _ in enumerate(sampler.sample(state, iterations=total), start=1):
        if done % 50 == 0:
            tell(done / total)
    chain = sampler.get_chain(discard=_BURN_IN, flat=True)
    kept = np.linspace(0, len(chain) - 1, min(DRAWS, len(chain))).astype(int)
    how = f"emcee, {_WALKERS} walkers, {_STEPS} steps after {_BURN_IN}"
    return Posterior(chain[kept], how)


def _nested(fit: Fit, seed: int, tell: Tell) -> Posterior:
    try:
        import nestle  # noqa: PLC0415, as above
    except ImportError as fault:
        raise _missing("nestle") from fault

    low, width, brightness = _prior_box(fit)
    log_probability = _log_probability(fit)

    def from_unit(unit: np.ndarray) -> np.ndarray:
        values = low + unit * width
        values[brightness] = np.exp(values[brightness])
        return np.asarray(values)

    def told(info: dict[str, float]) -> None:
        if info["it"] % 200 == 0:
            tell(min(0.95, info["it"] / (_LIVE_POINTS * 25.0)))

    found = nestle.sample(
        log_probability,
        from_unit,
        len(width),
        npoints=_LIVE_POINTS,
        method="multi",
        maxcall=_MOST_CALLS,
        rstate=np.random.RandomState(seed),
        callback=told,
    )
    random = np.random.default_rng(seed)
    chosen = random.choice(
        len(found.samples), size=DRAWS // 2, p=found.weights / found.weights.sum()
    )
    how = f"nestle, {_LIVE_POINTS} live points, {found.ncall} calls"
    return Posterior(found.samples[chosen], how, float(found.logz), float(found.logzerr))


def _prior_box(fit: Fit) -> tuple[np.ndarray, np.ndarray, int]:
    """Flat priors: the ranges, 30 d about the maximum, and the logarithm of brightness."""
    low, high = fit.likelihood.low.copy(), fit.likelihood.high.copy()
    at, brightness = fit.names.index("t0"), fit.likelihood.amplitude
    low[at], high[at] = fit.values[at] - _DAYS, fit.values[at] + _DAYS
    low[at] = max(low[at], fit.likelihood.low[at])
    high[at] = min(high[at], fit.likelihood.high[at])
    typical = np.log(fit.values[brightness])
    low[brightness], high[brightness] = typical - _LOG_BRIGHTNESS, typical + _LOG_BRIGHTNESS
    return low, high - low, brightness


def _missing(name: str) -> AnalysisFailed:
    return AnalysisFailed(
        f"this sampler needs {name}, which is not installed",
        hint="install the extra firstlight[analysis], or choose no sampler",
    )
