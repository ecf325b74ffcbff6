"""From a filter's name to its passband, and from spectra to what is measured through it.

Where sncosmo has the curve of a filter on this machine, that one is used. For the others there is
a table of the mean and the deviation of each published curve, and a trapezoid of the same two: the
flux through it is exact for a spectrum that is a parabola across the passband, and good to about a
hundredth for supernovae.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import sncosmo

from firstlight.analysis_kit.supernova_templates import locally

__all__ = ["Passband", "passband"]

_LIGHT_SPEED = 2.99792458e18  # Å/s
_MICROJANSKY = 1e-29  # erg/s/cm2/Hz
_STEP = 25.0  # Å, a third of the width of a supernova's narrowest features
_TRIM = 0.01  # of the peak: less than that says nothing of a band's reach
_SLANT = 0.25  # width of a trapezoid's slopes, of the width at half its height

_LETTERS = {
    "U": "bessellux",
    "bessellu": "bessellux",
    "B": "bessellb",
    "V": "bessellv",
    "R": "bessellr",
    "I": "besselli",
    "u": "sdssu",
    "g": "sdssg",
    "r": "sdssr",
    "i": "sdssi",
    "z": "sdssz",
    "y": "ps1::y",
    "J": "2massj",
    "H": "2massh",
    "K": "2massks",
    "Ks": "2massks",
    "G": "gaia::g",
    "BP": "gaia::gbp",
    "RP": "gaia::grp",
}
_STAND_INS = {
    "vt": "bessellv",
    "bt": "bessellb",
    "clear": "gaia::g",
    "open": "gaia::g",
    "unfiltered": "gaia::g",
    "luminance": "gaia::g",
    "l": "gaia::g",
    "cv": "bessellv",
    "cr": "bessellr",
}
"""Tycho's bands by the nearest of Johnson's, unfiltered light by Gaia's broad band."""


@dataclass(frozen=True)
class Passband:
    """A filter as it is used.

    Attributes
    ----------
    name
        The name in the photometry.
    curve
        The name of the passband that is used; another one where a stand-in is.
    origin
        Where its curve came from, in words.
    wave
        Å, shape (n,): where a spectrum is needed.
    weight
        Shape (n,): the sum of weight x flux density (erg/s/cm2/Å) is µJy (AB).
    reach
        Å, the shortest and longest wavelength at which it lets a hundredth through.
    band
        The same curve as sncosmo's class.
    """

    name: str
    curve: str
    origin: str
    wave: np.ndarray
    weight: np.ndarray
    reach: tuple[float, float]
    band: Any

    @property
    def mean_wave(self) -> float:
        """Å, weighted by the curve."""
        return float(np.sum(self.weight * self.wave) / np.sum(self.weight))


@cache
def passband(name: str) -> Passband | None:
    """The passband of a filter's name, or None where there is none such."""
    curve = _LETTERS.get(name) or _STAND_INS.get(name.lower()) or name
    found = locally(sncosmo.get_bandpass, curve) if _is_known(curve) else None
    if found is not None:
        wave, through = np.asarray(found.wave), np.asarray(found.trans)
        origin = "sncosmo's curve"
    else:
        moments = _moments().get(curve)
        if moments is None:
            return None
        wave, through = _trapezoid(*moments)
        origin = "trapezoid of the published curve's mean and width"
    good = np.flatnonzero(through > _TRIM * through.max())
    reach = (float(wave[max(good[0] - 1, 0)]), float(wave[min(good[-1] + 1, len(wave) - 1)]))
    nodes, weight = _quadrature(wave, through, reach)
    if curve != name:
        origin += f" of {curve}, which stands for it"
    band = sncosmo.Bandpass(wave, through, name=name)
    return Passband(name, curve, origin, nodes, weight, reach, band)


def _quadrature(
    wave: np.ndarray, through: np.ndarray, reach: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Bins with the curve's own mean wavelength in each, so that few are enough."""
    bins = max(8, round((reach[1] - reach[0]) / _STEP))
    fine = np.linspace(*reach, 20 * bins, endpoint=False)
    fine += 0.5 * (fine[1] - fine[0])
    photons = np.interp(fine, wave, through) * fine
    by_bin = photons.reshape(bins, 20)
    weight = by_bin.sum(axis=1)
    filled = weight > 0.0
    nodes = (by_bin * fine.reshape(bins, 20)).sum(axis=1)[filled] / weight[filled]
    reference = np.sum(photons / fine**2) * _LIGHT_SPEED * _MICROJANSKY
    return nodes, weight[filled] / reference


def _trapezoid(mean: float, deviation: float) -> tuple[np.ndarray, np.ndarray]:
    """Two boxes convolved: their variances, a twelfth of their widths squared, add up."""
    width = deviation * np.sqrt(12.0 / (1.0 + _SLANT**2))
    outer, inner = 0.5 * width * (1.0 + _SLANT), 0.5 * width * (1.0 - _SLANT)
    wave = mean + np.array([-outer, -inner, inner, outer])
    return wave, np.array([0.0, 1.0, 1.0, 0.0])


@cache
def _moments() -> dict[str, tuple[float, float]]:
    table = files(__package__) / "data" / "supernova_bandpasses.csv"
    with table.open(encoding="utf-8") as lines:
        return {
            row["name"]: (float(row["mean"]), float(row["deviation"]))
            for row in csv.DictReader(lines)
        }


def _is_known(name: str) -> bool:
    registry = sncosmo.bandpasses._BANDPASSES  # noqa: SLF001, the only list that fetches nothing
    return name in {each["name"] for each in registry.get_loaders_metadata()}
