"""Sun, Moon and the brightness of the sky at a site, and when a field can be observed."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import erfa
import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.sky.barycentre import altitude
from firstlight.algorithms.sky.sky_index import angular_separation
from firstlight.errors import BadSettings
from firstlight.simulation.settings import NightSettings

__all__ = ["choose_start", "sky_magnitude"]

Floats = NDArray[np.float64]

MJD_ZERO = 2400000.5
UNIX_EPOCH_MJD = 40587.0
TT_MINUS_UTC = 69.184 / 86400  # since 2017; a leap second moves the Moon by half an arcsecond
LOWEST_ALTITUDE = 23.0
DARK_SUN_ALTITUDE = -13.0


def _sun(mjd: Floats) -> tuple[Floats, Floats]:
    """ICRS degrees of the Sun, seen from the centre of the Earth."""
    return _position(-np.asarray(erfa.epv00(MJD_ZERO, mjd + TT_MINUS_UTC)[0]["p"], float))


def _moon(mjd: Floats) -> tuple[Floats, Floats]:
    """ICRS degrees of the Moon, seen from the centre of the Earth."""
    return _position(np.asarray(erfa.moon98(MJD_ZERO, mjd + TT_MINUS_UTC)["p"], float))


def _position(vectors: Floats) -> tuple[Floats, Floats]:
    ra, dec = erfa.c2s(vectors)
    return np.degrees(ra) % 360, np.degrees(dec)


def _altitudes(settings: NightSettings, mjd: Floats, ra: Floats, dec: Floats) -> Floats:
    """Altitudes of a body that moves: one position for each time, all shape ``(n,)``."""
    site = {"latitude": settings.latitude, "longitude": settings.longitude}
    return np.array(
        [float(altitude(t, a, d, **site)) for t, a, d in zip(mjd, ra, dec, strict=True)]
    )


def sky_magnitude(settings: NightSettings, mjd: Floats) -> Floats:
    """V magnitudes per square arcsecond towards the field, from night, twilight and Moon.

    Twilight: quadratic fit of Patat, Ugolnikov & Postylyakov (2006, A&A 455, 385) in V.
    Moon: Krisciunas & Schaefer (1991, PASP 103, 1033).

    Parameters
    ----------
    mjd
        UTC, shape ``(n,)``.
    """
    light = np.full(len(mjd), 10 ** (-0.4 * settings.sky.dark_sky))
    depth = np.clip(-_altitudes(settings, mjd, *_sun(mjd)) - 5, 0, None)
    twilight = 10 ** (-0.4 * (11.84 + 1.518 * depth - 0.057 * depth**2))
    light += np.where(depth < 13, twilight, 0.0)
    return np.asarray(-2.5 * np.log10(light + _moonlight(settings, mjd)))


def _moonlight(settings: NightSettings, mjd: Floats) -> Floats:
    """Scattered moonlight in units of magnitude 0 per square arcsecond, shape ``(n,)``."""
    moon = _moon(mjd)
    height = _altitudes(settings, mjd, *moon)
    phase = 180 - angular_separation(*moon, *_sun(mjd))
    distance = angular_separation(*moon, settings.ra, settings.dec)
    site = {"latitude": settings.latitude, "longitude": settings.longitude}
    field = altitude(mjd, settings.ra, settings.dec, **site)
    field_air = (1 - 0.96 * np.cos(np.radians(np.clip(field, 0, 90))) ** 2) ** -0.5
    # The paper's airmass is only 5 on the horizon, where the Moon would appear with a jump.
    # The one of Kasten and Young (1989) rises to 38.
    up = np.clip(height, 0, 90)
    moon_air = 1 / (np.sin(np.radians(up)) + 0.50572 * (up + 6.07995) ** -1.6364)
    k = settings.sky.extinction
    strength = 10 ** (-0.4 * (3.84 + 0.026 * phase + 4e-9 * phase**4))
    scatter = 10**5.36 * (1.06 + np.cos(np.radians(distance)) ** 2) + 10 ** (6.15 - distance / 40)
    fading = 10 ** (-0.4 * k * moon_air) * (1 - 10 ** (-0.4 * k * field_air))
    nanolamberts = scatter * strength * fading
    magnitude = (20.7233 - np.log(np.maximum(nanolamberts, 1e-9) / 34.08)) / 0.92104
    return np.where(height > 0, 10 ** (-0.4 * magnitude), 0.0)


def choose_start(settings: NightSettings) -> float:
    """MJD (UTC) of the first exposure.

    Where the settings name no start: the darkness of that night in which the field's lowest
    altitude during the exposures is highest.

    Raises
    ------
    BadSettings
        When the field is not up in the dark for so long, or the named start is not so.
    """
    if settings.start_utc is not None:
        starts = np.array([settings.start_utc.timestamp() / 86400 + UNIX_EPOCH_MJD])
    else:
        east = (settings.longitude + 180) % 360 - 180
        noon = datetime.combine(settings.night, time(12), UTC) - timedelta(hours=east / 15)
        starts = noon.timestamp() / 86400 + UNIX_EPOCH_MJD + np.arange(0, 1, 1 / 288)
    times = np.linspace(starts[0], starts[-1] + settings.duration, 512)
    inside = starts[:, None] + np.linspace(0, settings.duration, 25)
    site = {"latitude": settings.latitude, "longitude": settings.longitude}
    field = altitude(times, settings.ra, settings.dec, **site)
    lowest = np.interp(inside, times, field).min(axis=1)
    brightest = np.interp(inside, times, _altitudes(settings, times, *_sun(times))).max(axis=1)
    possible = (lowest > LOWEST_ALTITUDE) & (brightest < DARK_SUN_ALTITUDE)
    if not possible.any():
        raise BadSettings(
            "The field is not up in the dark for the whole series.",
            subject="NightSettings",
            field="night" if settings.start_utc is None else "start",
            found=f"lowest altitude {lowest.max():.0f}, highest Sun {brightest.min():.0f} degrees",
            expected=f"above {LOWEST_ALTITUDE:.0f} with the Sun below {DARK_SUN_ALTITUDE:.0f}",
            hint="fewer exposures, another night, or another field or site",
        )
    return float(starts[np.argmax(np.where(possible, lowest, -np.inf))])
