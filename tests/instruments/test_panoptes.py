"""The colours of a PANOPTES mosaic as sections, on drawn skies and on the real frames."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "formats"))

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.fits import Header
from dng_writer import write_dng

from firstlight.algorithms.detector.colour_mosaic import colour_of_pixels
from firstlight.algorithms.pictures.colour_channels import CHANNELS
from firstlight.algorithms.sources.detect import find_sources
from firstlight.formats.fits_file import read_header
from firstlight.formats.raw_photo import raw_photo_to_fits
from firstlight.instruments import define_instrument, get_instrument_instance, guess_instrument
from firstlight.instruments.dslr import DSLR
from firstlight.instruments.panoptes import PANOPTES
from firstlight.instruments.registry import forget_instrument
from firstlight.instruments.sections import UnknownSection

BIAS = 2048
SEQUENCE = "PAN001_14d3bd_20180216T110623"
HEADER = {
    "FILTER": "RGGB",
    "INSTRUME": "14d3bd",
    "OBSERVER": "PAN001",
    "SEQID": SEQUENCE,
    "IMAGEID": "PAN001_14d3bd_20180216T113000",
    "FIELD": "HD 189733",
    "DATE-OBS": "2018-02-16T11:30:00",
    "EXPTIME": 120.0,
    "RA-MNT": 300.0,
    "DEC-MNT": 22.0,
    "CAMTEMP": "11 C",
}


@pytest.fixture
def camera():
    return get_instrument_instance("PANOPTES")


def _write(path, mosaic, **cards):
    fits.writeto(path, mosaic, Header({**HEADER, **cards}))
    return path


def _stars(shape, *, seed=5, count=120, sigma=1.4):
    """Positions and a mosaic of Gaussian stars of one colour, each pixel integrated, no noise."""
    rng = np.random.default_rng(seed)
    x, y = (rng.uniform(20, side - 20, count) for side in (shape[1], shape[0]))
    flux = rng.uniform(8_000, 60_000, count)
    jj, ii = np.indices(shape)
    image = np.zeros(shape)
    fine = (np.arange(5) - 2) / 5
    for a, b, total in zip(x, y, flux, strict=True):
        rows, columns = (slice(int(c) - 9, int(c) + 11) for c in (b, a))
        for dy in fine:
            for dx in fine:
                r2 = (ii[rows, columns] + dx - a) ** 2 + (jj[rows, columns] + dy - b) ** 2
                image[rows, columns] += total / 25 * np.exp(-r2 / (2 * sigma**2))
    return x, y, image / (2 * np.pi * sigma**2)


def test_sections_are_colours_of_half_the_size(camera, tmp_path):
    levels = {"R": 2100, "G": 2300, "B": 2150}
    letters = colour_of_pixels((6, 8), "GBRG")
    mosaic = np.vectorize(levels.__getitem__)(letters).astype(np.uint16)
    path = _write(tmp_path / "a.fits", mosaic)
    for channel, image in zip(CHANNELS, camera.load(path), strict=True):
        assert image.shape == (3, 4)
        assert (image == levels[channel]).all()
    with pytest.raises(UnknownSection):
        camera.load_section_image(path, 0)


def test_a_pattern_card_counts_more_than_the_filter(camera):
    assert camera.get_cfa_pattern(Header(HEADER)) == "GBRG"
    assert camera.get_cfa_pattern(Header({**HEADER, "BAYERPAT": "RGGB"})) == "RGGB"
    shifted = {**HEADER, "BAYERPAT": "RGGB", "XBAYROFF": 1}
    assert camera.get_cfa_pattern(Header(shifted)) == "GRBG"
    assert camera.get_cfa_pattern(Header({"EXPTIME": 1.0})) == "GBRG"


def test_stars_are_at_one_place_in_all_channels(camera, tmp_path):
    rng = np.random.default_rng(8)
    x, y, light = _stars((400, 500))
    mosaic = rng.normal(light + BIAS + 60, np.sqrt((light + 60) / 1.5)).astype(np.float32)
    path = _write(tmp_path / "a.fits", mosaic)
    header = camera.read_header(path)
    for channel in CHANNELS:
        image = camera.load_section_image(path, channel).astype(np.float32) - BIAS - 60
        flags = np.zeros(image.shape, np.uint16)
        found = find_sources(image, np.full(image.shape, 40.0, np.float32), flags).sources
        at = camera.mosaic_position(header, channel, found.x_win, found.y_win)
        apart = np.hypot(at[0][:, None] - x, at[1][:, None] - y)
        nearest = apart.argmin(axis=1)
        good = apart.min(axis=1) < 1.5
        assert good.sum() > 80
        off = [np.median(a[good] - b[nearest[good]]) for a, b in zip(at, (x, y), strict=True)]
        # Mosaic pixels: 0.04 is 0.02 of a channel's pixel.
        np.testing.assert_allclose(off, 0.0, atol=0.04)


def test_a_section_header_tells_its_place_in_the_mosaic(camera, tmp_path):
    cards = {"CRPIX1": 3.0, "CTYPE1": "RA---TAN", "CD1_1": 0.1, "BAYERPAT": "GBRG"}
    path = _write(tmp_path / "a.fits", np.zeros((6, 8), np.uint16), **cards)
    whole = camera.read_header(path)
    assert whole["CRPIX1"] == 3.0
    for channel in CHANNELS:
        header = camera.read_header(path, channel)
        assert header["FILTER"] == channel
        assert header["SEQID"] == SEQUENCE
        assert camera.get_cfa_pattern(header) is None
        assert not set(cards) & set(header)
        # IRAF counts from 1: section = LTM * mosaic + LTV.
        at = camera.mosaic_position(whole, channel, 2.0, 1.0)
        place = [
            header[f"LTM{axis}_{axis}"] * (position + 1) + header[f"LTV{axis}"] - 1
            for axis, position in enumerate(at, start=1)
        ]
        assert place == [2.0, 1.0]


def test_two_greens_collect_twice_the_electrons(camera):
    header = Header(HEADER)
    assert [camera.get_gain(header, each) for each in CHANNELS] == [1.5, 3.0, 1.5]
    noise = [camera.get_read_noise(header, each) for each in CHANNELS]
    np.testing.assert_allclose(noise, [10.5, 10.5 * np.sqrt(2), 10.5])
    assert {camera.get_saturation_limit(header, each) for each in CHANNELS} == {13_578.0}
    assert {camera.get_property(each, "bias_level") for each in CHANNELS} == {2048.0}
    assert camera.get_property(None, "gain") == 1.5
    assert [camera.get_section_filter_array_index(each) for each in CHANNELS] == [0, 1, 2]
    assert camera.get_section_offsets("R") == (-0.25, 0.25)
    assert camera.get_section_offsets("G") == (0.0, 0.0)


def test_settings_speak_of_single_pixels_and_stored_sections_of_themselves():
    other = define_instrument("OtherUnit", "PANOPTES", gain=2.0)()
    try:
        assert [other.get_gain(None, each) for each in CHANNELS] == [2.0, 4.0, 2.0]
        other.get_section("G").gain = 3.3
        assert other.get_gain(None, "G") == 3.3
    finally:
        forget_instrument("OtherUnit")


def test_what_is_of_panoptes(camera):
    assert guess_instrument("a.fits", HEADER) == "PANOPTES"
    assert guess_instrument("a.fits", {"CREATOR": "POCSv0.7", "INSTRUME": "14d3bd"}) == "PANOPTES"
    bare = dict.fromkeys(("CAMSN", "INTSN", "MEASRGGB", "CIRCCONF"), "")
    assert guess_instrument("a.fits", bare) == "PANOPTES"
    assert guess_instrument(f"{SEQUENCE}.fits.fz", {}) == "PANOPTES"
    assert guess_instrument("20180216T110623.fits", {}) == "GenericFITS"
    assert guess_instrument("a.fits", {"INSTRUME": "ZWO", "FILTER": "RGGB"}) == "GenericFITS"
    assert camera.matches_header({"INSTRUME": "ZWO"}) == 0.0
    path = f"PAN001/14d3bd/{SEQUENCE[-15:]}/20180216T113000.fits"
    assert guess_instrument(path, {}) == "PANOPTES"
    assert guess_instrument(path, {"INSTRUME": "ZWO"}) == "GenericFITS"


def test_header_of_a_unit(camera):
    info = camera.extract_header_info(
        Header(HEADER), ["ra", "dec", "filter", "target", "telescope", "temperature", "seqid"]
    )
    assert info == {
        "ra": 300.0,
        "dec": 22.0,
        "filter": None,
        "target": "HD 189733",
        "telescope": "PAN001",
        "temperature": 11.0,
        "seqid": SEQUENCE,
    }
    assert camera.check_header(Header(HEADER)) == []
    missing = {key: value for key, value in HEADER.items() if key != "EXPTIME"}
    assert [problem.field for problem in camera.check_header(Header(missing))] == ["EXPTIME"]


def test_the_sequence_is_that_of_the_path_else_of_the_header(camera):
    path = "b/PAN002/F/ee04d1/20190101T000000/20190101T000100.fits"
    assert camera.get_sequence_id(HEADER, name=path) == "PAN002_ee04d1_20190101T000000"
    assert camera.get_sequence_id(HEADER, name="a.fits") == SEQUENCE
    assert camera.get_sequence_id({}) is None
    assert get_instrument_instance("DemoInstrument").get_sequence_id(HEADER) is None


def test_what_a_name_tells(camera):
    told = camera.cards_from_name("b/PAN002/M42/ee04d1/20190101T000000/20190101T000100.cr2")
    assert told == {
        "INSTRUME": "ee04d1",
        "OBSERVER": "PAN002",
        "SEQID": "PAN002_ee04d1_20190101T000000",
        "IMAGEID": "PAN002_ee04d1_20190101T000100",
        "FIELD": "M42",
    }
    assert guess_instrument("a.cr2", told) == "PANOPTES"
    assert camera.cards_from_name("a.cr2") == {}
    assert get_instrument_instance("DemoInstrument").cards_from_name("a.fits") == {}


def test_a_packed_file_has_the_header_of_its_image(camera, tmp_path):
    mosaic = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    packed = fits.CompImageHDU(mosaic, Header(HEADER))
    path = tmp_path / "a.fits.fz"
    fits.HDUList([fits.PrimaryHDU(), packed]).writeto(path)
    assert camera.read_header(path)["SEQID"] == SEQUENCE
    np.testing.assert_array_equal(camera.load_section_image(path, "B"), mosaic[0::2, 1::2])
    assert get_instrument_instance("GenericFITS").read_header(path)["FIELD"] == "HD 189733"


def test_a_file_without_an_image_keeps_its_empty_header(tmp_path):
    table = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=[1.0])])
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "a.fits")
    header = get_instrument_instance("GenericFITS").read_header(tmp_path / "a.fits")
    assert header["NAXIS"] == 0


def _photo(path):
    pytest.importorskip("rawpy", reason="rawpy is not installed")
    path.parent.mkdir(parents=True, exist_ok=True)
    mosaic = np.random.default_rng(2).integers(2_000, 14_000, (32, 48)).astype(np.uint16)
    return mosaic, write_dng(path, mosaic)


def test_a_raw_photo_of_a_unit_is_read_as_its_fits_file(camera, tmp_path):
    folder = tmp_path / "PAN001" / "HD189733" / "14d3bd" / "20180216T110623"
    mosaic, photo = _photo(folder / "20180216T113000.cr2")
    converted = tmp_path / "20180216T113000.fits"
    converted.write_bytes(raw_photo_to_fits(photo))
    # From the top of the sensor RGGB; FITS counts its rows from the bottom.
    red = camera.load_section_image(photo, "R")
    np.testing.assert_array_equal(red, mosaic[0::2, 0::2][::-1])
    for channel in CHANNELS:
        np.testing.assert_array_equal(
            camera.load_section_image(photo, channel), camera.load_section_image(converted, channel)
        )
    header = camera.read_header(photo)
    assert header["SEQID"] == SEQUENCE
    assert header["IMAGEID"] == "PAN001_14d3bd_20180216T113000"
    assert (header["OBSERVER"], header["INSTRUME"]) == ("PAN001", "14d3bd")
    assert header["FIELD"] == "HD189733"
    assert guess_instrument(photo, header) == "PANOPTES"
    assert camera.read_header(photo, "B")["FILTER"] == "B"
    # Where the bytes were read elsewhere, the path alone tells.
    photo.rename(tmp_path / "bytes.cr2")
    told = get_instrument_instance("GenericFITS").read_header(tmp_path / "bytes.cr2")
    assert guess_instrument(photo, told) == "PANOPTES"
    assert guess_instrument("bytes.cr2", told) == DSLR.name


def test_raw_photos_of_any_camera(tmp_path):
    _, photo = _photo(tmp_path / "IMG_0001.dng")
    header = get_instrument_instance("GenericFITS").read_header(photo)
    assert guess_instrument(photo, header) == DSLR.name
    converted = tmp_path / "a.fits"
    converted.write_bytes(raw_photo_to_fits(photo))
    assert guess_instrument(converted, read_header(converted)) == DSLR.name
    camera = get_instrument_instance("DSLR")
    assert camera.get_saturation_limit(header, "R") == 13_583.0
    assert camera.look_up("bias_level", "G", header).value == 2048.0
    assert camera.get_gain(header, "R") == 1.0
    assert camera.load_section_image(converted, "G").shape == (16, 24)


@pytest.mark.sample
@pytest.mark.parametrize("name", ["unsolved.fits", "tiny.fits", "rotation.fits"])
def test_real_colours_are_as_bright_as_the_camera_measured(camera, samples, name):
    """The camera's own metering, MEASRGGB, tells which pixels are red and which are blue."""
    path = samples / "panoptes" / name
    header = read_header(path)
    assert guess_instrument(name, dict(header)) == PANOPTES.name
    red, green, _, blue = map(float, header["MEASRGGB"].split())
    sky = {each: np.median(camera.load_section_image(path, each)) - BIAS for each in CHANNELS}
    assert sky["R"] / sky["G"] == pytest.approx(red / green, rel=0.15)
    assert sky["B"] / sky["G"] == pytest.approx(blue / green, rel=0.15)
