from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.coordinates import Latitude, Longitude
from astropy.table import Table
from cdshealpix import nested
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from firstlight.algorithms.sky.sky_index import angular_separation
from firstlight.catalogs.base import ReferenceCatalog
from firstlight.catalogs.catalog_settings import BUILT_IN, LocalCatalogSettings
from firstlight.catalogs.layout import StarLayout
from firstlight.catalogs.local import (
    CatalogColumnMissing,
    CatalogFileBad,
    CatalogFilesMissing,
    LocalCatalog,
)
from firstlight.formats.tables import save_table

LAYOUT = StarLayout(
    mag="g", mag_err="g_err", pmra="pmra", pmdec="pmdec", ra_err="ra_err", dec_err="ra_err",
    pmra_err="pm_err", pmdec_err="pm_err", colour=("g", "r"), reference_epoch=2016.0,
    band="g", system="AB",
)  # fmt: skip
N = 20_000


def sky(seed: int = 7, n: int = N) -> dict[str, np.ndarray]:
    """Stars all over the sphere, a few of them fast, a few with holes."""
    rng = np.random.default_rng(seed)
    stars = {
        "ra": rng.uniform(0.0, 360.0, n),
        "dec": np.degrees(np.arcsin(rng.uniform(-1.0, 1.0, n))),
        "g": rng.uniform(8.0, 20.0, n).astype(np.float32),
        "g_err": np.full(n, 0.01, np.float32),
        "pmra": rng.normal(0.0, 500.0, n),
        "pmdec": rng.normal(0.0, 500.0, n),
        "pm_err": np.full(n, 2.0),
        "ra_err": np.full(n, 30.0),
    }
    stars["r"] = stars["g"] - 0.5
    stars["pmra"][::5] = np.nan
    stars["g"][::11] = np.nan
    stars["ra"][::997] = np.nan
    return stars


def write_plain(folder: Path, stars: dict[str, np.ndarray], files: int = 6) -> None:
    """Strips of declination, each in row groups of right ascension."""
    order = np.argsort(stars["dec"])
    for number, strip in enumerate(np.array_split(order, files)):
        rows = strip[np.argsort(stars["ra"][strip])]
        table = pa.table({name: values[rows] for name, values in stars.items()})
        pq.write_table(table, folder / f"strip{number}.parquet", row_group_size=1000)


def write_hats(folder: Path, stars: dict[str, np.ndarray]) -> None:
    """The layout of hats-import 0.6, half of the sky in order 0 and half in order 1."""
    lon, lat = Longitude(np.nan_to_num(stars["ra"]), u.deg), Latitude(stars["dec"], u.deg)
    coarse = nested.lonlat_to_healpix(lon, lat, 0).astype(int)
    fine = nested.lonlat_to_healpix(lon, lat, 1).astype(int)
    columns = {("lon" if k == "ra" else "lat" if k == "dec" else k): v for k, v in stars.items()}
    lines = []
    for order, cells, chosen in ((0, coarse, coarse < 6), (1, fine, coarse >= 6)):
        for cell in np.unique(cells[chosen]):
            rows = np.flatnonzero(chosen & (cells == cell))
            path = folder / f"dataset/Norder={order}/Dir=0/Npix={cell}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.table({k: v[rows] for k, v in columns.items()}), path)
            lines.append(f"{order},{cell}")
    (folder / "dataset/_metadata").write_bytes(b"not read")
    (folder / "partition_info.csv").write_text("Norder,Npix\n" + "\n".join(lines) + "\n")
    (folder / "hats.properties").write_text(
        "#HATS catalog\nobs_collection=made_up\ndataproduct_type=object\n"
        f"hats_nrows={len(stars['ra'])}\nhats_col_ra=lon\nhats_col_dec=lat\nhats_version=v1.0\n"
    )


@pytest.fixture(scope="module")
def stars():
    return sky()


@pytest.fixture(scope="module")
def plain(tmp_path_factory, stars):
    folder = tmp_path_factory.mktemp("plain")
    write_plain(folder, stars)
    return folder


@pytest.fixture(scope="module")
def hats(tmp_path_factory, stars):
    folder = tmp_path_factory.mktemp("hats")
    write_hats(folder, stars)
    return folder


def opened(path: Path, layout: StarLayout = LAYOUT) -> LocalCatalog:
    return LocalCatalog("mine", LocalCatalogSettings(path=path, layout=layout))


