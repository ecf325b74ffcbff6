"""How cameras write numbers, angles, times and frame types."""

import math
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from astropy.time import Time
from hypothesis import given
from hypothesis import strategies as st

from firstlight.instruments import header_values as values


@pytest.mark.parametrize(
    ("text", "degrees"),
    [(31.5, 31.5), ("31.5", 31.5), ("02:05:15", 31.3125), ("02 05 15.0", 31.3125),
     ("2h05m15s", 31.3125), ("02:05.25", None), (-0.5, 359.5), (360, 0.0), ("24:00:00", 0.0),
     ("12:30", 187.5)],
)  # fmt: skip
def test_right_ascension(text, degrees):
    if degrees is None:
        with pytest.raises(ValueError, match="number"):
            values.parse_right_ascension(text)
    else:
        assert values.parse_right_ascension(text) == pytest.approx(degrees)


@pytest.mark.parametrize(
    ("text", "degrees"),
    [("-00:30:00", -0.5), ("-0 0 36", -0.01), ("+46 46 15", 46.770833), ("\u22125", None)],
)
def test_the_sign_of_small_declinations(text, degrees):
    if degrees is None:
        with pytest.raises(ValueError, match="number"):
            values.parse_angle(text)
    else:
        assert values.parse_angle(text)[0] == pytest.approx(degrees)


@pytest.mark.parametrize(
    ("text", "degrees"),
    [("-31 35 48", -31.596667), ("31 35 48 S", -31.596667), ("W 70:48:53.6", -70.814889),
     ("110.88 W", -110.88), ("19.54N", 19.54), (-155.58, -155.58), ("31:58.8", 31.98),
     ("-111:36.5", -111.608333), ("-0 30.3", -0.505)],
)  # fmt: skip
def test_places_on_the_earth(text, degrees):
    assert values.parse_latitude_or_longitude(text, 360) == pytest.approx(degrees)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2017-12-19T18:33:43.317-0700", datetime(2017, 12, 20, 1, 33, 43, 317000, tzinfo=UTC)),
     ("2017-12-20T01:33:43.317-0000", datetime(2017, 12, 20, 1, 33, 43, 317000, tzinfo=UTC)),
     ("2017-12-20T01:33:43Z", datetime(2017, 12, 20, 1, 33, 43, tzinfo=UTC)),
     ("2017-12-20 01:33:43 UTC", datetime(2017, 12, 20, 1, 33, 43, tzinfo=UTC)),
     ("2017-12-20T06:33+05:30", datetime(2017, 12, 20, 1, 3, tzinfo=UTC)),
     ("2017/12/20 01:33:43", datetime(2017, 12, 20, 1, 33, 43, tzinfo=UTC)),
     ("20/12/97", datetime(1997, 12, 20, tzinfo=UTC)),
     ("2016-12-31T23:59:60", datetime(2017, 1, 1, tzinfo=UTC))],
)  # fmt: skip
def test_dates(text, expected):
    when, has_time = values.parse_date(text)
    assert when == expected
    assert has_time == (":" in text)


def test_every_form_of_a_date_is_the_same_moment():
    expected = datetime(2021, 3, 4, 5, 6, 7, 500000, tzinfo=UTC)
    moments = [
        expected,
        expected.replace(tzinfo=None),
        expected.astimezone(timezone(timedelta(hours=-7))),
        Time("2021-03-04T05:06:07.5", scale="utc"),
        Time("2021-03-04T05:06:07.5", scale="utc").tai,
        values.to_mjd(expected),
        str(values.to_mjd(expected)),
        "2021-03-04T05:06:07.500",
    ]
    for moment in moments:
        assert abs(values.to_datetime(moment) - expected) < timedelta(milliseconds=1), moment
    assert values.to_datetime(date(2021, 3, 4)) == datetime(2021, 3, 4, tzinfo=UTC)
    assert abs(values.to_datetime(None) - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize("nonsense", ["soon", 1e12, float("nan"), True, "2021-02-30"])
def test_what_is_no_date(nonsense):
    with pytest.raises(ValueError, match=r"\w"):
        values.to_datetime(nonsense)


@given(st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)))  # noqa: DTZ001, zone comes next
def test_mjd_and_datetime_are_inverse(when):
    when = when.replace(tzinfo=UTC)
    again = values.to_datetime(values.to_mjd(when))
    assert abs(again - when) < timedelta(microseconds=2)


@pytest.mark.parametrize(
    ("text", "kind"),
    [("Light Frame", "science"), ("LIGHT", "science"), ("object", "science"),
     ("science", "science"), ("standard", "science"), ("photometric standard", "science"),
     ("Bias Frame", "bias"), ("zero", "bias"), ("Dark Frame", "dark"), ("DARK", "dark"),
     ("Flat Field", "flat"), ("SKYFLAT", "flat"), ("dome flat", "flat"), ("Dark Flat", "dark"),
     ("focus", "other"), ("comp", "other")],
)  # fmt: skip
def test_kinds(text, kind):
    assert values.parse_kind(text) == kind


@pytest.mark.parametrize(
    ("text", "rows", "columns"),
    [("[1:1024,1:512]", slice(0, 512), slice(0, 1024)),
     ("[1025:1056, 1:1024]", slice(0, 1024), slice(1024, 1056)),
     ("[2048:1,10:20]", slice(9, 20), slice(0, 2048))],
)  # fmt: skip
def test_pixel_ranges(text, rows, columns):
    assert values.parse_pixel_range(text) == (rows, columns)


@pytest.mark.parametrize(
    ("value", "number"),
    [("43 C", 43.0), ("060.00", 60.0), ("+62.592", 62.592), ("1.5D2", 150.0), (7, 7.0)],
)
def test_numbers(value, number):
    assert values.parse_number(value) == number


@given(st.text())
def test_nothing_but_value_errors(text):
    for parse in (values.parse_right_ascension, values.parse_date, values.parse_pixel_range,
                  values.parse_binning, values.parse_latitude_or_longitude,
                  values.parse_time_of_day):  # fmt: skip
        try:
            parse(text)
        except ValueError as error:
            assert str(error)  # noqa: PT017, accepting the text is right, too


@given(st.floats(0, 359.999), st.floats(-89.999, 89.999))
def test_sexagesimal_round_trip(ra, dec):
    hours = ra / 15
    h, m, s = int(hours), int(hours * 60) % 60, math.floor(hours * 3600e3) % 60_000 / 1000
    assert values.parse_right_ascension(f"{h:02d}:{m:02d}:{s:06.3f}") == pytest.approx(ra, abs=2e-5)
    d = abs(dec)
    text = f"{'-' if dec < 0 else '+'}{int(d):02d} {int(d * 60) % 60:02d} "
    text += f"{math.floor(d * 3600e3) % 60_000 / 1000:06.3f}"
    assert values.parse_angle(text)[0] == pytest.approx(dec, abs=1e-6)
