"""Filters: the table that comes with the package, and those of the settings."""

import re

import pytest
from pydantic import ValidationError

from firstlight.services.objects.bandpasses import Bandpasses, FilterUnknown, SystemUnknown
from firstlight.services.objects.photometry_settings import FilterSettings, PhotometrySettings

BANDS = Bandpasses()


@pytest.mark.parametrize(
    ("name", "wavelength", "vega"),
    [
        # AB minus Vega: Blanton & Roweis (2007), table 1, to the differences of curves and spectra.
        ("bessellu", 3571, 0.79), ("bessellux", 3571, 0.79),
        ("bessellb", 4344, -0.09), ("bessellv", 5456, 0.02), ("bessellr", 6442, 0.21),
        ("besselli", 7994, 0.45), ("sdssu", 3546, 0.91), ("sdssg", 4670, -0.08),
        ("sdssr", 6156, 0.16), ("sdssi", 7472, 0.37), ("sdssz", 8917, 0.54),
        ("2massj", 12355, 0.91), ("2massh", 16458, 1.39), ("2massks", 21603, 1.85),
    ],
)  # fmt: skip
def test_the_table_agrees_with_the_literature(name, wavelength, vega):
    band = BANDS[name]
    assert band.wavelength == pytest.approx(wavelength, rel=0.02)
    assert band.offsets["vega"] == pytest.approx(vega, abs=0.03)


def test_names_of_both_libraries():
    for name in (
        "ztfg", "ztfr", "ztfi", "atlasc", "atlaso", "desg", "lsstg", "ps1::g", "gaia::g", "tess",
        "uvot::uvm2", "f200w", "cspb", "sdss2010-r", "decamDR1-g", "bessell-V", "galex-nuv",
        "wise2010-W1", "twomass-Ks", "hsc2017-z", "Euclid-VIS",
    ):  # fmt: skip
        assert name in BANDS, name
    assert len(BANDS) > 250


def test_every_entry_is_whole():
    for name, band in BANDS.items():
        assert re.fullmatch(r"[\w:\-]{1,64}", name)
        assert 1000 < band.wavelength < 300_000
        assert re.fullmatch("#[0-9a-f]{6}", band.colour)
        assert set(band.offsets) <= {"vega", "bd17", "st"}
        assert -0.3 < band.offsets.get("vega", 0) < 9


@pytest.mark.parametrize(
    ("asked", "near"),
    [("ZTFG", "ztfg"), ("sdss-g", "sdssg"), ("g", "desg"), ("bessel-v", "bessell-V")],
)
def test_near_names(asked, near):
    assert near in BANDS.near(asked)
    with pytest.raises(FilterUnknown, match="did you mean"):
        BANDS[asked]


def test_nothing_near():
    assert BANDS.unknown("qqqqqqq").hint is None


def test_filters_of_ones_own():
    own = {
        "clear": FilterSettings(wavelength=6000, colour="#123456"),
        "ztfg": FilterSettings(wavelength=4800, vega=-0.1),
    }
    bands = Bandpasses(own)
    assert bands["clear"].colour == "#123456"
    assert bands.offset("clear", "ab") == 0.0
    assert bands.offset("clear", "vega") is None
    assert bands.offset("ztfg", "VEGA") == -0.1
    assert "ztfr" in bands


def test_systems():
    assert BANDS.system("Vega") == "vega"
    assert BANDS.system("vegahst") == "vega"
    assert BANDS.offset(None, "ab") == 0.0
    assert BANDS.offset(None, "vega") is BANDS.offset("unknown", "vega") is None
    with pytest.raises(SystemUnknown, match="ab, vega"):
        BANDS.offset("ztfg", "johnson")


def test_settings_are_checked():
    for wrong in (
        {"filters": {"x": {"wavelength": -1}}},
        {"filters": {"x": {"wavelength": 5000, "colour": "red"}}},
        {"filters": {"x": {"wavelength": 5000, "vegas": 1}}},
        {"max_rows": 0},
    ):
        with pytest.raises(ValidationError):
            PhotometrySettings.model_validate(wrong)


def test_from_blue_to_red():
    found = BANDS.describe(["sdssz", "sdssu", "sdssr"])
    assert [each["name"] for each in found] == ["sdssu", "sdssr", "sdssz"]
