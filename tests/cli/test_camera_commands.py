"""`camera` with and without a workspace: its own cameras, masters from files, clear refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest
from astropy.io import fits
from typer.testing import CliRunner

from firstlight.cli.main import app
from firstlight.factory import Factory
from firstlight.instruments import get_instrument_instance, instrument_names, load_cameras

TWIN = """
sections = [{ id = "N", layout = "two", x = 1.0, y = 2.0 }, { id = "S", defective = true }]
[camera]
name = "Twin"
telescope = "1.2 m"
filters = ["g", "z"]
[[layouts.two]]
name = "A"
data = "[1:10,1:20]"
[[layouts.two]]
name = "B"
data = "[11:20,1:20]"
[crosstalk]
file = "twin.txt"
"""


@pytest.fixture
def run(workspace):
    def command(*words):
        return CliRunner().invoke(app, ["-w", str(workspace), "camera", *map(str, words)])

    return command


@pytest.fixture
def twin(workspace):
    folder = workspace / "cameras"
    folder.mkdir()
    path = folder / "twin.toml"
    path.write_text(TWIN)
    yield path
    for each in folder.iterdir():
        each.unlink()
    folder.rmdir()
    load_cameras(folder)
    assert "Twin" not in instrument_names()


def test_cameras_are_known_without_a_workspace(tmp_path):
    done = CliRunner().invoke(app, ["-w", str(tmp_path), "camera", "list", "--json"])
    told = {row["name"]: row for row in json.loads(done.stdout)}
    assert (told["DECam"]["sections"], told["DECam"]["described_in"]) == (62, "firstlight")
    assert told["GenericFITS"]["described_in"] == "firstlight"
    assert "Twin" not in told
    assert "DECam" in CliRunner().invoke(app, ["-w", str(tmp_path), "camera", "list"]).stdout


@pytest.mark.parametrize("name", instrument_names())
def test_every_camera_can_be_shown(tmp_path, name):
    done = CliRunner().invoke(app, ["-w", str(tmp_path), "camera", "show", name, "--json"])
    told = json.loads(done.stdout)
    ids = [str(each) for each in get_instrument_instance(name).get_section_ids()]
    assert [row["id"] for row in told["sections"]] == ids
    shown = CliRunner().invoke(app, ["-w", str(tmp_path), "camera", "show", name]).stdout
    assert all(each in shown for each in (name, *ids))


def test_a_camera_of_the_workspace(run, workspace, twin):
    told = json.loads(run("show", "Twin", "--json").stdout)
    assert told["described_in"] == str(workspace / "cameras" / "twin.toml")
    assert told["tables"] == {"crosstalk": {"file": "twin.txt", "found": None}}
    assert told["sections"][0]["amplifiers"] == ["A", "B"]
    assert [row["defective"] for row in told["sections"]] == [False, True]
    assert "twin.txt is not there" in run("show", "Twin").stdout


def test_the_folder_of_cameras_can_be_another(run, workspace, twin):
    settings = workspace / "firstlight.toml"
    before = settings.read_text()
    try:
        settings.write_text(before.replace("[path]", '[path]\ncameras = "elsewhere"'))
        assert run("show", "Twin").exit_code == 3
        settings.write_text(before + "\n[instruments.Twin]\ngain = 1.75\n")
        assert json.loads(run("show", "Twin", "--json").stdout)["gain"] == 1.75
    finally:
        settings.write_text(before)


def test_a_workspace_knows_its_cameras_and_refuses_wrong_ones(run, workspace, twin):
    Factory.open(workspace)
    assert get_instrument_instance("Twin").telescope == "1.2 m"
    twin.write_text(TWIN.replace("telescope", "telescop"))
    done = run("list")
    assert done.exit_code == 2
    assert "camera.bad" in done.output
    assert "telescope" in done.output
    status = CliRunner().invoke(app, ["-w", str(workspace), "status"])
    assert (status.exit_code, "twin.toml" in status.output.replace("\n", "")) == (2, True)


def test_masters_are_taken(run, tmp_path):
    path = tmp_path / "fringe.fits"
    fits.HDUList(
        [fits.PrimaryHDU(), fits.ImageHDU(np.arange(600, dtype=np.float32).reshape(30, 20))]
    ).writeto(path)
    taken = ("take", "fringe", path, "--camera", "DECam", "--filter", "z", "--mjd", "57000")
    one = json.loads(run(*taken, "--section", "N4", "--json").stdout)
    assert (one["role"], one["camera"], one["section"]) == ("fringe", "DECam", "N4")
    again = run(*taken, "--section", "N4")
    assert one["id"] in again.stdout.replace("\n", "")
    for words, code in (
        (taken, "N10"),  # which section is not told
        ((*taken, "--section", "N44"), "instrument.unknown_section"),
        (("take", "bias", path, "--camera", "DECam", "--section", "N4"), "illumination"),
        (("take", "bad_pixels", tmp_path / "no", "--camera", "Generic", "--section", "0"), "did"),
    ):
        refused = run(*words)
        assert refused.exit_code in {2, 3}
        assert code in refused.output
    lone = run("take", "bad_pixels", path, "--hdu", "1", "--camera", "GenericFITS")
    assert lone.exit_code == 0, lone.output
    assert run("take", "bad_pixels", tmp_path / "no", "--camera", "GenericFITS").exit_code == 2
