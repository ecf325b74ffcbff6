"""The night of a moment."""

from datetime import date, timedelta

import pytest
from astropy.time import Time
from hypothesis import given
from hypothesis import strategies as st

from firstlight.models.night import night_of


@pytest.mark.parametrize(
    ("moment", "longitude", "night"),
    [
        ("2017-12-21T01:33:43", -110.88, date(2017, 12, 20)),  # evening in Arizona
        ("2017-12-21T12:00:00", -110.88, date(2017, 12, 20)),  # its dawn
        ("2017-12-21T19:22:00", -110.88, date(2017, 12, 20)),  # a minute to its noon
        ("2017-12-21T19:25:00", -110.88, date(2017, 12, 21)),  # and after it
        ("2024-10-24T07:00:31", None, date(2024, 10, 23)),  # Greenwich
        ("2024-10-24T12:00:00", None, date(2024, 10, 24)),
        ("2024-06-01T10:00:00", 149.07, date(2024, 6, 1)),  # evening in Australia
        ("2024-06-01T18:00:00", 149.07, date(2024, 6, 1)),
        ("2024-01-01T05:00:00", -70.8, date(2023, 12, 31)),  # over the new year
        ("2024-03-01T03:00:00", 0.0, date(2024, 2, 29)),
    ],
)
def test_known_nights(moment, longitude, night):
    assert night_of(Time(moment).mjd, longitude) == night


@given(
    mjd=st.floats(40_000, 80_000), longitude=st.floats(-180, 180), hours=st.floats(-11.99, 11.99)
)
def test_all_hours_about_a_local_midnight_are_one_night(mjd, longitude, hours):
    midnight = int(mjd) - longitude / 360.0
    night = night_of(midnight, longitude)
    assert night_of(midnight + hours / 24.0, longitude) == night
    assert night_of(midnight + 1.0, longitude) == night + timedelta(days=1)
