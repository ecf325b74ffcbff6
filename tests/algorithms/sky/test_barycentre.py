from __future__ import annotations

import erfa
import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation, SkyCoord
from astropy.time import Time
from astropy.utils import iers
from hypothesis import given, settings
from hypothesis import strategies as st

from firstlight.algorithms.sky.barycentre import airmass, altitude, barycentric_correction, bjd_tdb
from firstlight.errors import InvalidInput

MOUNT_HOPKINS = {"latitude": 31.68, "longitude": -110.88, "elevation": 1268.0}
CTIO = {"latitude": -30.169283, "longitude": -70.806789, "elevation": 2241.9}
MILLISECOND = 1e-3

# Barycentric place of the Earth's centre in km at a Julian date (TDB): JPL's ephemeris DE421,
# segments 0-3 and 3-399 of its SPK file.
DE421 = {
    2450587.5: (-81009513.18599658, -117188308.62908195, -50781579.964773156),
    2455197.5: (-26892452.167401537, 133184438.94881554, 57739677.7661359),
    2458107.75: (4660449.3364224825, 135821820.40741208, 58859116.68465719),
    2461000.25: (77139319.26788534, 114633182.46078911, 49713773.37285525),
}
TAI_UTC = {2450587.5: 30.0, 2455197.5: 34.0, 2458107.75: 37.0, 2461000.25: 37.0}


@pytest.fixture
def no_downloads():
    with iers.conf.set_temp("auto_download", False):
        yield


@pytest.mark.parametrize(("ra", "dec"), [(31.0428, 46.6878), (266.4, -29.0), (0.0, 89.9)])
@pytest.mark.parametrize("jd_tdb", DE421)
def test_agrees_with_the_jpl_ephemeris(jd_tdb, ra, dec):
    # USNO Circular 179, eq. 2.6, for TDB-TT (10 µs).
    g = np.radians(357.53 + 0.98560028 * (jd_tdb - 2451545.0))
    tdb_utc = TAI_UTC[jd_tdb] + 32.184 + 0.001657 * np.sin(g)
    alpha, delta = np.radians([ra, dec])
    star = [np.cos(delta) * np.cos(alpha), np.cos(delta) * np.sin(alpha), np.sin(delta)]
    expected = tdb_utc + np.dot(star, DE421[jd_tdb]) / 299792.458
    # The arrival time is UTC: a millisecond of it moves the Earth by 30 m only.
    mjd_utc = jd_tdb - 2400000.5 - tdb_utc / 86400.0
    assert barycentric_correction(mjd_utc, ra, dec) == pytest.approx(expected, abs=1e-4)


def test_agrees_with_the_published_value_of_barycorrpy():
    # Kanodia & Wright (2018, RNAAS 2, 4): tau Ceti from CTIO at JD 2458000 UTC, given to
    # 1e-8 day. Its Hipparcos place, of J1991.25, is moved by hand.
    years = (2458000.0 - 2448349.0625) / 365.25
    dec = -15.9395557246 + 0.85416 / 3600 * years
    ra = 26.0213645867 - 1.72105 / 3600 * years / np.cos(np.radians(dec))
    got = bjd_tdb(2458000.0 - 2400000.5, ra, dec, **CTIO)
    assert got == pytest.approx(2458000.00505211, abs=1.5e-8)


@settings(max_examples=40, deadline=None)
@given(
    mjd=st.floats(45000.0, 61000.0),
    ra=st.floats(0.0, 360.0),
    dec=st.floats(-90.0, 90.0),
    latitude=st.floats(-90.0, 90.0),
    longitude=st.floats(-180.0, 180.0),
)
def test_agrees_with_astropy_everywhere(mjd, ra, dec, latitude, longitude):
    place = EarthLocation.from_geodetic(longitude, latitude, 2000.0)
    star = SkyCoord(ra, dec, unit="deg")
    with iers.conf.set_temp("auto_download", False):
        time = Time(mjd, format="mjd", scale="utc", location=place)
        light = time.light_travel_time(star, ephemeris="builtin")
        expected = light.to_value("s") + (time.tdb.jd1 - time.utc.jd1) * 86400.0
        expected += (time.tdb.jd2 - time.utc.jd2) * 86400.0
    got = barycentric_correction(
        mjd, ra, dec, latitude=latitude, longitude=longitude, elevation=2000.0
    )
    assert abs(got - expected) < 0.05 * MILLISECOND


