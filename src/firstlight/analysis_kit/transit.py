"""A service that fits the transit of a planet: depth, mid-time, duration, ratio of radii.

A dark disc before a star with quadratic limb darkening, on a circular orbit where the period is
known and on a straight path elsewhere, times a baseline for each night and series. The posterior is
drawn with an ensemble sampler.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.analysis_kit.declaration import ServiceDeclaration
from firstlight.analysis_kit.failures import AnalysisFailed
from firstlight.analysis_kit.inputs import Inputs
from firstlight.analysis_kit.period_points import Points, points_of
from firstlight.analysis_kit.progress import Progress
from firstlight.analysis_kit.results import Plot, Results
from firstlight.analysis_kit.transit_events import Guess, airmass_of, transit_near
from firstlight.analysis_kit.transit_likelihood import Darkening
from firstlight.analysis_kit.transit_plots import draw_observed, draw_transit
from firstlight.analysis_kit.transit_posterior import (
    Choices,
    TransitFound,
    derived,
    find_transit,
)

__all__ = ["SERVICE", "fit"]

Floats = NDArray[np.float64]

SERVICE = ServiceDeclaration(
    name="transit",
    display_name="Transit fit",
    description="Fits the transit of a planet (quadratic limb darkening; Mandel & Agol 2002) and "
    "gives depth, mid-time, duration and ratio of radii with their errors.",
    version="1.0",
    analysis_type="lightcurve_fitting",
    input_data_types=("photometry",),
    parameters={
        "period": {
            "type": "number",
            "minimum": 0.05,
            "title": "Period (d)",
            "description": "empty for a single transit, or to search for it where the points "
            "cover more than three days",
        },
        "epoch": {
            "type": "number",
            "title": "Mid-transit (MJD or JD)",
            "description": "of any transit, barycentric unless the times are taken as given; "
            "empty to search for it",
        },
        "limb_darkening": {
            "type": "choice",
            "choices": ["prior", "fixed", "free"],
            "default": "prior",
            "title": "Limb darkening",
            "description": "prior: u1 and u2 within limb_darkening_error; fixed: held there; "
            "free: whatever is physical",
        },
        "u1": {
            "type": "number", "minimum": -1.0, "maximum": 2.0, "title": "u1",
            "description": "empty for a star like the Sun in the filter",
        },
        "u2": {"type": "number", "minimum": -1.0, "maximum": 1.0, "title": "u2"},
        "limb_darkening_error": {
            "type": "number", "minimum": 0.001, "maximum": 1.0, "default": 0.15,
            "title": "Error of u1 and u2",
        },
        "baseline": {
            "type": "choice", "choices": ["auto", "0", "1", "2", "3"], "default": "auto",
            "title": "Order of the baseline",
            "description": "polynomial in time of each night and series; auto lets the "
            "information criterion choose up to 2",
        },
        "longitude": {
            "type": "number", "minimum": -360.0, "maximum": 360.0,
            "title": "East longitude of the telescope (°)",
            "description": "with the latitude, the baseline has a term in airmass",
        },
        "latitude": {
            "type": "number", "minimum": -90.0, "maximum": 90.0,
            "title": "Latitude of the telescope (°)",
        },
        "exposure": {
            "type": "number", "minimum": 0.0, "maximum": 86400.0, "default": 0.0,
            "title": "Exposure time (s)",
            "description": "the model is averaged over it",
        },
        "noise": {
            "type": "choice", "choices": ["scale", "jitter", "none"], "default": "scale",
            "title": "Noise",
            "description": "scale: the errors are right but for a factor; jitter: something is "
            "added to them; none: they are right",
        },
        "red_noise": {
            "type": "boolean", "default": True, "title": "Red noise",
            "description": "raise the errors by the factor of Winn et al. (2008)",
        },
        "minimum_snr": {
            "type": "number", "minimum": 0.0, "default": 0.0, "title": "Lowest S/N of a point",
        },
        "outliers": {
            "type": "number", "minimum": 0.0, "default": 5.0, "title": "Outliers (sigma)",
            "description": "points further from the model are left out; 0 keeps all",
        },
        "barycentric": {
            "type": "boolean", "default": True, "title": "Times at the barycentre",
            "description": "no where the times of the photometry are barycentric already",
        },
        "steps": {
            "type": "integer", "minimum": 300, "maximum": 20000, "default": 2000,
            "title": "Steps of the sampler",
        },
        "seed": {"type": "integer", "minimum": 0, "default": 1, "title": "Seed of the sampler"},
    },
    timeout=1800.0,
)  # fmt: skip

# Quadratic law of stars like the Sun, to about 0.1, by what a filter's name begins with. Claret &
# Bloemen (2011, A&A 529, A75) have them for every star.
_SUNLIKE = {
    "u": (0.80, 0.05), "b": (0.63, 0.18), "g": (0.58, 0.20), "v": (0.47, 0.26), "r": (0.38, 0.29),
    "i": (0.29, 0.30), "z": (0.23, 0.30), "y": (0.22, 0.30), "j": (0.14, 0.32), "h": (0.06, 0.35),
    "k": (0.05, 0.30), "tess": (0.30, 0.30), "kepler": (0.40, 0.28), "clear": (0.42, 0.28),
    "gaia": (0.42, 0.28), "luminance": (0.45, 0.26),
}  # fmt: skip
_BANDS = ("tess", "kepler", "clear", "gaia", "luminance")
_JULIAN = 2400000.5
_FEWEST = 8
_MOST_POINTS = 1500
_CURVES = 150
_FEW_TIMES = 300


def fit(inputs: Inputs, progress: Progress) -> Results:
    """Fit the transit.

    Raises
    ------
    AnalysisFailed
        There are too few points, no transit, or the parameters contradict each other.
    """
    chosen = SERVICE.read_parameters(inputs.parameters)
    points = points_of(
        inputs,
        fewest=_FEWEST,
        minimum_snr=chosen["minimum_snr"],
        barycentric=chosen["barycentric"],
    )
    if not points.bright:
        raise AnalysisFailed(
            "the flux of the star is not well above zero: a transit is a share of it",
            hint="choose photometry of the star itself, not of difference images",
        )
    choices = _choices(points, chosen)
    progress(0.05, "looking for the transit")
    epoch = chosen.get("epoch")
    if epoch is not None and epoch > _JULIAN:
        epoch -= _JULIAN
    guess = transit_near(points, epoch, chosen.get("period"))
    progress(0.15, f"fitting a dip at {guess.epoch:.3f}")
    points, choices = _bounded(points, guess, choices)
    airmass = _airmass(points, inputs, chosen)
    found = find_transit(
        points, guess, choices, airmass, lambda share: progress(0.15 + 0.2 * share, "fitting")
    )
    draws = found.draws(choices, lambda share: progress(0.35 + 0.5 * share, "sampling"))
    progress(0.88, "drawing plots")
    samples = derived(found.likelihood, draws)
    results = _numbers(found, samples, draws, choices)
    return Results(
        message=_message(results),
        results=results,
        plots=_plots(found, draws, results),
        posterior=samples,
        model_light_curves=_model_curves(found, draws, inputs, chosen),
        annotations=[{"origin": "transit", "data": _annotation(results)}],
        model_name="transit",
        n_detections=len(found.likelihood.blocks.points),
    )


def _choices(points: Points, chosen: dict[str, Any]) -> Choices:
    own = _given_darkening(chosen)
    errors = {"fixed": 0.0, "free": float("inf"), "prior": chosen["limb_darkening_error"]}
    error = float(errors[chosen["limb_darkening"]])
    darkening = {name: Darkening(*(own or _sunlike(name)), error) for name in points.filters}
    order = chosen["baseline"]
    return Choices(
        darkening=darkening,
        order=None if order == "auto" else int(order),
        exposure=chosen["exposure"] / 86400.0,
        noise=chosen["noise"],
        red_noise=chosen["red_noise"],
        outliers=chosen["outliers"],
        seed=chosen["seed"],
        steps=chosen["steps"],
    )


def _given_darkening(chosen: dict[str, Any]) -> tuple[float, float] | None:
    u1, u2 = chosen.get("u1"), chosen.get("u2")
    if u1 is None and u2 is None:
        return None
    if u1 is None or u2 is None:
        raise AnalysisFailed("u1 and u2 go together: give both or none")
    if not (u1 + u2 < 1.0 and u1 > 0.0 and u1 + 2.0 * u2 > 0.0):
        raise AnalysisFailed(
            f"no star has the limb darkening u1 = {u1:g}, u2 = {u2:g}",
            hint="u1 + u2 is below 1, u1 and u1 + 2 u2 are above 0",
        )
    return u1, u2


def _bounded(points: Points, guess: Guess, choices: Choices) -> tuple[Points, Choices]:
    """Means of neighbouring points where there are more than a fit in bounded time can take.

    They are an eightieth of the transit long, and the model is averaged over that.
    """
    away = points.time - guess.epoch
    if guess.period is not None:
        away = away - guess.period * np.round(away / guess.period)
    if (np.abs(away) < 2.5 * guess.duration).sum() <= _MOST_POINTS:
        return points, choices
    width = guess.duration / 80
    binned = points.binned(width)
    if len(binned) > 0.7 * len(points):
        return points, choices
    return binned, replace(choices, exposure=max(choices.exposure, width))


def _sunlike(name: str) -> tuple[float, float]:
    """By the filter's own letter, the last part of names as ``sdssr`` and ``bessellv``."""
    plain = name.lower()
    for band in _BANDS:
        if band in plain:
            return _SUNLIKE[band]
    for prefix in ("sdss", "bessell", "johnson", "cousins", "ps1", "ztf", "lsst", "atlas"):
        plain = plain.replace(prefix, "")
    letter = plain.strip(":_' p")[:1]
    return _SUNLIKE.get(letter, _SUNLIKE["clear"])


