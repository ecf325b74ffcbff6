from __future__ import annotations

import logging
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from firstlight.errors import FirstlightError
from firstlight.work.dbos_engine import DbosEngine
from firstlight.work.engine import (
    JobKind,
    JobOutcome,
    JobRequest,
    JobState,
    Lane,
    WorkerSetup,
)
from firstlight.work.retry import RETRIES, Cause, RetryRule

QUICK = {
    **RETRIES,
    Cause.REMOTE: RetryRule(attempts=2, delays_s=(30.0,)),
    Cause.WORKER_DIED: RetryRule(attempts=2),
}
JOBS = {
    "echo": JobKind("work_handlers:echo", retries=QUICK),
    "nap": JobKind("work_handlers:nap", retries=QUICK),
    "short": JobKind("work_handlers:nap", timeout_s=0.3, retries=QUICK),
    "suicide": JobKind("work_handlers:suicide", retries=QUICK),
    "die_at_first": JobKind("work_handlers:die_at_first", retries=QUICK),
    "bad_file": JobKind("work_handlers:bad_file", retries=QUICK),
    "fail_at_first": JobKind("work_handlers:fail_at_first", retries=QUICK),
    "arrive": JobKind("work_handlers:echo", retries=QUICK, lane=Lane.QUICK),
    "die_quickly": JobKind("work_handlers:die_at_first", retries=QUICK, lane=Lane.QUICK),
}


def engine(folder: Path, workers: int = 2, setup: WorkerSetup | None = None) -> DbosEngine:
    return DbosEngine(folder / "jobs.sqlite", JOBS, workers=workers, setup=setup)


def until(condition: Callable[[], object], seconds: float = 40.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_ends_that_need_a_process_of_their_own(tmp_path: Path) -> None:
    requests = [
        JobRequest("slow", "short", {"seconds": 30}),
        JobRequest("crash", "suicide"),
        JobRequest("crash-once", "die_at_first", {"counter": str(tmp_path / "c")}),
        JobRequest("fine", "echo"),
    ]
    with engine(tmp_path) as jobs:
        jobs.submit(requests)
        found = jobs.wait([r.job_id for r in requests])
    assert {job_id: (o.state, o.attempts) for job_id, o in found.items()} == {
        "slow": (JobState.TIMED_OUT, 1),
        "crash": (JobState.FAILED, 2),
        "crash-once": (JobState.DONE, 2),
        "fine": (JobState.DONE, 1),
    }
    assert found["slow"].error is not None
    assert found["slow"].error["code"] == "work.timed_out"
    assert found["crash"].error is not None
    assert found["crash"].error["code"] == "work.worker_died"


def test_running_jobs_can_be_cancelled(tmp_path: Path) -> None:
    def stop_it(outcome: JobOutcome) -> None:
        # Whether the record or this process tells of it first: it is told once.
        if outcome.state is JobState.RUNNING:
            jobs.cancel([outcome.job_id])

    with engine(tmp_path, workers=1) as jobs:
        jobs.submit([JobRequest("long", "nap", {"seconds": 60}), JobRequest("next", "echo")])
        assert jobs.wait(["long"], stop_it)["long"].state is JobState.CANCELLED
        assert jobs.wait(["next"])["next"].state is JobState.DONE


def test_an_engine_without_workers_submits_watches_and_cancels(tmp_path: Path) -> None:
    with engine(tmp_path, workers=0) as desk:
        desk.submit([JobRequest("one", "echo"), JobRequest("long", "nap", {"seconds": 60})])
        time.sleep(0.2)
        assert {o.state for o in desk.outcomes().values()} == {JobState.QUEUED}
        with engine(tmp_path, workers=2):
            assert desk.wait(["one"])["one"].state is JobState.DONE
            assert until(lambda: desk.outcomes(["long"])["long"].state is JobState.RUNNING)
            desk.cancel(["long"])
            assert desk.wait(["long"])["long"].state is JobState.CANCELLED


def test_a_stop_leaves_unfinished_jobs_queued(tmp_path: Path) -> None:
    def interrupt(outcome: JobOutcome) -> None:
        if outcome.state is JobState.RUNNING:
            raise KeyboardInterrupt

    ids = [f"n{n}" for n in range(3)]
    with engine(tmp_path) as jobs:
        jobs.submit([JobRequest(job_id, "nap", {"seconds": 3}) for job_id in ids])
        with pytest.raises(KeyboardInterrupt):
            jobs.wait(ids, interrupt)
    with engine(tmp_path, workers=0) as desk:
        assert {o.state for o in desk.outcomes().values()} == {JobState.QUEUED}
    with engine(tmp_path) as jobs:
        assert {o.state for o in jobs.wait(ids).values()} == {JobState.DONE}


def test_a_job_that_pauses_holds_up_neither_the_others_nor_a_stop(tmp_path: Path) -> None:
    def away(n: int) -> JobRequest:
        return JobRequest(
            f"away-{n}", "fail_at_first", {"counter": str(tmp_path / f"{n}"), "failures": 9}
        )

    with engine(tmp_path, workers=1) as jobs:
        jobs.submit([*map(away, range(5)), JobRequest("fine", "echo")])
        assert jobs.wait(["fine"])["fine"].state is JobState.DONE
        began = time.monotonic()
    assert time.monotonic() - began < 15
    with engine(tmp_path, workers=0) as desk:
        assert {o.state for o in desk.outcomes().values()} == {JobState.DONE, JobState.QUEUED}


def test_the_limit_of_jobs_is_each_engines_own(tmp_path: Path) -> None:
    with engine(tmp_path, workers=3) as jobs:
        jobs.submit([JobRequest(f"n{n}", "nap", {"seconds": 1}) for n in range(30)])
        assert until(lambda: len(jobs._hands) == 6)
        time.sleep(0.3)
        assert len(jobs._hands) == 6
    with engine(tmp_path, workers=1) as jobs:
        assert until(lambda: len(jobs._hands) == 2)
        time.sleep(0.3)
        assert len(jobs._hands) == 2


def test_one_runner_a_process(tmp_path: Path) -> None:
    with engine(tmp_path) as jobs:
        with pytest.raises(FirstlightError) as refused:
            engine(tmp_path).start()
        assert refused.value.code == "work.one_runner_only"
        jobs.submit([JobRequest("e", "echo")])
        assert jobs.wait(["e"])["e"].state is JobState.DONE


def test_a_failing_setup_fails_the_jobs_with_its_reason(tmp_path: Path) -> None:
    setup = WorkerSetup(initializer="work_handlers:fail_setup", argument="ws")
    with engine(tmp_path, workers=1, setup=setup) as jobs:
        jobs.submit([JobRequest("e", "echo")])
        error = jobs.wait(["e"])["e"].error
    assert error is not None
    assert (error["code"], error["subject"]) == ("file.bad", "ws")


def test_nothing_is_pickled_and_failures_are_not_chatter(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO), engine(tmp_path) as jobs:
        jobs.submit([JobRequest("e", "echo"), JobRequest("b", "bad_file", {"path": "x.fits"})])
        assert jobs.wait(["e", "b"])["b"].state is JobState.FAILED
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert capfd.readouterr() == ("", "")
    with sqlite3.connect(tmp_path / "jobs.sqlite") as database:
        rows = database.execute("SELECT serialization, status FROM workflow_status").fetchall()
        modes = database.execute("PRAGMA journal_mode").fetchone()
    database.close()
    assert sorted(rows) == [("firstlight_json", "ERROR"), ("firstlight_json", "SUCCESS")]
    assert modes == ("wal",)


@pytest.mark.parametrize(
    "database",
    [Path("/no/such/folder/jobs.sqlite"), "postgresql://u:secret@localhost:1/nowhere"],
    ids=["sqlite", "postgres"],
)
def test_a_database_that_cannot_be_opened_is_named(database: Path | str) -> None:
    jobs = DbosEngine(database, JOBS)
    with pytest.raises(FirstlightError) as found:
        jobs.start()
    assert found.value.code == "work.jobs_unreachable"
    assert "secret" not in str(found.value.subject)
    jobs.stop()


def test_a_path_may_have_any_characters(tmp_path: Path) -> None:
    folder = tmp_path / "night ?#% é"
    folder.mkdir()
    with engine(folder, workers=0) as desk:
        assert desk.outcomes() == {}
    assert (folder / "jobs.sqlite").exists()


def test_importing_the_engine_does_not_load_dbos() -> None:
    program = "import sys, firstlight.work.dbos_engine; print('dbos' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_workers_go_with_the_engine(tmp_path: Path) -> None:
    with engine(tmp_path) as jobs:
        jobs.submit([JobRequest("e", "echo")])
        jobs.wait(["e"])
        pids = jobs._pools[Lane.HEAVY].pids()
        assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, signal.SIG_DFL)


