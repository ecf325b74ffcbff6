"""`user`, `group` and `token` on a workspace of their own."""

import json

import pytest
from typer.testing import CliRunner

from firstlight.cli.main import app
from firstlight.factory import Factory

COMMANDS = {
    "user": ("add", "list", "show", "set", "remove", "invite"),
    "group": ("add", "list", "add-user", "remove-user", "add-site", "remove-site", "remove"),
}


@pytest.fixture
def run(workspace):
    def command(*words, fails=0, typed=None):
        arguments = ["-w", str(workspace), *words]
        done = CliRunner().invoke(app, arguments, input=typed, env={"COLUMNS": "200"})
        assert done.exit_code == fails, done.output
        return done.output

    return command


@pytest.mark.parametrize(
    ("group", "command"), [(name, each) for name, all_ in COMMANDS.items() for each in all_]
)
def test_help_has_an_example(group, command):
    done = CliRunner().invoke(app, [group, command, "--help"])
    assert done.exit_code == 0
    example = done.stdout.split("Example: ")[1].split("─")[0]
    assert example.startswith("firstlight ")
    assert f" {group} {command}" in example


def test_the_life_of_an_account(run, workspace, tmp_path):
    assert "firstlight user add" in run("user", "list")
    password = tmp_path / "password"
    password.write_text("a long password\nand more\n")
    run("group", "add", "supernovae", "--private")
    run(
        "user", "add", "Ada", "--role", "Super admin", "--name", "Ada L", "--group", "supernovae",
        "--password-from", str(password),
    )  # fmt: skip
    run("user", "add", "bob", "--password-from", "-", typed="another password\n")
    house = Factory.open(workspace)
    house.sign_in.sign_in("ada", "a long password", "here")
    house.sign_in.sign_in("bob", "another password", "here")
    listed = json.loads(run("user", "list", "--json"))
    assert [(each["username"], each["roles"]) for each in listed] == [
        ("ada", ["Super admin"]),
        ("bob", ["Full user"]),
    ]
    assert "Ada L" in run("user", "list")
    run(
        "user", "set", "bob", "--acl", "Operate", "--no-role", "Full user",
        "--expires", "2100-01-01",
    )  # fmt: skip
    shown = json.loads(run("user", "show", "bob", "--json"))
    assert (shown["acls"], shown["roles"]) == (["Operate"], [])
    assert shown["expiration_date"] == "2100-01-01T00:00:00"
    assert "Operate" in run("user", "show", "bob")
    assert "LastAdmin" not in run("user", "remove", "ada", fails=4)
    run("user", "set", "bob", "--disable", "--expires", "never")
    assert "bob" not in run("user", "list")
    assert "bob" in run("user", "list", "--all")
    run("user", "remove", "bob")
    run("user", "show", "bob", fails=3)


def test_groups(run):
    run("user", "add", "carl")
    run("group", "add", "comets", "--description", "[bold]all[/] of them", "--auto-accept")
    run("group", "add-user", "comets", "carl", "--admin")
    run("group", "add-site", "comets", "tst")
    row = next(
        each for each in json.loads(run("group", "list", "--json")) if each["name"] == "comets"
    )
    assert (row["members"], row["admins"], row["sites"]) == (1, ["carl"], ["tst"])
    assert "comets" in run("group", "list")
    run("group", "add-user", "comets", "carl", fails=4)
    run("group", "remove-site", "comets", "tst")
    run("group", "remove-user", "comets", "carl")
    run("group", "remove", "comets")
    run("group", "remove", "comets", fails=3)
    run("group", "remove", "Sitewide Group", fails=2)


def test_an_invitation(run, workspace):
    made = json.loads(run("user", "invite", "dora@example.org", "--role", "View only", "--json"))
    secret = made["link"].split("/join/")[1]
    house = Factory.open(workspace)
    assert house.invitations.look(secret) == {"email": "dora@example.org", "role": "View only"}
    assert "/join/" in run("user", "invite", "emil@example.org")
    run("user", "invite", "nobody", fails=2)


def test_a_token_of_an_account(run, workspace):
    run("user", "add", "fred")
    made = run("token", "create", "laptop", "--user", "fred", "--scope", "comment")
    token = made.strip().splitlines()[-1]
    viewer = Factory.open(workspace).access.identify(token)
    assert (viewer.username, viewer.scopes) == ("fred", {"comment", "read", "watch"})
    run("token", "create", "more", "--user", "fred", "--scope", "admin", fails=2)
    run("token", "create", "none", fails=2)
    name = next(each["name"] for each in json.loads(run("token", "list", "--json")))
    assert name.startswith("user/")
    run("token", "revoke", name)
    assert json.loads(run("user", "show", "fred", "--json"))["tokens"] == []


def test_an_account_without_a_password_is_told_how_to_get_one(workspace):
    done = CliRunner().invoke(app, ["-w", str(workspace), "user", "add", "carol"])
    assert done.exit_code == 0, done.output
    assert "firstlight user set carol --ask-password" in done.stderr