def _airmass(points: Points, inputs: Inputs, chosen: dict[str, Any]) -> Floats | None:
    longitude, latitude = chosen.get("longitude"), chosen.get("latitude")
    if longitude is None and latitude is None:
        return None
    if longitude is None or latitude is None:
        raise AnalysisFailed("longitude and latitude go together: give both or none")
    if inputs.ra is None or inputs.dec is None:
        raise AnalysisFailed("the airmass needs the place of the object, which was not sent")
    return airmass_of(points, (longitude, latitude), (inputs.ra, inputs.dec))


def _numbers(
    found: TransitFound, samples: dict[str, Floats], draws: Floats, choices: Choices
) -> dict[str, Any]:
    blocks = found.likelihood.blocks
    told: dict[str, Any] = {}
    for name, values in samples.items():
        low, middle, high = np.percentile(values, [15.865, 50.0, 84.135])
        told[name] = float(middle)
        told[f"{name}_error"] = float(0.5 * (high - low))
    left = found.likelihood.residuals(found.best)
    free = len(left) - len(found.best) - blocks.design.shape[1] * len(blocks.starts)
    told |= {
        "depth_is": "light lost at mid-transit; area_ratio is the square of rp_rs",
        "duration_is": "from first to last contact, days",
        "time": blocks.points.clock.name,
        "significance": found.snr,
        "red_noise_factor": found.beta,
        "chi2": float(left @ left),
        "degrees_of_freedom": free,
        "baseline_order": blocks.order,
        "transits_used": len(np.unique(blocks.event)),
        "points_used": len(blocks.points),
        "points_left_out": found.left_out,
        "correlations": _correlations(samples),
        "limb_darkening": {
            name: {"u1": each.u1, "u2": each.u2, "error": _finite(each.error)}
            for name, each in choices.darkening.items()
        },
        "seed": choices.seed,
        "warnings": _warnings(found, draws),
    }
    if found.likelihood.guess.period is not None and "period" not in samples:
        told["period"] = found.likelihood.guess.period
    return told