def truth(stars, ra, dec, radius, epoch):
    """Moved with plain vectors, one star after another, and cut. Magnitude and place."""
    east = np.radians(np.nan_to_num(stars["pmra"]) / 3.6e6) * (epoch - 2016.0)
    north = np.radians(np.nan_to_num(stars["pmdec"]) / 3.6e6) * (epoch - 2016.0)
    east = np.where(np.isnan(stars["pmra"]), 0.0, east)
    a, d = np.radians(stars["ra"]), np.radians(stars["dec"])
    x = np.cos(d) * np.cos(a) - np.sin(a) * east - np.sin(d) * np.cos(a) * north
    y = np.cos(d) * np.sin(a) + np.cos(a) * east - np.sin(d) * np.sin(a) * north
    z = np.sin(d) + np.cos(d) * north
    moved_ra, moved_dec = (
        np.degrees(np.arctan2(y, x)) % 360,
        np.degrees(np.arctan2(z, np.hypot(x, y))),
    )
    away = angular_separation(ra, dec, moved_ra, moved_dec)
    rows = np.flatnonzero(away <= radius)
    return rows, moved_ra, moved_dec


CONES = [
    (120.0, 30.0, 4.0),
    (0.05, -10.0, 4.0),
    (359.9, 60.0, 5.0),
    (10.0, 89.5, 5.0),
    (200.0, -89.9, 4.0),
    (45.0, 90.0, 5.0),
    (180.0, 0.0, 60.0),
]


@pytest.mark.parametrize("kind", ["plain", "hats"])
@pytest.mark.parametrize("epoch", [2016.0, 1950.0])
@pytest.mark.parametrize("cone", CONES)
def test_finds_exactly_the_stars_of_a_cone(kind, epoch, cone, stars, request):
    got = opened(request.getfixturevalue(kind)).cone(*cone, epoch=epoch)
    rows, ra, dec = truth(stars, *cone, epoch)
    assert len(rows) > 5
    assert len(got) == len(rows)
    np.testing.assert_allclose(np.sort(got.ra), np.sort(ra[rows]), atol=1e-9)
    np.testing.assert_allclose(np.sort(got.dec), np.sort(dec[rows]), atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.0, 360.0), st.floats(-90.0, 90.0), st.floats(0.01, 30.0))
def test_both_kinds_agree_with_the_truth_anywhere(plain, hats, stars, ra, dec, radius):
    rows, _, _ = truth(stars, ra, dec, radius, 2016.0)
    for folder in (plain, hats):
        assert len(opened(folder).cone(ra, dec, radius, epoch=2016.0)) == len(rows)


def test_brightest_first_and_unknown_last(plain):
    got = opened(plain).cone(120.0, 30.0, 5.0, epoch=2016.0)
    known = np.isfinite(got.mag)
    assert 0 < known.sum() < len(got)
    assert known[: known.sum()].all()
    assert (np.diff(got.mag[known]) >= 0.0).all()


def test_faintest_leaves_out_the_fainter_and_the_unknown(plain):
    everything = opened(plain).cone(120.0, 30.0, 5.0, epoch=2016.0)
    bright = opened(plain).cone(120.0, 30.0, 5.0, epoch=2016.0, faintest=14.0)
    assert 0 < len(bright) < len(everything)
    np.testing.assert_array_equal(bright.mag, everything.mag[everything.mag <= 14.0])


def test_says_what_the_numbers_are(plain):
    got = opened(plain).cone(120.0, 30.0, 3.0, epoch=2016.0, faintest=19.0)
    assert (got.band, got.system, got.colour_name) == ("g", "AB", "g-r")
    np.testing.assert_allclose(got.colour, 0.5, atol=1e-5)
    np.testing.assert_allclose(got.mag_err, 0.01, atol=1e-6)
    np.testing.assert_allclose(got.position_err, 0.03)


def test_errors_grow_with_time(plain):
    got = opened(plain).cone(120.0, 30.0, 3.0, epoch=2036.0, faintest=19.0)
    expected = {round(float(np.hypot(0.03, 0.04)), 6), round(float(np.hypot(0.03, 0.16)), 6)}
    assert {round(float(e), 6) for e in got.position_err} == expected


def test_fits_the_interface(plain):
    catalog: ReferenceCatalog = opened(plain)
    assert catalog.name == "mine"
    empty = catalog.cone(120.0, 30.0, 1e-5)
    assert len(empty) == 0
    assert empty.colour is not None


