"""Barycentric times and airmass from first principles, with no network and no Earth tables.

UT1 is taken to be UTC and polar motion to be nil. Both move an observatory by less than 450 m,
which is 1.5 µs of light time, so neither needs the tables that the IERS publishes each week.
"""

from __future__ import annotations

import erfa
import numpy as np
from numpy.typing import ArrayLike, NDArray

from firstlight.errors import InvalidInput

__all__ = ["airmass", "altitude", "barycentric_correction", "bjd_tdb"]

Floats = NDArray[np.float64]

MJD_ZERO = 2400000.5
DAY = 86400.0
SPEED_OF_LIGHT = 299792458.0  # m/s
WGS84 = 1
FIRST_UTC = 36934.0  # 1960-01-01: UTC does not exist before


def bjd_tdb(
    mjd: ArrayLike,
    ra: ArrayLike,
    dec: ArrayLike,
    *,
    latitude: float | None = None,
    longitude: float | None = None,
    elevation: float = 0.0,
) -> Floats:
    """Barycentric Julian date (TDB) of light that arrives at an observatory.

    Parameters
    ----------
    mjd
        MJD (UTC) at mid-exposure, any shape. NaN gives NaN.
    ra, dec
        ICRS degrees at the epoch of observation, any one shape.
    latitude, longitude, elevation
        Geodetic (WGS84) degrees, east positive, and metres. Without a latitude and longitude
        the centre of the Earth is used: the result is then wrong by at most the light time of
        one Earth radius, 21.3 ms.

    Returns
    -------
    array
        Days, shape ``ra.shape + mjd.shape``: a row of times for each star. A float64 Julian
        date resolves 40 µs; use `barycentric_correction` where that is too coarse.

    Raises
    ------
    InvalidInput
        Only one of latitude and longitude is given, one is out of range, or a time lies
        before UTC began (1960).

    Notes
    -----
    The definition is that of Eastman, Siverd & Gaudi (2010, PASP 122, 935). The Earth's path
    is that of Moisson & Bretagnon as coded in SOFA's ``epv00`` (within 14 km, 45 µs, of the
    JPL's between 1900 and 2100). Left out are the Shapiro delay (below 0.1 ms unless the star
    is within some degrees of the Sun) and the curvature of the wave front (0.12 ms for a star
    at 10 pc).
    """
    times = np.asarray(mjd, dtype=np.float64)
    seconds = barycentric_correction(
        times, ra, dec, latitude=latitude, longitude=longitude, elevation=elevation
    )
    return times + MJD_ZERO + seconds / DAY


def barycentric_correction(
    mjd: ArrayLike,
    ra: ArrayLike,
    dec: ArrayLike,
    *,
    latitude: float | None = None,
    longitude: float | None = None,
    elevation: float = 0.0,
) -> Floats:
    """Seconds to add to UTC to get barycentric time (TDB).

    Parameters, shape and errors are those of `bjd_tdb`. The sum of the light time from the
    observatory to the barycentre (up to 499 s) and TDB-UTC (69 s in 2017).
    """
    times = np.asarray(mjd, dtype=np.float64)
    known, tt = _terrestrial_time(times.ravel())
    if not known.any():
        return np.full(np.shape(ra) + times.shape, np.nan)
    # Relativistic terms that depend on the place on Earth are below 2 µs.
    tdb_tt = erfa.dtdb(tt[0], tt[1], np.mod(times.ravel()[known], 1.0), 0.0, 0.0, 0.0)
    earth = erfa.epv00(tt[0], tt[1] + tdb_tt / DAY)[1]["p"] * erfa.DAU
    observer = earth + _observatory(
        times.ravel()[known], tt, _place(latitude, longitude, elevation)
    )
    light = _directions(ra, dec) @ observer.T / SPEED_OF_LIGHT
    tt_utc = ((tt[0] - MJD_ZERO - times.ravel()[known]) + tt[1]) * DAY
    found = np.full((light.shape[0], times.size), np.nan)
    found[:, known] = light + tt_utc + tdb_tt
    return found.reshape(np.shape(ra) + times.shape)


