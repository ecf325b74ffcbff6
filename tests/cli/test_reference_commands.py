"""`reference` in a workspace without references: messages and exit codes."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from firstlight.cli.main import app


@pytest.fixture
def run(workspace):
    def command(*words):
        return CliRunner().invoke(app, ["-w", str(workspace), "reference", *words])

    return command


def test_nothing_there_yet(run):
    assert run("list").stdout.startswith("no references yet; next: firstlight")
    assert json.loads(run("list", "--json").stdout) == []


@pytest.mark.parametrize(
    ("words", "exit_code", "code"),
    [
        (("build",), 3, "reference.no_images"),
        (("build", "--field", "M31"), 3, "reference.no_images"),
        (("build", "--from", "yesterday"), 2, "input.invalid"),
        (("build", "--method", "best"), 2, "input.invalid"),
        (("build", "--min-images", "9", "--max-images", "5"), 2, "input.invalid"),
        (("choose", "night.fits"), 3, "reference.missing"),
        (("retire", "81c2d0"), 3, "reference.missing"),
        (("restore", "81"), 3, "reference.missing"),
    ],
)
def test_errors(run, words, exit_code, code):
    done = run(*words)
    assert done.exit_code == exit_code
    assert f"({code})" in done.stderr
