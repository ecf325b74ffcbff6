"""`analysis add`, `run` and the like on a workspace of its own."""

import json

import pytest
from typer.testing import CliRunner

from firstlight.analysis_kit import ServiceDeclaration
from firstlight.cli.main import app

DECLARED = ServiceDeclaration(
    name="elsewhere",
    version="2.0",
    description="[bold]not markup[/]",
    parameters={"source": ["a", "b"], "z": {"type": "number", "required": True}},
)


@pytest.fixture
def run(workspace):
    def command(*words, fails=0, text=None, group="analysis"):
        arguments = ["-w", str(workspace), *([group] if group else []), *words]
        done = CliRunner().invoke(app, arguments, input=text, env={"COLUMNS": "200"})
        assert done.exit_code == fails, done.output
        return done.output

    return command


@pytest.mark.parametrize("command", ["add", "list", "show", "enable", "disable", "remove", "run"])
def test_help_has_an_example(command):
    done = CliRunner().invoke(app, ["analysis", command, "--help"])
    assert done.exit_code == 0
    assert "Example" in done.output


def test_a_service_is_registered_run_and_removed(run, tmp_path):
    assert "no services yet" in run("list")
    assert "no such runs" in run("runs")
    secret = tmp_path / "secret.json"
    secret.write_text('{"header_token": {"Authorization": "Bearer MY_TOKEN"}}')
    document = json.dumps(DECLARED.as_document("https://a.example/fit"))
    told = json.loads(
        run("add", "-", "--name", "fit [x]", "--secret-from", str(secret), "--json", text=document)
    )
    number = str(told["id"])
    shown = json.loads(run("show", "fit [x]", "--json"))
    assert (shown["version"], shown["has_authinfo"]) == ("2.0", True)
    assert [group["name"] for group in shown["groups"]] == ["Sitewide Group"]
    assert "[bold]not markup[/]" in run("show", number)
    assert "MY_TOKEN" not in run("show", number) + run("list", "--json") + run("list")
    assert "fit [x]" in run("list")
    run("add", "OBJ", "10", "20", group="object")
    run("run", "fit [x]", "OBJ", fails=2)  # z is required
    run("run", number, "OBJ", "--param", "z=x", fails=2)
    run("run", number, "OBJ", "--param", "z", fails=2)
    run("run", number, "nothing", "--param", "z=1", fails=3)
    run("run", "nothing", "OBJ", fails=3)
    run("run", number, "OBJ", "--as", "nobody", fails=3)
    begun = json.loads(run("run", number, "OBJ", "--param", "z=0.1", "--json"))
    assert begun["analysis_parameters"] == {"z": 0.1}
    assert "is queued" in run("run", number, "OBJ", "--param", "z=1", "--wait", "0", fails=1)
    listed = json.loads(run("runs", "--object", "OBJ", "--service", number, "--json"))
    assert (len(listed["analyses"]), listed["totalMatches"]) == (2, 2)
    assert "OBJ" in run("runs", "--limit", "1")
    assert "no such runs" in run("runs", "--status", "completed")
    run("runs", "--status", "magic", fails=2)
    run("disable", number)
    run("run", number, "OBJ", "--param", "z=1", fails=2)
    run("enable", number)
    run("remove", number)
    run("show", number, fails=3)
    assert "the service was removed" in run("runs")


def test_what_is_installed_is_registered_by_its_name(run):
    assert "is registered" in run("add", "local:period")
    shown = json.loads(run("show", "period", "--json"))
    assert (shown["url"], shown["input_format"]) == ("local:period", "json")
    run("add", "local:period", fails=4)
    run("add", "local:nothing", fails=2)
    run("remove", "period")


def test_what_is_no_service(run, tmp_path):
    run("add", "-", text="not JSON", fails=2)
    run("add", str(tmp_path / "nowhere.json"), fails=2)
    run("add", "-", text="{}", fails=2)
    private = DECLARED.as_document("http://169.254.169.254/")
    run("add", "-", text=json.dumps(private), fails=2)
    run("add", "-", "--group", "nobody", text=json.dumps(private), fails=3)