def altitude(
    mjd: ArrayLike,
    ra: ArrayLike,
    dec: ArrayLike,
    *,
    latitude: float,
    longitude: float,
) -> Floats:
    """Altitude above the horizon, without refraction.

    Parameters are those of `bjd_tdb`.

    Returns
    -------
    array
        Degrees, shape ``ra.shape + mjd.shape``, within 0.01 degree: aberration (20 arcsec)
        and UT1-UTC (13 arcsec) are left out. NaN where the time is NaN.
    """
    times = np.asarray(mjd, dtype=np.float64)
    known, tt = _terrestrial_time(times.ravel())
    found = np.full((np.size(ra), times.size), np.nan)
    if known.any():
        _check_place(latitude, longitude)
        lon, lat = np.radians(longitude), np.radians(latitude)
        zenith = erfa.s2c(lon, lat)  # the geodetic vertical, which is what a horizon is
        overhead = _to_celestial(times.ravel()[known], tt, zenith)
        sine = np.clip(_directions(ra, dec) @ overhead.T, -1.0, 1.0)
        found[:, known] = np.degrees(np.arcsin(sine))
    return found.reshape(np.shape(ra) + times.shape)


def airmass(
    mjd: ArrayLike,
    ra: ArrayLike,
    dec: ArrayLike,
    *,
    latitude: float,
    longitude: float,
    elevation: float = 0.0,
) -> Floats:
    """Relative optical airmass: 1 at the zenith, about 38 at the horizon.

    Parameters are those of `bjd_tdb`.

    Returns
    -------
    array
        Shape ``ra.shape + mjd.shape``. NaN below the apparent horizon and where the time is
        NaN.

    Notes
    -----
    Kasten & Young (1989, Applied Optics 28, 4735) on the apparent altitude; refraction after
    Saemundsson (1986, Sky & Telescope 72, 70), scaled by the mean pressure at the elevation.
    """
    true = altitude(mjd, ra, dec, latitude=latitude, longitude=longitude)
    pressure = np.exp(-elevation / 8400.0)
    safe = np.clip(true, -2.0, 90.0)
    lift = 1.02 / 60.0 / np.tan(np.radians(safe + 10.3 / (safe + 5.11))) * pressure
    apparent = np.minimum(np.where(true > -2.0, true + lift, np.nan), 90.0)
    apparent = np.where(apparent >= 0.0, apparent, np.nan)
    return np.asarray(
        1.0 / (np.sin(np.radians(apparent)) + 0.50572 * (apparent + 6.07995) ** -1.6364)
    )


def _terrestrial_time(mjd: Floats) -> tuple[NDArray[np.bool_], tuple[Floats, Floats]]:
    """Which times are finite, and their TT as two-part Julian dates."""
    known = np.isfinite(mjd)
    if known.any() and mjd[known].min() < FIRST_UTC:
        raise InvalidInput(
            "there was no UTC at this time", field="mjd", found=mjd[known].min(),
            expected=f"at least {FIRST_UTC:.0f} (1960-01-01)",
        )  # fmt: skip
    return known, erfa.taitt(*erfa.utctai(MJD_ZERO, mjd[known]))


def _place(
    latitude: float | None, longitude: float | None, elevation: float
) -> tuple[float, float, float] | None:
    if latitude is None and longitude is None:
        return None
    if latitude is None or longitude is None:
        raise InvalidInput(
            "an observatory needs a latitude and a longitude",
            field="latitude" if latitude is None else "longitude",
            found="none",
            expected="degrees",
        )
    _check_place(latitude, longitude)
    return latitude, longitude, elevation


def _check_place(latitude: float, longitude: float) -> None:
    if not abs(latitude) <= 90.0:
        raise InvalidInput(field="latitude", found=latitude, expected="-90 to 90 degrees")
    if not abs(longitude) <= 360.0:
        raise InvalidInput(field="longitude", found=longitude, expected="-180 to 360 degrees")


def _observatory(
    mjd: Floats, tt: tuple[Floats, Floats], place: tuple[float, float, float] | None
) -> Floats:
    """Geocentric celestial position in metres, shape ``(n, 3)``; nil without a place."""
    if place is None:
        return np.zeros((mjd.size, 3))
    latitude, longitude, elevation = place
    fixed = erfa.gd2gc(WGS84, np.radians(longitude), np.radians(latitude), elevation)
    return _to_celestial(mjd, tt, fixed)


def _to_celestial(mjd: Floats, tt: tuple[Floats, Floats], fixed: Floats) -> Floats:
    """Turn a vector fixed to the Earth, shape ``(3,)``, into celestial ones, ``(n, 3)``."""
    to_earth = erfa.c2t00b(tt[0], tt[1], MJD_ZERO, mjd, 0.0, 0.0)
    # The inverse of a rotation is its transpose.
    return np.asarray(np.einsum("nij,i->nj", to_earth, fixed))


def _directions(ra: ArrayLike, dec: ArrayLike) -> Floats:
    """Unit vectors, shape ``(stars, 3)``."""
    lon, lat = np.broadcast_arrays(np.radians(ra), np.radians(dec))
    return np.asarray(erfa.s2c(lon.ravel(), lat.ravel())).reshape(-1, 3)
