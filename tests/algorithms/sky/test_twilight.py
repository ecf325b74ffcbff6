import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import AltAz, EarthLocation, get_sun
from astropy.time import Time
from astropy.utils import iers

from firstlight.algorithms.sky.twilight import next_passages, sun_altitude

SITES = [(31.7, -110.9), (-30.2, -70.7), (51.5, 0.0), (-77.8, 166.7)]


@pytest.mark.parametrize("site", SITES)
def test_the_altitude_is_that_of_astropy(site):
    mjd = np.linspace(60000.0, 60400.0, 37)
    place = EarthLocation(lat=site[0] * u.deg, lon=site[1] * u.deg)
    with iers.conf.set_temp("auto_download", False):
        times = Time(mjd, format="mjd")
        expected = get_sun(times).transform_to(AltAz(obstime=times, location=place)).alt.deg
    np.testing.assert_allclose(sun_altitude(mjd, *site), expected, atol=0.01)


@pytest.mark.parametrize("mjd", [60000.0, 60123.37, 60355.9])
@pytest.mark.parametrize("site", SITES[:3])
def test_passages_are_where_the_sun_is_at_the_level(site, mjd):
    ((morning, evening, dark),) = next_passages(mjd, [site[0]], [site[1]], level=-12.0)
    assert morning is not None
    assert evening is not None
    for moment, way in ((morning, 1), (evening, -1)):
        before, now, after = sun_altitude(moment + np.array([-1e-3, 0.0, 1e-3]), *site)
        assert now == pytest.approx(-12.0, abs=0.02)
        assert way * (after - before) > 0
        assert mjd <= moment < mjd + 1.06
    assert dark == (morning < evening)


def test_there_is_no_night_in_a_polar_summer():
    assert next_passages(60310.0, [-77.8, -89.0], [166.7, 0.0]) == 2 * [(None, None, False)]
    assert next_passages(60492.0, [85.0], [0.0], level=0.0) == [(None, None, False)]
    assert next_passages(60310.0, [89.0], [0.0], level=-12.0) == [(None, None, True)]