def _finite(value: float) -> float | str:
    return value if np.isfinite(value) else "free"


def _correlations(samples: dict[str, Floats]) -> dict[str, dict[str, float]]:
    """Of the parameters that move, with each other."""
    names = [name for name, values in samples.items() if np.std(values) > 0]
    table = np.corrcoef([samples[name] for name in names])
    return {
        a: {b: round(float(table[i, j]), 3) for j, b in enumerate(names)}
        for i, a in enumerate(names)
    }


def _warnings(found: TransitFound, draws: Floats) -> list[str]:
    told = []
    half = len(draws) // 2
    drift = np.abs(np.mean(draws[:half], axis=0) - np.mean(draws[half:], axis=0))
    if np.any(drift > 0.25 * np.std(draws, axis=0)):
        told.append("the sampler has not settled: take more steps")
    blocks, best = found.likelihood.blocks, found.best
    away = found.likelihood.away(
        best[None, :], blocks.points.time, blocks.event[blocks.of_point].astype(float)
    )[0]
    if not ((away < -0.55 * best[3]).sum() >= 3 and (away > 0.55 * best[3]).sum() >= 3):
        told.append("the transit is not covered on both sides")
    if found.beta > 1.5:
        told.append(f"the noise is red: errors were raised by {found.beta:.2f}")
    return told


