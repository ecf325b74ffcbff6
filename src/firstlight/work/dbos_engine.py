"""The durable engine: DBOS keeps the record, a process pool does the work.

Each job is a workflow of DBOS in the queue ``jobs``, on SQLite or PostgreSQL. Each engine that has
workers takes jobs from there, makes each attempt in its pool as one step, and DBOS writes down
what it gave. When the process is killed, the next engine on the same database takes over.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from firstlight.work.engine import (
    EngineStopped,
    JobOutcome,
    JobRecord,
    JobRequest,
    JobState,
    JobTable,
    JsonValue,
    Lane,
    OnChange,
    UnknownJob,
    WorkerSetup,
    check_requests,
)
from firstlight.work.pool import PoolClosed, ProcessPool
from firstlight.work.queue_bell import QueueBell
from firstlight.work.retry import Cause, Report, run_attempts
from firstlight.work.watch import Watch

if TYPE_CHECKING:
    from firstlight.work.dbos_runner import Runner
    from firstlight.work.dbos_store import JobStore
    from firstlight.work.takeover import Executor, Registry

__all__ = ["DbosEngine"]

_LOOK_AFTER_S = 1.0  # between looks for the cancelled and the dead
_BEAT_S = 5.0
_SETTLE_S = 2.0  # what a stop waits for the last results to be written

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Hand:
    """A job that this process has in hand."""

    lane: Lane
    pausing: bool = False


class DbosEngine:
    """Runs jobs durably.

    Parameters
    ----------
    database
        A path, for a SQLite file of its own, or the URL of a database.
    jobs
        What it can do. Engines on one database agree on this.
    workers
        How many heavy jobs run at once in this process; each other lane has one worker more. 0 for
        an engine that only submits and watches.
    setup
        What each worker does before its first job.
    """

    def __init__(
        self,
        database: Path | str,
        jobs: JobTable,
        *,
        workers: int = 1,
        setup: WorkerSetup | None = None,
    ) -> None:
        self._url = make_url(database) if isinstance(database, str) else _sqlite_url(database)
        self._jobs = jobs
        self._workers = workers
        self._setup = setup or WorkerSetup()
        self._lock = threading.Lock()
        self._hands: dict[str, _Hand] = {}
        self._ended: set[str] = set()  # their end is known here, and perhaps not yet written down
        self._listeners: set[SimpleQueue[JobOutcome]] = set()
        self._stopping = threading.Event()
        self._bell: QueueBell | None = None
        self._store: JobStore | None = None
        self._registry: Registry | None = None
        self._runner: Runner | None = None
        self._pools: dict[Lane, ProcessPool] = {}
        self._caretaker: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Open the database, take over from the dead, and begin to work.

        Raises
        ------
        OneRunnerOnly
            This process has a running engine with workers already.
        MissingDependency, JobsUnreachable
            The driver for the database is not installed, or the database does not answer.
        """
        if self._store is not None:
            return
        self._stopping.clear()
        try:
            if self._workers:
                # Workers load their modules while this process loads DBOS.
                for lane, count in self._crew().items():
                    self._pools[lane] = ProcessPool(count, self._setup)
                    self._pools[lane].start()
            self._open()
        except BaseException:
            self.stop()
            raise

    def _crew(self) -> dict[Lane, int]:
        """Workers of each lane that has work of its kind."""
        lanes = {kind.lane for kind in self._jobs.values()}
        return {lane: 1 for lane in Lane if lane in lanes} | {Lane.HEAVY: self._workers}

    def _open(self) -> None:
        from firstlight.work.dbos_runner import Pace, Runner  # noqa: PLC0415 - slow to load
        from firstlight.work.dbos_store import JobStore, open_database  # noqa: PLC0415 - likewise
        from firstlight.work.takeover import Executor, Registry  # noqa: PLC0415 - likewise

        database = open_database(self._url)
        self._store = JobStore(database, self._jobs)
        if not self._pools:
            return
        self._me = me = Executor.myself()
        self._registry = Registry(database)
        self._registry.beat(me)
        self._caretaker = threading.Thread(
            target=self._take_care, args=(me, self._registry), name="jobs-care", daemon=True
        )
        self._caretaker.start()
        self._bell = QueueBell(self._store.waiting, self._has_room)
        self._bell.start()
        self._runner = Runner(
            database, me.executor_id, self._run_job, Pace(self._width, self._bell.await_job)
        )

    def stop(self) -> None:
        """Stop at once, and leave every unfinished job to the next engine."""
        self._stopping.set()
        if self._bell is not None:
            self._bell.close()
        if self._caretaker is not None:
            self._caretaker.join()
            self._caretaker = None
        if self._store is not None and self._runner is not None:
            self._settle(self._store)
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()
        if self._runner is not None:
            self._runner.close()
            self._runner = None
        self._bell = None
        if self._store is not None and self._registry is not None:
            self._store.requeue(self._me.executor_id)
            self._registry.strike_off(self._me.executor_id)
            self._registry = None
        if self._store is not None:
            self._store.close()
            self._store = None
        self._ended.clear()

    def _settle(self, store: JobStore) -> None:
        """Give results that are known a moment to be written, so that nobody does them again."""
        deadline = time.monotonic() + _SETTLE_S
        while time.monotonic() < deadline:
            with self._lock:
                self._ended &= store.under_way().keys()
                if not self._ended:
                    return
            time.sleep(0.01)

    # Asking

    def submit(
        self, requests: Iterable[JobRequest], *, again: Collection[JobState] = frozenset()
    ) -> None:
        """Write the requests down; see `Engine`."""
        store = self._running_store()
        checked = {request.job_id: request for request in check_requests(requests, self._jobs)}
        known = store.outcomes(checked)
        store.add(request for job_id, request in checked.items() if job_id not in known)
        for job_id, outcome in known.items():
            if outcome.state.finished and outcome.state in again:
                store.run_again(job_id, outcome.name)
        self._ring(*(self._jobs[request.name].lane for request in checked.values()))

    def outcomes(
        self, job_ids: Iterable[str] | None = None, *, states: Collection[JobState] | None = None
    ) -> dict[str, JobOutcome]:
        """Read what is known now; see `Engine`."""
        wanted = None if job_ids is None else list(dict.fromkeys(job_ids))
        return self._running_store().outcomes(wanted, states)

    def recent(
        self, limit: int, *, skip: int = 0, states: Collection[JobState] | None = None
    ) -> list[JobRecord]:
        """Read a page of the record; see `Engine`."""
        return self._running_store().recent(limit, skip, states)

    def cancel(self, job_ids: Iterable[str]) -> None:
        """Stop these. Those that another process has in hand end within a second or two."""
        wanted = list(dict.fromkeys(job_ids))
        self._running_store().cancel(wanted)
        self._drop(set(wanted))

    def forget(self, older_than: timedelta, names: Collection[str]) -> int:
        """Forget jobs that were done longer ago; see `Engine`."""
        return self._running_store().forget(datetime.now(UTC) - older_than, names)

    def wait(
        self, job_ids: Iterable[str], on_change: OnChange | None = None
    ) -> dict[str, JobOutcome]:
        """Wait for these, wherever they run; see `Engine`.

        Jobs of this process are heard of at once, others when the record is next looked at.
        """
        store = self._running_store()
        wanted = list(dict.fromkeys(job_ids))
        heard: SimpleQueue[JobOutcome] = SimpleQueue()
        with self._lock:
            self._listeners.add(heard)
        try:
            return Watch(store.outcomes, wanted, on_change).run(heard, self._has_in_hand)
        finally:
            with self._lock:
                self._listeners.discard(heard)

    def _running_store(self) -> JobStore:
        if self._store is None:
            raise EngineStopped(hint="start() it, or use it as a context manager")
        return self._store

    # Working

    def _width(self, lane: Lane) -> int:
        """How many jobs to have in hand: the pool's, as many to follow, and those that pause."""
        if self._stopping.is_set():
            return 0
        with self._lock:
            pausing = sum(hand.pausing for hand in self._hands.values() if hand.lane is lane)
        return 2 * self._crew().get(lane, 0) + pausing

    def _has_room(self, lane: Lane) -> bool:
        with self._lock:
            in_hand = sum(hand.lane is lane for hand in self._hands.values())
        return in_hand < self._width(lane)

    def _ring(self, *lanes: Lane) -> None:
        """Have the queues of these lanes looked at: a job has come, or there is room for one."""
        if self._bell is not None:
            self._bell.ring(*lanes)

    def _has_in_hand(self, job_id: str) -> bool:
        with self._lock:
            return job_id in self._hands

    def _run_job(self, job_id: str, name: str, payload: dict[str, JsonValue]) -> dict[str, Any]:
        """Run one job to its end; this is the body of the workflow."""
        from firstlight.work.dbos_runner import attempt_step  # noqa: PLC0415 - slow to load

        kind = self._jobs.get(name)
        hand = _Hand(Lane.HEAVY if kind is None else kind.lane)
        moments: list[str] = []

        def attempt(number: int) -> Report:
            made = attempt_step(number, lambda: self._attempt(job_id, name, number, payload))
            moments.extend((made["started"], made["finished"]))
            return Report.from_dict(made["report"])

        def pause(seconds: float) -> None:
            hand.pausing = True
            self._ring(hand.lane)
            if self._stopping.wait(seconds):
                raise PoolClosed
            hand.pausing = False

        with self._lock:
            self._hands[job_id] = hand
        try:
            report, made = run_attempts(attempt, {} if kind is None else kind.retries, pause)
            outcome = JobOutcome(
                job_id,
                name,
                _state(report.cause),
                result=report.result,
                error=report.error,
                attempts=made,
                started=datetime.fromisoformat(moments[0]),
                finished=datetime.fromisoformat(moments[-1]),
            )
            with self._lock:
                self._ended.add(job_id)
        finally:
            with self._lock:
                del self._hands[job_id]
            self._ring(hand.lane)
        self._announce(outcome)
        return outcome.as_dict()

    def _attempt(
        self, job_id: str, name: str, number: int, payload: dict[str, JsonValue]
    ) -> dict[str, Any]:
        """Make one attempt in the pool; this is one step of the workflow."""
        started = datetime.now(UTC)

        def on_start() -> None:
            nonlocal started
            started = datetime.now(UTC)
            self._announce(
                JobOutcome(job_id, name, JobState.RUNNING, attempts=number, started=started)
            )

        kind = self._jobs.get(name)
        if kind is None:
            unknown = UnknownJob("No job has this name here", subject=name)
            report = Report(error=dict(unknown.as_dict()), cause=Cause.MISSING)
        elif kind.lane not in self._pools:
            raise PoolClosed
        else:
            report = self._pools[kind.lane].run(
                kind.handler, payload, key=job_id, timeout_s=kind.timeout_s, on_start=on_start
            )
        return {
            "report": report.as_dict(),
            "started": started.isoformat(),
            "finished": datetime.now(UTC).isoformat(),
        }

    def _announce(self, outcome: JobOutcome) -> None:
        with self._lock:
            for listener in self._listeners:
                listener.put(outcome)

    def _take_care(self, me: Executor, registry: Registry) -> None:
        """Show that this process lives; look for the dead, and for jobs that were cancelled."""
        from firstlight.work.takeover import take_over  # noqa: PLC0415 - slow to load

        store = self._running_store()
        next_beat = time.monotonic() + _BEAT_S
        while True:
            try:
                if time.monotonic() >= next_beat:
                    registry.beat(me)
                    next_beat = time.monotonic() + _BEAT_S
                take_over(store, registry, me)
                with self._lock:
                    in_hand = set(self._hands)
                    self._ended &= store.under_way().keys() if self._ended else set()
                self._drop(store.cancelled(in_hand))
            except SQLAlchemyError:
                # A database that is away for a moment must not end what watches over the jobs.
                _log.warning("The record of jobs cannot be read", exc_info=True)
            if self._stopping.wait(_LOOK_AFTER_S):
                return

    def _drop(self, job_ids: set[str]) -> None:
        with self._lock:
            in_hand = {job_id: self._hands[job_id].lane for job_id in job_ids & self._hands.keys()}
        for job_id, lane in in_hand.items():
            if lane in self._pools:
                self._pools[lane].cancel(job_id)


def _sqlite_url(path: Path) -> URL:
    return URL.create("sqlite", database=str(path.absolute()))


def _state(cause: Cause | None) -> JobState:
    if cause is None:
        return JobState.DONE
    return JobState.TIMED_OUT if cause is Cause.TIMED_OUT else JobState.FAILED
