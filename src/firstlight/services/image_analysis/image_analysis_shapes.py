"""How an analysis is told: to pages, to programs, and in its own row."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
from astropy.time import Time

from firstlight.errors import FirstlightError, Kind
from firstlight.instruments.header_reader import HeaderReader
from firstlight.models.image_analysis import AnalysisState, ImageAnalysis
from firstlight.pipeline.image_analysis_result import STEPS, ImageAnalysisResult, StepReport

if TYPE_CHECKING:
    from firstlight.pipeline.image_bench import Bench

__all__ = [
    "REPORT",
    "STEP_NAMES",
    "TITLES",
    "analysis_shape",
    "error_shape",
    "page_of",
    "plots_of",
    "preview_of",
    "step_shape",
    "steps_waiting",
    "tied_to",
]

REPORT = "report"
STEP_NAMES = (*STEPS, REPORT)
TITLES = {
    "inspect": "Look at the image",
    "mask": "Mask unusable pixels",
    "cosmic_rays": "Cosmic rays",
    "background": "Sky background",
    "sources": "Sources and PSF",
    "plate_solve": "Plate solution",
    "zero_point": "Zero point",
    "target": "Photometry of the target",
    "limit": "Detection limit",
    "report": "Report",
}
PICTURE_TITLES = {
    "field.png": "The field with its sources",
    "zero_point.png": "Zero point over the image",
    "residuals.png": "Residuals against magnitude and colour",
    "limit.png": "Artificial stars found",
    "cutout.png": "The target",
}
_HINTS = {
    "inspect": "upload the image as FITS: plain, .fz, .gz or .bz2",
    "mask": "check that the image has an overscan where its header says so",
    "cosmic_rays": "switch the search for cosmic rays off",
    "background": "check the image: is most of it exposed sky?",
    "sources": "lower the threshold, or take a longer exposure",
    "plate_solve": "choose another catalogue, give the pixel scale, or trust the image's WCS",
    "zero_point": "choose another catalogue, or a smaller or larger aperture",
    "target": "check the position of the target",
    "limit": "",
    "report": "the measurement stands; run it again for the pictures",
}
_HINTS_OF_CODES = {
    "analysis.no_time": "give the middle of the exposure in UTC (obstime)",
}
"""Where the words of the measurement itself are not those of the form and of the API."""
_UNEXPECTED = "a fault of the program: tell whoever runs this portal, with the number of the run"


def steps_waiting() -> list[dict[str, Any]]:
    """All steps, before the first has begun."""
    return [step_shape(StepReport(name)) for name in STEP_NAMES]


def step_shape(report: StepReport, started_at: str | None = None) -> dict[str, Any]:
    """One step as its row tells it."""
    return {
        "name": report.name,
        "title": TITLES[report.name],
        "state": report.state,
        "started_at": started_at,
        "seconds": round(report.seconds, 3) if report.state in ("done", "failed") else None,
        "message": _message(report),
    }


def _message(report: StepReport) -> str | None:
    """What a step found, in a sentence."""
    if report.error is not None:
        return report.error.get("message")
    facts = report.facts
    if report.state != "done" or facts.get("done") is False:
        why = facts.get("why")
        return None if why is None else _with_titles(str(why))
    with_facts = _SENTENCES.get(report.name)
    return None if with_facts is None else with_facts(facts)


def _with_titles(why: str) -> str:
    """The names of steps as people read them."""
    first, _, rest = why.partition(" ")
    return f"{TITLES[first]} {rest}" if first in TITLES else why


def _inspected(facts: Mapping[str, Any]) -> str:
    size = f"{facts['columns']} × {facts['rows']} pixels by {facts['instrument']}"
    if facts.get("section") is not None:
        size = f"section {facts['section']} of {facts['sections']}, {size}"
    return f"{size}, gain {facts['gain']:.3g} ({facts['gain_from']})"


def _found_sources(facts: Mapping[str, Any]) -> str:
    psf = f"PSF from {facts['psf_stars']} stars" if facts["psf_stars"] else "no PSF"
    return f"{facts['sources']} sources, FWHM {facts['fwhm']:.2f} pixels, {psf}"


def _solved(facts: Mapping[str, Any]) -> str:
    how = {
        "header": "the image's WCS as it is",
        "refined": "the image's WCS, refined",
        "hinted": "solved near the pointing that is known",
        "blind": "solved blindly",
    }.get(facts["how"], facts["how"])
    stars = f", {facts['matched']} stars, {facts['rms_pixels']:.2f} pixels" if (
        "matched" in facts) else ""  # fmt: skip
    return f"{how}{stars}"


def _zero_point(facts: Mapping[str, Any]) -> str:
    fit = facts.get("psf") or facts["aperture"]
    term = fit["colour_term"]
    colour = "" if term is None else f", colour term {term:+.3f} in {facts['colour']}"
    return (
        f"{facts['catalog']}, {facts['band']} ({facts['system']}): "
        f"{fit['stars']} stars, scatter {fit['rms']:.3f} mag{colour}"
    )


def _limit(facts: Mapping[str, Any]) -> str | None:
    limit = facts["limit"]
    if limit is None or not math.isfinite(limit):
        return "no limit"
    return f"half of {facts['stars']} artificial stars are found at {limit:.2f}"


_SENTENCES = {
    "inspect": _inspected,
    "mask": lambda facts: f"{100 * facts['usable']:.1f} % of the pixels can be used",
    "cosmic_rays": lambda facts: f"{facts['pixels']} pixels hit",
    "background": lambda f: f"{f['level']:.1f} electrons with a noise of {f['noise']:.2f}",
    "sources": _found_sources,
    "plate_solve": _solved,
    "zero_point": _zero_point,
    "target": lambda f: f"at pixel {f['x']:.1f}, {f['y']:.1f}, by {f['method']}",
    "limit": _limit,
}


def error_shape(fault: FirstlightError | Mapping[str, Any], step: str) -> dict[str, Any]:
    """A failure as its row tells it: which step, why, and what to try."""
    facts = fault.as_dict() if isinstance(fault, FirstlightError) else dict(fault)
    hint = _HINTS_OF_CODES.get(str(facts.get("code")), facts.get("hint"))
    if facts.get("kind") == Kind.INTERNAL.value:
        hint = hint or _UNEXPECTED
    return {
        "code": facts.get("code") or "internal",
        "message": facts.get("message") or "the analysis failed",
        "step": step,
        "title": TITLES[step],
        "found": facts.get("found"),
        "expected": facts.get("expected"),
        "hint": hint or _HINTS[step] or _UNEXPECTED,
    }


def preview_of(result: ImageAnalysisResult) -> dict[str, Any] | None:
    """The photometry that the user may accept; None where the target was not measured."""
    told = result.as_dict()
    if told["state"] != "done" or not told["measurements"]:
        return None
    facts = {step["name"]: step["facts"] for step in told["steps"]}
    fits = facts["zero_point"]
    return {
        "chosen": told["method"],
        **{name: told[name] for name in _KEPT},
        "filter": _filter_of_point(told),
        "band": told["filter"],
        "obstime": Time(result.mjd, format="mjd", scale="utc").isot,
        "fwhm_pixels": facts["sources"].get("fwhm"),
        "pixel_scale": facts["plate_solve"].get("pixel_scale"),
        "x": facts["target"].get("x"),
        "y": facts["target"].get("y"),
        "methods": {
            method: {
                **measured,
                "detected": measured["magnitude"] is not None,
                "colour_term": fits.get(method, {}).get("colour_term"),
                "colour_term_err": fits.get(method, {}).get("colour_term_err"),
            }
            for method, measured in told["measurements"].items()
        },
    }


def _filter_of_point(told: Mapping[str, Any]) -> str | None:
    """The image's own filter, as the main job names it; the catalogue's band if nobody tells it.

    So the points of one camera and filter are one series, whoever measured them, and whatever
    they are tied to.
    """
    own: str | None = told["image_filter"]
    band: str | None = told["filter"]
    return own if own and own != HeaderReader.default_filter else band


def tied_to(preview: Mapping[str, Any]) -> str:
    """The catalogue's band and magnitude system: ``VT (Vega)``."""
    return f"{preview.get('band') or preview['filter']} ({preview['system']})"


