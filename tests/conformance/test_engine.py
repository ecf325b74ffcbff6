"""What every engine promises, asked of each of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from firstlight.errors import InvalidInput
from firstlight.work.dbos_engine import DbosEngine
from firstlight.work.engine import (
    UNSUCCESSFUL,
    Engine,
    EngineStopped,
    JobKind,
    JobOutcome,
    JobRequest,
    JobState,
    UnknownJob,
    WorkerSetup,
)
from firstlight.work.inline_engine import InlineEngine
from firstlight.work.retry import RETRIES, Cause, RetryRule

SOON = {
    **RETRIES,
    Cause.REMOTE: RetryRule(attempts=4),
    Cause.INTERNAL: RetryRule(attempts=2),
    Cause.WORKER_DIED: RetryRule(attempts=2),
}
JOBS = {
    name: JobKind(f"work_handlers:{name}", retries=SOON)
    for name in ("echo", "bad_file", "defect", "fail_at_first", "nap", "make_product")
}
SETUP = WorkerSetup(initializer="work_handlers:make_services", argument="workspace")


@pytest.fixture(autouse=True)
def handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "work")


Make = Callable[[], Engine]


@pytest.fixture(params=["inline", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Make engines of one sort, all on one record where there is one."""
    if request.param == "inline":
        return lambda: InlineEngine(JOBS, SETUP)
    if request.param == "sqlite":
        database: Path | str = tmp_path / "jobs.sqlite"
    else:
        database = str(request.getfixturevalue("postgres_jobs_url"))
    return lambda: DbosEngine(database, JOBS, workers=2, setup=SETUP)


@pytest.fixture
def engine(make: Make) -> Iterator[Engine]:
    with make() as engine:
        yield engine


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "products"
    folder.mkdir()
    return folder


def test_it_is_an_engine(engine: Engine) -> None:
    assert isinstance(engine, Engine)


def test_a_job_runs_and_its_result_is_kept(engine: Engine) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    engine.submit([JobRequest("e1", "echo", {"a": [1, None, "ä"]})])
    (outcome,) = engine.wait(["e1"]).values()
    assert outcome.job_id == "e1"
    assert outcome.name == "echo"
    assert outcome.state is JobState.DONE
    assert outcome.result == {"payload": {"a": [1, None, "ä"]}, "argument": "workspace"}
    assert outcome.error is None
    assert outcome.attempts == 1
    assert outcome.started is not None
    assert outcome.finished is not None
    assert before <= outcome.started <= outcome.finished <= datetime.now(UTC)
    assert engine.outcomes(["e1"]) == {"e1": outcome}
    assert engine.wait(["e1"]) == {"e1": outcome}


def test_asking_twice_is_asking_once(engine: Engine, folder: Path) -> None:
    request = JobRequest("p", "make_product", {"folder": str(folder), "name": "one"})
    engine.submit([request, request])
    engine.submit([request])
    engine.wait(["p", "p"])
    engine.submit([request])
    assert engine.wait(["p"])["p"].state is JobState.DONE
    assert len((folder / "ledger").read_text().splitlines()) == 1


def test_a_bad_file_never_stops_the_rest(engine: Engine, folder: Path) -> None:
    requests = [
        JobRequest(
            f"job-{n}", "make_product", {"folder": str(folder), "name": str(n), "bad": n == 3}
        )
        for n in range(8)
    ]
    engine.submit(requests)
    outcomes = engine.wait([r.job_id for r in requests])
    assert [o.state for o in outcomes.values()] == [
        JobState.FAILED if n == 3 else JobState.DONE for n in range(8)
    ]
    failed = outcomes["job-3"]
    assert failed.error is not None
    assert failed.error["code"] == "file.bad"
    assert failed.error["kind"] == "user"
    assert failed.error["subject"] == "3"
    assert failed.result is None
    assert failed.attempts == 1
    assert {p.name for p in folder.iterdir()} == {str(n) for n in range(8) if n != 3} | {"ledger"}


def test_an_unforeseen_fault_is_internal_and_keeps_its_traceback(engine: Engine) -> None:
    engine.submit([JobRequest("d", "defect", {"divisor": 0})])
    outcome = engine.wait(["d"])["d"]
    assert outcome.state is JobState.FAILED
    assert outcome.error is not None
    assert outcome.error["code"] == "internal"
    assert "ZeroDivisionError" in outcome.error["traceback"]
    assert outcome.attempts == SOON[Cause.INTERNAL].attempts


def test_what_others_did_wrong_is_tried_again(engine: Engine, folder: Path) -> None:
    def request(name: str, failures: int) -> JobRequest:
        payload = {"counter": str(folder / name), "failures": failures}
        return JobRequest(name, "fail_at_first", payload)

    engine.submit([request("comes-back", 2), request("stays-away", 99)])
    outcomes = engine.wait(["comes-back", "stays-away"])
    assert outcomes["comes-back"].state is JobState.DONE
    assert outcomes["comes-back"].result == 3
    assert outcomes["comes-back"].attempts == 3
    assert outcomes["stays-away"].state is JobState.FAILED
    assert outcomes["stays-away"].attempts == 4
    assert outcomes["stays-away"].error is not None
    assert outcomes["stays-away"].error["code"] == "remote"


