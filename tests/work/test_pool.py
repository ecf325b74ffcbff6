from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from work_handlers import resident_mb

from firstlight.work.engine import WorkerSetup
from firstlight.work.pool import JobCancelled, PoolClosed, ProcessPool
from firstlight.work.retry import Cause, Report

HERE = Path(__file__).parent
SETUP = WorkerSetup(initializer="work_handlers:make_services", argument={"workspace": "w"})


def until(condition: Callable[[], bool], seconds: float = 40.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPool]:
    with ProcessPool(2, SETUP) as pool:
        yield pool


def test_a_handler_gets_its_payload_and_the_services(pool: ProcessPool) -> None:
    report = pool.run("work_handlers:echo", {"a": [1, None]}, key="k")
    assert report.result == {"payload": {"a": [1, None]}, "argument": {"workspace": "w"}}
    assert report.cause is None


def test_work_is_done_in_other_processes_without_the_users_script(pool: ProcessPool) -> None:
    report = pool.run("work_handlers:where", {}, key="k")
    assert report.result["pid"] != os.getpid()
    assert report.result["main"] is None or "pytest" not in report.result["main"]


def test_errors_come_back_as_data(pool: ProcessPool) -> None:
    foreseen = pool.run("work_handlers:bad_file", {"path": "a.fits"}, key="k")
    assert foreseen.cause is Cause.USER
    assert foreseen.error is not None
    assert foreseen.error["code"] == "file.bad"
    assert foreseen.error["subject"] == "a.fits"
    defect = pool.run("work_handlers:defect", {"divisor": 0}, key="k")
    assert defect.cause is Cause.INTERNAL
    assert defect.error is not None
    assert defect.error["code"] == "internal"
    assert "ZeroDivisionError" in defect.error["message"]
    assert "work_handlers.py" in defect.error["traceback"]


@pytest.mark.parametrize(
    ("handler", "code"),
    [
        ("work_handlers:absent", "work.bad_handler"),
        ("no_such_module:f", "work.bad_handler"),
        ("work_handlers", "work.bad_handler"),
        ("work_handlers:not_json", "internal"),
        ("work_handlers:leave", "internal"),
    ],
)
def test_faults_of_handlers_are_internal(pool: ProcessPool, handler: str, code: str) -> None:
    report = pool.run(handler, {}, key="k")
    assert report.cause is Cause.INTERNAL
    assert report.error is not None
    assert report.error["code"] == code


def test_numbers_that_json_lacks_become_null(pool: ProcessPool) -> None:
    report = pool.run("work_handlers:not_a_number", {}, key="k")
    assert report.result == {"seeing": None, "kept": [1.5, None]}


def test_only_the_job_of_a_dead_worker_is_charged(pool: ProcessPool) -> None:
    reports: dict[str, Report] = {}
    neighbour = threading.Thread(
        target=lambda: reports.update(
            calm=pool.run("work_handlers:nap", {"seconds": 0.5}, key="calm")
        )
    )
    neighbour.start()
    report = pool.run("work_handlers:suicide", {}, key="dead")
    neighbour.join()
    assert report.cause is Cause.WORKER_DIED
    assert report.error is not None
    assert report.error["code"] == "work.worker_died"
    assert "SIGKILL" in str(report.error["found"])
    assert reports["calm"].result == 0.5
    assert pool.run("work_handlers:echo", {}, key="k").cause is None


def test_a_worker_killed_while_idle_charges_nobody(pool: ProcessPool) -> None:
    pool.run("work_handlers:echo", {}, key="k")
    for pid in pool.pids():
        os.kill(pid, signal.SIGKILL)
    for n in range(4):
        assert pool.run("work_handlers:echo", {}, key=str(n)).cause is None


def test_a_slow_job_is_stopped_with_what_it_started(pool: ProcessPool, tmp_path: Path) -> None:
    pid_file = tmp_path / "pids"
    report = pool.run(
        "work_handlers:nap_with_child",
        {"seconds": 60, "pid_file": str(pid_file)},
        key="slow",
        timeout_s=0.5,
    )
    assert report.cause is Cause.TIMED_OUT
    assert report.error is not None
    assert report.error["code"] == "work.timed_out"
    assert until(lambda: not any(alive(int(pid)) for pid in pid_file.read_text().split()))


