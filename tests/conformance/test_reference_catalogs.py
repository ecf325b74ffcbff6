"""What every reference catalogue promises, on each of them."""

from __future__ import annotations

import numpy as np
import pytest

from firstlight.algorithms.sky.sky_index import angular_separation
from firstlight.catalogs.answers import Question
from firstlight.catalogs.base import ReferenceCatalog, ReferenceStars
from firstlight.catalogs.catalog_settings import LocalCatalogSettings, OnlineSettings, TapTable
from firstlight.catalogs.layout import StarLayout
from firstlight.catalogs.local import LocalCatalog
from firstlight.catalogs.online import OnlineCatalog
from firstlight.catalogs.tycho2 import Tycho2
from firstlight.formats.tables import save_table

LAYOUT = StarLayout(mag="g", pmra="pmra", pmdec="pmdec", band="g", system="AB")
CONES = [(83.8, -5.4, 1.5), (0.01, 20.0, 2.0), (359.99, -60.0, 2.0), (12.0, 90.0, 2.0)]


def sky() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(11)
    n = 60_000
    return {
        "ra": rng.uniform(0.0, 360.0, n),
        "dec": np.degrees(np.arcsin(rng.uniform(-1.0, 1.0, n))),
        "g": rng.uniform(5.0, 12.0, n),
        "pmra": rng.normal(0.0, 20.0, n),
        "pmdec": np.where(rng.random(n) < 0.3, np.nan, rng.normal(0.0, 20.0, n)),
    }


@pytest.fixture(scope="module", params=["tycho2", "local", "online"])
def catalog(request, tmp_path_factory) -> ReferenceCatalog:
    if request.param == "tycho2":
        return Tycho2()
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "local":
        save_table(folder / "stars.parquet", sky())
        settings = LocalCatalogSettings(path=folder, layout=LAYOUT)
        return LocalCatalog("local", settings)
    table = TapTable(service="http://127.0.0.1:9", table="t", layout=LAYOUT, limit=12.0)
    made = OnlineCatalog("online", table, OnlineSettings(cache_dir=folder, offline=True))
    whole_sky = Question(ra=0.0, dec=0.0, radius=200.0, limit=12.0)
    made.answers.keep(whole_sky, sky(), complete=True, facts={})
    return made


@pytest.fixture(params=CONES)
def cone(request) -> tuple[float, float, float]:
    return request.param


def test_stars_lie_in_the_cone_brightest_first(catalog, cone):
    stars = catalog.cone(*cone)
    assert len(stars) > 5
    assert (angular_separation(*cone[:2], stars.ra, stars.dec) <= cone[2]).all()
    assert (np.diff(stars.mag) >= 0.0).all()
    assert ((stars.ra >= 0.0) & (stars.ra < 360.0)).all()


def test_all_of_the_sky_around_the_centre_answers(catalog, cone):
    stars = catalog.cone(*cone)
    away = angular_separation(*cone[:2], stars.ra, stars.dec)
    # A quarter of the cone's area lies within half of its radius.
    inner = catalog.cone(*cone[:2], cone[2] / 2)
    assert len(inner) == (away <= cone[2] / 2).sum()


def test_columns_agree_in_length_and_are_known(catalog, cone):
    stars = catalog.cone(*cone, epoch=2017.5)
    for column in (stars.ra, stars.dec, stars.mag, stars.mag_err, stars.position_err):
        assert column.shape == (len(stars),)
        assert column.dtype == np.float64
    assert np.isfinite([stars.ra, stars.dec, stars.position_err]).all()
    assert (stars.position_err > 0.0).all()
    assert stars.band
    assert stars.system in {"AB", "Vega"}
    assert (stars.colour is None) == (stars.colour_name is None)


def test_faintest_is_a_cut_and_nothing_else(catalog, cone):
    everything = catalog.cone(*cone)
    limit = float(np.median(everything.mag))
    bright = catalog.cone(*cone, faintest=limit)
    np.testing.assert_array_equal(bright.ra, everything.ra[everything.mag <= limit])


def test_positions_are_less_certain_far_from_the_epoch(catalog, cone):
    near, far = catalog.cone(*cone, epoch=2000.0), catalog.cone(*cone, epoch=2050.0)
    assert np.median(far.position_err) >= np.median(near.position_err)
    assert far.position_err.max() > near.position_err.max()


def test_nothing_there_is_an_empty_answer(catalog):
    stars = catalog.cone(83.8, -5.4, 1e-5, faintest=-5.0)
    assert isinstance(stars, ReferenceStars)
    assert len(stars) == 0


def test_the_release_is_stable_and_says_which(catalog):
    assert catalog.release == catalog.release
    assert catalog.release.startswith(catalog.name)
    assert len(catalog.release) > len(catalog.name) + 6