def test_one_file_is_a_catalogue_too(plain, stars):
    got = opened(plain / "strip0.parquet").cone(10.0, -85.0, 2.0, epoch=2016.0)
    assert len(got) == len(truth(stars, 10.0, -85.0, 2.0, 2016.0)[0])


def test_right_ascension_may_be_negative(tmp_path, stars):
    turned = dict(stars, ra=np.where(stars["ra"] > 180.0, stars["ra"] - 360.0, stars["ra"]))
    write_plain(tmp_path, turned)
    for cone in CONES:
        got = opened(tmp_path).cone(*cone, epoch=2016.0)
        assert len(got) == len(truth(stars, *cone, 2016.0)[0])
        assert ((got.ra >= 0.0) & (got.ra < 360.0)).all()


def test_a_column_can_hold_the_epoch(tmp_path):
    columns = {
        "ra": [10.0, 10.0], "dec": [0.0, 0.0], "g": [9.0, 10.0], "pmra": [3600.0, 3600.0],
        "pmdec": [0.0, 0.0], "ep": [2000.0, 2010.0],
    }  # fmt: skip
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    layout = StarLayout(mag="g", pmra="pmra", pmdec="pmdec", epoch="ep", band="g", system="AB")
    got = opened(tmp_path, layout).cone(10.0, 0.0, 0.1, epoch=2020.0)
    np.testing.assert_allclose((got.ra - 10.0) * 3600.0, [72.0, 36.0], atol=1e-4)


