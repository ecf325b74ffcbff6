"""A changed parameter makes anew what lies downstream of it, beside the old, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from house import House

EXPOSURE = "demo_20240803_science_0001.fits"


@pytest.fixture(scope="module")
def changed(
    reduced: House, tmp_path_factory: pytest.TempPathFactory
) -> tuple[House, dict[str, list[str]], dict[str, str]]:
    """A workspace reduced twice, the second time with another threshold; and what was before."""
    house = reduced.copy_to(tmp_path_factory.mktemp("changed") / "w")
    tables, files = house.tables(), house.files()
    house.set("[recipe.find_sources]\nthreshold = 6.0\n")
    assert "0 failures" in house.run("reduce").out
    return house, tables, files


def test_only_what_lies_downstream_is_made_again(changed):
    house, before, files = changed
    now = house.tables()
    assert now["images"] == before["images"]
    for table in ("source_lists", "world_coordinates", "zero_points", "light_curve_sets"):
        assert len(now[table]) == 2 * len(before[table]), table
        assert set(before[table]) < set(now[table]), table
    kept = house.files()
    assert files.items() <= kept.items()
    new = [name for name in kept if name not in files]
    assert all(name.startswith("sources/") for name in new)
    assert len(new) == 12


def test_the_tree_shows_both(changed):
    house, _, _ = changed
    tree = house.json("show", EXPOSURE)["tree"]
    lists = [node for node in _walk(tree) if node["title"].startswith("SourceList")]
    thresholds = sorted(node["facts"]["parameters"].split("threshold ")[1][:3] for node in lists)
    assert thresholds == ["4.0", "4.0", "6.0", "6.0"]
    text = house.ask("show", EXPOSURE).out
    assert "threshold 4.0" in text
    assert "threshold 6.0" in text


def test_light_curves_are_those_of_the_present_parameters(changed, reduced):
    house, _, _ = changed
    (here,) = {p["provenance_id"] for p in _first_curve(house)["points"]}
    (there,) = {p["provenance_id"] for p in _first_curve(reduced)["points"]}
    assert here != there


def test_changing_it_back_finds_the_old_ones(changed, reduced, tmp_path):
    house = changed[0].copy_to(tmp_path / "w")
    products = ("images", "source_lists", "world_coordinates", "zero_points", "light_curve_sets")
    before, files = house.tables(), house.files()
    path = house.folder / "firstlight.toml"
    path.write_text(path.read_text().replace("threshold = 6.0", "threshold = 4.0"))
    house.run("reduce")
    assert {name: house.tables()[name] for name in products} == {n: before[n] for n in products}
    assert house.files() == files
    assert "nothing to do" in house.run("reduce").out
    assert _first_curve(house) == _first_curve(reduced)


def _first_curve(house: House) -> dict[str, Any]:
    star = next(row for row in house.json("stars", "--all") if row["n_points"] == 6)
    curve: dict[str, Any] = house.json("lightcurve", star["name"])
    return curve


def _walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node["children"]:
        yield from _walk(child)