def test_the_centre_of_the_earth_is_wrong_by_less_than_its_radius():
    times = np.linspace(58107.0, 58108.0, 97)
    ra, dec = np.array([31.0, 211.0]), np.array([46.7, -46.7])
    at_site = barycentric_correction(times, ra, dec, **MOUNT_HOPKINS)
    at_centre = barycentric_correction(times, ra, dec)
    wrong = np.abs(at_site - at_centre)
    assert 15 * MILLISECOND < wrong.max() < 21.4 * MILLISECOND


def test_one_row_of_times_for_each_star():
    times = np.array([[58107.1, 58107.2, 58107.3]])
    ra, dec = np.array([10.0, 20.0]), np.array([1.0, 2.0])
    together = bjd_tdb(times, ra, dec, **MOUNT_HOPKINS)
    assert together.shape == (2, 1, 3)
    alone = bjd_tdb(58107.3, 20.0, 2.0, **MOUNT_HOPKINS)
    assert alone.shape == ()
    assert together[1, 0, 2] == alone


def test_the_correction_is_finer_than_a_julian_date():
    times = 58107.1 + np.array([0.0, 1e-7])
    seconds = barycentric_correction(times, 31.0, 46.7)
    # 30 km/s at most for 8.64 ms: the light time changes by less than a microsecond.
    assert 0.0 < abs(seconds[1] - seconds[0]) < 1e-6


def test_unknown_times_stay_unknown():
    got = bjd_tdb(np.array([np.nan, 58107.1]), 31.0, 46.7)
    assert np.isnan(got[0])
    assert got[1] == bjd_tdb(58107.1, 31.0, 46.7)
    assert np.isnan(bjd_tdb(np.nan, 31.0, 46.7))
    assert np.isnan(altitude(np.nan, 31.0, 46.7, latitude=0.0, longitude=0.0))


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"latitude": 31.0}, "longitude"),
        ({"longitude": 31.0}, "latitude"),
        ({"latitude": 91.0, "longitude": 0.0}, "latitude"),
        ({"latitude": 0.0, "longitude": float("nan")}, "longitude"),
    ],
)
def test_half_a_place_is_refused(arguments, field):
    with pytest.raises(InvalidInput) as caught:
        bjd_tdb(58107.0, 31.0, 46.7, **arguments)
    assert caught.value.field == field


def test_times_before_utc_are_refused():
    with pytest.raises(InvalidInput, match="UTC"):
        bjd_tdb(30000.0, 31.0, 46.7)


def test_altitude_agrees_with_astropy(no_downloads):
    times = np.linspace(58107.0, 58108.0, 25)
    ra, dec = np.array([31.04, 150.0, 0.0]), np.array([46.69, -60.0, 90.0])
    place = EarthLocation.from_geodetic(-110.88, 31.68, 1268.0)
    frame = AltAz(obstime=Time(times, format="mjd"), location=place)
    stars = SkyCoord(ra[:, None], dec[:, None], unit="deg")
    expected = stars.transform_to(frame).alt.to_value(u.deg)
    got = altitude(times, ra, dec, latitude=31.68, longitude=-110.88)
    np.testing.assert_allclose(got, expected, atol=0.01)


@pytest.mark.parametrize(
    ("apparent_altitude", "expected"),
    # Table II of Kasten & Young (1989).
    [(90.0, 1.0), (60.0, 1.154), (30.0, 1.9943), (20.0, 2.904), (10.0, 5.5841), (5.0, 10.3108)],
)
def test_airmass_follows_the_table_of_kasten_and_young(apparent_altitude, expected):
    # A star on the meridian of the pole: its altitude is set by the latitude alone.
    lift = 1.0 / 60.0 / np.tan(np.radians(apparent_altitude + 7.31 / (apparent_altitude + 4.4)))
    latitude = apparent_altitude - max(lift, 0.0)
    pole = celestial_pole(58107.0)
    got = airmass(58107.0, *pole, latitude=latitude, longitude=0.0)
    assert got == pytest.approx(expected, rel=2e-3)


def celestial_pole(mjd: float) -> tuple[float, float]:
    """ICRS direction of the pole of date, by SOFA's precession-nutation."""
    matrix = erfa.pnm06a(2400000.5, mjd)
    x, y, z = matrix[2]
    return float(np.degrees(np.arctan2(y, x)) % 360.0), float(np.degrees(np.arcsin(z)))


def test_airmass_grows_to_the_horizon_and_ends_there():
    latitudes = np.linspace(90.0, -5.0, 96)
    pole = celestial_pole(58107.0)
    values = np.array([airmass(58107.0, *pole, latitude=x, longitude=0.0) for x in latitudes])
    up = latitudes > -0.4
    assert (np.diff(values[up]) > 0.0).all()
    assert np.isfinite(values[up]).all()
    assert 30.0 < values[up][-1] < 40.0
    assert np.isnan(values[latitudes < -0.7]).all()
