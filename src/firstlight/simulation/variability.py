"""Stars that change: relative flux as a function of time.

Every model has ``flux(mjd)``: shape in, shape out, 1 where the star is at its catalogue
magnitude. Times are MJD (UTC) as seen at the telescope; a model is evaluated at mid-exposure.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Eclipsing", "Flare", "Pulsator", "RRLyrae", "Transit", "Variable", "transit_loss"]

Floats = NDArray[np.float64]

QUADRATURE_X, QUADRATURE_W = np.polynomial.legendre.leggauss(96)


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    star: int


class Pulsator(_Model):
    """A delta Scuti star: a sinusoid in magnitudes of full range `amplitude`."""

    kind: Literal["pulsator"] = "pulsator"
    period: float
    amplitude: float
    epoch: float

    def flux(self, mjd: Floats) -> Floats:
        """Relative flux; brightest at `epoch` (MJD), `period` in days."""
        phase = 2 * np.pi * (mjd - self.epoch) / self.period
        return np.asarray(10 ** (0.2 * self.amplitude * np.cos(phase)))


class RRLyrae(_Model):
    """A fast rise over a sixth of the period and a slow fall; `amplitude` in magnitudes."""

    kind: Literal["rr_lyrae"] = "rr_lyrae"
    period: float
    amplitude: float
    epoch: float

    def flux(self, mjd: Floats) -> Floats:
        """Relative flux; brightest at `epoch` (MJD), faintest at the catalogue magnitude."""
        phase = ((mjd - self.epoch) / self.period) % 1.0
        rise = 1 / 6
        falling = np.cos(np.pi / 2 * phase / (1 - rise)) ** 2
        rising = np.sin(np.pi / 2 * (phase - 1 + rise) / rise) ** 2
        shape = np.where(phase < 1 - rise, falling, rising)
        return np.asarray(10 ** (0.4 * self.amplitude * shape))


class Eclipsing(_Model):
    """Trapezoidal eclipses, every second one half as deep."""

    kind: Literal["eclipsing"] = "eclipsing"
    period: float
    depth: float
    duration: float
    epoch: float

    def flux(self, mjd: Floats) -> Floats:
        """Relative flux; `depth` is the flux lost at primary mid-eclipse, `epoch` its MJD.

        `duration` (days) is from first to last contact; the flat bottom lasts half of it.
        """
        cycles = (mjd - self.epoch) / self.period
        primary = np.abs((cycles + 0.5) % 1.0 - 0.5) * self.period
        secondary = np.abs(cycles % 1.0 - 0.5) * self.period
        loss = self._trapezoid(primary) + 0.5 * self._trapezoid(secondary)
        return np.asarray(1 - self.depth * loss)

    def _trapezoid(self, from_middle: Floats) -> Floats:
        return np.clip((self.duration / 2 - from_middle) / (self.duration / 4), 0, 1)


class Flare(_Model):
    """A sudden rise and an exponential decay."""

    kind: Literal["flare"] = "flare"
    peak: float
    decay: float
    epoch: float

    def flux(self, mjd: Floats) -> Floats:
        """Relative flux: ``1 + peak`` at `epoch` (MJD), decay time in days, rise a tenth of it."""
        since = mjd - self.epoch
        rise = self.decay / 10
        shape = np.where(
            since < 0, np.clip(1 + since / rise, 0, 1), np.exp(-np.maximum(since, 0) / self.decay)
        )
        return np.asarray(1 + self.peak * shape)


class Transit(_Model):
    """A planet crosses a limb-darkened star.

    Attributes
    ----------
    depth
        Flux lost at mid-transit.
    duration
        Days from first to last contact.
    epoch, epoch_bjd
        Mid-transit: MJD (UTC) as seen at the telescope, and the same instant as BJD (TDB).
    impact
        Closest approach in stellar radii.
    limb_darkening
        Quadratic coefficients.
    radius_ratio
        Planet over star; follows from `depth`.
    """

    kind: Literal["transit"] = "transit"
    depth: float
    duration: float
    epoch: float
    epoch_bjd: float
    impact: float
    limb_darkening: tuple[float, float]
    radius_ratio: float

    def flux(self, mjd: Floats) -> Floats:
        """Relative flux."""
        half_chord = np.sqrt((1 + self.radius_ratio) ** 2 - self.impact**2)
        along = (np.asarray(mjd, float) - self.epoch) / (self.duration / 2) * half_chord
        distance = np.hypot(self.impact, along)
        return np.asarray(1 - transit_loss(distance, self.radius_ratio, self.limb_darkening))


Variable = Annotated[Pulsator | RRLyrae | Eclipsing | Flare | Transit, Field(discriminator="kind")]


def transit_loss(
    distance: Floats, radius_ratio: float, limb_darkening: tuple[float, float]
) -> Floats:
    """Share of a star's light that an opaque disc takes away.

    The star is cut into rings; of each ring the disc hides an arc that follows from the
    cosine rule. The rings are summed by Gauss-Legendre quadrature after a substitution that
    takes the square roots out of both ends. Good to 1e-6 against closed forms.

    Parameters
    ----------
    distance
        Of the two centres, in stellar radii, any shape.
    radius_ratio
        Of the disc, in stellar radii, below 1.
    limb_darkening
        Of the quadratic law ``I(mu) = 1 - a (1 - mu) - b (1 - mu)**2``.
    """
    a, b = limb_darkening
    p = radius_ratio
    z = np.maximum(np.atleast_1d(np.asarray(distance, float)), 1e-9)[:, None]
    inner, outer = np.minimum(np.abs(z - p), 1), np.minimum(z + p, 1)
    angle = np.pi / 4 * (QUADRATURE_X + 1)
    r = inner + (outer - inner) * np.sin(angle) ** 2
    weight = np.pi / 4 * QUADRATURE_W * (outer - inner) * np.sin(2 * angle)
    cosine = (z**2 + r**2 - p**2) / np.maximum(2 * z * r, 1e-30)
    hidden = 2 * np.arccos(np.clip(cosine, -1, 1)) * r
    hidden_core = _disc_light(np.clip(p - z[:, 0], 0, 1), a, b)
    mu = np.sqrt(np.clip(1 - r**2, 0, None))
    light = 1 - a * (1 - mu) - b * (1 - mu) ** 2
    lost = (hidden * light * weight).sum(axis=1) + hidden_core
    return np.asarray((lost / _disc_light(np.ones(1), a, b)).reshape(np.shape(distance)))


def _disc_light(radius: Floats, a: float, b: float) -> Floats:
    """Light of the star within `radius` of its centre, where the centre shines with 1."""
    mu = np.sqrt(1 - radius**2)
    flat = (1 - a - b) * radius**2 / 2
    linear = (a + 2 * b) * (1 - mu**3) / 3
    square = -b * (1 - mu**4) / 4
    return np.asarray(2 * np.pi * (flat + linear + square))


def radius_ratio_for(depth: float, impact: float, limb_darkening: tuple[float, float]) -> float:
    """Planet radius, in stellar radii, that takes `depth` of the light at mid-transit."""
    low, high = 0.0, 0.95
    for _ in range(60):
        middle = (low + high) / 2
        if transit_loss(np.array([impact]), middle, limb_darkening)[0] < depth:
            low = middle
        else:
            high = middle
    return (low + high) / 2
