"""Whether this server can do its work, and in numbers what it has to do. Changes nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from firstlight.errors import FirstlightError
from firstlight.models.arrival import Arrival
from firstlight.models.database import Database
from firstlight.models.event import Event
from firstlight.storage import Store
from firstlight.work.job_counts import JobCounter, JobCounts

__all__ = ["Condition", "Figures", "Readiness", "ServerStateService"]

SILENT_AFTER_S = 60.0
_PROBE = "probe/ready"  # asked for, never written
_FIGURES_KEPT_S = 5.0


class Condition(StrEnum):
    """How one thing that the server stands on is."""

    OK = "ok"
    BROKEN = "broken"
    SILENT = "silent"  # no worker has been heard of; pages and the archive can still be read


@dataclass(frozen=True)
class Readiness:
    """What the server stands on, and whether it stands."""

    database: Condition
    storage: Condition
    workers: Condition

    @property
    def is_ready(self) -> bool:
        """Whether requests can be answered: jobs may wait for a worker, readers may not."""
        return Condition.BROKEN not in (self.database, self.storage)

    def as_dict(self) -> dict[str, str]:
        """JSON values."""
        return {
            "database": self.database.value,
            "storage": self.storage.value,
            "workers": self.workers.value,
        }


@dataclass(frozen=True)
class Figures:
    """What there is and what there is to do.

    Attributes
    ----------
    is_complete
        False where the database did not answer, so that nothing else is known.
    arrivals
        Files that have come, by what became of them.
    last_event
        Number of the newest event.
    """

    is_complete: bool = False
    arrivals: dict[str, int] = field(default_factory=dict)
    last_event: int = 0
    jobs: JobCounts = field(default_factory=JobCounts)


class ServerStateService:
    """Looks at what the server stands on.

    Parameters
    ----------
    database, store
        As configured.
    jobs
        Counts the jobs.
    clock
        Seconds, steady.
    """

    def __init__(
        self,
        *,
        database: Database,
        store: Store,
        jobs: JobCounter,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._store = store
        self._jobs = jobs
        self._clock = clock
        self._lock = threading.Lock()
        self._figures = Figures()
        self._figured_at = -_FIGURES_KEPT_S

    def readiness(self) -> Readiness:
        """Ask the database, the storage and the record of workers now."""
        return Readiness(
            database=_tried(self._ask_database),
            storage=_tried(lambda: self._store.exists(_PROBE)),
            workers=self._workers(),
        )

    def figures(self) -> Figures:
        """Count, at most every few seconds however many ask."""
        if self._lock.acquire(blocking=False):
            try:
                if self._clock() - self._figured_at >= _FIGURES_KEPT_S:
                    self._figures = self._count()
                    self._figured_at = self._clock()
            finally:
                self._lock.release()
        return self._figures

    def _ask_database(self) -> None:
        with self._database.reading() as session:
            session.execute(select(1))

    def _workers(self) -> Condition:
        try:
            heard = self._jobs.counts().last_heartbeat_s
        except SQLAlchemyError:
            return Condition.BROKEN
        return Condition.SILENT if heard is None or heard > SILENT_AFTER_S else Condition.OK

    def _count(self) -> Figures:
        by_state = select(Arrival.state, func.count()).group_by(Arrival.state)
        try:
            with self._database.reading() as session:
                arrivals = {str(state): int(count) for state, count in session.execute(by_state)}
                last_event = session.scalar(select(func.max(Event.number))) or 0
            return Figures(True, arrivals, last_event, self._jobs.counts())
        except (FirstlightError, SQLAlchemyError):
            return Figures()


def _tried(ask: Callable[[], object]) -> Condition:
    try:
        ask()
    except (FirstlightError, SQLAlchemyError, OSError):
        return Condition.BROKEN
    return Condition.OK
