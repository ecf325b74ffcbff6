"""Simulated supernovae whose truth is known, and real ones whose kind is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import sncosmo
from astropy.table import Table

from firstlight.analysis_kit import Inputs, Redshift
from firstlight.analysis_kit.supernova_bandpasses import passband
from firstlight.analysis_kit.supernova_likelihood import band_flux
from firstlight.analysis_kit.supernova_templates import find_template

# Offsets from Vega to AB; the same as the portal's table of filters.
_JOHNSON = {
    "U": ("bessellux", 0.8118),
    "B": ("bessellb", -0.1021),
    "V": ("bessellv", 0.0101),
    "R": ("bessellr", 0.1933),
    "I": ("besselli", 0.4413),
}


def light_curve(
    truth: dict[str, float],
    *,
    name: str = "fl-sn1a",
    noise: dict[str, float] | None = None,
    days: tuple[float, float] = (-40.0, 80.0),
    points: int = 20,
    seed: int = 0,
) -> Table:
    """Photometry of a supernova of the bundled family, with Gaussian noise of known size.

    `noise` is the µJy of the sky in each filter; `days` are about t0.
    """
    random = np.random.default_rng(seed)
    model = sncosmo.Model(find_template(name).source, [sncosmo.F99Dust()], ["mw"], ["obs"])
    model.set(**truth)
    rows = []
    for band, sky in (noise or {"ztfg": 10.0, "ztfr": 10.0, "sdssi": 15.0}).items():
        mjd = np.sort(truth["t0"] + random.uniform(*days, points))
        flux = band_flux(model, passband(band), mjd)
        error = np.sqrt(sky**2 + (0.01 * flux) ** 2)
        seen = flux + random.normal(size=points) * error
        rows += list(zip(mjd, seen, error, [band] * points, strict=True))
    return Table(rows=sorted(rows), names=["mjd", "flux", "fluxerr", "filter"])


def brightness(magnitude: float) -> float:
    """The x0 of a supernova of this B magnitude at maximum."""
    return 10.0 ** (-0.4 * (magnitude - 10.635))


def real(
    samples: Path, name: str, parameters: dict[str, object], *, error: float | None = 0.07
) -> Inputs:
    """A light curve of the Open Supernova Catalog; `error` (mag) where it tells none."""
    catalogue = json.loads((samples / "lightcurves" / f"{name}.json").read_text())[name]
    rows = []
    for point in catalogue["photometry"]:
        known = _JOHNSON.get(point.get("band", ""))
        told = point.get("e_magnitude", error)
        if known is None or told is None or "magnitude" not in point or point.get("upperlimit"):
            continue
        flux = 10.0 ** (0.4 * (23.9 - float(point["magnitude"]) - known[1]))
        relative = max(float(told), 0.02) / 1.0857
        rows.append((float(point["time"]), flux, flux * relative, known[0]))
    table = Table(rows=sorted(rows), names=["mjd", "flux", "fluxerr", "filter"])
    redshift = Redshift(float(catalogue["redshift"][0]["value"]))
    return Inputs(photometry=table, redshift=redshift, parameters=parameters, object_name=name)
