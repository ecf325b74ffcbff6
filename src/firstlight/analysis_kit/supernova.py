"""Supernova fit: which kind it is, when it was brightest, and how its light came and went.

Spectral templates are fitted to the photometry of an object: one by choice, or several that are
compared. See `fit`, and `SERVICE` for what may be chosen.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from firstlight.analysis_kit.declaration import ServiceDeclaration
from firstlight.analysis_kit.failures import AnalysisFailed
from firstlight.analysis_kit.inputs import Inputs, Redshift
from firstlight.analysis_kit.progress import Progress
from firstlight.analysis_kit.results import Plot, Results

if TYPE_CHECKING:
    from firstlight.analysis_kit.supernova_comparison import Comparison
    from firstlight.analysis_kit.supernova_likelihood import RedshiftPrior, Scene
    from firstlight.analysis_kit.supernova_photometry import Measurements

__all__ = ["SERVICE", "fit", "redshift_prior"]

AUTO = "auto"
_SOURCES = (
    "nugent-sn2p",
    AUTO,
    "salt3",
    "salt2",
    "hsiao",
    "nugent-sn1a",
    "nugent-sn91t",
    "nugent-sn91bg",
    "nugent-sn1bc",
    "nugent-hyper",
    "v19-1998bw",
    "nugent-sn2l",
    "nugent-sn2n",
    "mlcs2k2",
    "fl-sn1a",
    "fl-sn1bc",
    "fl-sn2p",
    "fl-sn2l",
    "fl-sn2n",
)
_PECULIAR = 0.001  # 300 km/s: what a host's redshift may be off by where its error is not known
_REACH = 6.0  # sigma, of a redshift that is known, where no range is given
_DOUBTFUL = 3.0  # chi2/dof from which a fit is not called good

SERVICE = ServiceDeclaration(
    name="supernova",
    display_name="Supernova fit",
    description=(
        "Fits spectral templates of supernovae to the photometry: type, time of maximum, "
        "brightness, width, colour and, if wanted, redshift, with errors and the model light curve."
    ),
    version="1.0",
    analysis_type="lightcurve_fitting",
    input_data_types=("photometry", "redshift"),
    timeout=600.0,
    input_format="json",
    parameters={
        "source": {
            "type": "choice",
            "choices": list(_SOURCES),
            "default": "nugent-sn2p",
            "title": "Template",
            "description": "auto compares one template of each common kind",
        },
        "compare_with": {
            "type": "string",
            "title": "Compare with",
            "description": "names of other sncosmo sources, with commas between them",
        },
        "fix_z": {
            "type": "boolean",
            "default": False,
            "title": "Fix the redshift",
            "description": "to the object's; else it is fitted, with what is known as a prior",
        },
        "redshift": {
            "type": "number",
            "minimum": 0.0,
            "maximum": 5.0,
            "title": "Redshift",
            "description": "instead of the object's",
        },
        "z_min": {"type": "number", "minimum": 0.0, "maximum": 5.0, "title": "Lowest redshift"},
        "z_max": {"type": "number", "minimum": 0.0, "maximum": 5.0, "title": "Highest redshift"},
        "mw_ebv": {
            "type": "number",
            "minimum": 0.0,
            "maximum": 10.0,
            "title": "Milky Way E(B-V)",
            "description": "mag; without it a local dust map is asked, if one is set",
        },
        "host_dust": {
            "type": "choice",
            "choices": ["auto", "yes", "no"],
            "default": "auto",
            "title": "Dust of the host",
            "description": "for templates without a colour of their own; auto: when comparing",
        },
        "snr_min": {
            "type": "number",
            "title": "Least signal-to-noise ratio",
            "description": "without one, faint and negative fluxes count as what they are",
        },
        "mjd_min": {"type": "number", "title": "First MJD"},
        "mjd_max": {"type": "number", "title": "Last MJD"},
        "assumed_error": {
            "type": "number",
            "minimum": 0.001,
            "maximum": 1.0,
            "title": "Error where none is given",
            "description": "mag; without it such measurements are left out",
        },
        "sampler": {
            "type": "choice",
            "choices": ["none", "mcmc", "nest"],
            "default": "none",
            "title": "Posterior",
            "description": "none: Gaussian draws from the covariance",
        },
        "download_templates": {
            "type": "boolean",
            "default": False,
            "title": "Download templates",
            "description": "let sncosmo fetch a template that is not on the machine",
        },
        "seed": {"type": "integer", "default": 1, "minimum": 0, "maximum": 4294967295},
    },
)


def fit(inputs: Inputs, progress: Progress) -> Results:
    """Fit what was chosen to the photometry of one object.

    Raises
    ------
    AnalysisFailed
        Too few measurements, no usable band, no redshift where one is asked for, a template that
        is not to be had, or no convergence.
    """
    chosen = SERVICE.read_parameters(inputs.parameters)
    _require_sncosmo()
    from firstlight.analysis_kit.supernova_comparison import compare  # noqa: PLC0415, of the extra

    progress(0.02, "reading the photometry")
    data = _measurements(inputs, chosen)
    scene, dust = _scene(inputs, chosen)
    progress(0.1, "finding templates")
    templates = _templates(chosen)
    comparison = compare(
        templates, data, scene, sampler=chosen["sampler"], seed=chosen["seed"], progress=progress
    )
    progress(0.9, "drawing")
    return _results(inputs, chosen, comparison, dust)


def redshift_prior(known: Redshift | None, chosen: Mapping[str, Any]) -> RedshiftPrior:
    """What is known of the redshift, from the object and from what was chosen.

    Raises
    ------
    AnalysisFailed
        None is known, and it is to be fixed; or the range is empty.
    """
    from firstlight.analysis_kit.supernova_likelihood import RedshiftPrior  # noqa: PLC0415, of the extra

    if chosen.get("redshift") is not None:
        known = Redshift(chosen["redshift"], origin="chosen")
    if known is not None and known.value <= -1.0:
        raise AnalysisFailed(f"redshift {known.value:g} is none")
    if chosen.get("fix_z"):
        if known is None:
            raise AnalysisFailed(
                "No redshift provided but `fix_z` requested.",
                hint="give the object a redshift, choose one, or let it be fitted",
            )
        return RedshiftPrior(known.value, known.value, known.value, told="fixed")
    if known is None:
        low, high = chosen.get("z_min", 0.01), chosen.get("z_max", 1.0)
        told = f"fitted between {low:g} and {high:g}"
        return _in_order(RedshiftPrior(low, high, told=told))
    error = known.error or _PECULIAR * (1.0 + known.value)
    low = chosen.get("z_min", max(known.value - _REACH * error, 0.1 * known.value))
    high = chosen.get("z_max", known.value + _REACH * error)
    told = f"fitted with the prior {known.value:g} ± {error:.2g}"
    if not known.error:
        told += " (300 km/s, as its error is not known)"
    if not low <= known.value <= high:
        told, known = f"fitted between {low:g} and {high:g}, which leaves the object's out", None
        return _in_order(RedshiftPrior(low, high, told=told))
    return _in_order(RedshiftPrior(low, high, known.value, error, told))


def _in_order(prior: RedshiftPrior) -> RedshiftPrior:
    if prior.low >= prior.high:
        raise AnalysisFailed(
            f"the lowest redshift, {prior.low:g}, is not below the highest, {prior.high:g}"
        )
    return prior


def _require_sncosmo() -> None:
    try:
        import sncosmo  # noqa: F401, PLC0415, only whether it is there
    except ImportError as fault:
        raise AnalysisFailed(
            "the supernova fit needs sncosmo, which is not installed",
            hint="install the extra: pip install 'firstlight[analysis]'",
        ) from fault


def _measurements(inputs: Inputs, chosen: Mapping[str, Any]) -> Measurements:
    from firstlight.analysis_kit.supernova_photometry import Cuts, measurements  # noqa: PLC0415, of the extra

    cuts = Cuts(
        snr_min=chosen.get("snr_min"),
        first=chosen.get("mjd_min"),
        last=chosen.get("mjd_max"),
        error_where_none=chosen.get("assumed_error"),
    )
    return measurements(inputs.photometry, cuts)


def _scene(inputs: Inputs, chosen: Mapping[str, Any]) -> tuple[Scene, dict[str, Any]]:
    """What lies between, and what is told of the Milky Way's dust."""
    from firstlight.analysis_kit.supernova_dust import milky_way_reddening  # noqa: PLC0415, of the extra
    from firstlight.analysis_kit.supernova_likelihood import Scene  # noqa: PLC0415, likewise

    # SkyPortal corrects what it sends where this is asked for, and does not say so beside it.
    asked = str(chosen.get("correct_extinction", "")).strip().lower() in ("true", "t", "yes", "1")
    reddening, origin = milky_way_reddening(
        chosen.get("mw_ebv"),
        inputs.ra,
        inputs.dec,
        removed=asked or inputs.extinction is not None,
    )
    several = chosen["source"] == AUTO or bool(chosen.get("compare_with"))
    host = chosen["host_dust"] == "yes" or (chosen["host_dust"] == "auto" and several)
    scene = Scene(redshift_prior(inputs.redshift, chosen), reddening, host)
    return scene, {"value": reddening, "how": origin, "law": "Fitzpatrick (1999), R_V = 3.1"}


