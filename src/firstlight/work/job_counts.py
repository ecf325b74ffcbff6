"""How many jobs stand where, and when a worker was last heard of: read, never written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import URL, make_url

from firstlight.work.dbos_states import STATES
from firstlight.work.engine import JobState

__all__ = ["JobCounter", "JobCounts"]

# DBOS's own names; what the engine asks for itself, it asks through DBOS's own client.
_WAITING = tuple(name for name, state in STATES.items() if state is JobState.QUEUED)
_SCHEMA = "firstlight_work"
_JOBS = "workflow_status"
_EXECUTORS = "executors"


@dataclass(frozen=True)
class JobCounts:
    """The record of jobs in numbers.

    Attributes
    ----------
    by_state
        Jobs by `JobState`; those that timed out count as failed.
    queued
        Jobs that wait, by queue.
    oldest_wait_s
        How long the first of each queue has waited, seconds.
    last_heartbeat_s
        Seconds since any process with workers was heard of; None where there is none.
    """

    by_state: dict[str, int] = field(default_factory=dict)
    queued: dict[str, int] = field(default_factory=dict)
    oldest_wait_s: dict[str, float] = field(default_factory=dict)
    last_heartbeat_s: float | None = None


class JobCounter:
    """Counts in the tables of the engine, without an engine.

    Parameters
    ----------
    database
        As of `DbosEngine`: the path of its SQLite file, or the URL of a database.
    clock
        Seconds since 1970.
    """

    def __init__(self, database: Path | str, clock: Callable[[], float]) -> None:
        self._url = (
            make_url(database)
            if isinstance(database, str)
            else URL.create("sqlite", database=str(database.absolute()))
        )
        self._clock = clock
        # Asked every few seconds at most: a connection that is kept would be kept for nothing.
        driver = self._url if self._is_sqlite else self._url.set(drivername="postgresql+psycopg")
        self._engine = sa.create_engine(driver, poolclass=sa.NullPool)
        self._tables: set[str] = set()
        schema = None if self._is_sqlite else _SCHEMA
        self._jobs = sa.table(
            _JOBS,
            sa.column("status", sa.Text),
            sa.column("queue_name", sa.Text),
            sa.column("created_at", sa.BigInteger),
            schema=schema,
        )
        self._executors = sa.table(_EXECUTORS, sa.column("heartbeat", sa.Float), schema=schema)

    def counts(self) -> JobCounts:
        """Count now. Before the first engine has started there is nothing to count.

        Raises
        ------
        SQLAlchemyError
            The database does not answer.
        """
        path = self._url.database
        if self._is_sqlite and path and not Path(path).exists():
            return JobCounts()  # to look must not make the file
        with self._engine.connect() as connection:
            if not {_JOBS, _EXECUTORS} <= self._tables:
                names = sa.inspect(connection).get_table_names(schema=self._jobs.schema)
                self._tables = {_JOBS, _EXECUTORS} & set(names)
            return self._count(connection)

    @property
    def _is_sqlite(self) -> bool:
        return self._url.get_backend_name() == "sqlite"

    def _count(self, connection: sa.Connection) -> JobCounts:
        now = self._clock()
        by_state: dict[str, int] = {}
        queued: dict[str, int] = {}
        waits: dict[str, float] = {}
        if _JOBS in self._tables:
            by_state = dict.fromkeys((state.value for state in JobState), 0)
            for status, count in connection.execute(self._by_status()):
                if status in STATES:
                    by_state[STATES[status].value] += count
            for queue, count, created_ms in connection.execute(self._waiting()):
                queued[str(queue)] = count
                waits[str(queue)] = max(0.0, now - created_ms / 1000)
        return JobCounts(by_state, queued, waits, self._last_heartbeat(connection, now))

    def _by_status(self) -> sa.Select[Any]:
        job = self._jobs.c
        return sa.select(job.status, sa.func.count()).group_by(job.status)

    def _waiting(self) -> sa.Select[Any]:
        job = self._jobs.c
        return (
            sa.select(job.queue_name, sa.func.count(), sa.func.min(job.created_at))
            .where(job.status.in_(_WAITING))
            .group_by(job.queue_name)
        )

    def _last_heartbeat(self, connection: sa.Connection, now: float) -> float | None:
        if _EXECUTORS not in self._tables:
            return None
        heard = connection.scalar(sa.select(sa.func.max(self._executors.c.heartbeat)))
        return None if heard is None else max(0.0, now - heard)
