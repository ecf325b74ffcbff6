"""When the Sun passes an altitude: the ends of night, with no network and no Earth tables."""

from __future__ import annotations

import erfa
import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["next_passages", "sun_altitude"]

Floats = NDArray[np.float64]

_MJD_ZERO = 2400000.5
_TT_AHEAD = 69.184 / 86400.0  # of UTC since 2017; the Sun moves 0.04 arcseconds a second
_STEP = 10.0 / 1440.0  # days; the altitude is straight in between to 0.02 degrees
_AHEAD = 1.05  # days


def sun_altitude(mjd: ArrayLike, latitude: ArrayLike, longitude: ArrayLike) -> Floats:
    """Geometric altitude of the Sun's centre, without refraction and parallax.

    Parameters
    ----------
    mjd
        UTC, shape ``(n,)``.
    latitude, longitude
        Degrees, east positive, of one shape.

    Returns
    -------
    array
        Degrees, shape ``latitude.shape + (n,)``, right to 0.01 degrees within decades of today.
    """
    times = np.atleast_1d(np.asarray(mjd, dtype=np.float64))
    earth, _ = erfa.epv00(_MJD_ZERO, times + _TT_AHEAD)
    to_date = erfa.pnm06a(_MJD_ZERO, times + _TT_AHEAD)
    sidereal = erfa.gst06(_MJD_ZERO, times, _MJD_ZERO, times + _TT_AHEAD, to_date)
    ra, dec = erfa.c2s(erfa.rxp(to_date, -earth["p"]))
    hour_angle = sidereal - ra + np.radians(longitude)[..., np.newaxis]
    here = np.radians(latitude)[..., np.newaxis]
    sine = np.sin(here) * np.sin(dec) + np.cos(here) * np.cos(dec) * np.cos(hour_angle)
    found: Floats = np.degrees(np.arcsin(np.clip(sine, -1.0, 1.0)))
    return found


def next_passages(
    mjd: float, latitude: ArrayLike, longitude: ArrayLike, level: float = -18.0
) -> list[tuple[float | None, float | None, bool]]:
    """When the Sun next rises and sets through an altitude, within a day.

    Parameters
    ----------
    mjd
        UTC.
    latitude, longitude
        Degrees, east positive, shape ``(n,)``.
    level
        Degrees.

    Returns
    -------
    list
        Of each place: MJD (UTC) of the next rise and of the next set, right to some seconds;
        None for one that does not come. Then whether the Sun is below `level` now.
    """
    times = mjd + np.arange(0.0, _AHEAD + _STEP, _STEP)
    above = sun_altitude(times, latitude, longitude) - level
    return [(_first(times, each), _first(times, -each), bool(each[0] < 0.0)) for each in above]


def _first(times: Floats, value: Floats) -> float | None:
    """When `value` first becomes positive."""
    (passed,) = np.nonzero((value[:-1] < 0.0) & (value[1:] >= 0.0))
    if not passed.size:
        return None
    here = int(passed[0])
    part = value[here] / (value[here] - value[here + 1])
    return float(times[here] + part * (times[here + 1] - times[here]))
