"""A service that finds the period of an object and fits its folded light curve.

Sines (multi-band Lomb-Scargle, then a Fourier series) for stars that vary all the time, boxes (box
least squares, then a trapezoid) for eclipses and transits, or whichever of the two explains the
points better.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.analysis_kit.declaration import ServiceDeclaration
from firstlight.analysis_kit.failures import AnalysisFailed
from firstlight.analysis_kit.inputs import Inputs
from firstlight.analysis_kit.period_findings import (
    BoxFinding,
    Finding,
    Search,
    find_boxes,
    find_sines,
)
from firstlight.analysis_kit.period_plots import draw_fold, draw_periodogram
from firstlight.analysis_kit.period_points import Points, points_of
from firstlight.analysis_kit.progress import Progress
from firstlight.analysis_kit.results import Plot, Results

__all__ = ["SERVICE", "fit", "model_times"]

Floats = NDArray[np.float64]

SERVICE = ServiceDeclaration(
    name="period",
    display_name="Period and folded light curve",
    description="Finds the period of a variable star, an eclipsing binary or a transiting planet "
    "(Lomb-Scargle in several filters, box least squares), fits the folded light curve, and tells "
    "how sure the period is.",
    version="1.0",
    analysis_type="lightcurve_fitting",
    input_data_types=("photometry",),
    parameters={
        "method": {
            "type": "choice",
            "choices": ["auto", "lomb_scargle", "bls"],
            "default": "auto",
            "title": "Method",
            "description": "lomb_scargle for stars that vary all the time, bls for eclipses and "
            "transits, auto for the one that explains the points better",
        },
        "minimum_period": {
            "type": "number",
            "minimum": 0.001,
            "title": "Shortest period (d)",
            "description": "empty for what the times of the points can tell",
        },
        "maximum_period": {
            "type": "number",
            "minimum": 0.002,
            "title": "Longest period (d)",
            "description": "empty for all the time covered; half of it for bls",
        },
        "harmonics": {
            "type": "integer",
            "minimum": 1,
            "maximum": 10,
            "title": "Harmonics",
            "description": "of the Fourier series; empty for as many as the points ask for",
        },
        "detrend": {
            "type": "choice",
            "choices": ["auto", "none", "linear", "median"],
            "default": "auto",
            "title": "Detrending",
            "description": "median takes out what is slower than 1.5 d; auto does so for bls "
            "where the points leave few gaps",
        },
        "minimum_snr": {
            "type": "number",
            "minimum": 0.0,
            "default": 0.0,
            "title": "Lowest S/N of a point",
        },
        "outliers": {
            "type": "number",
            "minimum": 0.0,
            "default": 5.0,
            "title": "Outliers (sigma)",
            "description": "points further from the model are left out; 0 keeps all",
        },
        "false_alarm": {
            "type": "number",
            "minimum": 1e-12,
            "maximum": 0.5,
            "default": 0.001,
            "title": "False alarm probability",
            "description": "above it no period is told",
        },
        "barycentric": {
            "type": "boolean",
            "default": True,
            "title": "Times at the barycentre",
            "description": "no where the times of the photometry are barycentric already",
        },
        "seed": {"type": "integer", "minimum": 0, "default": 1, "title": "Seed of the posterior"},
    },
    timeout=900.0,
)

_FEWEST = 8
_MOST_TIMES = 3000
_CURVES = 200


def fit(inputs: Inputs, progress: Progress) -> Results:
    """Find the period.

    Raises
    ------
    AnalysisFailed
        There are too few points, or they cover no time. That no period stands out is a result:
        ``detected`` is then False.
    """
    chosen = SERVICE.read_parameters(inputs.parameters)
    points = _enough(
        points_of(
            inputs,
            fewest=_FEWEST,
            minimum_snr=chosen["minimum_snr"],
            barycentric=chosen["barycentric"],
        ),
        chosen,
    )
    progress(0.05, f"searching {len(points)} points")
    found = _search(points, chosen, progress)
    detected = found.false_alarm < chosen["false_alarm"]
    if not detected:
        return _nothing(found, chosen)
    progress(0.6, f"period {found.period:.6g} d; drawing from its posterior")
    draws = found.draws(chosen["seed"], lambda share: progress(0.6 + 0.3 * share, "sampling"))
    samples = found.samples(draws)
    progress(0.92, "drawing plots")
    results = _numbers(found, samples, chosen)
    period, error = results["period"], results["period_error"]
    doubt = results["warnings"][0] + "; " if results["warnings"] else ""
    return Results(
        message=f"{doubt}P = {_told(period, error)} d, {_KINDS[found.method]}, "
        f"false alarm {found.false_alarm:.1g}",
        results=results,
        plots=_plots(found, results),
        posterior=samples,
        model_light_curves=_model_curves(found, draws),
        annotations=[{"origin": "period", "data": _annotation(results)}],
        model_name=f"period ({found.method})",
        n_detections=len(found.points),
    )


_KINDS = {"lomb_scargle": "Lomb-Scargle", "bls": "box least squares"}


def _enough(points: Points, chosen: dict[str, Any]) -> Points:
    if points.span <= 0 or len(np.unique(points.time)) < _FEWEST:
        raise AnalysisFailed(
            f"the {len(points)} points are of fewer than {_FEWEST} different times",
            hint="a period needs a time series",
        )
    shortest, longest = chosen.get("minimum_period"), chosen.get("maximum_period")
    if shortest and longest and shortest >= longest:
        raise AnalysisFailed(
            f"minimum_period ({shortest:g} d) is not below maximum_period ({longest:g} d)"
        )
    if shortest and shortest > points.span:
        raise AnalysisFailed(
            f"the points cover {points.span:.4g} d, less than minimum_period ({shortest:g} d)",
            hint="choose shorter periods, or wait for more points",
        )
    return points


def _search(points: Points, chosen: dict[str, Any], progress: Progress) -> Finding:
    search = Search(
        shortest=chosen.get("minimum_period"),
        longest=chosen.get("maximum_period"),
        harmonics=chosen.get("harmonics"),
        detrend=chosen["detrend"],
        outliers=chosen["outliers"],
    )
    if chosen["method"] == "lomb_scargle":
        return find_sines(points, search)
    if chosen["method"] == "bls":
        return find_boxes(points, search)
    sines = find_sines(points, search)
    progress(0.3, "searching boxes")
    try:
        boxes = find_boxes(points, search)
    except AnalysisFailed:
        return sines
    sure = [each for each in (sines, boxes) if each.false_alarm < chosen["false_alarm"]]
    if len(sure) == 1:
        return sure[0]
    return max(sines, boxes, key=lambda each: each.gain)


def _nothing(found: Finding, chosen: dict[str, Any]) -> Results:
    """A constant star, as far as these points tell."""
    words = f"no period stands out: the best, {found.period:.5g} d, has false alarm "
    words += f"{found.false_alarm:.2g}"
    plot = draw_periodogram(
        found.spectrum,
        [(1.0 / found.spectrum.frequency[found.spectrum.peaks[0]], "highest")],
        found.level(chosen["false_alarm"]),
        f"No period stands out ({_KINDS[found.method]})",
    )
    return Results(
        message=words,
        results={
            "detected": False,
            "method": found.method,
            "best_period": found.period,
            "false_alarm_probability": found.false_alarm,
            "points_used": len(found.points),
            "warnings": list(found.spectrum.notes),
        },
        plots=[Plot.of(plot, title="Periodogram")],
        n_detections=len(found.points),
    )


def _numbers(found: Finding, samples: dict[str, Floats], chosen: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"detected": True, "method": found.method}
    best = {"period": found.period, "epoch": found.epoch}
    for name, values in samples.items():
        told[name] = best.get(name, float(np.median(values)))
        told[f"{name}_error"] = float(np.std(values))
    told["epoch_is"] = "highest flux" if found.method == "lomb_scargle" else "mid-eclipse"
    told["time"] = found.points.clock.name
    told["false_alarm_probability"] = found.false_alarm
    told["false_alarm_method"] = (
        "Baluev (2008), red noise allowed for"
        if found.method == "lomb_scargle"
        else "normal tail times the boxes tried, red noise allowed for"
    )
    told["red_noise_factor"] = found.beta
    told |= found.numbers()
    told["candidates"] = found.candidates()
    told["filters"] = list(found.points.names)
    told["scale_ujy"] = {
        name: float(scale)
        for name, scale in zip(found.points.names, found.points.scale, strict=True)
    }
    told["points_used"] = len(found.points)
    told["time_covered"] = found.points.span
    told["seed"] = chosen["seed"]
    told["warnings"] = _warnings(found)
    return told


def _warnings(found: Finding) -> list[str]:
    told = []
    rivals = [
        each
        for each in found.candidates()
        if each.get("criterion_less_best", np.inf) < 10 and each["relation"] != "best"
    ]
    if rivals:
        other = rivals[0]
        told.append(f"{other['period']:.6g} d is nearly as good ({other['relation']})")
    if isinstance(found, BoxFinding):
        if found.parity[2] / found.beta > 5:
            told.append(f"odd and even eclipses differ: the period may be {2 * found.period:.6g} d")
        if found.numbers()["eclipses_seen"] < 3:
            told.append("fewer than three eclipses were seen")
    nearest = np.round(1.0 / found.period)
    if nearest >= 1 and abs(1.0 / found.period / nearest - 1) < 0.01 and not _dense(found.points):
        told.append(
            "the period is near a whole part of a day, where nights have power of their own"
        )
    return told + list(found.spectrum.notes)


def _dense(points: Points) -> bool:
    """Whether the points cover day and night."""
    return len(np.unique(np.floor(np.mod(points.mjd, 1.0) * 24))) >= 20


def _annotation(results: dict[str, Any]) -> dict[str, Any]:
    kept = ("period", "period_error", "epoch", "epoch_error", "time", "method")
    told = {name: results[name] for name in kept}
    told["false_alarm_probability"] = results["false_alarm_probability"]
    told |= {
        name: value
        for name, value in results.items()
        if name.startswith(("amplitude", "depth", "duration")) and isinstance(value, float)
    }
    return told


def _told(value: float, error: float) -> str:
    """A number with as many digits as its error allows."""
    if not np.isfinite(error) or error <= 0:
        return f"{value:.6g}"
    digits = int(np.clip(1 - np.floor(np.log10(error)), 0, 12))
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def _plots(found: Finding, results: dict[str, Any]) -> list[Plot]:
    name = f"P = {_told(results['period'], results['period_error'])} d"
    marked = [(found.period, name)] + [
        (each["period"], each["relation"])
        for each in found.candidates()
        if each["relation"] != "best"
    ]
    level = found.level(1e-3)
    plots = [
        Plot.of(
            draw_periodogram(found.spectrum, marked, level, _KINDS[found.method].capitalize()),
            title="Periodogram",
        ),
        Plot.of(
            draw_fold(found.points, found.flux, found.period, found.epoch, f"Folded, {name}"),
            title="Folded light curve",
        ),
    ]
    if isinstance(found, BoxFinding):
        half = min(2.0 * found.fit.duration / found.period, 0.5)
        figure = draw_fold(
            found.points, found.flux, found.period, found.epoch,
            f"Eclipse, {24 * found.fit.duration:.2f} h at half depth", (-half, half),
        )  # fmt: skip
        plots.append(Plot.of(figure, title="Eclipse"))
    return plots


def model_times(points: Points, step: float) -> Floats:
    """MJD at which a model is told, ``(n,)``: `step` apart where there are points.

    At most 3000: where that is not enough for all nights, at times of the points alone.
    """
    cells = np.unique(np.floor(points.mjd / step))
    near = np.unique(np.concatenate([cells + each for each in (-1, 0, 1, 2)])) * step
    if len(near) <= _MOST_TIMES:
        return np.asarray(near, np.float64)
    times = np.unique(points.mjd)
    return np.asarray(times[:: int(np.ceil(len(times) / _MOST_TIMES))], np.float64)


def _model_curves(found: Finding, draws: list[Any]) -> dict[str, Floats]:
    """One a filter: that of its series with the most points, with the trend put back."""
    points = found.points
    step = found.period / 40
    if isinstance(found, BoxFinding):
        step = found.fit.duration / 8
    mjd = model_times(points, step)
    time = points.clock.times(mjd)
    some = draws[:: max(len(draws) // _CURVES, 1)]
    count = np.bincount(points.series, minlength=len(points.names))
    curves: dict[str, Floats] = {}
    for each in np.argsort(-count).tolist():
        if points.filters[each] in curves:
            continue
        series = np.full(len(time), each, np.int64)
        ours = points.series == each
        trend = np.interp(time, points.time[ours], found.trend[ours])
        drawn = np.array([draw.flux(time, series) for draw in some])
        low, middle, high = np.percentile(drawn, [16, 50, 84], axis=0) + trend
        scale = points.scale[each]
        curves[points.filters[each]] = np.column_stack(
            [mjd, middle * scale, low * scale, high * scale]
        )
    return curves
