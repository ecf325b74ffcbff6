"""Sun, Moon and sky brightness against astropy and against sense."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import pytest
from astropy.coordinates import get_body, get_sun
from astropy.time import Time

from firstlight.algorithms.sky.sky_index import angular_separation
from firstlight.errors import BadSettings
from firstlight.simulation import NightSettings
from firstlight.simulation.conditions import CLOUDED, TRUNCATED, make_conditions
from firstlight.simulation.sky import _moon, _sun, choose_start, sky_magnitude


def test_sun_and_moon_against_astropy():
    mjd = np.linspace(60000, 60360, 13)
    times = Time(mjd, format="mjd", scale="utc")
    for (ra, dec), body in ((_sun(mjd), get_sun(times)), (_moon(mjd), get_body("moon", times))):
        assert angular_separation(ra, dec, body.ra.deg, body.dec.deg).max() < 0.05


def test_start_is_dark_and_high():
    settings = NightSettings()
    exposures = make_conditions(settings)
    assert len(exposures) == 40
    assert exposures[0].start_mjd == choose_start(settings)
    # The evening of that date in Arizona is the next morning in UTC.
    assert 60607.0 < exposures[0].start_mjd < 60607.6
    assert max(e.airmass for e in exposures) < 1.2
    steps = np.diff([e.start_mjd for e in exposures]) * 86400
    assert steps == pytest.approx(settings.cadence, abs=1e-3)
    assert exposures[0].mid_mjd - exposures[0].start_mjd == pytest.approx(15 / 86400, abs=1e-9)


@pytest.mark.parametrize(
    "values",
    [
        {"dec": -80.0},
        {"night": date(2024, 5, 1)},
        {"n_exposures": 400},
        {"start": datetime(2024, 10, 24, 20, tzinfo=UTC)},
    ],
)
def test_impossible_nights_are_refused(values):
    with pytest.raises(BadSettings, match="not up in the dark"):
        make_conditions(NightSettings(**values))


def test_moon_and_twilight_brighten_the_sky():
    settings = NightSettings(night=date(2024, 10, 23))
    dark, moonlit = sky_magnitude(settings, np.array([60607.2, 60607.4]))
    assert dark == pytest.approx(settings.sky.dark_sky)
    assert moonlit < dark - 0.2
    full_moon = sky_magnitude(settings, np.array([60601.3]))[0]
    assert 17 < full_moon < 20
    morning = sky_magnitude(settings, 60607.5 + np.array([0.025, 0.035, 0.045]))
    assert (np.diff(morning) < -1).all()


def test_drift_jitter_seeing_and_clouds():
    quiet = {"jitter": 0.0, "drift": 6.0, "clouds": 0.0, "pointing_error": 3.0}
    exposures = make_conditions(NightSettings(n_exposures=11, cadence=360, sky=quiet))
    dec = np.array([e.pointing.dec for e in exposures])
    ra = np.array([e.pointing.ra for e in exposures]) * np.cos(np.radians(46.69))
    step = np.hypot(np.diff(ra), np.diff(dec)) * 60
    assert step == pytest.approx(0.6, rel=1e-3)
    middle = np.hypot(ra[5] - 31.04 * np.cos(np.radians(46.69)), dec[5] - 46.69) * 60
    assert middle == pytest.approx(3.0, rel=1e-6)
    assert all(e.absorption == 0 for e in exposures)
    assert all(2.4 <= e.fwhm <= 3.4 for e in exposures)
    assert len({e.fwhm for e in exposures}) == 11


def test_faults_touch_only_their_exposures():
    plain = make_conditions(NightSettings(n_exposures=9))
    faulty = make_conditions(NightSettings(n_exposures=9, with_faults=True))
    assert [e.fault for e in faulty] == ["", "", "", CLOUDED, "", "", TRUNCATED, "", ""]
    assert faulty[3].absorption == pytest.approx(plain[3].absorption + 6)
    assert plain[0] == faulty[0]
    assert sum(a == b for a, b in zip(plain, faulty, strict=True)) == 7