def _templates(chosen: Mapping[str, Any]) -> list[Any]:
    """The templates that are asked for, each once."""
    from firstlight.analysis_kit.supernova_templates import candidates, find_template  # noqa: PLC0415, of the extra

    download = chosen["download_templates"]
    found = candidates(download=download) if chosen["source"] == AUTO else []
    names = [] if chosen["source"] == AUTO else [chosen["source"]]
    names += [name.strip() for name in chosen.get("compare_with", "").split(",") if name.strip()]
    found += [find_template(name, download=download) for name in names]
    return list({template.name: template for template in reversed(found)}.values())[::-1]


def _results(
    inputs: Inputs, chosen: Mapping[str, Any], comparison: Comparison, dust: dict[str, Any]
) -> Results:
    from firstlight.analysis_kit.supernova_plot import comparison_figure, light_curve_figure  # noqa: PLC0415, of the extra
    from firstlight.analysis_kit.supernova_summary import fit_as_document, light_curves  # noqa: PLC0415, likewise

    best, posterior = comparison.best, comparison.posterior
    curves = light_curves(best, posterior)
    told = fit_as_document(best, posterior, curves)
    name = best.template.name
    title = f"{inputs.object_name}  {name}".strip()
    plots = [Plot.of(light_curve_figure(best, curves, title), title=f"Light curve, {name}")]
    if len(comparison.rows) > 1:
        plots.append(Plot.of(comparison_figure(comparison.rows), title="Comparison of templates"))
    results = {
        "source": chosen["source"],
        "source_used": name,
        "fix_z": chosen["fix_z"],
        **told,
        "milky_way_ebv": dust,
        "comparison": comparison.rows,
        "not_fitted": comparison.failed,
        "seed": chosen["seed"],
        "software": {
            each: importlib.metadata.version(each) for each in ("sncosmo", "numpy", "scipy")
        },
    }
    return Results(
        message=_message(best, comparison),
        results=results,
        plots=plots,
        posterior=dict(zip(best.names, posterior.draws.T, strict=True)),
        model_light_curves=curves,
        annotations=[{"origin": "supernova fit", "data": _annotation(comparison, told)}],
        model_name=name,
        n_detections=int(best.data.is_detection.sum()),
    )