def test_a_fast_star_is_found_where_it_has_gone(tmp_path):
    # 280 arcsec east of where it was; nothing else is in the file.
    columns = {"ra": [10.0], "dec": [0.0], "g": [9.0], "pmra": [10_000.0], "pmdec": [0.0]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    layout = StarLayout(mag="g", pmra="pmra", pmdec="pmdec", band="g", system="AB")
    catalog = opened(tmp_path, layout)
    assert len(catalog.cone(10.0 + 280.0 / 3600.0, 0.0, 0.001, epoch=2028.0)) == 1
    assert len(catalog.cone(10.0, 0.0, 0.001, epoch=2028.0)) == 0


def test_the_error_of_one_axis_is_enough(tmp_path):
    columns = {"ra": [10.0, 10.0], "dec": [0.0, 0.0], "g": [9.0, 10.0], "e": [40.0, None]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    layout = StarLayout(mag="g", dec_err="e", position_err=0.7, band="g", system="AB")
    got = opened(tmp_path, layout).cone(10.0, 0.0, 0.1, epoch=2000.0)
    np.testing.assert_allclose(got.position_err, [0.04, 0.7])


def test_numbers_that_mean_none_are_none(tmp_path):
    columns = {"ra": [10.0, 10.0, 10.0], "dec": [0.0, 0.0, 0.0], "g": [99.0, -999.0, 12.0]}
    columns["r"] = [11.0, -999.0, 11.5]
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    layout = StarLayout(mag="g", colour=("g", "r"), band="g", system="AB")
    got = opened(tmp_path, layout).cone(10.0, 0.0, 0.1)
    np.testing.assert_array_equal(got.mag, [12.0, np.nan, np.nan])
    assert got.colour[0] == pytest.approx(0.5)
    assert np.isnan(got.colour[1:]).any()


def test_nulls_and_integers_are_read(tmp_path):
    table = pa.table(
        {"ra": [10, 10, None], "dec": [0.0, 0.0, 0.0], "g": pa.array([None, 12, 13], pa.int32())}
    )
    pq.write_table(table, tmp_path / "a.parquet")
    got = opened(tmp_path, StarLayout(mag="g", band="g", system="AB")).cone(10.0, 0.0, 0.1)
    np.testing.assert_array_equal(got.mag, [12.0, np.nan])


def test_hats_files_elsewhere_are_not_touched(tmp_path, stars):
    write_hats(tmp_path, stars)
    catalog = opened(tmp_path)
    expected = len(catalog.cone(120.0, 30.0, 1.0))
    kept = 0
    for path in sorted((tmp_path / "dataset").rglob("Npix=*.parquet")):
        order, cell = int(path.parts[-3][7:]), int(path.stem[5:])
        lon, lat = nested.healpix_to_lonlat(cell, order)
        if angular_separation(120.0, 30.0, lon.deg[0], lat.deg[0]) > 75.0:
            path.unlink()
        else:
            kept += 1
    assert 0 < kept < 20
    assert len(catalog.cone(120.0, 30.0, 1.0)) == expected
    with pytest.raises(CatalogFileBad):
        catalog.cone(300.0, -30.0, 1.0)


def test_row_groups_elsewhere_are_not_read(tmp_path, stars):
    write_plain(tmp_path, stars)
    catalog = opened(tmp_path)
    expected = catalog.cone(300.0, 5.0, 2.0, epoch=2016.0)
    for path in tmp_path.iterdir():
        metadata = pq.ParquetFile(path).metadata
        payload = bytearray(path.read_bytes())
        for group in range(metadata.num_row_groups):
            chunk = metadata.row_group(group).column(0)
            if chunk.statistics.max < 290.0:
                end = chunk.data_page_offset + chunk.total_compressed_size // 2
                payload[chunk.data_page_offset : end] = b"\xff" * (end - chunk.data_page_offset)
        path.write_bytes(payload)
    again = opened(tmp_path)
    np.testing.assert_array_equal(again.cone(300.0, 5.0, 2.0, epoch=2016.0).ra, expected.ra)
    with pytest.raises(CatalogFileBad) as caught:
        again.cone(100.0, 5.0, 2.0, epoch=2016.0)
    assert ".parquet" in caught.value.subject


def test_a_collection_leads_to_its_catalogue(tmp_path, stars):
    write_hats(tmp_path / "primary", stars)
    (tmp_path / "collection.properties").write_text("hats_primary_table_url=primary\n")
    assert len(opened(tmp_path).cone(120.0, 30.0, 3.0, epoch=2016.0)) > 10
    (tmp_path / "collection.properties").write_text("hats_primary_table_url=gone\n")
    with pytest.raises(CatalogFileBad, match="hats_primary_table_url"):
        opened(tmp_path)


def test_the_release_follows_the_data(tmp_path, plain, hats, stars):
    assert opened(plain).release == opened(plain).release
    assert opened(plain).release.startswith("mine-")
    assert opened(hats).release != opened(plain).release
    brighter = dict(stars, g=stars["g"] - np.float32(0.25))
    write_plain(tmp_path, brighter)
    assert opened(tmp_path).release != opened(plain).release


def test_a_missing_column_names_the_nearest(plain):
    layout = LAYOUT.model_copy(update={"mag_err": "gerr"})
    with pytest.raises(CatalogColumnMissing) as caught:
        opened(plain, layout)
    assert caught.value.field == "gerr"
    assert caught.value.hint == "did you mean 'g_err'?"


def test_a_missing_folder_names_the_nearest(tmp_path):
    (tmp_path / "gaia_dr3").mkdir()
    with pytest.raises(CatalogFilesMissing, match="did you mean"):
        opened(tmp_path / "gaia_dr2")
    with pytest.raises(CatalogFilesMissing, match=r"\.parquet"):
        opened(tmp_path / "gaia_dr3")


def test_a_file_that_is_not_parquet_is_named(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"SIMPLE  =                    T")
    with pytest.raises(CatalogFileBad) as caught:
        opened(tmp_path)
    assert caught.value.subject.endswith("a.parquet")


def test_a_misspelt_setting_is_refused():
    with pytest.raises(ValidationError, match="magnitude"):
        StarLayout(mag="g", band="g", system="AB", magnitude="g")


@pytest.mark.sample
@pytest.mark.parametrize("radius", [0.05, 0.1, 0.17])
def test_agrees_with_vizier_on_a_field_of_refcat2(samples, tmp_path, radius):
    theirs = Table.read(samples / "catalog_fixtures" / "all_refcat2_ey_uma.ecsv")
    layout = BUILT_IN["refcat2"].layout
    path = tmp_path / "refcat2.parquet"
    save_table(path, {name: theirs[name] for name in layout.column_names()})
    got = opened(path, layout).cone(135.55089993, 49.84289111, radius, epoch=2015.5)
    near = theirs[theirs["_r"] / 60.0 <= radius]  # arcminutes, measured by VizieR itself
    near.sort(["rmag", "RA_ICRS"])
    assert 5 < len(got) == len(near)
    np.testing.assert_allclose(got.mag, near["rmag"])
    np.testing.assert_allclose(got.ra, near["RA_ICRS"], atol=1e-9)
    np.testing.assert_allclose(got.colour, near["gmag"] - near["rmag"], atol=1e-5)
