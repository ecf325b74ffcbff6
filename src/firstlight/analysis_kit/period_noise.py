"""How much more than white noise the residuals of a fit vary, and a bounded sampler."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from firstlight.analysis_kit.failures import AnalysisFailed

__all__ = ["red_noise_factor", "robust_scatter", "sample_posterior"]

Floats = NDArray[np.float64]

_FEWEST_BINS = 8
_BURN_SHARE = 3  # of the steps, one in three is burnt


def robust_scatter(values: Floats) -> float:
    """Standard deviation of a normal distribution with the same median absolute deviation."""
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def red_noise_factor(time: Floats, residuals: Floats, widths: Floats) -> float:
    """By how much errors of averages exceed what white noise leads to expect; at least 1.

    The "beta" of Winn et al. (2008, ApJ 683, 1076, section 3): the standard deviation of means in
    bins of time over that of white noise, the largest of a few widths.

    Parameters
    ----------
    time
        ``(n,)``, sorted.
    residuals
        ``(n,)``, in their errors.
    widths
        Of the bins, in the unit of time. Those with fewer than eight bins of two points or more
        tell nothing and are left out.
    """
    square = float(np.mean(residuals**2))
    found = 1.0
    for width in widths:
        _, group, count = np.unique(
            np.floor((time - time[0]) / width), return_inverse=True, return_counts=True
        )
        full = count >= 2
        if full.sum() < _FEWEST_BINS or square <= 0:
            continue
        total = np.bincount(group, residuals)[full]
        # It is 1 for white noise, give or take its own error. Half of that is taken off: of several
        # noisy ratios the largest would be above 1 even then.
        ratio = float(np.mean(total**2 / count[full])) / square
        found = max(found, ratio - float(np.sqrt(0.5 / full.sum())))
    return float(np.sqrt(found))


def sample_posterior(
    log_probability: Callable[[Floats], Floats],
    start: Floats,
    steps: int,
    seed: int,
    told: Callable[[float], None],
) -> Floats:
    """Draw from a posterior by the affine-invariant ensemble of Goodman & Weare (2010).

    Parameters
    ----------
    log_probability
        Gets places ``(walkers, parameters)``, gives ``(walkers,)``; minus infinity outside.
    start
        ``(walkers, parameters)``, all of finite probability.
    steps
        Of each walker; the first third is left out.
    told
        Gets the share done, now and then.

    Returns
    -------
    array
        ``(draws, parameters)``.

    Raises
    ------
    AnalysisFailed
        The sampler is not installed.
    """
    try:
        import emcee  # noqa: PLC0415, of an extra
    except ImportError as err:
        raise AnalysisFailed(
            "the sampler emcee is not installed", hint="pip install 'firstlight[analysis]'"
        ) from err
    sampler = emcee.EnsembleSampler(
        *start.shape,
        log_probability,
        vectorize=True,
        moves=[(emcee.moves.DEMove(), 0.8), (emcee.moves.DESnookerMove(), 0.2)],
    )
    sampler.random_state = np.random.RandomState(seed).get_state()
    with warnings.catch_warnings():
        # Walkers that start outside of a narrow prior are told by the caller's own check.
        warnings.simplefilter("ignore", RuntimeWarning)
        for done, _ in enumerate(sampler.sample(start, iterations=steps), start=1):
            if done % 100 == 0:
                told(done / steps)
    drawn: Floats = sampler.get_chain(discard=steps // _BURN_SHARE, thin=5, flat=True)
    return drawn
