"""`firstlight photometry` as typed."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from firstlight.cli.main import app
from firstlight.factory import Factory
from photometry_world import PhotometryWorld

TABLE = """\
mjd,filter,mag,magerr,limiting_mag,altdata.seeing
60000.5,ztfg,18.5,0.1,20.0,1.2
60001.5,ztfr,,,20.5,1.4
"""


@pytest.fixture
def typed(tmp_path):
    folder = tmp_path / "night"
    assert CliRunner().invoke(app, ["init", str(folder)]).exit_code == 0
    factory = Factory.open(folder)
    world = PhotometryWorld(factory.database)
    (tmp_path / "points.csv").write_text(TABLE)

    def run(*words):
        return CliRunner().invoke(app, ["-w", str(folder), "photometry", *map(str, words)])

    run.world, run.folder = world, tmp_path
    return run


def upload(typed, *words):
    return typed(
        "upload", typed.folder / "points.csv", "--object", typed.world.object, "--instrument",
        f"Camera {typed.world.mark}", *words,
    )  # fmt: skip


def test_a_camera_of_ours_is_known_in_a_fresh_workspace(typed):
    words = ("--object", typed.world.object, "--instrument")
    done = typed("upload", typed.folder / "points.csv", *words, "GenericFITS", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["points"] == 2
    unknown = typed("upload", typed.folder / "points.csv", *words, "Unheard of")
    assert unknown.exit_code == 2
    assert "GenericFITS" in unknown.output


def test_upload_export_undo(typed):
    done = upload(typed, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["points"] == 2
    again = json.loads(upload(typed, "--json").stdout)
    file = typed.folder / "curve.parquet"
    assert typed("export", typed.world.object, "-o", file).exit_code == 0
    table = pq.read_table(file).to_pydict()
    assert table["filter"] == ["ztfg", "ztfr"]
    assert table["mag"][0] == 18.5
    lines = typed("export", typed.world.object).stdout.splitlines()
    assert len([line for line in lines if not line.startswith("#")]) == 3
    assert typed("undo", again["upload_ids"][0]).exit_code == 3  # it added nothing
    done = typed("undo", told["upload_ids"][0])
    assert (done.exit_code, done.stdout) == (0, "2 points are removed\n")


def test_words_for_people(typed):
    done = upload(typed, "--origin", "hand")
    assert done.stdout == "2 points are there\n"
    assert "take them back: firstlight photometry undo " in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--filter", "ztfgg"), 2, "twice"),
        (("--instrument", "nothing"), 2, "instrument"),
        (("--object", "nothing"), 2, "obj_id"),
        (("--group", "999"), 2, "group_ids"),
    ],
)
def test_what_cannot_be_uploaded(typed, words, code, told):
    if words[0] == "--filter":
        (typed.folder / "points.csv").write_text("mjd,mjd\n1,2\n")
    done = upload(typed, *words)
    assert done.exit_code == code
    assert told in done.stderr


def test_an_unknown_kind_of_file(typed):
    done = typed("export", typed.world.object, "-o", typed.folder / "curve.xlsx")
    assert done.exit_code == 2
    assert ".parquet" in done.stderr