def _message(best: Any, comparison: Comparison) -> str:
    """One sentence as upstream's, and what should be known before it is believed."""
    reduced = best.chi2 / best.ndof if best.ndof > 0 else float("inf")
    quality = "Good results" if reduced < _DOUBTFUL else "Doubtful results"
    parts = [f"{quality} with chi^2/dof={best.chi2:.2f}/{best.ndof}"]
    template = best.template
    if len(comparison.rows) > 1:
        best_of = f"best of {len(comparison.rows)} templates: {template.name} (SN {template.kind})"
        parts.append(best_of + (", a bundled one" if template.origin.startswith("bundled") else ""))
    if template.is_stand_in:
        parts.append(
            f"{template.asked} is not on this machine: "
            f"its bundled stand-in {template.name} was fitted"
        )
    if best.likelihood.scatter:
        parts.append(f"errors widened by {100.0 * best.likelihood.scatter:.1f} % of the flux")
    if best.at_bounds:
        parts.append(f"at the end of its range: {', '.join(best.at_bounds)}")
    return "; ".join(parts)


def _annotation(comparison: Comparison, told: Mapping[str, Any]) -> dict[str, Any]:
    """What is put on the object: a kind only if kinds were compared, a redshift only if new."""
    best = comparison.best
    data = {
        "best_model": best.template.name,
        "chi2_dof": told["chi2_dof"],
        "t_max_B": told.get("t_max_B", {}).get("value"),
    }
    if len(comparison.rows) > 1:
        data["sn_type"] = best.template.kind
    if "z" in best.names and best.likelihood.scene.redshift.value is None:
        data["redshift"] = told["redshift"]["value"]
        data["redshift_error"] = told["redshift"]["error"]
    return {name: value for name, value in data.items() if value is not None}
