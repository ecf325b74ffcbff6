"""From the cards of one camera to the names and units of all."""

import re
from itertools import pairwise

import pytest
from astropy.io.fits import Header
from astropy.time import Time

from firstlight.formats.fits_file import read_header
from firstlight.instruments import Instrument, get_instrument_instance, instrument_names
from firstlight.instruments.header_errors import (
    BadCoordinate,
    BadDate,
    BadExposureTime,
    BadPixelRange,
)
from firstlight.instruments.header_names import normalize_keyword

START = Time("2021-03-04T05:06:07.8", scale="utc").mjd
DEGREES = {"ra": "RA", "dec": "DEC"}


@pytest.fixture
def camera() -> Instrument:
    return get_instrument_instance("GenericFITS")


def test_keywords_are_compared_without_case_blanks_and_hyphens(camera):
    assert normalize_keyword("date_obs") == normalize_keyword("DATE-OBS") == "DATEOBS"
    assert camera.normalize_keyword("exp time") == "EXPTIME"
    assert camera.extract_header_info({"Exp_Time": 3}, ["exp_time"]) == {"exp_time": 3.0}


def test_absent_is_left_out_and_blank_is_none(camera):
    header = {"RA": "", "DEC": None, "EXPTIME": 5}
    assert camera.extract_header_info(header, ["ra", "dec", "exp_time", "airmass"]) == {
        "ra": None,
        "dec": None,
        "exp_time": 5.0,
    }


def test_a_later_synonym_answers_for_a_blank_card(camera):
    header = {"RA": "", "RA-MNT": 301.5}
    assert camera.extract_header_info(header, ["ra"]) == {"ra": 301.5}


@pytest.mark.parametrize(
    ("cards", "mid"),
    [({"DATE-OBS": "2021-03-04T05:06:07.8"}, START + 15 / 86400),
     ({"DATE-OBS": "2021-03-03T22:06:07.8-07:00"}, START + 15 / 86400),
     ({"DATE-OBS": "2021-03-04", "TIME-OBS": "05:06:07.8"}, START + 15 / 86400),
     ({"DATE-OBS": "2021-03-04", "UT": "05:06:07.8"}, START + 15 / 86400),
     ({"DATE-OBS": "2021-03-04", "MJD-OBS": START}, START + 15 / 86400),
     ({"MJD-OBS": START}, START + 15 / 86400),
     ({"MJD-AVG": START, "DATE-OBS": "2021-03-01T00:00:00"}, START),
     ({"DATE-AVG": "2021-03-04T05:06:07.8"}, START),
     ({"DATE-OBS": "2021-03-04T05:06:07.8", "TIMESYS": "TAI"}, START - 22 / 86400),
     ({"DATE-OBS": "2021-03-04T05:06:07.8", "MJD-OBS": 59277.2}, START + 15 / 86400)],
)  # fmt: skip
def test_time_of_mid_exposure(camera, cards, mid):
    found = camera.get_mid_mjd({**cards, "EXPTIME": 30.0})
    assert found == pytest.approx(mid, abs=1e-8)  # a millisecond


@pytest.mark.parametrize(("moment", "shift"), [("start", 15), ("mid", 0), ("end", -15)])
def test_what_date_obs_means_belongs_to_the_camera(moment, shift):
    class Clock(Instrument, register=False):
        header_time = moment

    found = Clock().get_mid_mjd({"DATE-OBS": "2021-03-04T05:06:07.8", "EXPTIME": 30.0})
    assert found == pytest.approx(START + shift / 86400, abs=1e-9)


def test_converters_change_units():
    class Milli(Instrument, register=False):
        converters = {"exp_time": lambda x: x / 1000, "ra": lambda hours: hours * 15}  # noqa: RUF012, as users write it

    info = Milli().extract_header_info({"EXPTIME": "1500", "RA": 2.0}, ["exp_time", "ra"])
    assert info == {"exp_time": 1.5, "ra": 30.0}


def test_methods_of_the_seed_can_be_overridden():
    class Old(Instrument, register=False):
        def _get_header_keyword_translations(self):
            return super()._get_header_keyword_translations() | {
                "exp_time": "ITIME",
                "seeing": ["SEE"],
            }

        def _get_header_values_converters(self):
            return {"seeing": lambda x: x * 2}

    info = Old().extract_header_info({"ITIME": 4, "SEE": 1.5}, ["exp_time", "seeing"])
    assert info == {"exp_time": 4.0, "seeing": 3.0}


