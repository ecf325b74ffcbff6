"""Plain FITS from packed FITS."""

import bz2
import gzip
import io
import shutil
import subprocess
import warnings

import numpy as np
import pytest
from astropy.io import fits

from firstlight.errors import BadFile
from firstlight.formats.fits_errors import CorruptTiles, NotFits, TruncatedData
from firstlight.formats.fits_file import FitsFile
from firstlight.formats.funpack import funpack

RNG = np.random.default_rng(3)


def _unpacked(path):
    sink = io.BytesIO()
    funpack(path, sink)
    return sink.getvalue()


def _plain(data, **cards):
    sink = io.BytesIO()
    header = fits.Header()
    header["OBJECT"] = "it's M 31"
    header["COMMENT"] = "kept"
    header.update(cards)
    fits.PrimaryHDU(data, header).writeto(sink)
    return sink.getvalue()


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress)])
def test_whole_file_packings_give_the_very_bytes(tmp_path, suffix, pack):
    content = _plain(RNG.integers(0, 60000, (50, 60)).astype(np.uint16))
    path = tmp_path / f"a.fits{suffix}"
    path.write_bytes(pack(content))
    assert _unpacked(path) == content


def test_a_plain_file_is_copied(tmp_path):
    content = _plain(np.arange(12, dtype=np.float32).reshape(3, 4))
    path = tmp_path / "a.fits"
    path.write_bytes(content)
    assert _unpacked(path) == content


@pytest.mark.parametrize(
    "data",
    [
        RNG.integers(0, 60000, (40, 50)).astype(np.uint16),
        RNG.integers(-30000, 30000, (40, 50)).astype(np.int16),
        RNG.integers(0, 2**31, (40, 50)).astype(np.int32),
        RNG.integers(0, 60000, (3, 40, 50)).astype(np.uint16),
    ],
    ids=["u2", "i2", "i4", "cube"],
)
def test_tiles_become_an_image_with_its_header(tmp_path, data):
    path = tmp_path / "a.fits.fz"
    header = fits.Header([("OBJECT", "M 31", "what"), ("FILTER", "rp"), ("EXPTIME", 30.5)])
    table = fits.BinTableHDU.from_columns([fits.Column("x", "E", array=[1.0, 2.0])], name="CAT")
    packed = fits.CompImageHDU(data, header, "SCI")
    fits.HDUList([fits.PrimaryHDU(), packed, table]).writeto(path)
    with fits.open(io.BytesIO(_unpacked(path))) as back:
        back.verify("exception")
        assert [type(hdu) for hdu in back] == [fits.PrimaryHDU, fits.ImageHDU, fits.BinTableHDU]
        assert back["SCI"].data.dtype.newbyteorder("=") == data.dtype
        assert np.array_equal(back["SCI"].data, data)
        assert back["SCI"].header["OBJECT"] == "M 31"
        assert back["SCI"].header.comments["OBJECT"] == "what"
        assert back["SCI"].header["EXPTIME"] == 30.5
        assert not [card for card in back["SCI"].header if card.startswith("Z")]
        assert back["CAT"].data["x"].tolist() == [1.0, 2.0]


def test_floats_are_those_the_tiles_hold(tmp_path):
    path = tmp_path / "a.fits.fz"
    data = RNG.normal(100, 5, (60, 70)).astype(np.float32)
    data[3, 4] = np.nan
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(data)]).writeto(path)
    with fits.open(path) as packed, fits.open(io.BytesIO(_unpacked(path))) as back:
        assert np.array_equal(packed[1].data, back[1].data, equal_nan=True)


@pytest.mark.skipif(shutil.which("fpack") is None, reason="fpack is not installed")
@pytest.mark.parametrize("kind", ["u2", "i2", "f4"])
def test_what_fpack_packs_comes_back(tmp_path, kind):
    data = RNG.integers(0, 30000, (64, 80)).astype(kind)
    content = _plain(data, ORIGIN="here")
    (tmp_path / "a.fits").write_bytes(content)
    lossless = ["-g", "-q", "0"] if kind == "f4" else []
    subprocess.run(["fpack", *lossless, tmp_path / "a.fits"], check=True)
    with fits.open(io.BytesIO(_unpacked(tmp_path / "a.fits.fz"))) as back:
        assert len(back) == 1
        assert np.array_equal(back[0].data, data)
        assert back[0].header["ORIGIN"] == "here"
        assert back[0].header["COMMENT"][0] == "kept"


def test_an_image_packed_out_of_the_primary_hdu_goes_back_there(tmp_path):
    path = tmp_path / "a.fits.fz"
    data = RNG.integers(0, 60000, (40, 50)).astype(np.uint16)
    packed = fits.CompImageHDU(data, fits.Header([("OBJECT", "M 31")]))
    fits.HDUList([fits.PrimaryHDU(), packed]).writeto(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(path, mode="update", disable_image_compression=True) as opened:
            opened[1].header["ZSIMPLE"] = True  # as fpack notes it
    content = _unpacked(path)
    assert content.startswith(b"SIMPLE  =                    T")
    with fits.open(io.BytesIO(content)) as back:
        assert len(back) == 1
        assert np.array_equal(back[0].data, data)
        assert back[0].header["OBJECT"] == "M 31"
    plain = tmp_path / "a.fits"
    plain.write_bytes(content)
    with FitsFile(plain) as opened:
        assert np.array_equal(opened.image(), data)


def test_damage_is_told(tmp_path):
    path = tmp_path / "a.fits.fz"
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(np.ones((90, 90), np.int16))]).writeto(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-4000])
    with pytest.raises(BadFile):
        _unpacked(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(NotFits):
        _unpacked(path)


def test_corrupt_tiles_are_told(tmp_path):
    path = tmp_path / "a.fits.fz"
    data = RNG.integers(0, 60000, (90, 90)).astype(np.uint16)
    packed = fits.CompImageHDU(data, compression_type="GZIP_1")
    fits.HDUList([fits.PrimaryHDU(), packed]).writeto(path)
    content = bytearray(path.read_bytes())
    with FitsFile(path) as opened:
        hdu = opened.find(1)
    heap = hdu.start + hdu.header["NAXIS1"] * hdu.header["NAXIS2"]
    content[heap + 20 : heap + 60] = b"\xff" * 40
    path.write_bytes(content)
    with pytest.raises((CorruptTiles, TruncatedData)):
        _unpacked(path)
