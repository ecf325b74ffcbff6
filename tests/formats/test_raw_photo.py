"""Raw photographs: DNG files made here, which LibRaw opens as it opens those of cameras."""

from __future__ import annotations

import sys
import zlib

import numpy as np
import pytest
from astropy.io import fits
from dng_writer import ASCII, EXIF, SHORT, UNDEFINED, canon_notes, write_dng
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firstlight.algorithms.detector.colour_mosaic import colour_of_pixels
from firstlight.errors import MissingDependency
from firstlight.formats.file_errors import MissingFile
from firstlight.formats.raw_photo import (
    BadRawPhoto,
    is_raw_photo,
    raw_photo_to_fits,
    read_raw_header,
    read_raw_photo,
)

pytest.importorskip("rawpy", reason="rawpy is not installed")


def _noise(shape=(64, 96)):
    return np.random.default_rng(1).integers(1_900, 14_000, shape).astype(np.uint16)


@pytest.mark.parametrize("pattern", ["RGGB", "BGGR", "GRBG", "GBRG"])
@pytest.mark.parametrize("shape", [(64, 96), (63, 96)])
def test_pixels_come_out_exactly_upside_down_and_with_their_colours(tmp_path, pattern, shape):
    mosaic = _noise(shape)
    photo = read_raw_photo(write_dng(tmp_path / "a.dng", mosaic, pattern=pattern))
    assert photo.mosaic.dtype == np.uint16
    np.testing.assert_array_equal(photo.mosaic[::-1], mosaic)
    from_top = colour_of_pixels(shape, pattern)
    assert (from_top[::-1] == colour_of_pixels(shape, photo.pattern)).all()
    assert photo.header["FILTER"] == pattern
    assert photo.header["BAYERPAT"] == photo.pattern


@pytest.mark.parametrize(("top", "left"), [(2, 4), (4, 6), (0, 2)])
def test_covered_borders_are_left_out_and_the_colours_stay_right(tmp_path, top, left):
    mosaic = _noise()
    area = (4, [top, left, 60, 90])
    photo = read_raw_photo(write_dng(tmp_path / "a.dng", mosaic, tag_50829=area))
    np.testing.assert_array_equal(photo.mosaic[::-1], mosaic[top:60, left:90])
    colours = colour_of_pixels(photo.mosaic.shape, photo.pattern)[::-1]
    assert (colours == colour_of_pixels(mosaic.shape, "RGGB")[top:60, left:90]).all()


def test_header_has_the_keys_of_the_units(tmp_path):
    path = write_dng(tmp_path / "20160909T081314.dng", _noise())
    header = read_raw_header(path)
    assert header["EXPTIME"] == 120.4
    assert header["DATE-OBS"] == "2016-09-09T08:12:26"
    assert header["ISO"] == 100
    assert header["FILENAME"] == "20160909T081314.dng"
    assert (header["REDBAL"], header["BLUEBAL"]) == (2.0, 1.5)
    assert header["WBRGGB"] == "2 1 1 1.5"
    assert (header["BLKLEVEL"], header["WHTLEVEL"]) == (2048.0, 13_583)
    assert repr(header) == repr(read_raw_photo(path).header)
    assert "CAMTEMP" not in header


def test_what_a_canon_notes(tmp_path):
    exif = {**EXIF, 37500: (UNDEFINED, canon_notes)}
    path = write_dng(tmp_path / "a.dng", _noise(), exif=exif, tag_271=(ASCII, "Canon"))
    header = read_raw_header(path)
    assert header["CAMTEMP"] == 11
    assert header["CAMSN"] == "002070048413"
    assert header["INTSN"] == "HA0028608"
    assert (header["MEASEV"], header["MEASEV2"]) == (-3.625, -3.625)


@pytest.mark.parametrize(
    ("exif", "expected"),
    [
        ({36881: (ASCII, "-10:00")}, "2016-09-09T18:12:26.000"),
        ({37521: (ASCII, "25")}, "2016-09-09T08:12:26.25"),
        ({36867: (ASCII, "2016:09:09 nonsense")}, None),
        ({36881: (ASCII, "+99:99")}, "2016-09-09T08:12:26"),
    ],
)
def test_date_with_zone_and_fraction(tmp_path, exif, expected):
    path = write_dng(tmp_path / "a.dng", _noise(), exif={**EXIF, **exif})
    assert read_raw_header(path).get("DATE-OBS") == expected