def test_failed_jobs_run_again_only_when_asked(engine: Engine, folder: Path) -> None:
    payload = {"counter": str(folder / "c"), "failures": 5}
    request = JobRequest("r", "fail_at_first", payload)
    engine.submit([request])
    assert engine.wait(["r"])["r"].state is JobState.FAILED
    engine.submit([request])
    assert engine.wait(["r"])["r"].state is JobState.FAILED
    assert (folder / "c").stat().st_size == 4
    engine.submit([request], again=UNSUCCESSFUL)
    outcome = engine.wait(["r"])["r"]
    assert outcome.state is JobState.DONE
    assert outcome.result == 6
    assert outcome.attempts == 2
    assert outcome.error is None
    engine.submit([request], again=UNSUCCESSFUL)
    assert engine.wait(["r"])["r"] == outcome
    engine.submit([request], again=[JobState.DONE])
    assert engine.wait(["r"])["r"].result == 7


def test_changes_are_told_in_order(engine: Engine) -> None:
    told: dict[str, list[JobOutcome]] = {}
    ids = [f"n{n}" for n in range(5)]
    engine.submit([JobRequest(job_id, "nap", {"seconds": 0.05}) for job_id in ids])
    engine.wait(ids, lambda outcome: told.setdefault(outcome.job_id, []).append(outcome))
    assert sorted(told) == ids
    order = [JobState.QUEUED, JobState.RUNNING, JobState.DONE]
    for changes in told.values():
        states = [outcome.state for outcome in changes]
        assert states[-1] is JobState.DONE
        assert states == sorted(set(states), key=order.index)


def test_a_queued_job_can_be_cancelled_and_revived(engine: Engine, folder: Path) -> None:
    first = [JobRequest(f"n{n}", "nap", {"seconds": 0.3}) for n in range(8)]
    last = JobRequest("p", "make_product", {"folder": str(folder), "name": "late"})
    engine.submit([*first, last])
    engine.cancel(["p", "no-such-job"])
    assert engine.wait(["p"])["p"].state is JobState.CANCELLED
    assert not (folder / "late").exists()
    engine.submit([last])
    assert engine.outcomes(["p"])["p"].state is JobState.CANCELLED
    engine.cancel([r.job_id for r in first])
    engine.submit([last], again=UNSUCCESSFUL)
    assert engine.wait(["p"])["p"].state is JobState.DONE
    assert (folder / "late").exists()


def test_cancelling_what_is_finished_changes_nothing(engine: Engine) -> None:
    engine.submit([JobRequest("e", "echo")])
    done = engine.wait(["e"])
    engine.cancel(["e"])
    assert engine.outcomes(["e"]) == done


def test_outcomes_can_be_chosen_by_state(engine: Engine) -> None:
    engine.submit([JobRequest("good", "echo"), JobRequest("bad", "bad_file")])
    engine.wait(["good", "bad"])
    assert set(engine.outcomes()) == {"good", "bad"}
    assert set(engine.outcomes(states=[JobState.FAILED])) == {"bad"}
    assert set(engine.outcomes(["good"], states=[JobState.FAILED])) == set()
    assert engine.outcomes(["no-such-job"]) == {}


def test_lists_of_jobs_come_in_pages_the_newest_first(engine: Engine) -> None:
    requests = [
        JobRequest("one", "echo", {"of": 3}),
        JobRequest("bad", "bad_file"),
        JobRequest("two", "echo"),
    ]
    for request in requests:
        engine.submit([request])
        engine.wait([request.job_id])
        time.sleep(0.005)  # they are ordered by the millisecond
    assert [each.outcome.job_id for each in engine.recent(2)] == ["two", "bad"]
    [oldest] = engine.recent(2, skip=2)
    assert oldest.outcome.job_id == "one"
    assert oldest.outcome.name == "echo"
    assert oldest.payload == {"of": 3}
    failed = engine.recent(5, states=[JobState.FAILED])
    assert [each.outcome.job_id for each in failed] == ["bad"]
    assert engine.recent(5, states=[JobState.QUEUED]) == []


def test_what_cannot_be_stored_or_run_is_refused_whole(engine: Engine) -> None:
    good = JobRequest("good", "echo")
    with pytest.raises(InvalidInput) as unknown:
        engine.submit([good, JobRequest("x", "reduse")])
    assert unknown.value.found == "reduse"
    with pytest.raises(InvalidInput, match="JSON"):
        engine.submit([good, JobRequest("x", "echo", {"path": Path()})])
    with pytest.raises(InvalidInput, match="id"):
        engine.submit([good, JobRequest(" ", "echo")])
    assert engine.outcomes() == {}


def test_waiting_for_nothing_or_for_the_unknown(engine: Engine) -> None:
    assert engine.wait([]) == {}
    with pytest.raises(UnknownJob):
        engine.wait(["no-such-job"])


def test_a_stopped_engine_says_so(engine: Engine) -> None:
    engine.stop()
    with pytest.raises(EngineStopped):
        engine.submit([JobRequest("e", "echo")])
    engine.stop()


def test_done_jobs_are_forgotten_when_they_are_old_and_failed_ones_kept(engine: Engine) -> None:
    requests = [
        JobRequest("old", "echo"),
        JobRequest("other", "nap", {"seconds": 0}),
        JobRequest("failed", "bad_file"),
    ]
    engine.submit(requests)
    engine.wait(["old", "other", "failed"])
    assert engine.forget(timedelta(hours=1), ["echo", "bad_file"]) == 0
    assert engine.forget(timedelta(seconds=-1), ["echo", "bad_file"]) == 1
    assert set(engine.outcomes()) == {"other", "failed"}
    engine.submit([JobRequest("old", "echo", {"again": True})])
    assert engine.wait(["old"])["old"].result["payload"] == {"again": True}
