"""A hundred bad files among good ones: each is refused with its reason, the rest is reduced."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bad_inputs import make_bad_inputs, make_good_inputs
from house import House, make_house

GOOD = 5
NOTHING_THERE = {"missing", "behind a file", "folder"}
"""Paths with nothing to take; they are slips of whoever typed them, and no arrivals."""
INGESTED = {"folder": "file.no_images"}
"""Codes of what can be ingested though it cannot be read as one image."""


@pytest.fixture(scope="module")
def hostile(sky: Path, tmp_path_factory: pytest.TempPathFactory):
    """The workspace, the bad inputs, and what `ingest --json` said of all of them."""
    folder = tmp_path_factory.mktemp("hostile")
    bad = [each for each in make_bad_inputs(folder) if "\0" not in str(each.path)]
    bad = [replace(each, expected_code=INGESTED.get(each.name, each.expected_code)) for each in bad]
    good = sorted(sky.glob("*science*"))[:GOOD]
    good = [Path(shutil.copy(path, folder)) for path in good]
    house = make_house(tmp_path_factory.mktemp("hostile") / "w")
    done = house.run("ingest", *(each.path for each in bad), *good, "--json", code=2)
    return house, bad, good, done


def _noted(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["path"]: each["error"] for each in report["noted"]}


def test_each_bad_file_is_told_with_its_own_error(hostile):
    """Refused where there are no pixels to be had; noted where only a card is nonsense."""
    _, bad, good, done = hostile
    report = done.json
    assert len(bad) >= 100
    refused = {each["path"]: each["error"] for each in report["quarantined"]}
    told = refused | _noted(report)
    assert set(told) == {str(each.path) for each in bad}
    assert set(report["archived"]) == {*_noted(report), *map(str, good)}
    for each in bad:
        error = told[str(each.path)]
        assert error["code"] == each.expected_code, error
        assert each.mention in " ".join(f"{name} {value}" for name, value in error.items())
        assert each.path.name[:20] in error["subject"]  # long ones are cut


def test_only_nonsense_that_does_not_matter_is_archived(hostile):
    report = hostile[-1].json
    codes = {error["code"] for error in _noted(report).values()}
    assert codes <= {"header.quantity", "header.missing", "header.pixel_range"}
    assert len(report["quarantined"]) > 100


def test_nothing_of_what_is_refused_is_kept(hostile):
    house, _, _, done = hostile
    tables = house.tables()
    assert len(tables["exposures"]) == len(done.json["archived"])
    raw = [name for name in house.files() if name.startswith("raw/")]
    names = [Path(path).name for path in done.json["archived"]]
    assert sorted(Path(name).name for name in raw) == sorted(names)


def test_people_are_told_on_the_error_stream(hostile, tmp_path):
    house, bad, _, _ = hostile
    some = [each for each in bad if each.name in ("text", "empty", "half of the pixels")]
    done = house.run("ingest", *(each.path for each in some), code=2)
    assert "3 refused" in done.out
    for each in some:
        assert f"refused {each.path}" in done.err
        assert each.expected_code in done.err


def test_again_changes_nothing(hostile):
    house, bad, good, done = hostile
    before = house.tables()
    report = house.run("ingest", *(each.path for each in bad), *good, "--json", code=2).json
    assert report["archived"] == []
    assert report["known"] == done.json["archived"]
    assert house.tables() == before


def test_status_tells_the_reasons(hostile):
    house, bad, _, done = hostile
    entries = [entry for entry in house.json("status") if entry["exposure_id"] is None]
    slips = {each.path.name for each in bad if each.name in NOTHING_THERE}
    refused = {Path(each["path"]).name for each in done.json["quarantined"]}
    assert {entry["exposure"] for entry in entries} == refused - slips
    assert len(entries) == len(refused - slips)
    codes = {entry["exposure"]: entry["error"]["code"] for entry in entries}
    assert codes["empty.fits"] == "file.empty"
    told = house.ask("status").out
    assert "refused empty.fits" in told


def test_the_same_name_with_other_bytes_does_not_replace(hostile, sky, tmp_path):
    house, _, good, _ = hostile
    before = house.files()
    other = tmp_path / good[0].name
    content = bytearray(good[0].read_bytes())
    content[-4000] ^= 1
    other.write_bytes(content)
    done = house.run("ingest", other, code=2)
    assert good[0].name in done.err
    assert house.files() == before


def test_the_good_ones_are_reduced(hostile):
    house, _, good, _ = hostile
    house.run("reduce")
    entries = [entry for entry in house.json("status") if entry["exposure_id"]]
    states = {entry["exposure"]: entry["state"] for entry in entries}
    assert {states.pop(path.name) for path in good} == {"done"}
    assert set(states.values()) == {"failed"}
    for entry in entries:
        assert (entry["error"] is None) == (entry["state"] == "done"), entry
    assert house.json("stars", "--all")


def test_good_files_of_every_odd_kind_are_archived(tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    odd = make_good_inputs(folder)
    house: House = make_house(tmp_path / "w")
    report = house.run("ingest", *odd, "--json", code=None).json
    assert report["quarantined"] == []
    assert len(report["archived"]) + len(report["known"]) == len(odd)