def test_quick_jobs_do_not_wait_for_heavy_ones(tmp_path: Path) -> None:
    with engine(tmp_path, workers=1) as jobs:
        jobs.submit([JobRequest(f"heavy-{n}", "nap", {"seconds": 60}) for n in range(8)])
        assert until(lambda: jobs.outcomes(["heavy-0"])["heavy-0"].state is JobState.RUNNING)
        jobs.submit([JobRequest(f"quick-{n}", "arrive", {"n": n}) for n in range(20)])
        found = jobs.wait([f"quick-{n}" for n in range(20)])
        heavy = jobs.outcomes([f"heavy-{n}" for n in range(8)])
    assert {outcome.state for outcome in found.values()} == {JobState.DONE}
    assert not any(outcome.state.finished for outcome in heavy.values())


def test_a_quick_job_is_run_again_in_its_lane(tmp_path: Path) -> None:
    with engine(tmp_path, workers=1) as jobs:
        jobs.submit([JobRequest("heavy", "nap", {"seconds": 60})])
        jobs.submit([JobRequest("q", "die_quickly", {"counter": str(tmp_path / "c")})])
        assert jobs.wait(["q"])["q"].attempts == 2
        jobs.submit([JobRequest("q", "die_quickly", {})], again=frozenset({JobState.DONE}))
        assert jobs.wait(["q"])["q"].state is JobState.DONE
        assert not jobs.outcomes(["heavy"])["heavy"].state.finished


def test_a_quick_job_of_an_engine_that_stopped_is_taken_by_the_next(tmp_path: Path) -> None:
    with engine(tmp_path, workers=0) as desk:
        desk.submit([JobRequest("q", "arrive", {}), JobRequest("h", "echo", {})])
    with engine(tmp_path) as jobs:
        assert {o.state for o in jobs.wait(["q", "h"]).values()} == {JobState.DONE}
