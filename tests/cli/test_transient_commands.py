"""`transient` in a workspace without any: messages and exit codes."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from firstlight.cli.main import app


@pytest.fixture
def run(workspace):
    def command(*words):
        return CliRunner().invoke(app, ["-w", str(workspace), *words])

    return command


def test_nothing_there_yet(run):
    told = run("transient", "list").stdout
    assert told.startswith("nothing yet; next: firstlight reference build")
    assert "firstlight reference choose" in told
    assert run("transient", "list", "--kept").stdout == "nothing like that\n"
    listed = run("transient", "list", "--since", "2026-03-01", "--min-score", "7", "--json")
    assert json.loads(listed.stdout) == []


@pytest.mark.parametrize("command", ["show", "force"])
def test_an_object_that_is_not_there(run, command):
    done = run("transient", command, "nothing")
    assert done.exit_code == 3
    assert "transients.no_such_object" in done.output


def test_an_object_is_followed_when_it_is_asked_for(run):
    run("object", "add", "somewhere", "31.0", "46.0")
    assert run("transient", "force", "somewhere").stdout == "0 points are new\n"
    told = json.loads(run("transient", "show", "somewhere", "--json").stdout)
    assert told["forced"] == {
        "is_followed": True, "is_complete": True, "n_points": 0, "first_mjd": None,
        "last_mjd": None,
    }  # fmt: skip
    shown = run("transient", "show", "somewhere").stdout
    assert "measured everywhere" in shown
    assert "first, mjd" not in shown


def test_a_missing_file_of_known_objects_stops_reduce_at_once(tmp_path):
    assert CliRunner().invoke(app, ["init", str(tmp_path / "w")]).exit_code == 0
    with (tmp_path / "w" / "firstlight.toml").open("a") as settings:
        settings.write('\n[[transients.known]]\npath = "no.csv"\n')
    done = CliRunner().invoke(app, ["-w", str(tmp_path / "w"), "reduce"])
    assert done.exit_code == 3
    assert "no.csv" in done.stderr
    assert "transients.known_missing" in done.stderr
