"""Raw photographs: DNG files made here, which LibRaw opens as it opens those of cameras."""

from __future__ import annotations

import sys
import zlib

import numpy as np
import pytest
from astropy.io import fits
from dng_writer import ASCII, EXIF, SHORT, UNDEFINED, canon_notes, write_dng

from firstlight.algorithms.colour_mosaic import colour_of_pixels
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
pytest.importorskip("exifread", reason="exifread is not installed")


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
    assert header["CAMSN"] == "12070048"


@pytest.mark.parametrize(
    ("exif", "expected"),
    [
        ({36881: (ASCII, "-10:00")}, "2016-09-09T18:12:26.000"),
        ({37521: (ASCII, "25")}, "2016-09-09T08:12:26.25"),
        ({36867: (ASCII, "0000:00:00 nonsense")}, None),
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


def _cut(data):
    return data[:3000]


def _headless(data):
    return data[:8] + b"\xff" * 64


def _noise_bytes(data):
    return b"II*\0" + zlib.compress(data)


@pytest.mark.parametrize("damage", [_cut, _headless, _noise_bytes])
def test_damaged_files_are_refused(tmp_path, damage):
    path = write_dng(tmp_path / "a.cr2", _noise())
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BadRawPhoto) as caught:
        read_raw_photo(path)
    assert caught.value.subject == str(path)
    assert caught.value.found


def test_pixels_that_are_not_all_there_are_refused(tmp_path):
    """The folders are at the end of these files: only the promise of more pixels can be broken."""
    path = write_dng(tmp_path / "a.dng", _noise(), tag_257=(4, [4000]), tag_278=(4, [4000]))
    with pytest.raises(BadRawPhoto):
        read_raw_photo(path)


def test_a_sensor_without_blocks_of_four_is_refused(tmp_path):
    grey = {"tag_262": (SHORT, [34892]), "tag_277": (SHORT, [3]), "tag_258": (SHORT, [16] * 3)}
    path = write_dng(tmp_path / "a.dng", np.tile(_noise(), (1, 3)), **grey, tag_256=(4, [96]))
    with pytest.raises(BadRawPhoto, match="full raw files"):
        read_raw_photo(path)


@pytest.mark.parametrize("package", ["rawpy", "exifread"])
def test_a_missing_package_is_named(tmp_path, monkeypatch, package):
    path = write_dng(tmp_path / "a.dng", _noise())
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependency, match=r"firstlight\[raw\]") as caught:
        read_raw_header(path)
    assert package in str(caught.value.found)
