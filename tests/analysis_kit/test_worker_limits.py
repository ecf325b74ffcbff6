"""What an author's process may take: whoever waits for it ends it, and so does the system."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from firstlight.analysis_kit.worker import Worker

pytestmark = pytest.mark.skipif(not hasattr(os, "killpg"), reason="no limits there")

# Deep in a library: no other thread of the process has its turn.
SERVICE = """
def fit(inputs, progress):
    '''Add numbers up, for years.'''
    return {"sum": sum(range(10**15))}
"""
BODY = {"inputs": {"photometry": "mjd,flux,fluxerr,filter\n60000.5,1.5,0.1,sdssg\n"}}


@pytest.fixture
def function(tmp_path):
    path = tmp_path / "endless.py"
    path.write_text(SERVICE)
    return f"{path}:fit"


def answer(worker, timeout):
    try:
        return worker.run(BODY, timeout=timeout, tell=lambda *_: None)
    finally:
        worker.close()


def test_what_calculates_for_ever_is_ended_when_its_time_is_over(function):
    worker = Worker(function)
    worker.start()
    found = answer(worker, timeout=1)
    assert found["message"] == "the analysis took more than 1 s and was ended"


def test_a_process_may_take_only_so_much_of_the_processor(function):
    found = answer(Worker(function, cpu_s=3), timeout=60)
    assert found["status"] == "failure"
    assert "SIGXCPU, because it took too much of the processor" in found["message"]


PARENT = """
import sys
from firstlight.analysis_kit.worker import Worker
worker = Worker(sys.argv[1], cpu_s=4)
worker.start()
print(worker._child.process.pid, flush=True)
worker.run(%r, timeout=1e6, tell=lambda *_: None)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc")
def test_a_process_that_outlives_its_server_does_not_calculate_for_ever(function):
    command = [sys.executable, "-c", PARENT % BODY, function]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        pid = int(server.stdout.readline())
        time.sleep(1.0)  # the request is on its way
        server.send_signal(signal.SIGKILL)
    until = time.monotonic() + 60
    while is_running(pid):
        assert time.monotonic() < until, "it goes on"
        time.sleep(0.1)


def is_running(pid):
    """Whether a process is there, and not only its exit status."""
    try:
        facts = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return facts.rpartition(")")[2].split()[0] != "Z"
