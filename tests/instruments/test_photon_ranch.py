"""Headers of the Photon Ranch network."""

import pytest

from firstlight.instruments import define_instrument, guess_instrument
from firstlight.instruments.header_errors import BadCoordinate
from firstlight.instruments.photon_ranch import PhotonRanch, read_archive_cards
from firstlight.instruments.registry import forget_instrument

BASE = "sro-kb001ms-20220629-00010442"
OWN = {"SITEID": "sro", "SMARTSTK": "no", "INSTRUME": "kb001ms", "TELESCOP": "sro-0m31"}


def _ra(**header):
    return PhotonRanch().extract_header_info(header, ["ra"]).get("ra")


@pytest.mark.parametrize(
    ("header", "degrees"),
    [
        ({"OBJCTRA": 20.4}, 306.0),
        ({"OBJCTRA": "20.4"}, 306.0),
        ({"OBJCTRA": "20 24 00"}, 306.0),
        ({"OBJCTRA": "20:24:00.0", "RA": 12.0}, 306.0),
        ({"RA": 306.0}, 306.0),
        ({"OBJCTRA": "", "RA": 12.5}, 12.5),
        ({"RAHRS": 1.0}, 15.0),
        ({"OBJCTRA": 0}, 0.0),
        ({"OBJCTRA": 24}, 0.0),
        # As the program of the observatories writes it.
        ({"OBJCTRA": 210.75, "RAhrs": 14.0535, "RADEG": 210.8025}, 210.75),
        ({"OBJCTRA": 14.05, "RAhrs": 14.0535, "RADEG": 210.8025}, 210.75),
        ({"OBJCTRA": 12.5, "RAhrs": 0.8340}, 12.5),
        ({"OBJCTRA": 359.9, "RADEG": 0.2}, 359.9),
        ({"OBJCTRA": 14.05, "RADEG": "east"}, 210.75),
        ({"RAhrs": 14.05, "RADEG": 210.75}, 210.75),
    ],
)
def test_right_ascension_is_in_hours_where_the_network_writes_hours(header, degrees):
    assert _ra(**header) == pytest.approx(degrees)


@pytest.mark.parametrize("value", [27.5, -1, 306.0, "east"])
def test_what_is_no_hour_is_refused(value):
    with pytest.raises(BadCoordinate):
        _ra(OBJCTRA=value)


def test_a_pixel_scale_may_be_unknown():
    camera = PhotonRanch()
    assert camera.get_pixel_scale({"PIXSCALE": "Unknown"}, 0) is None
    assert camera.get_pixel_scale({"PIXSCALE": 0.74}, 0) == 0.74


def test_its_headers_and_names_are_known():
    assert guess_instrument(f"{BASE}-EX00.fits.fz", OWN) == "PhotonRanch"
    assert guess_instrument(BASE, {}) == "PhotonRanch"
    assert guess_instrument("image.fits", OWN) == "PhotonRanch"
    assert guess_instrument("image.fits", {"INSTRUME": "kb001ms"}) == "GenericFITS"


def test_a_described_camera_is_preferred():
    define_instrument("SroCamera", telescope="sro-0m31", header_instruments=("kb001ms",))
    try:
        assert guess_instrument(f"{BASE}-EX00.fits.fz", OWN) == "SroCamera"
    finally:
        forget_instrument("SroCamera")


def test_cards_of_the_archive():
    header = {"ALTITUDE": 61.5, "AZIMUTH": -10.0, "USERID": "auth0|1", "USERNAME": " ada "}
    columns, problems = read_archive_cards({**header, "SMARTSTK": 290622, "SSTKNUM": "2"})
    assert problems == []
    assert columns == {
        "altitude": 61.5,
        "azimuth": 350.0,
        "user_id": "auth0|1",
        "username": "ada",
        "smart_stack": "290622",
        "stack_number": 2,
        "stack_length": None,
    }


@pytest.mark.parametrize("told", ["no", "No ", "", False, None])
def test_no_stack_is_no_stack(told):
    columns, problems = read_archive_cards({"SMARTSTK": told, "SSTKNUM": 3, "SSTKLEN": 5})
    assert (columns["smart_stack"], columns["stack_number"]) == (None, None)
    assert problems == []


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("ALTITUDE", 91),
        ("AZIMUTH", "west"),
        ("SSTKNUM", -1),
        ("SSTKNUM", 1.5),
        ("SSTKLEN", 10**12),
        ("SSTKLEN", float("inf")),
        ("ALTITUDE", True),
    ],
)
def test_nonsense_is_told_and_left_out(keyword, value):
    columns, (problem,) = read_archive_cards({"SMARTSTK": "s", keyword: value})
    assert problem.field == keyword
    assert list(columns.values()).count(None) == len(columns) - 1
