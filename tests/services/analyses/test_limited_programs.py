"""Programs that run apart: their limits hold, and nothing of ours goes along with them."""

import json
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from firstlight.formats.result_errors import ResultUnreadable
from firstlight.services.analyses.result_reader_process import LimitedPrograms, ReaderBusy

START = """
import json, os, sys
from pathlib import Path
from firstlight.services.analyses.result_reader_limits import limit_this_process
job = json.loads(sys.argv[1])
limit_this_process(**job["process"])
folder = Path(job["folder"])
def tell(value):
    (folder / "told.json").write_text(json.dumps(value))
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a few lines within limits; what they `tell` comes back."""
    count = iter(range(1000))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def made(lines, *, programs=None, **limits):
        name = f"program_{next(count)}"
        (tmp_path / f"{name}.py").write_text(START + lines)
        folder = tmp_path / f"{name}_folder"
        folder.mkdir()
        given = {"at_once": 2, "memory_bytes": 200 << 20, "timeout_s": 20, "file_bytes": 1 << 20}
        programs = programs or LimitedPrograms(**given | limits)
        programs.run(name, {}, folder)
        told = folder / "told.json"
        return json.loads(told.read_text()) if told.exists() else None

    return made


def test_what_is_told_comes_back(run):
    assert run("tell({'a': 1})") == {"a": 1}


def test_no_secret_of_ours_is_in_the_environment(run, monkeypatch):
    monkeypatch.setenv("FIRSTLIGHT_SECRET", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("PGPASSWORD", "secret")
    told = run("tell(dict(os.environ))")
    assert "secret" not in told.values()
    assert told["HDF5_PLUGIN_PRELOAD"] == "::"


def test_a_program_does_not_import_from_its_folder(run):
    assert run("tell(str(folder) in sys.path or '' in sys.path)") is False


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits the memory of a process")
def test_memory_is_limited(run):
    lines = """
try:
    held = bytearray(300 << 20)
except MemoryError:
    tell("refused")
"""
    assert run(lines) == "refused"
    assert run("held = bytearray(100 << 20); tell(len(held))") == 100 << 20


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limits")
def test_files_are_limited(run):
    lines = """
try:
    (folder / "large").write_bytes(bytes(2 << 20))
except OSError:
    tell("refused")
"""
    assert run(lines) == "refused"


def test_one_that_takes_too_long_is_ended_with_all_that_it_started(run, tmp_path):
    lines = """
import subprocess, time
other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
(folder.parent / "pid").write_text(str(other.pid))
time.sleep(600)
"""
    with pytest.raises(ResultUnreadable, match="too long"):
        run(lines, timeout_s=5)
    other = int((tmp_path / "pid").read_text())
    ends = time.monotonic() + 60
    while _runs(other) and time.monotonic() < ends:
        time.sleep(0.05)
    assert not _runs(other)


def _runs(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:  # noqa: PTH123, of the system
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limits")
def test_one_that_counts_for_too_long_is_ended(run):
    with pytest.raises(ResultUnreadable):
        run("while True: pass", timeout_s=2)


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ("sys.exit(3)", "no memory left"),
        ("raise ValueError('of a stranger')", "no memory left"),
        ("os.abort()", "ended by the system"),
    ],
)
def test_one_that_dies_is_told(run, lines, found, caplog):
    with pytest.raises(ResultUnreadable) as told:
        run(lines)
    assert found in told.value.found
    assert "of a stranger" not in str(told.value)  # that is for the log
    assert ("of a stranger" in caplog.text) == ("stranger" in lines)


def test_few_run_at_the_same_time(run, tmp_path):
    programs = LimitedPrograms(at_once=2, memory_bytes=200 << 20, timeout_s=60, file_bytes=1 << 20)
    lines = """
import time
began = time.time()
time.sleep(0.3)
tell([began, time.time()])
"""
    with ThreadPoolExecutor(6) as pool:
        spans = list(pool.map(lambda _: run(lines, programs=programs), range(6)))
    for began, _ in spans:
        assert sum(start <= began < end for start, end in spans) <= 2


def test_whoever_waits_for_too_long_is_told(run, tmp_path):
    programs = LimitedPrograms(at_once=1, memory_bytes=200 << 20, timeout_s=20, file_bytes=1 << 20)
    pid = tmp_path / "pid"
    lines = f"""
import time
made = Path({str(tmp_path)!r}, "made")
made.write_text(str(os.getpid()))
made.rename({str(pid)!r})
time.sleep(600)
"""
    with ThreadPoolExecutor(1) as pool:
        holds = pool.submit(run, lines, programs=programs)
        while not pid.exists():
            assert not holds.done(), holds.result()
            time.sleep(0.01)
        programs._timeout_s = 0.1
        with pytest.raises(ReaderBusy) as told:
            run("tell(1)", programs=programs)
        assert told.value.code == "analysis.reader_busy"
        os.kill(int(pid.read_text()), signal.SIGKILL)
        with pytest.raises(ResultUnreadable):
            holds.result(30)
    programs._timeout_s = 20
    assert run("tell(1)", programs=programs) == 1
