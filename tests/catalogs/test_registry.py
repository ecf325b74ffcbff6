from __future__ import annotations

from importlib.metadata import EntryPoint

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from firstlight.catalogs import registry
from firstlight.catalogs.catalog_settings import (
    BUILT_IN,
    CatalogSettings,
    LocalCatalogSettings,
    OnlineSettings,
)
from firstlight.catalogs.layout import StarLayout
from firstlight.catalogs.local import LocalCatalog
from firstlight.catalogs.online import OnlineCatalog
from firstlight.catalogs.registry import (
    UnknownCatalog,
    catalog_names,
    choose_catalog,
    get_catalog,
    offline_catalogs,
)
from firstlight.catalogs.tycho2 import Tycho2
from firstlight.errors import BadSettings

LAYOUT = StarLayout(mag="r", band="r", system="AB")


@pytest.fixture
def on_disk(tmp_path):
    path = tmp_path / "stars.parquet"
    pq.write_table(pa.table({"ra": [1.0], "dec": [2.0], "r": [15.0]}), path)

    def declare(**limits: float | None) -> CatalogSettings:
        return CatalogSettings(
            local={
                name: LocalCatalogSettings(path=path, layout=LAYOUT, limit=limit)
                for name, limit in limits.items()
            }
        )

    return declare


def test_every_kind_is_found_by_name(on_disk):
    settings = on_disk(field_stars=18.0)
    assert isinstance(get_catalog("field_stars", settings), LocalCatalog)
    assert isinstance(get_catalog("tycho2", settings), Tycho2)
    for name in ("gaia_dr3", "refcat2", "ps1"):
        made = get_catalog(name, settings)
        assert isinstance(made, OnlineCatalog)
        assert made.name == name


def test_a_local_copy_comes_before_the_service(on_disk):
    assert isinstance(get_catalog("gaia_dr3", on_disk(gaia_dr3=20.0)), LocalCatalog)


def test_settings_can_declare_another_service():
    table = BUILT_IN["ps1"].model_copy(update={"table": "II/349/ps2"})
    settings = CatalogSettings(online=OnlineSettings(tables={"ps2": table}))
    assert "II/349/ps2" in get_catalog("ps2", settings).release


def test_an_unknown_name_names_the_nearest(on_disk):
    with pytest.raises(UnknownCatalog) as caught:
        get_catalog("gaia_dr2", on_disk())
    assert caught.value.hint == "did you mean 'gaia_dr3'?"
    assert "tycho2" in caught.value.expected


def offer(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    point = EntryPoint("theirs", value, registry.ENTRY_POINTS)
    monkeypatch.setattr(
        registry, "entry_points", lambda group: [point] if group == point.group else []
    )


def make_theirs(settings: CatalogSettings) -> Tycho2:
    made = Tycho2()
    made.name = f"theirs for {settings.photometry}"
    return made


def test_another_package_can_offer_one(monkeypatch):
    offer(monkeypatch, f"{__name__}:make_theirs")
    made = get_catalog("theirs", CatalogSettings(photometry="x"))
    assert made.name == "theirs for x"
    assert "theirs" in catalog_names(CatalogSettings())


@pytest.mark.parametrize("value", ["no_such_package:make", f"{__name__}:no_such_name"])
def test_a_package_that_cannot_be_loaded_is_named(monkeypatch, value):
    offer(monkeypatch, value)
    with pytest.raises(BadSettings) as caught:
        get_catalog("theirs", CatalogSettings())
    assert caught.value.subject == "theirs"
    assert value in caught.value.expected


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, ["tycho2"]),
        ({"deep": 20.0, "shallow": 9.0}, ["deep", "tycho2", "shallow"]),
        ({"unsaid": None}, ["tycho2", "unsaid"]),
    ],
)
def test_the_deepest_without_network_comes_first(on_disk, limits, expected):
    settings = on_disk(**limits)
    assert offline_catalogs(settings) == expected
    assert choose_catalog(settings, "photometry") == expected[0]


def test_what_is_configured_is_used(on_disk):
    settings = CatalogSettings(photometry="refcat2", local=on_disk(deep=20.0).local)
    assert choose_catalog(settings, "photometry") == "refcat2"
    assert choose_catalog(settings, "astrometry") == "deep"


def test_settings_are_strict():
    with pytest.raises(ValidationError, match="fotometry"):
        CatalogSettings(fotometry="tycho2")
    with pytest.raises(ValidationError, match="attempts"):
        CatalogSettings(online={"attempts": 0})