def test_cancel_reaches_running_and_waiting_calls() -> None:
    ends: dict[str, type[BaseException]] = {}

    def call(key: str) -> None:
        try:
            pool.run("work_handlers:nap", {"seconds": 60}, key=key, on_start=started.set)
        except BaseException as end:  # noqa: BLE001 - the test looks at what it was
            ends[key] = type(end)

    started = threading.Event()
    with ProcessPool(1, SETUP) as pool:
        running = threading.Thread(target=call, args=("running",))
        running.start()
        assert started.wait(40)
        waiting = threading.Thread(target=call, args=("waiting",))
        waiting.start()
        assert until(lambda: pool.cancel("waiting"))
        waiting.join(40)
        assert pool.cancel("running")
        running.join(40)
        assert ends == {"running": JobCancelled, "waiting": JobCancelled}
        assert not pool.cancel("running")
        assert pool.run("work_handlers:echo", {}, key="next").cause is None


def test_close_ends_all_calls_and_all_workers() -> None:
    ends: list[type[BaseException]] = []

    def call() -> None:
        try:
            pool.run("work_handlers:nap", {"seconds": 60}, key="k", on_start=started.set)
        except BaseException as end:  # noqa: BLE001 - the test looks at what it was
            ends.append(type(end))

    started = threading.Event()
    pool = ProcessPool(1, SETUP)
    pool.start()
    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert started.wait(40)
    pids = pool.pids()
    assert len(pids) == 1
    pool.close()
    for thread in threads:
        thread.join(40)
    assert ends == [PoolClosed] * 3
    assert until(lambda: not any(map(alive, pids)))
    with pytest.raises(PoolClosed):
        pool.run("work_handlers:echo", {}, key="k")


def test_a_setup_that_fails_is_told_by_each_job() -> None:
    setup = WorkerSetup(initializer="work_handlers:fail_setup", argument="ws")
    with ProcessPool(1, setup) as pool:
        report = pool.run("work_handlers:echo", {}, key="k")
    assert report.error is not None
    assert report.error["code"] == "file.bad"
    assert report.error["subject"] == "ws"


def test_no_worker_outlives_a_killed_parent(tmp_path: Path) -> None:
    pid_file = tmp_path / "pids"
    script = f"""
        from firstlight.work.pool import ProcessPool
        payload = {{"seconds": 60, "pid_file": {str(pid_file)!r}}}
        with ProcessPool(2) as pool:  # unguarded on purpose: workers must not run this script
            pool.run("work_handlers:nap_with_child", payload, key="k")
    """
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(script))
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    with subprocess.Popen([sys.executable, str(path)], env=environment) as parent:
        assert until(lambda: pid_file.exists() and len(pid_file.read_text().split()) == 2)
        pids = [int(pid) for pid in pid_file.read_text().split()]
        assert all(map(alive, pids))
        parent.kill()
    assert until(lambda: not any(map(alive, pids)))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the memory of others")
def test_a_worker_gives_memory_back_when_it_rests() -> None:
    with ProcessPool(1, SETUP) as pool:
        worker = pool.run("work_handlers:fill_memory", {"megabytes": 300}, key="k").result
        assert until(lambda: resident_mb(worker["pid"]) < worker["kept"] - 200)
        assert pool.run("work_handlers:echo", {}, key="k").cause is None


def said_by(script: str) -> list[str]:
    """Words that a program of its own prints, which has started no workers before."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, "PYTHONPATH": str(HERE)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


@pytest.mark.parametrize("started", ["pool.start()", ""], ids=["started", "on demand"])
def test_libraries_are_held_to_one_thread(started: str) -> None:
    script = f"""
        import os
        from firstlight.work.pool import ProcessPool
        os.environ.pop("OMP_NUM_THREADS", None)
        pool = ProcessPool(1)
        {started}
        print(pool.run("work_handlers:where", {{}}, key="k").result["threads"])
        pool.close()
        print(os.environ.get("OMP_NUM_THREADS"))
    """
    assert said_by(script) == ["1", "None"]


def test_workers_share_modules_that_no_collection_of_garbage_goes_through() -> None:
    script = """
        import gc
        from firstlight.work.engine import WorkerSetup
        from firstlight.work.pool import ProcessPool, load_modules
        load_modules(("no_such_module", "work_handlers"))
        with ProcessPool(1, WorkerSetup(preload=("come.too.late",))) as pool:
            found = pool.run("work_handlers:memory", {}, key="k").result
        print(found["collects"], found["kept"] > 1000, found["loaded_by"] != found["pid"])
        print(gc.get_freeze_count())
    """
    assert said_by(script) == ["True", "True", "True", "0"]
