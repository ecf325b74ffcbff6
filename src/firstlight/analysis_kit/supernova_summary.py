"""What a fit says in words and numbers: maxima, brightness, and the model's light curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from astropy.cosmology import FlatLambdaCDM

from firstlight.analysis_kit.supernova_fitting import Fit
from firstlight.analysis_kit.supernova_likelihood import band_flux
from firstlight.analysis_kit.supernova_photometry import Measurements
from firstlight.analysis_kit.supernova_posterior import Posterior

__all__ = ["compared_as_document", "fit_as_document", "light_curves"]

_CURVE_DRAWS = 120
_CURVE_POINTS = 140
_MARGIN = 15.0  # d, of a model's light curve beyond the measurements
_ZERO_POINT = 23.9
_LEAST_HUBBLE_FLOW = 0.005  # below that redshift is no distance
_COSMOLOGY = FlatLambdaCDM(H0=70.0, Om0=0.3)


def light_curves(fit: Fit, posterior: Posterior) -> dict[str, np.ndarray]:
    """The model in each band that was fitted.

    Returns
    -------
    dict
        By filter, an array (n, 4): MJD, median, and the 16th and 84th percentile of the posterior
        in µJy (AB). It reaches from the template's beginning to its end, and no more than 15 d
        beyond the measurements.
    """
    data, model = fit.data, fit.likelihood.set(fit.values)
    first = max(model.mintime(), data.mjd.min() - _MARGIN)
    last = min(model.maxtime(), data.mjd.max() + _MARGIN)
    mjd = np.linspace(first, max(last, first + 1.0), _CURVE_POINTS)
    chosen = np.linspace(0, len(posterior.draws) - 1, _CURVE_DRAWS).astype(int)
    curves = np.empty((len(chosen), len(data.bands), len(mjd)))
    for row, values in enumerate(posterior.draws[chosen]):
        model = fit.likelihood.set(values)
        for column, band in enumerate(data.bands):
            curves[row, column] = band_flux(model, band, mjd)
    low, median, high = np.percentile(curves, [16.0, 50.0, 84.0], axis=0)
    return {
        band.name: np.column_stack([mjd, median[index], low[index], high[index]])
        for index, band in enumerate(data.bands)
    }


def fit_as_document(
    fit: Fit, posterior: Posterior, curves: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """The numbers of one fit, as `Results.results` takes them."""
    free = dict(zip(fit.names, _columns(fit, posterior), strict=True))
    model = fit.likelihood.set(fit.values)
    fixed = {
        name: {"value": float(model.get(name)), "fixed": True}
        for name in model.param_names
        if name not in free
    }
    return {
        "template": fit.template.as_document(),
        "parameters": {**free, **fixed},
        "covariance": {"names": list(fit.names), "matrix": fit.covariance.tolist()},
        "chisq": fit.chi2,
        "ndof": fit.ndof,
        "chi2_dof": fit.chi2 / fit.ndof if fit.ndof > 0 else None,
        "extra_scatter": fit.likelihood.scatter,
        "bic": fit.bic,
        "log_evidence": posterior.log_evidence,
        "log_evidence_error": posterior.log_evidence_error,
        "posterior": posterior.how,
        "at_bounds": list(fit.at_bounds),
        "ncall": fit.calls,
        "redshift": _redshift(fit),
        **_maximum(fit),
        "peak_mag_ab": _peaks(curves),
        "bands": _bands(fit.data),
        "measurements": fit.data.number_measured,
        "limits": int(np.count_nonzero(fit.data.is_limit)),
        "left_out": fit.data.left_out,
    }


def compared_as_document(
    fits: Sequence[Fit], posteriors: Sequence[Posterior]
) -> list[dict[str, Any]]:
    """Templates by how probable they are, fits to the same measurements."""
    best = min(fit.bic for fit in fits)
    weights = np.exp(-0.5 * np.array([fit.bic - best for fit in fits]))
    rows = [
        {
            "model": fit.template.name,
            "asked": fit.template.asked,
            "type": fit.template.kind,
            "chisq": fit.chi2,
            "ndof": fit.ndof,
            "extra_scatter": fit.likelihood.scatter,
            "bic": fit.bic,
            "delta_bic": fit.bic - best,
            "weight": float(weight / weights.sum()),
            "log_evidence": posterior.log_evidence,
        }
        for fit, posterior, weight in zip(fits, posteriors, weights, strict=True)
    ]
    return sorted(rows, key=lambda row: float(str(row["bic"])))


def _columns(fit: Fit, posterior: Posterior) -> list[dict[str, Any]]:
    low, median, high = np.percentile(posterior.draws, [16.0, 50.0, 84.0], axis=0)
    return [
        {
            "value": float(fit.values[index]),
            "error": float(fit.errors[index]),
            "median": float(median[index]),
            "low": float(low[index]),
            "high": float(high[index]),
        }
        for index in range(len(fit.names))
    ]


def _redshift(fit: Fit) -> dict[str, Any]:
    told = {"value": fit.value("z"), "how": fit.likelihood.scene.redshift.told}
    if "z" in fit.names:
        told["error"] = float(fit.errors[fit.names.index("z")])
    return told


def _maximum(fit: Fit) -> dict[str, Any]:
    """When and how bright the supernova was at most in B of its own frame."""
    model = fit.likelihood.set(fit.values)
    shift, error = 1.0 + fit.value("z"), float(fit.errors[fit.names.index("t0")])
    source = model.source
    try:
        phase = float(source.peakphase("bessellb"))
        brightest = float(source.peakmag("bessellb", "ab"))
    except ValueError:
        return {}  # a template that does not reach B
    told = {
        "t_max_B": {"value": fit.value("t0") + phase * shift, "error": error},
        "m_B": {"value": brightest, "what": "of the rest frame, before dust of the Milky Way"},
    }
    if fit.value("z") > _LEAST_HUBBLE_FLOW:
        modulus = float(_COSMOLOGY.distmod(fit.value("z")).value)
        cosmology = "flat, H0 = 70 km/s/Mpc, Omega_m = 0.3"
        told["M_B"] = {"value": brightest - modulus, "what": cosmology}
    return told


def _peaks(curves: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Magnitude (AB) and MJD of the maximum of each light curve, where it is inside."""
    found = {}
    for name, curve in curves.items():
        top = int(np.argmax(curve[:, 1]))
        if 0 < top < len(curve) - 1 and curve[top, 1] > 0.0:
            flux, low, high = curve[top, 1:]
            found[name] = {
                "value": _ZERO_POINT - 2.5 * float(np.log10(flux)),
                "error": float(1.0857 * 0.5 * (high - low) / flux),
                "mjd": float(curve[top, 0]),
            }
    return found


def _bands(data: Measurements) -> dict[str, dict[str, Any]]:
    told = {}
    for index, band in enumerate(data.bands):
        rows = data.band == index
        told[band.name] = {
            "passband": band.curve,
            "curve": band.origin,
            "measurements": int(np.count_nonzero(rows & ~data.is_limit)),
            "limits": int(np.count_nonzero(rows & data.is_limit)),
        }
    return told
