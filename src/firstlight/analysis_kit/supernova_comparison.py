"""Fitting several templates, and telling which of them the measurements prefer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from firstlight.analysis_kit.failures import AnalysisFailed
from firstlight.analysis_kit.progress import Progress
from firstlight.analysis_kit.supernova_fitting import Fit, Manner, fit_template
from firstlight.analysis_kit.supernova_likelihood import Scene
from firstlight.analysis_kit.supernova_photometry import Measurements
from firstlight.analysis_kit.supernova_posterior import Posterior, sample
from firstlight.analysis_kit.supernova_summary import compared_as_document
from firstlight.analysis_kit.supernova_templates import Template

__all__ = ["Comparison", "compare"]

_FITTING, _SAMPLING = 0.15, 0.45  # of the run is done when they begin
_DRAWING = 0.9


@dataclass(frozen=True)
class Comparison:
    """What came of all templates.

    Attributes
    ----------
    best
        The best one, fitted to all that it can explain.
    rows
        The templates on the measurements that all of them can explain, best first.
    failed
        Why each of the others could not be fitted.
    """

    best: Fit
    posterior: Posterior
    rows: list[dict[str, Any]]
    failed: dict[str, str]


def compare(
    templates: Sequence[Template],
    data: Measurements,
    scene: Scene,
    *,
    sampler: str,
    seed: int,
    progress: Progress,
) -> Comparison:
    """Fit each template, and compare them on common ground.

    Each is first fitted to all measurements that lie within its reach. Templates end at different
    phases and reach different bands, so for the comparison all are fitted once more to those
    measurements that lie within the reach of every one of them, and that the best of the first
    round did not find far off.

    Raises
    ------
    AnalysisFailed
        None could be fitted: what the first one said.
    """
    fits, failed = _each(templates, data, scene, Manner(), progress)
    common = fits if len(fits) == 1 else _on_common_ground(fits, data, scene, progress)
    winner = min(common, key=lambda fit: fit.bic)
    best = next(fit for fit in fits if fit.template is winner.template)
    posteriors = []
    for number, fit in enumerate(common):
        begin = _SAMPLING + (_DRAWING - _SAMPLING) * number / len(common)
        share = (_DRAWING - _SAMPLING) / len(common)

        def tell(done: float, begin: float = begin, share: float = share, fit: Fit = fit) -> None:
            progress(begin + share * done, f"posterior of {fit.template.name}")

        # Only evidences compare; draws are of the best one alone, from all that it explains.
        how = sampler if sampler == "nest" or len(common) == 1 else "none"
        posteriors.append(sample(fit, how, seed, tell))
    rows = compared_as_document(common, posteriors)
    posterior = posteriors[0] if len(common) == 1 else sample(best, sampler, seed)
    return Comparison(best, posterior, rows, failed)


def _each(
    templates: Sequence[Template],
    data: Measurements,
    scene: Scene,
    manner: Manner,
    progress: Progress,
) -> tuple[list[Fit], dict[str, str]]:
    fits: list[Fit] = []
    failures: dict[str, AnalysisFailed] = {}
    for number, template in enumerate(templates):
        done = _FITTING + 0.5 * (_SAMPLING - _FITTING) * number / len(templates)
        progress(done, f"fitting {template.name}")
        try:
            fits.append(fit_template(template, data, scene, manner))
        except AnalysisFailed as failure:
            failures[template.name] = failure
    if not fits:
        raise next(iter(failures.values()))
    return fits, {name: failure.message for name, failure in failures.items()}


def _on_common_ground(
    fits: list[Fit], data: Measurements, scene: Scene, progress: Progress
) -> list[Fit]:
    """All of them again, on the same measurements; or as they are, where too few are common."""
    progress(0.5 * (_FITTING + _SAMPLING), "comparing templates")
    leader = min(fits, key=lambda fit: fit.bic / fit.data.number_measured)
    rows = leader.data.row
    for fit in fits:
        last = fit.model().maxtime()
        reached = {band.name for band in fit.data.bands}
        inside = [data.bands[index].name in reached for index in data.band]
        rows = np.intersect1d(rows, data.row[(data.mjd <= last) & inside])
    shared = data.of(np.isin(data.row, rows))
    manner = Manner(outlier=None, keep_late=True)
    try:
        return [fit_template(fit.template, shared, scene, manner) for fit in fits]
    except AnalysisFailed:
        return fits
