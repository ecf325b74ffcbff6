"""The bundled family of spectral templates, for machines that have no others.

Five kinds, each of three parameters: ``x0`` (the brightness), ``x1`` (how wide the light curve
is) and ``c`` (how red). ``fl-sn1a`` warps the spectra of Hsiao et al. (2007) that sncosmo carries
in its own package, every 5 d and 50 Å. The others, ``fl-sn2p``, ``fl-sn2l``, ``fl-sn2n`` and
``fl-sn1bc``, are approximate: a black body under a blanket of metal lines with Hα upon it, whose
brightness and temperature follow a table of typical values. They tell the kind of a supernova
and the time of its maximum; they are no substitute for published templates where details count.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files

import numpy as np
import sncosmo
from scipy.interpolate import PchipInterpolator, RectBivariateSpline

__all__ = ["BUNDLED", "WarpedSource", "bundled_source", "width_of"]

VERSION = "1.0"
BUNDLED = {
    "fl-sn1a": "Ia",
    "fl-sn1bc": "Ib/c",
    "fl-sn2p": "IIP",
    "fl-sn2l": "IIL",
    "fl-sn2n": "IIn",
}
"""Names of the family, and the kind of supernova that each stands for."""

_B_MAXIMUM = 10.635  # mag (AB) of x0 = 1, about that of SALT2, so that x0 reads alike
_NORMAL_WAVE = 5500.0
_HALPHA = 6563.0
_HALPHA_DEVIATION = 80.0  # Å: some 8000 km/s full width at half maximum
_LINE_BLANKET_BELOW = 5000.0
_DEEPEST_BLANKET = 8.0
_B_WAVE, _V_WAVE = 4380.0, 5480.0  # where the colour law is 0 and -1
_NOTHING_BEFORE = 20.0  # mag: what the explosion itself is below maximum


def width_of(x1: float) -> float:
    """How much wider in time a light curve is: the polynomial of Guy et al. (2007), section 5."""
    return 0.98 + 0.091 * x1 + 0.003 * x1**2 - 0.00075 * x1**3


class WarpedSource(sncosmo.Source):
    """Spectra in time, stretched by ``x1`` and reddened by ``c``.

    The flux is ``x0 F(phase / s, wave) 10^(-0.4 c C(wave))``, where s is `width_of` x1 and C is
    the law of Cardelli, Clayton & Mathis (1989) for R_V = 3.1, shifted and scaled to 0 in B and
    -1 in V: c is the excess of B - V, of dust and of the star itself alike. Before its first phase
    a supernova gives no light.

    Parameters
    ----------
    phase
        Days of the rest frame since B maximum, rising, shape (p,).
    wave
        Å, rising, shape (w,).
    flux
        Spectral flux density, shape (p, w).
    """

    _param_names = ["x0", "x1", "c"]  # noqa: RUF012, a name that sncosmo's class gives
    param_names_latex = ["x_0", "x_1", "c"]  # noqa: RUF012, likewise

    def __init__(self, phase: np.ndarray, wave: np.ndarray, flux: np.ndarray, *, name: str) -> None:
        self.name = name
        self.version = VERSION
        self._phase = phase
        self._wave = wave
        self._parameters = np.array([1.0, 0.0, 0.0])
        self._flux_spline = RectBivariateSpline(phase, wave, flux, kx=3, ky=1)
        self._law = _colour_law(wave)

    def minphase(self) -> float:
        """First phase, days of the rest frame."""
        return float(self._phase[0] * width_of(self._parameters[1]))

    def maxphase(self) -> float:
        """Last phase, days of the rest frame."""
        return float(self._phase[-1] * width_of(self._parameters[1]))

    def _flux(self, phase: np.ndarray, wave: np.ndarray) -> np.ndarray:
        x0, x1, c = self._parameters
        unstretched = np.atleast_1d(phase) / width_of(x1)
        spectra = np.clip(self._flux_spline(unstretched, np.atleast_1d(wave)), 0.0, None)
        spectra[unstretched < self._phase[0]] = 0.0
        reddening = 10.0 ** (-0.4 * c * np.interp(wave, self._wave, self._law))
        return np.asarray(x0 * spectra * reddening)


@cache
def bundled_source(name: str) -> WarpedSource:
    """One of `BUNDLED`; shared, so copy it before its parameters are set.

    Raises
    ------
    KeyError
        There is none of this name.
    """
    kind = name.removeprefix("fl-")
    if name not in BUNDLED:
        raise KeyError(name)
    phase, wave, flux = _hsiao() if kind == "sn1a" else _black_bodies(kind)
    source = WarpedSource(phase, wave, flux, name=name)
    scale = 10.0 ** (0.4 * (source.peakmag("bessellb", "ab") - _B_MAXIMUM))
    return WarpedSource(phase, wave, flux * scale, name=name)


def _hsiao() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spectra of sncosmo's own package. At its first phase, 20 d before B maximum, no light."""
    source = sncosmo.get_source("hsiao-subsampled")
    phase = np.arange(source.minphase(), source.maxphase() + 0.5, 1.0)
    wave = np.arange(1700.0, source.maxwave() + 1.0, 25.0)
    flux = np.clip(source.flux(phase, wave), 0.0, None)
    flux[0] = 0.0
    return phase, wave, flux


