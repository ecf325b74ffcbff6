"""The best transit, its red noise, and draws from its posterior."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from firstlight.analysis_kit.failures import AnalysisFailed
from firstlight.analysis_kit.period_noise import (
    red_noise_factor,
    robust_scatter,
    sample_posterior,
)
from firstlight.analysis_kit.period_points import Points
from firstlight.analysis_kit.transit_events import Blocks, Guess, blocks_of
from firstlight.analysis_kit.transit_likelihood import Darkening, Likelihood
from firstlight.analysis_kit.transit_model import scaled_axis

__all__ = ["Choices", "TransitFound", "derived", "find_transit"]

Floats = NDArray[np.float64]

_WALKERS = 48
_SEARCH_STEPS = 250
_FOUND = 5.0
_ORDERS = (0, 1, 2)


@dataclass(frozen=True)
class Choices:
    """How a transit is fitted.

    Attributes
    ----------
    order
        Of the polynomial of the baseline; None for the one that the information criterion wants.
    noise
        See `Likelihood`.
    red_noise
        Whether errors are raised by the red noise factor.
    outliers
        Points further than this many sigma from the model are left out; 0 keeps all.
    """

    darkening: dict[str, Darkening]
    order: int | None = None
    exposure: float = 0.0
    noise: str = "scale"
    red_noise: bool = True
    outliers: float = 5.0
    seed: int = 1
    steps: int = 2000


@dataclass(frozen=True)
class TransitFound:
    """A fitted transit.

    Attributes
    ----------
    best
        ``(p,)``, the most probable place.
    walkers
        ``(walkers, p)``: places about it, to start the sampler from.
    snr
        Of the transit: root of what it takes from chi squared.
    left_out
        Points that were outliers.
    """

    likelihood: Likelihood
    best: Floats
    walkers: Floats
    beta: float
    snr: float
    left_out: int

    def draws(self, choices: Choices, told: Callable[[float], None]) -> Floats:
        """Places of the posterior, ``(draws, p)``."""
        start = self.walkers[np.isfinite(self.likelihood.log_probability(self.walkers))]
        rng = np.random.default_rng(choices.seed)
        start = start[rng.integers(0, len(start), _WALKERS)]
        # No two walkers may stand at one place.
        start = start + 1e-4 * np.std(self.walkers, axis=0) * rng.normal(size=start.shape)
        fine = np.isfinite(self.likelihood.log_probability(start))
        start = start[fine]
        return sample_posterior(
            self.likelihood.log_probability,
            start[: len(start) // 2 * 2],
            choices.steps,
            choices.seed,
            told,
        )


def find_transit(
    points: Points,
    guess: Guess,
    choices: Choices,
    airmass: Floats | None,
    told: Callable[[float], None],
) -> TransitFound:
    """Fit the transit, choose the baseline, leave out outliers and measure the red noise.

    Raises
    ------
    AnalysisFailed
        No transit stands out of the noise.
    """
    orders = _ORDERS if choices.order is None else (choices.order,)
    likelihood = _likelihood(blocks_of(points, guess, orders[-1], airmass), guess, choices, 1.0)
    walkers = _population(likelihood, choices.seed)
    told(0.5)
    tried = []
    for order in orders:
        other = _likelihood(blocks_of(points, guess, order, airmass), guess, choices, 1.0)
        best = _polished(other, walkers)
        tried.append((_criterion(other, best), other, best))
    _, likelihood, best = min(tried, key=lambda each: each[0])
    kept = _near_model(likelihood, best, choices.outliers)
    if not kept.all():
        blocks = _without(likelihood.blocks, kept, points, guess, airmass)
        likelihood = _likelihood(blocks, guess, choices, 1.0)
        best = _polished(likelihood, walkers)
    beta = _red_noise(likelihood, best) if choices.red_noise else 1.0
    # The most probable place stays where it is: the factor widens all alike.
    likelihood = _likelihood(likelihood.blocks, guess, choices, beta)
    snr = _significance(likelihood, best)
    if snr < _FOUND:
        raise AnalysisFailed(
            f"no transit in the data: the best is {snr:.1f} times its error, "
            f"and {_FOUND:.0f} are needed",
            hint="give the epoch of a transit that the points cover",
        )
    told(1.0)
    return TransitFound(likelihood, best, walkers, beta, snr, int((~kept).sum()))


def _likelihood(blocks: Blocks, guess: Guess, choices: Choices, beta: float) -> Likelihood:
    return Likelihood(
        blocks,
        guess,
        choices.darkening,
        exposure=choices.exposure,
        noise=choices.noise,
        beta=beta,
    )


def _population(likelihood: Likelihood, seed: int) -> Floats:
    """Places that have moved from wide ranges to where the transit is probable."""
    rng = np.random.default_rng(seed)
    guess, names = likelihood.guess, likelihood.layout.names
    start = np.zeros((6 * _WALKERS, len(names)))
    start[:, 0] = guess.duration * 0.1 * rng.normal(size=len(start))
    start[:, 1] = np.sqrt(np.clip(guess.depth, 1e-5, 0.3)) * rng.uniform(0.8, 1.1, len(start))
    start[:, 2] = rng.uniform(0.0, 0.95, len(start))
    start[:, 3] = guess.duration * rng.uniform(0.8, 1.6, len(start))
    for index, name in enumerate(names[4:], start=4):
        start[:, index] = _first(name, likelihood, rng, len(start))
    value = likelihood.log_probability(start)
    if not np.isfinite(value).any():
        raise AnalysisFailed(
            "the transit fit has no place to start from",
            hint="check the period, the limb darkening and the epoch",
        )
    order = np.argsort(-value)
    chosen = order[: min(_WALKERS, int(np.isfinite(value).sum()) // 2 * 2)]
    return sample_posterior(
        likelihood.log_probability, start[chosen], _SEARCH_STEPS, seed, lambda _: None
    )[-4 * _WALKERS :]


def _polished(likelihood: Likelihood, walkers: Floats) -> Floats:
    """The most probable place, by a simplex from the best of a population."""
    top = walkers[int(np.argmax(likelihood.log_probability(walkers)))]
    spread = np.maximum(np.std(walkers, axis=0), 1e-9)
    found = minimize(
        lambda steps: -float(likelihood.log_probability((top + spread * steps)[None, :])[0]),
        np.zeros(len(top)),
        method="Nelder-Mead",
        options={
            "maxfev": 700, "xatol": 1e-3, "fatol": 1e-3,
            "initial_simplex": np.vstack([np.zeros(len(top)), 0.5 * np.eye(len(top))]),
        },
    )  # fmt: skip
    return np.asarray(top + spread * found.x, np.float64)


def _first(name: str, likelihood: Likelihood, rng: np.random.Generator, count: int) -> Floats:
    """Where a parameter starts."""
    if name == "period":
        events = max(float(np.ptp(likelihood.blocks.event)), 1.0)
        return 0.02 * likelihood.guess.duration / events * rng.normal(size=count)
    if name.startswith("noise"):
        if likelihood.noise == "jitter":
            return rng.uniform(0.0, 1.5, count)
        return rng.normal(0.0, 0.3, count)
    known = likelihood.darkening[name[3:]]
    sigma = min(known.error, 0.15)
    middle = known.u1 if name.startswith("u1") else known.u2
    return np.asarray(middle + sigma * rng.normal(size=count), np.float64)


def _criterion(likelihood: Likelihood, best: Floats) -> float:
    """Bayesian information criterion; the coefficients of the baseline count too."""
    place = best[None, :]
    variance = likelihood.variance(place)
    _, _, chi2 = likelihood.baseline(likelihood.model(place), variance)
    loss = float(chi2[0] + np.log(variance).sum())
    count = likelihood.blocks.design.shape[1] * len(likelihood.blocks.starts) + len(best)
    return loss + float(count * np.log(len(likelihood.blocks.points)))


def _near_model(likelihood: Likelihood, best: Floats, outliers: float) -> NDArray[np.bool_]:
    left = likelihood.residuals(best)
    if outliers <= 0:
        return np.ones(len(left), bool)
    return np.asarray(np.abs(left) <= outliers * (robust_scatter(left) or np.inf), np.bool_)


def _without(
    blocks: Blocks, kept: NDArray[np.bool_], points: Points, guess: Guess, airmass: Floats | None
) -> Blocks:
    """The blocks again, of the points that are kept."""
    bad = blocks.points.part(~kept)
    marks = {(t, int(s), f) for t, s, f in zip(bad.time, bad.series, bad.flux, strict=True)}
    fine = np.array(
        [
            (t, int(s), f) not in marks
            for t, s, f in zip(points.time, points.series, points.flux, strict=True)
        ]
    )
    there = airmass[fine] if airmass is not None else None
    return blocks_of(points.part(fine), guess, blocks.order, there)


def _red_noise(likelihood: Likelihood, best: Floats) -> float:
    left = likelihood.residuals(best)
    points = likelihood.blocks.points
    order = np.argsort(points.time, kind="stable")
    widths = best[3] * np.array([0.08, 0.15, 0.3])
    return red_noise_factor(points.time[order], left[order], widths)


def _significance(likelihood: Likelihood, best: Floats) -> float:
    place = best[None, :]
    variance = likelihood.variance(place)
    _, _, with_it = likelihood.baseline(likelihood.model(place), variance)
    _, _, without = likelihood.baseline(np.ones(variance.shape), variance)
    return float(np.sqrt(max(float(without[0] - with_it[0]), 0.0))) / likelihood.beta


def derived(likelihood: Likelihood, places: Floats) -> dict[str, Floats]:
    """What astronomers call the parameters, ``(draws,)`` each.

    ``depth`` is the light lost at mid-transit, in each filter; ``area_ratio`` the square of the
    ratio of radii; ``duration`` from first to last contact.
    """
    guess = likelihood.guess
    found = {"t0": guess.epoch + places[:, 0]}
    period = likelihood.period_of(places)
    if period is not None and likelihood.layout.index("period") is not None:
        found["period"] = period
    found |= {
        "rp_rs": places[:, 1],
        "impact": places[:, 2],
        "duration": places[:, 3],
        "area_ratio": places[:, 1] ** 2,
    }
    if period is not None:
        found["a_rs"] = scaled_axis(period, places[:, 1], places[:, 2], places[:, 3])
        found["inclination"] = np.degrees(np.arccos(np.clip(places[:, 2] / found["a_rs"], 0, 1)))
    for name in likelihood.filters:
        label = "" if len(likelihood.filters) == 1 else f"_{name}"
        middle = likelihood.flux(places, np.zeros((len(places), 1)), name)
        found[f"depth{label}"] = 1.0 - middle[:, 0]
        if likelihood.darkening[name].error > 0:
            u1, u2 = likelihood.darkening_of(places, name)
            found |= {f"u1{label}": u1, f"u2{label}": u2}
    for each in likelihood.used:
        value = likelihood.column(places, f"noise_{each}", np.nan)
        if np.isfinite(value).all():
            label = "" if len(likelihood.used) == 1 else f"_{likelihood.blocks.points.names[each]}"
            scale = likelihood.noise == "scale"
            found[f"{likelihood_word(likelihood.noise)}{label}"] = np.exp(value) if scale else value
    return found


def likelihood_word(noise: str) -> str:
    """What the noise parameter is called."""
    return "error_factor" if noise == "scale" else "jitter_in_errors"