_KEPT = (
    *("ra", "dec", "image_filter", "system", "mjd", "exp_time", "instrument"),
    *("catalog", "limit", "limit_err", "flags", "notes", "section"),
)


def plots_of(bench: Bench) -> dict[str, Any]:
    """Numbers of the diagnostic plots, for those who draw them themselves."""
    ny, nx = bench.shape
    told: dict[str, Any] = {
        "shape": [ny, nx],
        "target": {"x": _number(bench.x), "y": _number(bench.y)},
        "band": bench.result.filter,
        "system": bench.result.system,
        "colour_name": None if bench.stars is None else bench.stars.colour_name,
        "calibrators": None,
        "zero_point": None,
        "completeness": None,
    }
    matched, stars = bench.calibrators, bench.stars
    if matched is not None and matched.fits and stars is not None:
        method = bench.method if bench.method in matched.fits else next(iter(matched.fits))
        fit, flux = matched.fits[method], matched.fluxes[method]
        with np.errstate(divide="ignore", invalid="ignore"):
            noise = 2.5 / np.log(10.0) * flux.error / flux.flux
        noise = np.hypot(noise, np.nan_to_num(stars.mag_err[matched.star]))
        colour = None if stars.colour is None else _numbers(stars.colour[matched.star])
        told["calibrators"] = {
            "method": method,
            "x": _numbers(matched.x),
            "y": _numbers(matched.y),
            "mag": _numbers(stars.mag[matched.star]),
            "colour": colour,
            "residual": _numbers(fit.residual),
            "error": _numbers(noise),
            "used": [bool(used) for used in fit.used],
        }
        x, y = np.linspace(0, nx - 1, 24), np.linspace(0, ny - 1, 24)
        surface = fit.zero(*np.meshgrid(x, y))
        told["zero_point"] = {
            "x": _numbers(x), "y": _numbers(y), "z": [_numbers(row) for row in surface],
        }  # fmt: skip
    told["completeness"] = _completeness(bench)
    return told