def _message(results: dict[str, Any]) -> str:
    depth = next(name for name in results if name.startswith("depth"))
    words = f"depth {results[depth]:.4f} ± {results[depth + '_error']:.4f}, "
    words += f"rp/rs {results['rp_rs']:.4f} ± {results['rp_rs_error']:.4f}, "
    words += f"t0 {results['t0']:.4f} ± {results['t0_error']:.4f}, "
    words += f"duration {24 * results['duration']:.2f} ± {24 * results['duration_error']:.2f} h"
    return "; ".join([words, *results["warnings"]])


def _annotation(results: dict[str, Any]) -> dict[str, Any]:
    wanted = ("t0", "period", "duration", "rp_rs", "a_rs", "impact", "depth")
    told = {
        name: value
        for name, value in results.items()
        if isinstance(value, float) and name.removesuffix("_error") in wanted
    }
    return {**told, "time": results["time"]}


def _plots(found: TransitFound, draws: Floats, results: dict[str, Any]) -> list[Plot]:
    some = draws[:: max(len(draws) // _CURVES, 1)]
    title = f"rp/rs = {results['rp_rs']:.4f} ± {results['rp_rs_error']:.4f}"
    return [
        Plot.of(draw_transit(found.likelihood, found.best, some, title), title="Transit"),
        Plot.of(draw_observed(found.likelihood, found.best, results["time"]), title="As observed"),
    ]


def _model_curves(
    found: TransitFound, draws: Floats, inputs: Inputs, chosen: dict[str, Any]
) -> dict[str, Floats]:
    """One a filter: transit and baseline of each block of its main series."""
    likelihood, blocks = found.likelihood, found.likelihood.blocks
    points = blocks.points
    some = draws[:: max(len(draws) // _CURVES, 1)]
    values, _, _ = likelihood.baseline(likelihood.model(some), likelihood.variance(some))
    count = np.bincount(points.series, minlength=len(points.names))
    curves: dict[str, list[Floats]] = {}
    for name in likelihood.filters:
        ours = [s for s in likelihood.used if points.filters[s] == name]
        series = max(ours, key=lambda each: count[each])
        mine = np.flatnonzero(blocks.series == series)
        times = max(_FEW_TIMES // len(mine), 40)
        curves[name] = [
            _block_curve(found, some, values[:, block], (block, times), (inputs, chosen))
            for block in mine[: 3000 // times]
        ]
    return {
        name: np.vstack(parts)[np.argsort(np.vstack(parts)[:, 0])] for name, parts in curves.items()
    }


def _block_curve(
    found: TransitFound,
    draws: Floats,
    values: Floats,
    place: tuple[int, int],
    asked: tuple[Inputs, dict[str, Any]],
) -> Floats:
    """``(n, 4)``: MJD, median, low and high of one block."""
    block, count = place
    likelihood, blocks = found.likelihood, found.likelihood.blocks
    points = blocks.points
    ours = blocks.of_point == block
    mjd = np.linspace(points.mjd[ours].min(), points.mjd[ours].max(), count)
    time = points.clock.times(mjd)
    there = points.part(ours)
    airmass = None
    if len(blocks.airmass_middle):
        grid = Points(
            time, mjd, np.ones(count), np.ones(count), np.zeros(count, np.int64), points.names,
            points.filters, points.scale, points.bright, points.clock,
        )  # fmt: skip
        airmass = _airmass(grid, *asked)
    series = int(there.series[0])
    away = likelihood.away(draws, time, np.full(count, float(blocks.event[block])))
    light = likelihood.flux(draws, away, points.filters[series])
    level = values @ blocks.terms(block, time, airmass).T
    low, middle, high = np.percentile(light * level, [16, 50, 84], axis=0) * points.scale[series]
    return np.column_stack([mjd, middle, low, high])
