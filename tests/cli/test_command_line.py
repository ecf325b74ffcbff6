"""The commands that need no workspace, and what all of them promise."""

from __future__ import annotations

import http.server
import json
import os
import re
import shlex
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from firstlight.cli.main import app
from firstlight.factory import Factory

COMMANDS = (
    "init", "ingest", "reduce", "status", "lightcurve", "stars", "show", "solve", "simulate",
    "sample", "doctor", "upgrade", "watch", "serve", "worker", "expire", "lifecycle", "measure",
    "simulate-site",
)  # fmt: skip


def started(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command as a shell starts it, in a process of its own."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("FIRSTLIGHT_")}
    return subprocess.run(
        [sys.executable, "-m", "firstlight", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**inherited, "COLUMNS": "80", "OMP_NUM_THREADS": "1"},
    )


def firstlight(*arguments: object, **variables: str) -> Result:
    """The command in this process: quicker, and errors that nobody foresaw are raised."""
    ours = dict.fromkeys(name for name in os.environ if name.startswith("FIRSTLIGHT_"))
    runner = CliRunner(env={**ours, "COLUMNS": "80", **variables})
    done = runner.invoke(app, [str(each) for each in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_all_commands_are_listed():
    done = started("--help")
    assert done.returncode == 0
    for command in COMMANDS:
        assert f" {command} " in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command):
    done = CliRunner().invoke(app, [command, "--help"])
    assert done.exit_code == 0
    example = done.stdout.split("Example: ")[1].split("─")[0]
    assert example.startswith("firstlight ")
    assert f" {command}" in example


LOADED = """
import sys
from pathlib import Path
from firstlight.factory import Factory
from firstlight.web.app import create_app

factory = Factory.open(Path(sys.argv[1]))
factory.make_live()
create_app(factory)
print(*{"alembic", "matplotlib", "numba", "scipy"} & sys.modules.keys())
"""


def test_a_server_starts_without_what_only_its_workers_need(tmp_path):
    Factory.create(tmp_path / "w").database.dispose()
    command = [sys.executable, "-c", LOADED, str(tmp_path / "w")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == []


def test_a_folder_that_is_no_workspace(tmp_path):
    done = started("-w", tmp_path / "nowhere", "status")
    assert done.returncode == 3
    assert done.stdout == ""
    assert "this folder is not a workspace" in done.stderr
    assert "firstlight init" in done.stderr
    assert not (tmp_path / "nowhere").exists()


def test_doctor_outside_a_workspace(tmp_path):
    done = CliRunner().invoke(app, ["-w", str(tmp_path / "nowhere"), "doctor", "--json"])
    assert done.exit_code == 0
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert checks["catalogue Tycho-2"]["state"] == "ok"
    finding = checks[f"workspace {tmp_path / 'nowhere'}"]
    assert finding["state"] == "missing"
    assert "firstlight init" in finding["mend"]


def test_doctor_on_a_workspace_that_is_broken(tmp_path):
    (tmp_path / "firstlight.toml").write_text("[databse]\n")
    done = CliRunner().invoke(app, ["-w", str(tmp_path), "doctor", "--json"])
    assert done.exit_code == 1
    finding = json.loads(done.stdout)[-1]
    assert finding["state"] == "broken"
    assert finding["mend"] == "did you mean database?"


def test_init_where_a_file_is(tmp_path):
    (tmp_path / "w").write_text("a file")
    done = firstlight("init", tmp_path / "w")
    assert done.exit_code in (2, 4)
    assert str(tmp_path / "w") in done.stderr
    assert "Traceback" not in done.stderr


def test_what_comes_next_can_be_copied_whatever_the_folder_is_called(tmp_path):
    folder = tmp_path / "une nuit d'été"
    told = firstlight("init", folder, COLUMNS="40").stdout.splitlines()[-1]
    words = shlex.split(told.removeprefix("next: "))
    assert words[:3] == ["firstlight", "-w", str(folder)]


def test_init_with_a_database_that_cannot_be_reached(tmp_path):
    url = "postgresql+psycopg://nobody@127.0.0.1:9/nothing"
    done = firstlight("init", tmp_path / "w", "--database", url)
    assert done.exit_code == 5
    assert not (tmp_path / "w" / "firstlight.toml").exists()


@pytest.fixture
def mirror():
    """A mirror of samples that has nothing."""

    class Nothing(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(404)

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Nothing)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_sample_that_cannot_be_fetched(tmp_path):
    nowhere = "http://127.0.0.1:9"  # nobody listens there
    done = firstlight(
        "sample", "hat-p-32", "--folder", tmp_path / "s",
        https_proxy=nowhere, HTTPS_PROXY=nowhere, no_proxy="", NO_PROXY="",
    )  # fmt: skip
    assert done.exit_code == 5, done.stderr
    assert "sample.unreachable" in done.stderr
    assert "by hand" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_mirror_without_the_sample(mirror, tmp_path):
    from firstlight.services.samples import (  # noqa: PLC0415 - the test of a service's argument
        SampleUnreachable,
        fetch_sample,
    )

    with pytest.raises(SampleUnreachable, match="404"):
        fetch_sample("hat-p-32", tmp_path / "s", base_url=mirror)


def test_an_unknown_sample():
    done = firstlight("sample", "m31")
    assert done.exit_code == 2
    assert "hat-p-32" in done.stderr


@pytest.mark.slow
def test_a_night_is_simulated_and_solved(tmp_path):
    done = firstlight("simulate", tmp_path / "sky", "--exposures", 1)
    assert done.exit_code == 0, done.stderr
    assert "a transit of depth" in done.stdout
    (science,) = (tmp_path / "sky").glob("*science*.fits")
    done = firstlight("solve", science, "--json")
    assert done.exit_code == 0, done.stderr
    answer = json.loads(done.stdout)
    assert abs(answer["dec"] - 46.69) < 1
    assert answer["pixel_scale"] == pytest.approx(5.0, rel=0.01)
    assert answer["rms_pixels"] < 0.2
    again = firstlight("simulate", tmp_path / "sky", "--seed", 2)
    assert again.exit_code == 4
    assert "another simulated night" in again.stderr


def test_a_colour_observation_is_simulated(tmp_path):
    done = firstlight("simulate", tmp_path / "sky", "--camera", "panoptes", "--exposures", 1)
    assert done.exit_code == 0, done.stderr
    assert "1 exposures of PAN001_14d3bd_20180216T110623" in done.stdout
    assert "a variable of 2 %" in done.stdout
    place = (tmp_path / "sky" / "truth" / "transit.txt").read_text().strip()
    assert done.stdout.strip().endswith(f"a transit of depth 0.01 at {place}")
    assert len(list((tmp_path / "sky").glob("PAN001/14d3bd/*/*.fits"))) == 1
    refused = firstlight("simulate", tmp_path / "sky", "--camera", "panoptes", "--faults")
    assert refused.exit_code == 2
    assert "--faults" in refused.stderr


@pytest.mark.parametrize(
    ("content", "code"), [(b"no picture", 2), (b"", 2), (None, 3)], ids=["text", "empty", "none"]
)
@pytest.mark.parametrize("suffix", [".fits", ".tiff"])
def test_what_cannot_be_solved(tmp_path: Path, content: bytes | None, code: int, suffix: str):
    path = tmp_path / f"x{suffix}"
    if content is not None:
        path.write_bytes(content)
    done = CliRunner().invoke(app, ["solve", str(path)])
    assert done.exit_code == code
    assert str(path) in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def _all_commands(command, path=()):
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from _all_commands(below, (*path, name))


def test_help_loses_no_word_to_markup():
    for path, command in _all_commands(typer.main.get_command(app)):
        written = re.sub(r"\[/?(bold)?\]", "", command.help or "").replace("\\[", "[")
        shown = CliRunner(env={"COLUMNS": "300"}).invoke(app, [*path, "--help"]).stdout
        assert not set(written.split()) - set(shown.split()), path


def test_help_breaks_its_lines_where_the_terminal_ends():
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["simulate-survey", "--help"])
    assert re.search(r"variable stars, asteroids, .* the truth as tables\.", done.stdout)


def test_a_path_with_nothing_to_take_is_told_and_not_kept(tmp_path):
    workspace, empty = tmp_path / "work", tmp_path / "empty night"
    firstlight("init", workspace)
    empty.mkdir()
    done = firstlight("-w", workspace, "ingest", empty, tmp_path / "*.fits")
    assert done.exit_code == 2
    assert "2 refused" in done.stdout
    assert "There is no image in this folder." in done.stderr
    assert "no name is like this pattern" in done.stderr
    assert "nothing here yet" in firstlight("-w", workspace, "status").stdout


@pytest.mark.sample
def test_an_alert_is_shown_in_digits_that_mean_something(samples):
    done = firstlight("alert", "show", samples / "alerts" / "2019_01_10_739260766315010006.avro")
    assert done.exit_code == 0, done.output
    numbers = re.findall(r"candidate\.\w+: -?(\d+\.\d+)$", done.stdout, re.MULTILINE)
    assert len(numbers) > 10
    assert max(len(number.replace(".", "").lstrip("0")) for number in numbers) <= 10
