"""A workspace for commands of the portal."""

import pytest
from typer.testing import CliRunner

from firstlight.cli.main import app


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    path = tmp_path_factory.mktemp("work") / "portal"
    done = CliRunner().invoke(app, ["init", str(path)])
    assert done.exit_code == 0, done.output
    return path
