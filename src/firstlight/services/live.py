"""Keeping an archive live: sources are asked for new files, and what follows is set going.

Everything here may be killed at any moment. What has been announced is in the database; what is
not there is announced again by its source.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from firstlight.errors import FirstlightError, RemoteError
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.services.intake.announcement import Announcement
from firstlight.services.intake.arrival_tally import ArrivalCounts, ArrivalTally
from firstlight.work.engine import (
    UNSUCCESSFUL,
    Engine,
    JobOutcome,
    JobRequest,
    JobState,
)
from firstlight.work.job_desk import alive

__all__ = ["Chore", "LiveReport", "LiveService", "Source", "TakingFailed"]

_POLL_S = 0.1  # between two questions to a source that had nothing
_GATHER_S = 0.1  # between two transactions with announcements, where they come in a stream
_BATCH = 200  # arrivals announced at once; more would keep the first ones waiting
_REPORT_S = 1.0
_GLANCE_S = 0.25  # between two looks whether anything was written, at most
_REST_S = 2.0  # an idle chore rests no longer: some things are due when a time has come
_MOPPING_UP_S = 30.0
_LONGEST_PAUSE_S = 60.0
_QUIET_POLLS_S = 1.0  # a source that had nothing for so long is empty, where only a look is wanted
_FORGOTTEN_AFTER = timedelta(days=2)
_AGAIN = frozenset(state for state in JobState if state.finished)

_log = logging.getLogger(__name__)


class TakingFailed(RemoteError):
    """Files that have come cannot be taken now."""

    code = "archive.taking_failed"

    @classmethod
    def of(cls, outcome: JobOutcome) -> TakingFailed:
        """Tell what befell a job."""
        error = outcome.error or {}
        return cls(
            subject=outcome.job_id,
            found=error.get("message") or outcome.state.value,
            hint=error.get("hint") or "nothing is lost: they wait, and are tried again",
        )


class Source(Protocol):
    """Notices files. See the sources of `firstlight.services`."""

    @property
    def is_waiting(self) -> bool:
        """Whether it has seen something that it will tell of soon."""
        ...

    def poll(self) -> list[Announcement]:
        """Files that have come and were not acknowledged."""
        ...

    def acknowledge(self, announcements: Sequence[Announcement]) -> None:
        """Remember that these were announced, and do not tell of them again."""
        ...


class Arrivals(Protocol):
    """Takes announcements down, and tells which jobs they need."""

    def announce(self, announcements: Sequence[Announcement]) -> list[Any]:
        """Write the announcements down; returns the ids of those still to be worked."""
        ...

    def requests(self, ids: Sequence[Any]) -> list[JobRequest]:
        """Jobs for arrivals that have just been announced."""
        ...

    def plan(self, now: datetime) -> list[JobRequest]:
        """Jobs for every arrival that waits without one."""
        ...


@dataclass(frozen=True)
class Chore:
    """Something that is done again and again beside the arrivals.

    Attributes
    ----------
    title
        For the log.
    run
        Does it once. Returns the seconds until the next time.
    close
        Ends what `run` has begun: called in the same thread, after its last time.
    idle_s
        A pause of so long, or longer, says that it has nothing under way, and that what comes
        next somebody will have written to the database: it then rests until that has happened,
        where the database tells. None for a chore of another kind.
    """

    title: str
    run: Callable[[], float]
    close: Callable[[], object] | None = None
    idle_s: float | None = None


@dataclass(frozen=True)
class LiveReport:
    """What became of arrivals.

    Attributes
    ----------
    refused
        ``name`` and ``error`` of each that could not be used and was not told before.
    """

    counts: ArrivalCounts
    refused: list[dict[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {**self.counts.as_dict(), "refused": self.refused}


class LiveService:
    """Takes in what sources tell of, while it runs.

    Parameters
    ----------
    database
        Where arrivals are counted.
    arrivals
        Takes announcements down.
    make_engine
        Makes the engine that works them off; given its number of workers, 0 for none.
    chores
        What is done beside: live reduction, expiry, webhooks.
    """

    def __init__(
        self,
        *,
        database: Database,
        arrivals: Arrivals,
        make_engine: Callable[[], Engine],
        chores: Sequence[Chore] = (),
    ) -> None:
        self._database = database
        self._arrivals = arrivals
        self._make_engine = make_engine
        self._chores = [*chores, Chore("unfinished arrivals", self._mop_up)]
        self._desk = _Desk(self._write_down)
        self._engine: Engine | None = None
        self._taking: set[str] = set()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._tally = ArrivalTally(database)

    def add(self, chore: Chore) -> None:
        """Do one thing more, from the next start on."""
        self._chores.append(chore)

    @contextmanager
    def running(self, sources: Sequence[Source] = ()) -> Iterator[LiveService]:
        """Ask the sources and do the chores, each in a thread of its own, until the end."""
        self.start(sources)
        try:
            yield self
        finally:
            self.stop()

    def start(self, sources: Sequence[Source] = ()) -> None:
        """Begin; see `running`."""
        self._stop.clear()
        self._tally = ArrivalTally(self._database)
        self._engine = self._make_engine()
        self._engine.start()
        watching = [Chore(f"source {source}", _asking(self, source)) for source in sources]
        self._threads = [
            threading.Thread(target=self._repeat, args=(chore,), name=chore.title, daemon=True)
            for chore in (*self._chores, *watching)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End, and leave what is unfinished to the next."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self._engine is not None:
            self._engine.stop()
            self._engine = None

    def announce(self, announcements: Sequence[Announcement]) -> None:
        """Write announcements down and ask for their jobs.

        When this returns they are safe, whatever happens to this process. Those of callers in
        several threads, as of uploads side by side, are written together.
        """
        if announcements:
            self._desk.hand_in(announcements)

    def _write_down(self, announcements: Sequence[Announcement]) -> None:
        for start in range(0, len(announcements), _BATCH):
            ids = self._arrivals.announce(announcements[start : start + _BATCH])
            if ids:
                requests = self._arrivals.requests(ids)
                self._taking |= {request.job_id for request in requests}
                self.submit(requests)

    def submit(self, requests: Sequence[JobRequest]) -> None:
        """Ask for jobs; those that have ended are run again."""
        if requests and self._engine is not None:
            self._engine.submit(requests, again=_AGAIN)

    def forget_jobs(self) -> None:
        """Forget jobs that took arrivals long ago; the arrivals themselves tell what became."""
        if self._engine is not None:
            self._engine.forget(_FORGOTTEN_AFTER, ["take_arrivals"])

    def outcomes(self, job_ids: Collection[str]) -> dict[str, JobOutcome]:
        """What is known of these jobs; ids that are unknown are absent."""
        if not job_ids or self._engine is None:
            return {}
        return self._engine.outcomes(job_ids)

    def cancel(self, job_ids: Collection[str]) -> None:
        """Stop these jobs; finished and unknown ones are left alone."""
        if job_ids and self._engine is not None:
            self._engine.cancel(job_ids)

    def take(
        self,
        sources: Sequence[Source],
        on_change: Callable[[ArrivalCounts], None] | None = None,
    ) -> LiveReport:
        """Take what the sources have now, and return when all of it is worked off.

        Call it while `running` without sources.

        Raises
        ------
        TakingFailed
            Jobs have come to nothing for a reason that is not in the files. Their arrivals
            wait, and are taken the next time.
        """
        self._taking.clear()
        empty_since = time.monotonic()
        while time.monotonic() - empty_since < _QUIET_POLLS_S:
            told = sum(self.ask(source) for source in sources)
            if told or any(source.is_waiting for source in sources):
                empty_since = time.monotonic()
            self._stop.wait(_POLL_S)
        counts = self._tally.counts()
        while counts.waiting and not self._stop.is_set():
            if on_change is not None:
                on_change(counts)
            self._raise_if_stuck()
            self._stop.wait(_POLL_S)
            counts = self._tally.counts()
        return LiveReport(counts, self._tally.refused())

    def _raise_if_stuck(self) -> None:
        if self._engine is None or alive(self, self._taking):
            return
        failed = self._engine.outcomes(self._taking, states=UNSUCCESSFUL)
        for outcome in failed.values():
            raise TakingFailed.of(outcome)

    def ask(self, source: Source) -> int:
        """Ask a source once; returns how many files it told of."""
        told = source.poll()
        if told:
            self.announce(told)
            source.acknowledge(told)
        return len(told)

    def reports(self) -> Iterator[LiveReport]:
        """What has changed, every second or so in which something has, until the end."""
        before: ArrivalCounts | None = None
        while not self._stop.wait(_REPORT_S):
            report = LiveReport(self._tally.counts(), self._tally.refused())
            if report.counts != before or report.refused:
                yield report
            before = report.counts

    def _mop_up(self) -> float:
        """Ask again for what was announced and has no job, or whose job came to nothing."""
        requests = self._arrivals.plan(utc_now())
        if requests and self._engine is not None:
            ids = [request.job_id for request in requests]
            for outcome in self._engine.outcomes(ids, states=UNSUCCESSFUL).values():
                _log.warning("%s", TakingFailed.of(outcome))
        self.submit(requests)
        return _MOPPING_UP_S

    def _repeat(self, chore: Chore) -> None:
        """Do a chore until the end. What goes wrong is logged and tried again, ever later."""
        failures = 0
        while not self._stop.is_set():
            seen = None
            try:
                # Before it runs: what is written meanwhile is for the next time.
                seen = None if chore.idle_s is None else self._database.changes()
                pause = chore.run()
                failures = 0
            except Exception as fault:  # noqa: BLE001, a chore must outlive whatever befalls it
                seen = None
                failures += 1
                pause = min(2.0**failures, _LONGEST_PAUSE_S)
                foreseen = isinstance(fault, FirstlightError | OSError)
                _log.warning(
                    "%s: %s; tried again in %g s",
                    chore.title,
                    fault,
                    pause,
                    exc_info=None if foreseen else fault,
                )
            is_idle = chore.idle_s is not None and pause >= chore.idle_s
            self._rest(pause, seen if is_idle else None)
        if chore.close is not None:
            try:
                chore.close()
            except FirstlightError as fault:
                _log.warning("%s: %s", chore.title, fault)

    def _rest(self, pause: float, seen: int | None) -> None:
        """Wait so long, and on while the database is as it was `seen`; not for ever."""
        until = time.monotonic() + (0.0 if seen is None else _REST_S)
        while not self._stop.wait(pause):
            if time.monotonic() >= until or self._database.changes() != seen:
                return
            pause = min(pause, _GLANCE_S)


@dataclass(eq=False)
class _Slip:
    """What one thread hands in, and why it could not be written."""

    announcements: Sequence[Announcement]
    fault: Exception | None = None


class _Desk:
    """One thread writes for all that wait: a transaction and a job for many, not for each."""

    def __init__(self, write: Callable[[Sequence[Announcement]], None]) -> None:
        self._write = write
        self._turn = threading.Lock()
        self._lock = threading.Lock()
        self._slips: list[_Slip] = []
        self._next_at = 0.0

    def hand_in(self, announcements: Sequence[Announcement]) -> None:
        """Return when these are written, by this thread or by one before it."""
        slip = _Slip(announcements)
        with self._lock:
            self._slips.append(slip)
        with self._turn:
            if slip in self._slips:
                # Under a stream of uploads the next ones come meanwhile; a lone one never waits.
                time.sleep(max(0.0, self._next_at - time.monotonic()))
            with self._lock:
                slips, self._slips = self._slips, []
            if slips:
                self._next_at = time.monotonic() + _GATHER_S
                self._write_all(slips)
        if slip.fault is not None:
            raise slip.fault

    def _write_all(self, slips: Sequence[_Slip]) -> None:
        try:
            self._write([each for slip in slips for each in slip.announcements])
        except Exception as fault:  # noqa: BLE001, it is raised where each was handed in
            for slip in slips:
                slip.fault = fault


def _asking(live: LiveService, source: Source) -> Callable[[], float]:
    return lambda: 0.0 if live.ask(source) else _POLL_S