def test_the_file_as_fits_has_the_same_pixels_and_header(tmp_path):
    path = write_dng(tmp_path / "a.dng", _noise())
    content = raw_photo_to_fits(path)
    assert content == raw_photo_to_fits(path)
    (tmp_path / "a.fits").write_bytes(content)
    with fits.open(tmp_path / "a.fits") as opened:
        photo = read_raw_photo(path)
        np.testing.assert_array_equal(opened[0].data, photo.mosaic)
        assert opened[0].data.dtype == np.uint16
        for keyword, value in photo.header.items():
            assert opened[0].header[keyword] == value


def test_what_is_a_raw_photo(tmp_path):
    assert is_raw_photo(write_dng(tmp_path / "a.DNG", _noise()))
    assert not is_raw_photo(write_dng(tmp_path / "a.tiff", _noise()))
    (tmp_path / "text.cr2").write_text("this is no photograph")
    assert not is_raw_photo(tmp_path / "text.cr2")
    with pytest.raises(MissingFile):
        is_raw_photo(tmp_path / "none.cr2")


def _headless(data):
    return data[:8] + b"\xff" * 64


def _packed(data):
    return b"II*\0" + zlib.compress(data)


@pytest.mark.parametrize("damage", [_headless, _packed])
def test_damaged_files_are_refused(tmp_path, damage):
    path = write_dng(tmp_path / "a.cr2", _noise())
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BadRawPhoto) as caught:
        read_raw_photo(path)
    assert caught.value.subject == str(path)
    assert caught.value.found


def test_a_photo_that_is_cut_short_is_refused(tmp_path):
    path = write_dng(tmp_path / "a.cr2", _noise(), tail=True)
    size = path.stat().st_size
    assert read_raw_photo(path).mosaic.shape == (64, 96)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BadRawPhoto, match="cut short") as caught:
        read_raw_photo(path)
    assert caught.value.expected == f"at least {size}"
    with pytest.raises(BadRawPhoto, match="cut short"):
        read_raw_header(path)


def test_text_that_fits_cannot_hold_is_written_plainly(tmp_path):
    path = write_dng(tmp_path / "café \u4e2d.dng", _noise(), tag_272=(ASCII, "M\x01 é"))
    header = read_raw_header(path)
    assert header["FILENAME"] == "cafe \\u4e2d.dng"
    assert header["CAMERA"] == "M? e"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=6))
def test_damage_anywhere_in_the_tags_is_refused_or_harmless(tmp_path_factory, changes):
    path = tmp_path_factory.getbasetemp() / "changed.cr2"
    exif = {**EXIF, 37500: (UNDEFINED, canon_notes)}
    write_dng(path, _noise((16, 16)), exif=exif, tag_271=(ASCII, "Canon"))
    content = bytearray(path.read_bytes())
    tags = [*range(8), *range(8 + 2 * 16 * 16, len(content))]
    for place, value in changes:
        content[tags[place % len(tags)]] = value
    path.write_bytes(bytes(content))
    if not is_raw_photo(path):
        return
    try:
        photo = read_raw_photo(path)
    except BadRawPhoto:
        return
    assert photo.mosaic.ndim == 2
    photo.header.tostring()


def test_a_sensor_without_blocks_of_four_is_refused(tmp_path):
    grey = {"tag_262": (SHORT, [34892]), "tag_277": (SHORT, [3]), "tag_258": (SHORT, [16] * 3)}
    path = write_dng(tmp_path / "a.dng", np.tile(_noise(), (1, 3)), **grey, tag_256=(4, [96]))
    with pytest.raises(BadRawPhoto, match="full raw files"):
        read_raw_photo(path)


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    path = write_dng(tmp_path / "a.dng", _noise())
    monkeypatch.setitem(sys.modules, "rawpy", None)
    with pytest.raises(MissingDependency, match=r"firstlight\[raw\]"):
        read_raw_header(path)