def _completeness(bench: Bench) -> dict[str, Any] | None:
    found = bench.completeness
    if found is None or not np.isfinite(found.middle):
        return None
    at, share, error = found.binned()
    grid = np.linspace(float(found.magnitude.min()), float(found.magnitude.max()), 100)
    return {
        "mag": _numbers(at),
        "share": _numbers(share),
        "error": _numbers(error),
        "curve_mag": _numbers(grid),
        "curve_share": _numbers(found.share(grid)),
        "limit": _number(found.limit),
        "limit_err": _number(found.limit_err),
    }


def _number(value: float) -> float | None:
    return round(float(value), 5) if math.isfinite(value) else None


def _numbers(values: Iterable[float]) -> list[float | None]:
    return [_number(float(value)) for value in values]


def page_of(object_name: str, analysis: int) -> str:
    """Path of an analysis within the portal."""
    return f"/source/{quote(object_name)}/image_analyses/{analysis}"


def analysis_shape(
    row: ImageAnalysis,
    *,
    object_name: str,
    filename: str,
    owner: str | None,
    is_own: bool,
    position: int | None = None,
    removed_at: datetime | None = None,
    photometry_id: int | None = None,
) -> dict[str, Any]:
    """An analysis as it is told to those who may see it.

    Parameters
    ----------
    position
        Its place among all that wait, from 1, in the order of their turns.
    removed_at
        When the bytes of its image were removed.
    """
    ended = row.state not in (AnalysisState.QUEUED, AnalysisState.RUNNING)
    open_question = row.accepted_at is None and row.discarded_at is None
    has_preview = row.state == AnalysisState.DONE and (row.result or {}).get("preview") is not None
    report = f"/api/sources/{quote(object_name)}/image_analyses/{row.id}/report/"
    return {
        "id": row.id,
        "object": object_name,
        "engine": row.engine,
        "state": str(row.state),
        "filename": filename,
        "upload_id": str(row.upload_id),
        "image_removed_at": _moment(removed_at),
        "owner": owner,
        "is_own": is_own,
        **{name: _moment(getattr(row, name)) for name in _MOMENTS},
        "photometry_id": photometry_id,
        "queue_position": position,
        "parameters": row.parameters,
        "steps": row.steps,
        "error": row.error,
        "preview": (row.result or {}).get("preview"),
        "pictures": [
            {"name": name, "title": title, "url": report + name}
            for name, title in PICTURE_TITLES.items()
            if name in row.files
        ],
        "plots_url": report + "plots.json" if "plots.json" in row.files else None,
        "may": {
            "cancel": is_own and not ended,
            "accept": is_own and has_preview and row.accepted_at is None,
            "discard": is_own and ended and row.discarded_at is None,
            "rerun": is_own and ended and removed_at is None,
        },
        "is_open": has_preview and open_question,
    }


_MOMENTS = ("created_at", "started_at", "finished_at", "accepted_at", "discarded_at")


def _moment(value: Any) -> str | None:
    return None if value is None else value.isoformat()
