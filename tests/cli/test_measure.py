"""`firstlight measure` as typed."""

from __future__ import annotations

import json

import pytest
from astropy.io import fits
from typer.testing import CliRunner

from firstlight.catalogs import registry
from firstlight.cli.main import app
from simulated_image import simulated_image


@pytest.fixture
def frame(tmp_path, monkeypatch):
    simulated = simulated_image(3, mag=17.0, stars=130)
    monkeypatch.setattr(registry, "get_catalog", lambda *_: simulated.catalog)
    path = tmp_path / "frame.fits"
    fits.PrimaryHDU(simulated.raw.pixels, simulated.raw.header).writeto(path)
    return path, [f"{simulated.ra:.6f}", f"{simulated.dec:.6f}"], simulated


def run(*words):
    return CliRunner().invoke(app, ["measure", *map(str, words)])


def test_words_for_people(frame):
    path, place, _ = frame
    done = run(path, *place)
    assert done.exit_code == 0, done.output
    assert "magnitude    17.0" in done.stdout or "magnitude    16.9" in done.stdout
    assert "half of artificial stars found" in done.stdout
    assert "plate_solve  done in" in done.stderr


def test_json_for_programs_and_a_report(frame, tmp_path):
    path, place, _ = frame
    done = run(path, *place, "--json", "--aperture", 1.5, "--report", tmp_path / "r")
    told = json.loads(done.stdout)
    assert told["state"] == "done"
    assert told["magnitude"] == pytest.approx(17.0, abs=0.1)
    assert (tmp_path / "r" / "field.png").is_file()
    assert json.loads((tmp_path / "r" / "result.json").read_text())["name"] == "frame.fits"


def test_a_southern_place_is_no_option(frame):
    path, (ra, _), _ = frame
    done = run(path, ra, "-89.5", "--json")
    assert json.loads(done.stdout)["error"]["code"] == "analysis.outside"
    assert done.exit_code == 2
    assert "analysis.outside" in done.stderr


def test_the_time_is_given_where_the_header_tells_none(frame):
    path, place, _ = frame
    with fits.open(path, mode="update") as opened:
        for card in [c for c in opened[0].header if c.startswith(("DATE", "MJD"))]:
            del opened[0].header[card]
    refused = run(path, *place)
    assert refused.exit_code == 2
    assert "analysis.no_time" in refused.stderr
    for told in ("2024-03-01T12:00:00", "60370.5"):
        done = run(path, *place, "--obstime", told)
        assert "MJD 60370.500000 UTC" in done.stdout, done.output
    wrong = run(path, *place, "--obstime", "yesterday")
    assert wrong.exit_code == 2
    assert "obstime" in wrong.stderr


def test_wrong_values_are_told(frame):
    path, place, _ = frame
    done = run(path, *place, "--gain", "-1")
    assert done.exit_code == 2
    assert "gain" in done.stderr
    assert run(path, "here", "there").exit_code == 2
