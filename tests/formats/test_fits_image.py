"""Calibrated images on disk: what is written is read, byte for byte the same each time."""

import numpy as np
import pytest
from astropy.io import fits

from firstlight.errors import InvalidInput
from firstlight.formats.fits_errors import NoSuchImage
from firstlight.formats.fits_image import (
    Planes,
    encode_planes,
    encode_sections,
    read_planes,
    write_planes,
)


@pytest.fixture
def planes() -> Planes:
    rng = np.random.default_rng(5)
    shape = (300, 170)  # more than a strip, and no multiple of a block
    flags = rng.integers(0, 65536, shape)
    header = {"OBJECT": "Åsgård " + "x" * 90, "exp_time": 12.5, "HISTORY": "a\nb", "NAXIS1": 7}
    data, weight = rng.normal(100, 5, shape), rng.uniform(0, 1, shape)
    score = rng.normal(0, 1, shape).astype(np.float32)
    return Planes(data, weight, flags, header, {"score": score, "psf": np.ones((25, 25))})


@pytest.mark.parametrize("single_file", [True, False])
def test_round_trip(tmp_path, planes, single_file):
    paths = write_planes(tmp_path / "a.fits", planes, single_file=single_file)
    found = read_planes(paths)
    for name in ("data", "weight", "flags"):
        np.testing.assert_array_equal(getattr(found, name), getattr(planes, name))
        assert getattr(found, name).dtype == getattr(planes, name).dtype
    np.testing.assert_array_equal(found.extras["score"], planes.extras["score"])
    assert found.extras["psf"].shape == (25, 25)
    assert found.header["EXP_TIME"] == 12.5
    assert found.header["OBJECT"] == "Asgard " + "x" * 90
    assert "NAXIS1" not in found.header
    assert len(paths) == (1 if single_file else 3)
    assert sorted(tmp_path.iterdir()) == sorted(paths)  # nothing half-written is left


def test_astropy_agrees_and_finds_no_fault(tmp_path, planes):
    (path,) = write_planes(tmp_path / "a.fits", planes)
    with fits.open(path) as opened:
        opened.verify("exception")
        assert [hdu.name for hdu in opened] == ["DATA", "WEIGHT", "FLAGS", "SCORE", "PSF"]
        np.testing.assert_array_equal(opened["FLAGS"].data, planes.flags)
        np.testing.assert_array_equal(opened[0].data, planes.data)


def test_every_plane_has_the_same_header(tmp_path, planes):
    for path in write_planes(tmp_path / "a", planes, single_file=False):
        assert fits.getheader(path)["EXP_TIME"] == 12.5


@pytest.mark.parametrize("packed", [False, True])
def test_the_same_planes_give_the_same_bytes(tmp_path, planes, packed):
    first = encode_planes(planes, packed=packed)
    assert encode_planes(planes, packed=packed) == first
    (path,) = write_planes(tmp_path / "a.fits", planes, packed=packed)
    assert [path.read_bytes()] == list(first.values())


def test_packed_planes_lose_less_than_the_noise(tmp_path, planes):
    (path,) = write_planes(tmp_path / "a.fits.fz", planes, packed=True)
    found = read_planes(path)
    np.testing.assert_array_equal(found.flags, planes.flags)
    assert 0 < np.std(found.data - planes.data) < 5 / 16  # noise is 5


def test_a_failed_write_leaves_the_old_file(tmp_path, planes, monkeypatch):
    (path,) = write_planes(tmp_path / "a.fits", planes)
    before = path.read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("firstlight.formats.fits_image._write_hdu", fail)
    with pytest.raises(OSError, match="disk full"):
        write_planes(tmp_path / "a.fits", planes)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_planes_must_agree_and_be_complete(tmp_path, planes):
    with pytest.raises(InvalidInput, match="one shape"):
        Planes(planes.data, planes.weight[:-1], planes.flags)
    paths = write_planes(tmp_path / "a", planes, single_file=False)
    with pytest.raises(NoSuchImage, match="FLAGS"):
        read_planes(paths[:2])


def test_raw_sections_keep_their_integers(tmp_path):
    path = tmp_path / "a.fits"
    kinds = {"A": "u2", "B": "i2", "C": "u1", "D": "i4", "E": "u4", "F": "f4"}
    arrays = {
        key: np.arange(-3 if kind[0] == "i" else 0, 3 + 6 * (kind[0] != "i"))[:6]
        .reshape(2, 3).astype(kind)
        for key, kind in kinds.items()
    }  # fmt: skip
    path.write_bytes(encode_sections({"OBJECT": "x"}, arrays))
    with fits.open(path) as opened:
        assert opened[0].header["OBJECT"] == "x"
        for key, array in arrays.items():
            np.testing.assert_array_equal(opened[key].data, array)
