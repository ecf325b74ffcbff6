"""The archive kept live: announced before acknowledged, and nothing stops the rest."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from firstlight.errors import RemoteError
from firstlight.models.arrival import Arrival, ArrivalState, Origin
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.services import live as live_module
from firstlight.services.intake.announcement import Announcement
from firstlight.services.intake.arrival_tally import ArrivalCounts, ArrivalTally
from firstlight.services.live import Chore, LiveService, TakingFailed
from firstlight.work.engine import JobOutcome, JobRequest, JobState


class FakeEngine:
    """Takes jobs down; `work` says what a job does."""

    def __init__(self, work: Any = None) -> None:
        self.submitted: list[JobRequest] = []
        self.work = work or (lambda request: None)
        self.started = False
        self.failing = False

    def start(self) -> None:
        self.started = True

    def stop(self) -> None:
        self.started = False

    def submit(self, requests: Sequence[JobRequest], *, again: Any = ()) -> None:
        assert self.started
        self.submitted += requests
        for request in requests:
            self.work(request)

    def outcomes(self, job_ids: Any, *, states: Any = None) -> dict[str, JobOutcome]:
        state = JobState.FAILED if self.failing else JobState.DONE
        error = {"message": "no room on the disk", "hint": None} if self.failing else None
        found = {each: JobOutcome(each, "take_arrivals", state, error=error) for each in job_ids}
        return {name: each for name, each in found.items() if states is None or state in states}


class FakeArrivals:
    """Writes rows; a job for each."""

    def __init__(self, database: Database, story: list[str]) -> None:
        self.database = database
        self.story = story

    def announce(self, announcements: Sequence[Announcement]) -> list[str]:
        self.story.append("announced")
        ids = []
        with self.database.begin() as session:
            for each in announcements:
                row = Arrival(
                    source=each.source, version=each.version, name=each.name, state="received"
                )
                row.identify()
                if session.get(Arrival, row.id) is None:
                    session.add(row)
                    ids.append(str(row.id))
        return ids

    def requests(self, ids: Sequence[str]) -> list[JobRequest]:
        return [JobRequest(f"take-{each}", "take_arrivals", {"arrivals": [each]}) for each in ids]

    def plan(self, now: Any) -> list[JobRequest]:
        return [JobRequest("mop-up", "take_arrivals", {})]


class FakeSource:
    """Tells of names until they are acknowledged; falls over where it is told to."""

    def __init__(self, names: list[str], story: list[str], faults: int = 0) -> None:
        self.names = names
        self.story = story
        self.faults = faults
        self.waits = 0

    @property
    def is_waiting(self) -> bool:
        self.waits -= 1
        return self.waits >= 0

    def poll(self) -> list[Announcement]:
        if self.faults:
            self.faults -= 1
            raise RemoteError("the bucket does not answer")
        return [Announcement(Origin.FOLDER, f"/in/{name}", name, "1") for name in self.names]

    def acknowledge(self, announcements: Sequence[Announcement]) -> None:
        self.story.append("acknowledged")
        self.names = [n for n in self.names if n not in {each.name for each in announcements}]


def finish(database: Database, state: ArrivalState) -> Any:
    def work(request: JobRequest) -> None:
        with database.begin() as session:
            for row in session.query(Arrival).filter_by(state="received"):
                row.state = state

    return work


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_a_source_tells_is_announced_then_acknowledged(database: Database):
    story: list[str] = []
    engine, arrivals = FakeEngine(), FakeArrivals(database, story)
    source = FakeSource(["a.fits", "b.fits"], story)
    live = LiveService(database=database, arrivals=arrivals, make_engine=lambda: engine)
    with live.running([source]):
        wait_for(lambda: "acknowledged" in story)
        report = next(live.reports())
        assert report.counts == ArrivalCounts(waiting=2)
    assert story == ["announced", "acknowledged"]
    assert [r.job_id for r in engine.submitted if r.job_id != "mop-up"]
    assert "mop-up" in [request.job_id for request in engine.submitted]
    assert not engine.started


def test_taking_ends_when_all_is_worked_off(database: Database):
    engine = FakeEngine(finish(database, ArrivalState.ARCHIVED))
    live = LiveService(
        database=database, arrivals=FakeArrivals(database, []), make_engine=lambda: engine
    )
    with live.running():
        report = live.take([FakeSource([f"{i}.fits" for i in range(450)], [])])
    assert report.counts == ArrivalCounts(archived=450)
    assert report.counts.sentence() == "450 archived"
    assert report.as_dict()["refused"] == []


def test_taking_does_not_wait_for_jobs_that_came_to_nothing(database: Database):
    engine = FakeEngine()
    engine.failing = True
    live = LiveService(
        database=database, arrivals=FakeArrivals(database, []), make_engine=lambda: engine
    )
    with live.running(), pytest.raises(TakingFailed, match="no room on the disk"):
        live.take([FakeSource(["a.fits"], [])])


def test_a_source_that_falls_over_is_asked_again(database: Database, caplog):
    story: list[str] = []
    live = LiveService(
        database=database, arrivals=FakeArrivals(database, story), make_engine=FakeEngine
    )
    with live.running([FakeSource(["x"], [], faults=1), FakeSource(["y"], [])]):
        assert any(report.counts.waiting == 2 for report in live.reports())
    assert "the bucket does not answer; tried again in 2 s" in caplog.text
    assert "Traceback" not in caplog.text


def test_an_idle_chore_rests_until_something_is_written(database: Database, monkeypatch):
    monkeypatch.setattr(live_module, "_REST_S", 600.0)
    ran, busy = threading.Semaphore(0), threading.Event()

    def run() -> float:
        ran.release()
        return 0.01 if busy.is_set() else 0.5

    live = LiveService(
        database=database,
        arrivals=FakeArrivals(database, []),
        make_engine=FakeEngine,
        chores=[Chore("rows", run, idle_s=0.5)],
    )
    with live.running():
        assert ran.acquire(timeout=20)
        assert not ran.acquire(timeout=1.0)
        busy.set()
        add(database, "new", "archived", 0)
        # It has seen the row, and goes on as fast as it says while it has something under way.
        assert all(ran.acquire(timeout=20) for _ in range(3))


def test_what_many_threads_announce_is_written_together(database: Database):
    story: list[str] = []

    class Slow(FakeArrivals):
        def announce(self, announcements: Sequence[Announcement]) -> list[str]:
            time.sleep(0.1)
            return super().announce(announcements)

    live = LiveService(database=database, arrivals=Slow(database, story), make_engine=FakeEngine)
    with live.running():
        names = [f"{number}.fits" for number in range(20)]
        with ThreadPoolExecutor(20) as pool:
            list(pool.map(lambda name: live.announce(FakeSource([name], []).poll()), names))
        assert next(live.reports()).counts.waiting == 20
    assert len(story) < 10


def test_who_hands_in_is_told_when_it_could_not_be_written(database: Database):
    class Broken(FakeArrivals):
        def announce(self, announcements: Sequence[Announcement]) -> list[str]:
            raise RemoteError("the database does not answer")

    live = LiveService(database=database, arrivals=Broken(database, []), make_engine=FakeEngine)
    with pytest.raises(RemoteError, match="does not answer"):
        live.announce(FakeSource(["a.fits"], []).poll())


def test_chores_are_repeated_and_end(database: Database):
    done = threading.Event()
    times: list[float] = []

    def chore() -> float:
        times.append(time.monotonic())
        if len(times) == 3:
            done.set()
        return 0.01

    live = LiveService(
        database=database,
        arrivals=FakeArrivals(database, []),
        make_engine=FakeEngine,
        chores=[Chore("count", chore)],
    )
    with live.running():
        assert done.wait(60)
    after = len(times)
    time.sleep(0.05)
    assert len(times) == after


def add(database: Database, name: str, state: str, minutes_ago: float) -> None:
    with database.begin() as session:
        row = Arrival(
            source=f"/in/{name}", version="1", name=name, state=state,
            error={"code": "picture.bad", "message": "No picture."} if state == "quarantined"
            else None,
            created_at=utc_now() - timedelta(minutes=minutes_ago),
        )  # fmt: skip
        row.identify()
        session.add(row)


def test_the_tally_counts_each_once_however_often_it_is_asked(database: Database):
    tally = ArrivalTally(database, utc_now() - timedelta(minutes=60))
    add(database, "before", "archived", 90)
    add(database, "a", "archived", 50)
    add(database, "b", "known", 40)
    assert tally.counts() == tally.counts() == ArrivalCounts(archived=1, known=1)
    add(database, "waits", "received", 0)
    add(database, "c", "archived", 0)
    counts = tally.counts()
    assert counts == ArrivalCounts(waiting=1, archived=2, known=1)
    assert counts.sentence() == "2 archived, 1 known, 1 waiting"


def test_the_tally_does_not_settle_what_still_waits(database: Database):
    tally = ArrivalTally(database, utc_now() - timedelta(minutes=60))
    add(database, "waits", "received", 50)
    add(database, "a", "archived", 40)
    assert tally.counts() == ArrivalCounts(waiting=1, archived=1)
    with database.begin() as session:
        session.query(Arrival).filter_by(name="waits").update({"state": "superseded"})
    assert tally.counts() == ArrivalCounts(archived=1, superseded=1)


def test_what_was_refused_is_told_once_with_its_reason(database: Database):
    tally = ArrivalTally(database, utc_now() - timedelta(minutes=60))
    add(database, "x.jpg", "quarantined", 0)
    (told,) = tally.refused()
    assert (told["name"], told["error"]["code"]) == ("x.jpg", "picture.bad")
    tally.counts()
    add(database, "y.jpg", "quarantined", 0)
    assert [each["name"] for each in tally.refused()] == ["y.jpg"]
    assert tally.refused() == []