def _black_bodies(kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = files(__package__) / "data" / "supernova_templates.csv"
    with table.open(encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row["kind"] == kind]
    known = {
        name: np.array([float(row[name]) for row in rows])
        for name in ("phase", "magnitude", "temperature", "blanketing", "halpha")
    }
    phase = np.arange(known["phase"][0], known["phase"][-1] + 0.25, 0.5)
    at = {
        name: PchipInterpolator(known["phase"], values)(phase)
        for name, values in known.items()
        if name != "phase"
    }
    # Unevenly spaced: spectra of black bodies are as smooth in the red as in the blue in log.
    wave = np.unique(np.round(np.geomspace(1500.0, 25000.0, 500)))
    shape = _spectrum(wave, at["temperature"], at["blanketing"])
    normal = _spectrum(np.array([_NORMAL_WAVE]), at["temperature"], at["blanketing"])
    line = np.exp(-0.5 * ((wave - _HALPHA) / _HALPHA_DEVIATION) ** 2)
    line /= _HALPHA_DEVIATION * np.sqrt(2.0 * np.pi)
    shape *= 1.0 + at["halpha"][:, None] * line
    flux = shape / normal * 10.0 ** (-0.4 * at["magnitude"])[:, None]
    flux[0] *= 10.0 ** (-0.4 * _NOTHING_BEFORE)
    return phase, wave, flux


def _spectrum(wave: np.ndarray, temperature: np.ndarray, blanketing: np.ndarray) -> np.ndarray:
    """Planck's law, dimmed in the blue by `blanketing` magnitudes at 1000 Å below 5000 Å."""
    exponent = 1.438777e8 / (wave * temperature[:, None])
    body = (wave / _NORMAL_WAVE) ** -5.0 / np.expm1(np.minimum(exponent, 300.0))
    depth = np.clip((_LINE_BLANKET_BELOW - wave) / 1000.0, 0.0, None) ** 1.5
    dimming = np.minimum(blanketing[:, None] * depth, _DEEPEST_BLANKET)
    return np.asarray(body * 10.0 ** (-0.4 * dimming))


def _colour_law(wave: np.ndarray) -> np.ndarray:
    dust = sncosmo.CCM89Dust()
    dust.set(ebv=1.0, r_v=3.1)

    def extinction(at: np.ndarray) -> np.ndarray:
        return np.asarray(-2.5 * np.log10(dust.propagate(at, np.ones_like(at))))

    blue, visual = extinction(np.array([_B_WAVE, _V_WAVE]))
    return np.asarray((extinction(wave) - blue) / (blue - visual))
