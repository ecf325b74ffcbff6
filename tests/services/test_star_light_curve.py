"""What a target may be called, and a light curve as numbers and text."""

import csv
import io
import uuid

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from firstlight.errors import InvalidInput
from firstlight.models import Object, Photometry
from firstlight.services.star_light_curve import StarLightCurve, parse_target

ras = st.floats(0.0, 360.0, exclude_max=True, allow_nan=False)
decs = st.floats(-90.0, 90.0, allow_nan=False)


def _sexagesimal(value: float, digits: int) -> tuple[int, int, float]:
    """Whole, minutes and seconds, as a person would copy them from a catalogue."""
    unit = 10**digits
    rest = round(abs(value) * 3600 * unit)
    whole, rest = divmod(rest, 3600 * unit)
    minutes, rest = divmod(rest, 60 * unit)
    return whole, minutes, rest / unit


@given(ra=ras, dec=decs, form=st.sampled_from(["{} {}", "{},{}", "  {}  {} ", "{}, {:+f}"]))
def test_degrees(ra, dec, form):
    ra, dec = round(ra, 6) % 360.0, round(dec, 6)
    text = form.replace("{}", "{:f}").format(ra, dec)
    assert parse_target(text) == pytest.approx((ra, dec), abs=1e-6)


@given(
    ra=ras,
    dec=decs,
    form=st.sampled_from(
        [
            "{:02d}:{:02d}:{:05.2f} {}{:02d}:{:02d}:{:04.1f}",
            "{:02d} {:02d} {:05.2f} {}{:02d} {:02d} {:04.1f}",
            "{:d}h{:d}m{:.2f}s {}{:d}d{:d}m{:.1f}s",
            "{:d}h {:d}m {:.2f}s, {}{:d}° {:d}′ {:.1f}″",
        ]
    ),
)
@example(ra=0.0, dec=-0.0083, form="{:02d}:{:02d}:{:05.2f} {}{:02d}:{:02d}:{:04.1f}")
@example(ra=359.99999, dec=90.0, form="{:02d}:{:02d}:{:05.2f} {}{:02d}:{:02d}:{:04.1f}")
def test_hours_and_degrees(ra, dec, form):
    hours = _sexagesimal(ra / 15.0 % 24.0, 2)
    if hours[0] == 24:
        hours = (0, 0, 0.0)
    text = form.format(*hours, "-" if dec < 0 else "+", *_sexagesimal(dec, 1))
    found = parse_target(text)
    away = (found[0] - ra + 180.0) % 360.0 - 180.0
    assert abs(away) <= 15 * 0.005 / 3600 + 1e-9
    assert found[1] == pytest.approx(dec, abs=0.05 / 3600 + 1e-9)


def test_the_sign_of_a_declination_of_zero_degrees():
    assert parse_target("00:00:00 -00:30:00") == (0.0, -0.5)
    assert parse_target("00:00:00 +00:30:00") == (0.0, 0.5)


@pytest.mark.parametrize(
    "name",
    [
        "HAT-P-32",
        "FL J020410.28+464116.2",
        "M 31",
        "51 Peg b",
        "2MASS J02041028+4641162",
        "3C 273",
        "47 Tuc",
        "",
        "   ",
        "12",
        "1 2 3",
    ],
)
def test_a_name_is_no_coordinates(name):
    assert parse_target(name) is None


@pytest.mark.parametrize(
    "target", ["360 0", "-0.1 10", "24:00:00 +10:00:00", "10 90.1", "02:00:00 -91:00:00", "400 10"]
)
def test_coordinates_that_are_not_on_the_sky(target):
    with pytest.raises(InvalidInput, match="not on the sky") as caught:
        parse_target(target)
    assert caught.value.found == target


@pytest.mark.parametrize("target", ["02:60:00 +46:00:00", "02:00:61 +46:00:00", "2:0:0 +46:0:60"])
def test_minutes_and_seconds_are_below_sixty(target):
    with pytest.raises(InvalidInput, match="below 60"):
        parse_target(target)


@given(st.text(max_size=40))
def test_any_text_is_coordinates_a_name_or_refused(text):
    try:
        found = parse_target(text)
    except InvalidInput:
        return
    if found is not None:
        assert 0.0 <= found[0] < 360.0
        assert -90.0 <= found[1] <= 90.0


@pytest.fixture
def curve():
    star = Object(name="FL J020410.28+464116.2", ra=31.0428, dec=46.6878)
    rows = [
        Photometry(
            mjd=58107.2 + n,
            bjd_tdb=2458107.7 + n,
            filter="V",
            mag=None if n == 2 else 11.0 + 0.1 * n,
            mag_err=0.01,
            mag_system="Vega",
            rel_flux=None if n == 2 else 1.0 + 0.01 * n,
            rel_flux_err=0.002,
            flux_ujy=1.0,
            flux_err_ujy=0.1,
            flags=n,
            image_id=uuid.UUID(int=n),
            provenance_id="abc",
            x=1.0,
            y=2.0,
            airmass=None,
        )
        for n in range(4)
    ]
    return StarLightCurve(star, rows)


def test_the_csv_reads_back(curve):
    rows = list(csv.DictReader(io.StringIO(curve.as_csv())))
    assert [row["flags"] for row in rows] == ["0", "1", "2", "3"]
    assert rows[2]["mag"] == rows[2]["rel_flux"] == "", "no value is an empty cell"
    assert float(rows[3]["bjd_tdb"]) == 2458110.7
    assert rows[1]["image_id"] == str(uuid.UUID(int=1))


def test_the_points_are_json(curve):
    point = curve.as_dict()["points"][2]
    assert point["mag"] is None
    assert point["image_id"] == str(uuid.UUID(int=2))
    assert {"mjd", "bjd_tdb", "filter", "flux_ujy", "flux_err_ujy", "mag_err", "rel_flux_err",
            "provenance_id"} <= set(point)  # fmt: skip


def test_the_sentence_tells_the_robust_scatter(curve):
    values = np.array([1.0, 1.01, 1.03])
    scatter = 1.4826 * np.median(np.abs(values - 1.01))
    assert curve.sentence().endswith(f"4 points, scatter {100 * scatter:.2f} %")
    assert curve.magnitude_label == "magnitude (Vega)"


def test_a_star_without_an_ensemble_says_so(curve):
    for row in curve.rows:
        row.rel_flux = None
        row.mag_system = None
    assert curve.sentence().endswith("none relative to an ensemble")
    assert curve.magnitude_label == "magnitude (not calibrated)"
