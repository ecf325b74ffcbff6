"""How the night went: pointing, air, seeing and sky of each science exposure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from firstlight.algorithms.sky.barycentre import airmass
from firstlight.simulation.optics import Pointing
from firstlight.simulation.settings import NightSettings
from firstlight.simulation.sky import choose_start, sky_magnitude
from firstlight.simulation.streams import Purpose, stream

__all__ = ["CLOUDED", "TRUNCATED", "Conditions", "airmass_at", "make_conditions"]

Floats = NDArray[np.float64]

CLOUDED, TRUNCATED = "clouded", "truncated"
CLOUD_OUT = 6.0
CORRELATION_HOURS = 0.7


@dataclass(frozen=True)
class Conditions:
    """One science exposure.

    Attributes
    ----------
    name
        File name.
    start_mjd, mid_mjd
        UTC.
    pointing
        Where the camera really looks.
    airmass
        At the optical axis.
    absorption
        Magnitudes lost to clouds, on top of extinction.
    fwhm
        On the optical axis, in pixels.
    sky
        Electrons per pixel in the exposure on the axis, at efficiency 1.
    gradient
        Relative change of the sky from the axis to the corner distance along +u and +v.
    fault
        Empty, `CLOUDED` or `TRUNCATED`.
    """

    name: str
    start_mjd: float
    mid_mjd: float
    pointing: Pointing
    airmass: float
    absorption: float
    fwhm: float
    sky: float
    gradient: tuple[float, float]
    fault: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Conditions:
        """The inverse of `as_dict`."""
        pointing, gradient = Pointing(**values["pointing"]), values["gradient"]
        return cls(**{**values, "pointing": pointing, "gradient": (gradient[0], gradient[1])})


def _walk(generator: np.random.Generator, hours: Floats) -> Floats:
    """A stationary random walk of unit variance that forgets in `CORRELATION_HOURS`."""
    steps = generator.standard_normal(len(hours))
    walk = steps.copy()
    for i in range(1, len(hours)):
        memory = np.exp(-(hours[i] - hours[i - 1]) / CORRELATION_HOURS)
        walk[i] = memory * walk[i - 1] + np.sqrt(1 - memory**2) * steps[i]
    return walk


def _pointings(settings: NightSettings, hours: Floats) -> list[Pointing]:
    random = stream(settings.seed, Purpose.POINTING)
    sky = settings.sky
    towards, drifting = random.uniform(0, 2 * np.pi, 2)
    jitter = sky.jitter / 3600 * random.standard_normal((2, len(hours)))
    away = sky.pointing_error / 60
    drift = sky.drift / 60 * (hours - hours.mean())
    east = away * np.sin(towards) + drift * np.sin(drifting) + jitter[0]
    north = away * np.cos(towards) + drift * np.cos(drifting) + jitter[1]
    dec = settings.dec + north
    # Over a pole one comes down on the other side.
    over = np.abs(dec) > 90
    shrink = np.maximum(np.cos(np.radians(settings.dec)), 0.01)
    ra = (settings.ra + east / shrink + np.where(over, 180, 0)) % 360
    dec = np.where(over, np.sign(dec) * 180 - dec, dec)
    turn = sky.rotation + sky.rotation_rate * (hours - hours.mean())
    return [Pointing(float(r), float(d), float(t)) for r, d, t in zip(ra, dec, turn, strict=True)]


def airmass_at(
    settings: NightSettings, mjd: float, ra: Floats | float, dec: Floats | float
) -> Floats:
    """Airmass of ICRS positions in degrees at one time, in their shape."""
    site = {"latitude": settings.latitude, "longitude": settings.longitude}
    return airmass(mjd, ra, dec, elevation=settings.elevation, **site)


def _faults(settings: NightSettings) -> dict[int, str]:
    if not settings.with_faults:
        return {}
    n = settings.n_exposures
    return {n // 3: CLOUDED, 2 * n // 3: TRUNCATED}


def make_conditions(settings: NightSettings) -> tuple[Conditions, ...]:
    """Every science exposure of the night, in order."""
    sky = settings.sky
    start = choose_start(settings) + np.arange(settings.n_exposures) * settings.cadence / 86400
    middle = start + settings.exposure_time / 2 / 86400
    hours = (start - start[0]) * 24
    pointings = _pointings(settings, hours)

    random = stream(settings.seed, Purpose.AIR)
    seeing, clouds, turn = _walk(random, hours), _walk(random, hours), random.uniform(0, 2 * np.pi)
    fwhm = sky.fwhm[0] + (sky.fwhm[1] - sky.fwhm[0]) * ndtr(seeing)
    absorption = sky.clouds * (clouds - clouds.min())
    direction = turn + hours * np.radians(10)

    air = [airmass_at(settings, t, p.ra, p.dec) for t, p in zip(middle, pointings, strict=True)]
    brightness = 10 ** (0.4 * (sky.zero_point - sky_magnitude(settings, middle)))
    level = settings.exposure_time * sky.pixel_scale**2 * brightness

    faults = _faults(settings)
    night = settings.night if settings.start_utc is None else settings.start_utc.date()
    return tuple(
        Conditions(
            name=f"demo_{night:%Y%m%d}_science_{i + 1:04d}.fits",
            start_mjd=float(start[i]),
            mid_mjd=float(middle[i]),
            pointing=pointings[i],
            airmass=float(air[i]),
            absorption=float(absorption[i]) + CLOUD_OUT * (faults.get(i) == CLOUDED),
            fwhm=float(fwhm[i]),
            sky=float(level[i]),
            gradient=(
                float(sky.gradient * np.cos(direction[i])),
                float(sky.gradient * np.sin(direction[i])),
            ),
            fault=faults.get(i, ""),
        )
        for i in range(settings.n_exposures)
    )