@pytest.mark.parametrize("name", instrument_names())
def test_every_translation_is_a_keyword_and_reaches_its_value(name):
    # Upstream, keys that were normalised on one side only, and two keywords in one string,
    # made DECam's MJD and DEC unreachable.
    camera = get_instrument_instance(name)
    for ours, keywords in camera._get_header_keyword_translations().items():
        assert isinstance(keywords, list)
        for keyword in keywords:
            assert re.fullmatch(r"[A-Z0-9_-]{1,12}", keyword), keyword
            assert camera.find_card({keyword: "7"}, ours).keyword == keyword


@pytest.mark.parametrize("name", instrument_names())
def test_a_camera_reads_through_its_own_class(name):
    camera = get_instrument_instance(name)
    cards = {"MJD-OBS": START, "EXPTIME": 30, "DEC": -43.0, "RA": 7.87}
    info = camera.extract_header_info(cards, ["mjd", "dec", "ra"])
    assert info["dec"] == -43.0
    assert info["mjd"] == pytest.approx(START + 15 / 86400)


@pytest.mark.parametrize(
    ("cards", "name", "error", "field"),
    [
        ({"RA": 999}, "ra", BadCoordinate, "RA"),
        ({"EXPTIME": "abc"}, "exp_time", BadExposureTime, "EXPTIME"),
        ({"DATE-OBS": "x"}, "mjd", BadDate, "DATE-OBS"),
        ({"OBJCTDEC": "95 0 0"}, "dec", BadCoordinate, "OBJCTDEC"),
    ],
)
def test_errors_name_file_card_found_and_expected(camera, cards, name, error, field):
    with pytest.raises(error) as caught:
        camera.extract_header_info(cards, [name], subject="night/a.fits")
    assert caught.value.subject == "night/a.fits"
    assert caught.value.field == field
    assert caught.value.found == repr(cards[field])
    assert caught.value.expected


def test_all_problems_are_collected_and_none_twice(camera):
    problems = camera.check_header({"RA": 999, "EXPTIME": -5, "DATE-OBS": "2021-03-04T05:06:07"})
    codes = [problem.code for problem in problems]
    assert codes.count("header.exposure_time") == 1
    assert "header.coordinate" in codes
    assert {p.field for p in problems if p.code == "header.missing"} == {"DEC", "FILTER"}


def test_a_bias_frame_need_not_tell_where_it_looked(camera):
    header = {"IMAGETYP": "bias", "DATE-OBS": "2021-03-04T05:06:07", "EXPTIME": 0}
    assert camera.check_header(header) == []


def test_amplifiers(camera):
    one = camera.overscan_and_data_sections(
        {"DATASEC": "[1:1024,1:1024]", "BIASSEC": "[1025:1056,1:1024]"}
    )
    assert [(area.name, area.data, area.bias, area.trim) for area in one] == [
        ("", (slice(0, 1024), slice(0, 1024)), (slice(0, 1024), slice(1024, 1056)), None)
    ]
    two = camera.overscan_and_data_sections(
        {"DATASECA": "[1:5,1:4]", "DATASECB": "[6:10,1:4]", "BIASSECA": "", "TRIMSECB": "[6:9,1:4]"}
    )
    assert [area.name for area in two] == ["A", "B"]
    assert two[0].bias is None
    assert two[1].trim == (slice(0, 4), slice(5, 9))
    assert camera.overscan_and_data_sections({"OBJECT": "x"}) == []
    with pytest.raises(BadPixelRange, match="10 x 4"):
        camera.overscan_and_data_sections({"DATASEC": "[1:99,1:4]", "NAXIS1": 10, "NAXIS2": 4})


@pytest.mark.parametrize(
    ("cards", "pattern"),
    [({"FILTER": "RGGB"}, "RGGB"), ({"BAYERPAT": "bggr "}, "BGGR"), ({"FILTER": "R"}, None),
     ({"BAYERPAT": "RGGB", "XBAYROFF": 1}, "GRBG"), ({"BAYERPAT": "RGGB", "YBAYROFF": 1}, "GBRG"),
     ({"BAYERPAT": "RGGB", "XBAYROFF": 1, "YBAYROFF": 1}, "BGGR"), ({}, None)],
)  # fmt: skip
def test_colour_filter_array(camera, cards, pattern):
    assert camera.get_cfa_pattern(cards) == pattern


@pytest.mark.parametrize(
    ("cards", "binning"),
    [({"XBINNING": 2, "YBINNING": 3}, "2x3"), ({"XBINNING": 2}, "2x2"), ({"CCDSUM": "1 4"}, "1x4"),
     ({"BINNING": 2}, "2x2"), ({}, None)],
)  # fmt: skip
def test_binning(camera, cards, binning):
    assert camera.extract_header_info(cards, ["binning"]).get("binning") == binning


