"""Each command on a reduced night: what it prints, what it writes, how it ends."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from house import House, make_house
from PIL import Image as Picture

from firstlight.simulation import Truth

POINT = {
    "mjd", "bjd_tdb", "filter", "flux_ujy", "flux_err_ujy", "mag", "mag_err", "rel_flux",
    "rel_flux_err", "flags", "image_id", "provenance_id",
}  # fmt: skip
STATUS = {
    "state", "steps", "fwhm_arcsec", "astrometric_rms_arcsec", "n_matched", "zero_point",
    "zero_point_err", "error",
}  # fmt: skip
STEPS = ["preprocess", "find_sources", "solve_astrometry", "solve_photometry"]
SCIENCE = "demo_20240803_science_0001.fits"


@pytest.fixture(scope="module")
def transit(sky: Path) -> str:
    """Where the star with the transit is."""
    truth = Truth.load(sky)
    star = truth.transit.star
    return f"{truth.stars.ra[star]:.6f} {truth.stars.dec[star]:+.6f}"


@pytest.fixture(scope="module")
def curve(reduced: House, transit: str) -> dict[str, Any]:
    return reduced.json("lightcurve", transit)


def test_what_was_ingested_is_known(archived: House, sky: Path):
    before = archived.tables()
    report = archived.json("ingest", sky)
    assert report["archived"] == report["quarantined"] == []
    assert len(report["known"]) == 18
    assert archived.tables() == before


def test_what_was_reduced_is_not_reduced_again(reduced: House):
    before = reduced.tables()
    assert reduced.run("reduce").out.startswith("nothing to do")
    report = reduced.run("reduce", "--json").json
    assert report == {"done": 0, "failures": [], "stages": {}, "broken": 0}
    assert reduced.tables() == before


def test_status_for_programs(reduced: House):
    entries = reduced.status()
    assert len(entries) == 18
    for entry in entries.values():
        assert entry.keys() >= STATUS
        assert entry["state"] == "done"
        assert entry["error"] is None
    science = [entry for entry in entries.values() if entry["kind"] == "science"]
    assert len(science) == 6
    for entry in science:
        assert list(entry["steps"]) == STEPS
        assert {step["state"] for step in entry["steps"].values()} == {"done"}
        assert 10 < entry["fwhm_arcsec"] < 20
        assert entry["astrometric_rms_arcsec"] < 0.5
        assert entry["n_matched"] > 40
        assert 20 < entry["zero_point"] < 25
        assert 0 < entry["zero_point_err"] < 0.03


def test_status_before_anything_is_reduced(archived: House):
    states = {entry["state"] for entry in archived.status().values()}
    assert states == {"archived", "queued"}
    assert "6 queued" in archived.ask("status").out


@pytest.mark.parametrize("width", ["60", "80", "200"])
def test_status_is_legible_at_any_width(reduced: House, width: str):
    house = House(reduced.folder, {"COLUMNS": width})
    lines = house.ask("status").out.splitlines()
    if width != "60":
        rows = [line for line in lines if line.startswith("demo_")]
        assert len(rows) == 6
        assert all(
            re.search(r"\.fits +V +●●●● +\d+\.\d +\d\.\d\d +\d+ +\d+\.\d{3} ±", r) for r in rows
        )
    table = [line for line in lines if "±" in line]
    assert len(table) == 6
    assert max(map(len, table)) <= int(width)
    assert lines[-1] == "science: 6 done"


def test_in_a_pipe_a_row_is_a_line(reduced: House):
    rows = [line for line in reduced.ask("stars", "--all").out.splitlines()[1:] if line]
    assert len(rows) == len(reduced.json("stars", "--all"))
    assert not any("…" in row for row in rows)


def test_light_curve_by_place(curve: dict[str, Any], transit: str):
    assert {"object", "ra", "dec", "points"} <= curve.keys()
    ra, dec = map(float, transit.split())
    assert abs(curve["ra"] - ra) < 1 / 3600
    assert abs(curve["dec"] - dec) < 1 / 3600
    assert len(curve["points"]) == 6
    for point in curve["points"]:
        assert point.keys() >= POINT
        assert point["filter"] == "V"
        assert point["flux_ujy"] > 0
        assert 0.5 < point["rel_flux"] < 1.5
        assert 0 < point["rel_flux_err"] < 0.1
    times = [point["bjd_tdb"] for point in curve["points"]]
    assert times == sorted(times)
    assert all(abs(p["bjd_tdb"] - 2400000.5 - p["mjd"]) < 0.01 for p in curve["points"])


def test_light_curve_shows_the_transit(curve: dict[str, Any], sky: Path):
    truth = Truth.load(sky)
    assert truth.transit is not None
    away = [abs(p["mjd"] - truth.transit.epoch) / truth.transit.duration for p in curve["points"]]
    inside = [p["rel_flux"] for p, far in zip(curve["points"], away, strict=True) if far < 0.3]
    outside = [p["rel_flux"] for p, far in zip(curve["points"], away, strict=True) if far > 0.6]
    assert inside, "no exposure lies in the transit"
    depth = 1 - (sum(inside) / len(inside)) / (sum(outside) / len(outside))
    assert 0.03 < depth < 0.07


def test_light_curve_by_name_and_in_hours(reduced: House, curve: dict[str, Any]):
    assert reduced.json("lightcurve", curve["object"]) == curve
    hours, dec = curve["ra"] / 15, curve["dec"]
    place = f"{_sexagesimal(hours)} +{_sexagesimal(dec)}"
    assert reduced.json("lightcurve", place) == curve


def _sexagesimal(value: float) -> str:
    minutes = value % 1 * 60
    return f"{int(value):02d}:{int(minutes):02d}:{minutes % 1 * 60:06.3f}"


def test_light_curve_to_files(reduced: House, curve: dict[str, Any], tmp_path: Path):
    table, plot = tmp_path / "lc.csv", tmp_path / "lc.png"
    done = reduced.ask("lightcurve", curve["object"], "--csv", table, "--plot", plot, "--json")
    assert json.loads(done.out) == curve
    with table.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert set(rows[0]) >= POINT
    assert [float(row["mag"]) for row in rows] == [point["mag"] for point in curve["points"]]
    _assert_picture(plot)


def test_stars(reduced: House, tmp_path: Path):
    stars = reduced.json("stars", "--all")
    assert len(stars) > 50
    assert {"name", "ra", "dec", "n_points", "scatter", "is_candidate"} <= stars[0].keys()
    candidates = reduced.json("stars")
    assert candidates == [row for row in stars if row["is_candidate"]]
    reduced.ask("stars", "--plot", tmp_path / "scatter.png")
    _assert_picture(tmp_path / "scatter.png")


def test_show_an_exposure(reduced: House, tmp_path: Path):
    picture = tmp_path / "field.png"
    view = reduced.json("show", SCIENCE, "--png", picture)
    assert view["header"]["OBJECT"] == "demo field"
    titles = [node["title"].split()[0] for node in view["tree"]["children"]]
    assert titles == ["Image", "Image"]
    image = view["tree"]["children"][0]
    assert {"id", "provenance", "step", "parameters", "software"} <= image["facts"].keys()
    assert image["facts"]["bias"].startswith("done")
    chain = []
    while image["children"]:
        image = image["children"][0]
        chain.append(image["title"].split()[0])
    assert chain == ["SourceList", "WorldCoordinates", "ZeroPoint"]
    _assert_picture(picture)
    _assert_picture(tmp_path / "field-B.png")
    text = reduced.ask("show", SCIENCE).out
    assert "└── ZeroPoint" in text
    assert "DATE-OBS" in text


def test_show_an_image_by_id(reduced: House):
    view = reduced.json("show", SCIENCE)
    ident = view["tree"]["children"][0]["facts"]["id"]
    assert reduced.json("show", ident)["tree"]["children"][0]["facts"]["id"] == ident
    name = view["tree"]["children"][0]["title"].rsplit("/", 1)[-1]
    assert reduced.json("show", name)["tree"]["children"][0]["facts"]["id"] == ident


def test_solve_a_frame_and_a_picture_of_it(reduced: House, sky: Path, tmp_path: Path):
    answer = reduced.json("solve", sky / SCIENCE)
    assert abs(answer["ra"] - 305.0) < 1
    assert abs(answer["dec"] - 38.0) < 1
    assert answer["pixel_scale"] == pytest.approx(5.0, rel=0.01)
    assert answer["rms_pixels"] < 0.2
    assert answer["how"] == "hinted"
    with fits.open(sky / SCIENCE) as hdus:
        pixels = hdus["A"].data[:, :512].astype(np.uint16)
    Picture.fromarray(np.ascontiguousarray(pixels)).save(tmp_path / "holiday.tiff")
    found = reduced.json("solve", tmp_path / "holiday.tiff", "--scale", 4, 6)
    assert found["how"] == "blind"
    assert found["pixel_scale"] == pytest.approx(5.0, rel=0.01)
    assert abs(found["dec"] - answer["dec"]) < 1
    assert "matched" in reduced.ask("solve", sky / SCIENCE).out


def test_doctor(reduced: House):
    checks = {check["name"]: check for check in reduced.json("doctor")}
    assert {"database", "storage", "disk space", "catalogue Tycho-2"} <= checks.keys()
    assert not [check for check in checks.values() if check["state"] == "broken"]
    for check in checks.values():
        assert check["mend"] or check["state"] == "ok"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["lightcurve", "99 99"], 2, "not on the sky"),
        (["lightcurve", "25:00:00 +10:00:00"], 2, "not on the sky"),
        (["lightcurve", "12:61:00 +10:00:00"], 2, "below 60"),
        (["lightcurve", "10 10"], 3, "light_curve.not_found"),
        (["lightcurve", "Vega"], 3, "light_curve.not_found"),
        (["lightcurve", "10 10", "--radius", "nan"], 2, "--radius"),
        (["lightcurve", "10 10", "--radius", "-1"], 2, "--radius"),
        (["show", "nothing.fits"], 3, "lineage.not_found"),
        (["show", SCIENCE, "--png", "x.gif"], 2, "PNG or JPEG"),
        (["show", SCIENCE, "--png", "/nowhere/x.png"], 2, "/nowhere/x.png"),
        (["ingest", "--instrument", "Nothing", "x.fits"], 3, "instrument.unknown"),
        (["reduce", "--workers", "0"], 2, "--workers"),
        (["status", "--nonsense"], 2, "--nonsense"),
    ],
)
def test_mistakes_are_told_on_the_error_stream(
    reduced: House, arguments: list[str], code: int, words: str
):
    done = reduced.ask(*arguments, code=code)
    assert words in done.err
    assert done.out == ""


def test_a_workspace_is_made_once(reduced: House):
    done = reduced.ask("init", reduced.folder, code=4)
    assert "this folder is a workspace already" in done.err
    assert reduced.ask("status").code == 0


def test_a_setting_that_does_not_exist_names_the_nearest(tmp_path: Path):
    house = make_house(tmp_path / "w")
    house.set("[recipe.find_sources]\ntreshold = 5.0\n")
    done = house.ask("status", code=2)
    assert "recipe.find_sources.treshold" in done.err
    assert "did you mean recipe.find_sources.threshold?" in done.err
    house.set("[")
    assert "not a TOML file" in house.ask("status", code=2).err


def test_settings_come_from_the_environment_too(reduced: House):
    house = House(reduced.folder, {"FIRSTLIGHT_REDUCE__WORKERS": "-1"})
    assert "reduce.workers" in house.ask("status", code=2).err


def _assert_picture(path: Path) -> None:
    with Picture.open(path) as picture:
        picture.load()
        assert picture.format == "PNG"
        assert min(picture.size) > 300
        assert len(picture.convert("L").getcolors(256) or []) > 5
