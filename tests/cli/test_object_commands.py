"""`object` on a workspace of its own."""

import json

import pytest
from typer.testing import CliRunner

from firstlight.cli.main import app


@pytest.fixture
def run(workspace):
    def command(*words, fails=0):
        arguments = ["-w", str(workspace), "object", *words]
        done = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
        assert done.exit_code == fails, done.output
        return done.output

    return command


@pytest.mark.parametrize("command", ["list", "show", "add", "save", "summarise"])
def test_help_has_an_example(command):
    done = CliRunner().invoke(app, ["object", command, "--help"])
    assert done.exit_code == 0
    assert "Example" in done.output


def test_objects_are_added_listed_and_shown(run):
    assert "no such objects" in run("list")
    run("add", "HAT-P-32", "31.0428", "46.6878", "--redshift", "0.0001")
    run("add", "South", "31.0428", "-46.6878")
    found = json.loads(run("list", "--json", "--sort", "name", "--ascending", "--limit", "1"))
    assert [row["name"] for row in found["objects"]] == ["HAT-P-32"]
    after = ("--cursor", found["next_cursor"])
    rest = json.loads(run("list", "--json", "--sort", "name", "--ascending", *after))
    assert [row["name"] for row in rest["objects"]] == ["South"]
    near = json.loads(run("list", "--cone", "31.04,46.69,0.1", "--json"))
    assert [row["name"] for row in near["objects"]] == ["HAT-P-32"]
    assert json.loads(run("show", "HAT-P-32", "--json"))["redshift"] == 0.0001
    assert "-46.6878" in run("show", "South")
    assert "0 light curves" in run("summarise")


def test_objects_are_saved_to_groups(run, workspace):
    made = CliRunner().invoke(app, ["-w", str(workspace), "group", "add", "transits"])
    assert made.exit_code == 0, made.output
    run("add", "KELT-1", "0.3625", "39.3838", "--group", "transits")
    run("add", "WASP-12", "97.6367", "29.6723")
    run("save", "WASP-12", "--group", "transits")
    groups = [group["name"] for group in json.loads(run("show", "WASP-12", "--json"))["groups"]]
    assert groups == ["transits"]
    run("save", "WASP-12", "--group", "nobody", fails=3)


def test_wrong_words_are_told(run):
    run("show", "nothing", fails=3)
    run("add", "no/slash", "1", "2", fails=2)
    run("add", "x", "1", "95", fails=2)
    run("list", "--cone", "1,2", fails=2)
    run("list", "--sort", "colour", fails=2)
    run("list", "--cursor", "nonsense", fails=2)
    run("save", "nothing", "--group", "transits", fails=3)
