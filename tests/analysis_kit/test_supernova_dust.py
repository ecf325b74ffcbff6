"""Dust of the Milky Way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sncosmo
from astropy.io import fits
from astropy.wcs import WCS

from firstlight.analysis_kit import AnalysisFailed
from firstlight.analysis_kit.supernova_dust import FOLDER_VARIABLE, milky_way_reddening

_MAP_OF_SNCOSMO = Path(sncosmo.__file__).parent / "tests" / "data" / "dust_subsection"


@pytest.fixture(autouse=True)
def _no_map(monkeypatch):
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)


def test_what_is_given_counts():
    assert milky_way_reddening(0.12, 1.0, 2.0) == (0.12, "given")


def test_photometry_that_is_corrected_is_not_corrected_again():
    assert milky_way_reddening(0.12, 1.0, 2.0, removed=True)[0] == 0.0


def test_without_a_map_it_is_zero_and_told():
    value, origin = milky_way_reddening(None, 1.0, 2.0)
    assert value == 0.0
    assert FOLDER_VARIABLE in origin


def test_without_a_position_it_is_zero_and_told(monkeypatch, tmp_path):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    value, origin = milky_way_reddening(None, None, None)
    assert value == 0.0
    assert "no position" in origin


@pytest.mark.parametrize(("x", "y"), [(20, 30), (57, 81), (3, 3)])
def test_the_map_is_read_where_its_own_coordinates_say(x, y, monkeypatch):
    """A part of the real map, as it comes with sncosmo."""
    file = _MAP_OF_SNCOSMO / "SFD_dust_4096_ngp.fits"
    if not file.exists():
        pytest.skip("this sncosmo brings no part of the map")
    with fits.open(file) as hdus:
        image, wcs = hdus[0].data, WCS(hdus[0].header)
    place = wcs.pixel_to_world(x, y).icrs
    monkeypatch.setenv(FOLDER_VARIABLE, str(_MAP_OF_SNCOSMO))
    value, origin = milky_way_reddening(None, place.ra.deg, place.dec.deg)
    assert value == pytest.approx(0.86 * image[y, x], rel=1e-3)
    assert "SFD" in origin


def test_between_pixels_it_is_linear_and_the_south_has_its_own_map(tmp_path, monkeypatch):
    ys, xs = np.mgrid[0:64, 0:64]
    for pole, sign in (("ngp", 1), ("sgp", -1)):
        header = fits.Header({"LAM_NSGP": sign, "LAM_SCAL": 32, "CRPIX1": 32.5, "CRPIX2": 32.5})
        image = np.float32(xs if sign > 0 else ys)
        fits.writeto(tmp_path / f"SFD_dust_4096_{pole}.fits", image, header)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    # The poles of the Galaxy: x = y = 31.5 of either map.
    north = milky_way_reddening(None, 192.85948, 27.12825)[0]
    south = milky_way_reddening(None, 12.85948, -27.12825)[0]
    assert north == pytest.approx(0.86 * 31.5, abs=0.01)
    assert south == pytest.approx(0.86 * 31.5, abs=0.01)


@pytest.mark.parametrize("content", [None, b"not a map", b""])
def test_a_map_that_cannot_be_read_is_told(content, tmp_path, monkeypatch):
    if content is not None:
        (tmp_path / "SFD_dust_4096_ngp.fits").write_bytes(content)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(AnalysisFailed, match="dust map"):
        milky_way_reddening(None, 192.85948, 27.12825)