@pytest.mark.parametrize(
    ("value", "celsius"), [(-20.5, -20.5), ("43 C", 43.0), ("253.15 K", -20.0), ("", None)]
)
def test_temperature(camera, value, celsius):
    found = camera.extract_header_info({"CCD-TEMP": value}, ["temperature"])["temperature"]
    assert found == pytest.approx(celsius)


def test_airmass_is_computed_where_it_is_missing(camera):
    cards = {"DATE-OBS": "2017-12-20T01:33:43", "EXPTIME": 60, "RA": 31.312, "DEC": 46.769,
             "SITELAT": 31.68, "SITELONG": -110.88}  # fmt: skip
    assert camera.get_airmass(cards) == pytest.approx(1.127, abs=0.003)  # sec z at 62.59 deg
    assert camera.get_airmass({**cards, "AIRMASS": 1.5}) == 1.5
    assert camera.get_airmass({**cards, "AIRMASS": -1}) == pytest.approx(1.127, abs=0.003)
    assert camera.get_airmass({**cards, "SITELAT": ""}) is None
    assert camera.get_airmass({**cards, "DEC": -80.0}) is None  # below the horizon


def test_a_fits_header_serves_like_a_dictionary(camera):
    header = Header([("RA", 1.5), ("RA", 2.5), ("COMMENT", "x"), ("HIERARCH ESO A", 2)])
    assert camera.extract_header_info(header, ["ra"]) == {"ra": 1.5}


@pytest.mark.sample
def test_microobservatory(samples):
    path = samples / "hatp32_microobs" / "HATP-32171220013343.FITS"
    camera = get_instrument_instance("MicroObservatory")
    header = read_header(path)
    info = camera.extract_header_info(
        header, ["ra", "dec", "mjd", "exp_time", "filter", "temperature", "target"]
    )
    assert info["mjd"] == pytest.approx(Time("2017-12-20T01:34:13.317").mjd, abs=1e-8)
    assert (info["ra"], info["dec"]) == (31.312099, 46.769087)
    assert info["temperature"] == pytest.approx(-2.15)
    assert camera.get_site(header)[:2] == (31.68, -110.88)
    # The header's own altitude is 62.592 degrees.
    assert camera.get_airmass(header) == pytest.approx(1.1264, abs=0.001)
    assert camera.get_pixel_scale(header, 0) == 5.16
    assert camera.look_up("saturation_limit", 0, header) == (4095.0, "instrument", None)
    assert camera.look_up("gain", 0, header) == (20.0, "instrument", None)
    assert camera.get_kind(header) == "science"
    assert camera.check_header(header) == []
    header["FILTER"] = "Opaque"
    assert camera.get_kind(header) == "dark"
    header["CAMTEMP"] = -1
    assert camera.extract_header_info(header, ["temperature"])["temperature"] is None


@pytest.mark.sample
def test_all_frames_of_the_night_are_evenly_spaced(samples):
    camera = get_instrument_instance("MicroObservatory")
    paths = sorted((samples / "hatp32_microobs").glob("*.FITS"))
    times = [camera.get_mid_mjd(read_header(path)) for path in paths]
    steps = [(b - a) * 1440 for a, b in pairwise(times)]
    assert len(times) == 71
    assert all(5.0 < step < 7.5 for step in steps)


@pytest.mark.sample
def test_panoptes_cards(samples):
    camera = get_instrument_instance("GenericFITS")
    header = read_header(samples / "panoptes" / "tiny.fits")
    info = camera.extract_header_info(header, ["ra", "dec", "airmass", "temperature", "target"])
    assert info["ra"] == 301.56439
    assert info["temperature"] == 11.0
    assert camera.get_cfa_pattern(header) == "RGGB"
    assert camera.get_site(header) == (19.54, -155.58, 3400.0)
    blank = camera.extract_header_info(
        read_header(samples / "panoptes" / "rotation.fits"), ["ra", "dec", "airmass", "filter"]
    )
    assert blank == dict.fromkeys(["ra", "dec", "airmass", "filter"])
    bare = camera.check_header(read_header(samples / "panoptes" / "noheader.fits"))
    assert {problem.code for problem in bare} == {"header.missing"}


def test_ranges_of_an_image_packed_as_tiles_lie_in_the_image_not_in_its_table(camera):
    cards = {"NAXIS1": 8, "NAXIS2": 256, "ZNAXIS1": 384, "ZNAXIS2": 256, "DATASEC": "[1:384,1:256]"}
    (area,) = camera.overscan_and_data_sections(cards)
    assert area.data == (slice(0, 256), slice(0, 384))
    with pytest.raises(BadPixelRange):
        camera.overscan_and_data_sections({**cards, "DATASEC": "[1:385,1:256]"})
