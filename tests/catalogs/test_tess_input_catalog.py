"""A local copy of a part of the TESS Input Catalog, with the columns that MAST gives it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter

from firstlight.catalogs.catalog_settings import CatalogSettings
from firstlight.catalogs.registry import choose_catalog, get_catalog

# As it would stand in firstlight.toml, under [catalogs.local.tic].
TIC = {
    "limit": 13.0,
    "layout": {
        "mag": "Tmag",
        "mag_err": "e_Tmag",
        "pmra": "pmRA",
        "pmdec": "pmDEC",
        "pmra_err": "e_pmRA",
        "pmdec_err": "e_pmDEC",
        "ra_err": "e_RA",
        "dec_err": "e_Dec",
        "colour": ["gaiabp", "gaiarp"],
        "colour_name": "BP-RP",
        "band": "T",
        "system": "Vega",
    },
}


@pytest.fixture
def tic(tmp_path):
    """Two hundred stars around KIC 8462852; one moves fast, one has no magnitude."""
    rng = np.random.default_rng(12)
    n = 200
    columns = {
        "ID": np.arange(n) + 185_336_364,
        "ra": 301.56 + rng.uniform(-1, 1, n),
        "dec": 44.46 + rng.uniform(-1, 1, n),
        "Tmag": rng.uniform(6, 13, n),
        "e_Tmag": np.full(n, 0.01),
        "Vmag": rng.uniform(6, 13, n),
        "pmRA": np.zeros(n),
        "pmDEC": np.zeros(n),
        "e_pmRA": np.full(n, 0.1),
        "e_pmDEC": np.full(n, 0.1),
        "e_RA": np.full(n, 1.0),
        "e_Dec": np.full(n, 1.0),
        "gaiabp": rng.uniform(9, 12, n),
        "gaiarp": rng.uniform(8, 11, n),
        "numcont": rng.integers(0, 20, n),
        "contratio": rng.uniform(0, 1, n),
    }
    columns["pmDEC"][0] = 3000.0
    columns["Tmag"][1] = np.nan
    pq.write_table(pa.table(columns), tmp_path / "tic.parquet")
    settings = TypeAdapter(CatalogSettings).validate_python(
        {"local": {"tic": {**TIC, "path": tmp_path / "tic.parquet"}}}
    )
    return columns, settings


def test_a_local_copy_is_chosen_before_tycho(tic):
    _, settings = tic
    assert choose_catalog(settings, "astrometry") == "tic"
    assert choose_catalog(settings, "photometry") == "tic"


def test_its_stars_have_place_brightness_and_colour(tic):
    columns, settings = tic
    catalog = get_catalog("tic", settings)
    stars = catalog.cone(301.56, 44.46, 3.0, epoch=2016.7)
    assert (stars.band, stars.system, stars.colour_name) == ("T", "Vega", "BP-RP")
    assert len(stars) == 200
    assert np.isnan(stars.mag[-1])
    order = np.argsort(columns["Tmag"])[:199]
    np.testing.assert_allclose(stars.mag[:199], columns["Tmag"][order])
    np.testing.assert_allclose(
        stars.colour[:199], (columns["gaiabp"] - columns["gaiarp"])[order], atol=1e-12
    )
    moved = np.flatnonzero(np.isclose(stars.mag, columns["Tmag"][0]))[0]
    # Three arcseconds a year, from 2000 on.
    assert (stars.dec[moved] - columns["dec"][0]) * 3600 == pytest.approx(50.1, abs=0.01)
    assert len(catalog.cone(301.56, 44.46, 3.0, faintest=9.0)) == (columns["Tmag"] <= 9).sum()
