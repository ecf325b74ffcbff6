from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import Distance, SkyCoord
from astropy.time import Time
from hypothesis import given, settings
from hypothesis import strategies as st

from firstlight.algorithms.sky.sky_index import angular_separation
from firstlight.catalogs.epoch import error_at_epoch, move


def test_barnards_star_is_where_it_was_seen():
    # Gaia DR3 (J2016) moved back to the Hipparcos place at J1991.25 (van Leeuwen 2007).
    ra, dec = move(269.4485025, 4.7394201, -801.551, 10362.394, 1991.25 - 2016.0)
    # The approach of the star, which is left out, makes 0.37 arcsec (1.2 mas/yr^2) of 256.
    assert angular_separation(ra, dec, 269.4540231, 4.6682852) * 3600 < 0.42


@settings(max_examples=60, deadline=None)
@given(
    ra=st.floats(0.0, 359.999),
    dec=st.floats(-89.9999, 89.9999),
    pmra=st.floats(-5000.0, 5000.0),
    pmdec=st.floats(-5000.0, 5000.0),
    years=st.floats(-60.0, 60.0),
)
def test_agrees_with_rigorous_space_motion(ra, dec, pmra, pmdec, years):
    star = SkyCoord(
        ra * u.deg,
        dec * u.deg,
        pm_ra_cosdec=pmra * u.mas / u.yr,
        pm_dec=pmdec * u.mas / u.yr,
        distance=Distance(20 * u.pc),
        obstime=Time(2451545.0, format="jd", scale="tdb"),
    )
    moved = star.apply_space_motion(dt=years * u.yr)
    got = move(ra, dec, pmra, pmdec, years)
    assert angular_separation(*got, moved.ra.deg, moved.dec.deg) * 3.6e6 < 1.0


def test_a_star_crosses_the_pole():
    ra, dec = move(10.0, 90.0 - 5.0 / 3600.0, 0.0, 10_000.0, 1.0)
    assert dec == pytest.approx(90.0 - 5.0 / 3600.0, abs=1e-9)
    assert ra == pytest.approx(190.0, abs=1e-4)


def test_right_ascension_stays_in_its_turn():
    ra, _ = move([0.0001, 359.9999], [0.0, 0.0], [-1000.0, 1000.0], [0.0, 0.0], 10.0)
    assert ((ra >= 0.0) & (ra < 360.0)).all()
    assert ra[0] > 359.0
    assert ra[1] < 1.0


def test_unknown_motion_is_no_motion_but_a_growing_error():
    ra, dec = move([10.0], [20.0], [np.nan], [np.nan], 20.0)
    assert (ra[0], dec[0]) == pytest.approx((10.0, 20.0))
    errors = error_at_epoch(
        np.array([0.1, 0.1, 0.1]),
        np.array([3.0, np.nan, np.nan]),
        np.array([True, True, False]),
        -20.0,
    )
    assert errors == pytest.approx([np.hypot(0.1, 0.06), 0.1, np.hypot(0.1, 0.16)])
