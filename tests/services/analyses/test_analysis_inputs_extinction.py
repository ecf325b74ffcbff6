"""Photometry without the dust of the Milky Way."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits

from firstlight.models.object import Object
from firstlight.services.analyses.analysis_inputs_extinction import (
    NoDustMap,
    extinction,
    reddening_to_remove,
    without_dust,
)
from firstlight.services.analyses.analysis_inputs_table import InputTable
from firstlight.services.objects.bandpasses import Bandpasses

ASKED = {"correct_extinction": True}


def test_the_law_is_that_of_the_papers():
    # V and B of Cardelli et al.: R_V, and one more for E(B-V) = 1.
    v, b = extinction(1.0, [5494.5, 4405.0])
    assert v == pytest.approx(3.1, abs=0.02)
    assert b - v == pytest.approx(1.0, abs=0.03)
    assert extinction(0.0, [5000.0]) == 0.0


def test_the_law_agrees_with_that_of_sncosmo():
    sncosmo = pytest.importorskip("sncosmo")
    waves = np.geomspace(1300.0, 30_000.0, 60)
    theirs = sncosmo.CCM89Dust()
    theirs.set(ebv=0.5)
    ours = extinction(0.5, waves)
    wanted = -2.5 * np.log10(theirs.propagate(waves, np.ones_like(waves)))
    outside = (waves < 1e4 / 3.3) | (waves > 1e4 / 1.1)  # where the two laws are one
    np.testing.assert_allclose(ours[outside], wanted[outside], rtol=1e-3)
    np.testing.assert_allclose(ours, wanted, rtol=0.06)


@pytest.fixture
def maps(tmp_path):
    """Maps whose values are those of a smooth function of the position."""
    for north, name in ((1, "SFD_dust_4096_ngp.fits"), (-1, "SFD_dust_4096_sgp.fits")):
        y, x = np.mgrid[0:256, 0:256] - 127.5
        radius = np.hypot(x, y) / 128.0
        latitude = north * (np.pi / 2 - 2 * np.arcsin(np.clip(radius / np.sqrt(2), 0, 1)))
        longitude = np.arctan2(-north * y, x)
        fits.writeto(tmp_path / name, _dust(longitude, latitude).astype("f4"))
    return tmp_path


def _dust(longitude, latitude):
    return 0.3 + 0.2 * np.cos(latitude) * np.cos(longitude) + 0.1 * np.sin(latitude)


@pytest.mark.parametrize("place", [(31.04, 46.69), (150.1, 2.2), (266.4, -28.9), (10.0, -60.0)])
def test_the_map_is_read_where_the_object_is(maps, place):
    found = SkyCoord(*place, unit="deg").galactic
    wanted = 0.86 * _dust(found.l.rad, found.b.rad)
    thing = Object(ra=place[0], dec=place[1])
    assert reddening_to_remove(ASKED, thing, maps) == pytest.approx(wanted, rel=0.01)


@pytest.mark.parametrize("parameters", [{}, {"correct_extinction": "False"}, {"other": True}])
def test_nothing_is_removed_unasked(parameters):
    assert reddening_to_remove(parameters, Object(ra=1.0, dec=2.0), None) is None


def test_without_a_map_it_is_refused(tmp_path):
    for folder in (None, tmp_path):
        with pytest.raises(NoDustMap) as caught:
            reddening_to_remove({"correct_extinction": "True"}, Object(ra=1.0, dec=2.0), folder)
        assert caught.value.field == "correct_extinction"


def test_photometry_becomes_brighter_by_its_extinction():
    columns = {
        "filter": ["sdssg", "sdssr", "homemade"],
        "flux": [10.0, None, 10.0],
        "fluxerr": [1.0, 1.0, 1.0],
        "mag": [21.4, None, 21.4],
        "limiting_mag": [22.0, 22.0, 22.0],
    }
    table = InputTable([1, 2, 3], columns, b"points")
    found, told = without_dust(table, 0.1, Bandpasses())
    gone = told["magnitudes"]["sdssg"]
    assert 0.3 < gone < 0.42
    assert found.columns["mag"] == pytest.approx([21.4 - gone, None, 21.4])
    assert found.columns["flux"][0] == pytest.approx(10 * 10 ** (0.4 * gone))
    assert found.columns["flux"][0] / found.columns["fluxerr"][0] == pytest.approx(10.0)
    assert told["not_corrected"] == ["homemade"]
    assert table.columns["mag"][0] == 21.4
    assert found.content != table.content
