"""The record of jobs in DBOS's system database, read and written through its public client.

Imported only when an engine starts: loading DBOS takes more than a second.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from dbos import DBOS, DBOSClient, Serializer, WorkflowStatus
from dbos import error as dbos_error

from firstlight.errors import InternalError, MissingDependency, RemoteError
from firstlight.work.dbos_states import STATES
from firstlight.work.engine import (
    JobOutcome,
    JobRecord,
    JobRequest,
    JobState,
    JobTable,
    JsonValue,
    Lane,
    to_json,
)

__all__ = [
    "APPLICATION",
    "QUEUES",
    "SCHEMA",
    "VERSION",
    "WORKFLOW",
    "JobFailed",
    "JobStore",
    "JobsUnreachable",
    "JsonSerializer",
    "open_database",
]

SCHEMA = "firstlight_work"  # of DBOS's tables and ours, where the database knows schemas
QUEUES = {Lane.HEAVY: "jobs", Lane.QUICK: "quick", Lane.ASKED: "asked"}
WORKFLOW = "job"
APPLICATION = "firstlight"
# Jobs are taken up again only by the version that began them: change it with the order of steps.
VERSION = "firstlight-jobs-1"
_PATIENCE_S, _MOMENT_S = 30.0, 0.02  # with a file that others have in use
_CHUNK = 500  # ids a query, below the limit of variables in a statement

# DBOS says on standard error whatever nobody else listens to.
logging.getLogger("dbos").addHandler(logging.NullHandler())
logging.getLogger("dbos").setLevel(logging.WARNING)


class JobFailed(Exception):
    """How a workflow tells DBOS that its job came to nothing; carries the record."""

    def __init__(self, record: Mapping[str, JsonValue]) -> None:
        super().__init__(record["state"])
        self.record = dict(record)


class CrashLoop(InternalError):
    """Each process that ran this job died."""

    code = "work.crash_loop"


class _NotFailures(logging.Filter):
    """Keeps failed jobs out of the log of DBOS, which takes every exception for a fault.

    So it takes a job whose connection closes because the engine is being stopped; it stays
    unfinished, and is taken up again.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if str(record.msg).startswith("Exception encountered in background workflow"):
            return False
        return not (record.exc_info and isinstance(record.exc_info[1], JobFailed))


logging.getLogger("dbos").addFilter(_NotFailures())


class JsonSerializer(Serializer):
    """JSON instead of DBOS's pickle: who can write to the database must not run code here."""

    def name(self) -> str:
        """The mark in the database."""
        return "firstlight_json"

    def serialize(self, data: Any) -> str:
        """Write arguments, results, and the errors of workflows."""
        if isinstance(data, JobFailed):
            return to_json({"failed": data.record})
        if isinstance(data, BaseException):
            return to_json({"exception": f"{type(data).__name__}: {data}"})
        return to_json({"value": data})

    def deserialize(cls, serialized_data: str) -> Any:  # noqa: N805 - the base names it so
        """Read what `serialize` wrote."""
        stored = json.loads(serialized_data)
        if "failed" in stored:
            return JobFailed(stored["failed"])
        if "exception" in stored:
            return RuntimeError(stored["exception"])
        return stored["value"]


class JobsUnreachable(RemoteError):
    """The database of the jobs does not answer."""

    code = "work.jobs_unreachable"


def open_database(url: sa.URL) -> sa.Engine:
    """Connect, and create or upgrade the tables where that is needed.

    Raises
    ------
    MissingDependency
        No driver for PostgreSQL.
    JobsUnreachable
        It cannot be opened.
    """
    if url.get_backend_name() == "sqlite":
        engine = sa.create_engine(url, pool_size=16, max_overflow=32)
        sa.event.listen(engine, "connect", _set_up_sqlite)
    else:
        try:
            engine = sa.create_engine(
                url.set(drivername="postgresql+psycopg"),
                pool_size=16,
                max_overflow=32,
                pool_pre_ping=True,
            )
        except ImportError as error:
            raise MissingDependency(
                subject="psycopg", hint="pip install 'firstlight[postgres]'"
            ) from error
    try:
        with engine.connect():
            pass  # sets the journal mode of a new SQLite file before DBOS opens it by itself
    except sa.exc.OperationalError as error:
        raise JobsUnreachable(subject=url.render_as_string(), found=error.orig) from error
    DBOS.migrate(url.render_as_string(hide_password=False), schema=SCHEMA)
    return engine


def _set_up_sqlite(connection: Any, _record: object) -> None:
    # Several processes write: take the write lock at the start of a transaction, and wait for it.
    connection.isolation_level = "IMMEDIATE"
    connection.execute(f"PRAGMA busy_timeout={_PATIENCE_S * 1000:.0f}")
    _use_write_ahead_log(connection)
    # A crash of the machine may lose the last moments; those jobs are then done again.
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA foreign_keys=ON")


def _use_write_ahead_log(connection: Any) -> None:
    """Change the journal of a new file, for which SQLite does not wait when others open it too."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            in_use = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not in_use or time.monotonic() > deadline:
                raise
            time.sleep(_MOMENT_S)
        else:
            return


class JobStore:
    """Jobs as rows. Safe to use from several threads and by several processes at once."""

    def __init__(self, engine: sa.Engine, jobs: JobTable) -> None:
        self.engine = engine
        self._jobs = jobs
        self._which_wait = _which_wait(SCHEMA if engine.dialect.name == "postgresql" else None)
        self._client = DBOSClient(
            system_database_engine=engine,
            dbos_system_schema=SCHEMA,
            serializer=JsonSerializer(),
            application_name=APPLICATION,
        )
        for queue in QUEUES.values():
            if self._client.retrieve_queue(queue) is None:
                # One at a time is only for the moment before a runner sets its own pace.
                self._client.register_queue(
                    queue, worker_concurrency=1, polling_interval_sec=_MOMENT_S
                )

    def close(self) -> None:
        """Let go of the database."""
        self._client.destroy()
        self.engine.dispose()

    def add(self, requests: Iterable[JobRequest]) -> None:
        """Enqueue all in one transaction. Ids that are known are left as they are."""
        with self.engine.begin() as connection:
            for request in requests:
                self._client.enqueue_in_transaction(
                    connection,
                    {
                        "workflow_name": WORKFLOW,
                        "queue_name": self._queue(request.name),
                        "workflow_id": request.job_id,
                        "app_version": VERSION,
                        "application_name": APPLICATION,
                        "attributes": {"job": request.name},
                    },
                    request.name,
                    dict(request.payload),
                )

    def _queue(self, name: str) -> str:
        kind = self._jobs.get(name)
        return QUEUES[Lane.HEAVY if kind is None else kind.lane]

    def run_again(self, job_id: str, name: str) -> None:
        """Forget how a finished job of that name ended, and enqueue it."""
        with suppress(dbos_error.DBOSException):  # somebody else has just done that
            self._client.rewind_workflow(job_id, queue_name=self._queue(name))

    def requeue(self, executor_id: str) -> None:
        """Enqueue what that executor has under way. It must not be alive."""
        rows = self._client.list_workflows(
            status="PENDING", name=WORKFLOW, executor_id=executor_id, load_output=False
        )
        for queue in QUEUES.values():
            # A job that no queue is known for was begun by an earlier version.
            job_ids = [
                row.workflow_id for row in rows if (row.queue_name or QUEUES[Lane.HEAVY]) == queue
            ]
            if job_ids:
                self._client.resume_workflows(job_ids, queue_name=queue)

    def waiting(self) -> set[Lane]:
        """Lanes with a job that nobody has taken. Asked for many times a second."""
        with self.engine.connect() as connection:
            facts = connection.execute(self._which_wait).one()
        return {lane for lane, waits in zip(QUEUES, facts, strict=True) if waits}

    def under_way(self) -> dict[str, str]:
        """The executor of each job that one has taken."""
        rows = self._client.list_workflows(
            status="PENDING", name=WORKFLOW, load_input=False, load_output=False
        )
        return {row.workflow_id: row.executor_id or "" for row in rows}

    def cancel(self, job_ids: Collection[str]) -> None:
        """Mark as cancelled those that are not finished."""
        if job_ids:
            self._client.cancel_workflows(list(job_ids))

    def forget(self, before: datetime, names: Collection[str]) -> int:
        """Delete jobs of these names that were done before a moment; tells how many."""
        forgotten, kept = 0, 0
        while True:
            rows = self._client.list_workflows(
                status="SUCCESS",
                name=WORKFLOW,
                completed_before=before.isoformat(),
                limit=_CHUNK,
                offset=kept,
                load_input=False,
                load_output=False,
            )
            # Looked at here: DBOS does not search by attributes on SQLite.
            wanted = [r.workflow_id for r in rows if (r.attributes or {}).get("job") in names]
            if wanted:
                self._client.delete_workflows(wanted)
            forgotten += len(wanted)
            kept += len(rows) - len(wanted)
            if len(rows) < _CHUNK:
                return forgotten

    def cancelled(self, job_ids: Collection[str]) -> set[str]:
        """Those of these that somebody has cancelled."""
        rows = self._rows(job_ids, status="CANCELLED", load_output=False)
        return {row.workflow_id for row in rows}

    def outcomes(
        self, job_ids: Collection[str] | None, states: Collection[JobState] | None = None
    ) -> dict[str, JobOutcome]:
        """Read what is known of these, or of all."""
        found = (_outcome(row) for row in self._rows(job_ids))
        return {o.job_id: o for o in found if states is None or o.state in states}

    def recent(self, limit: int, skip: int, states: Collection[JobState] | None) -> list[JobRecord]:
        """Read a page of jobs, the one asked for last first.

        How a failed one ended is known only from its record, so failed and timed out are
        looked for together.
        """
        status = None
        if states is not None:
            sought = {JobState.FAILED if s is JobState.TIMED_OUT else s for s in states}
            status = [name for name, state in STATES.items() if state in sought]
        rows = self._client.list_workflows(
            name=WORKFLOW, status=status, limit=limit, offset=skip, sort_desc=True
        )
        records = [JobRecord(_outcome(row), _payload(row), _moment(row.created_at)) for row in rows]
        return [each for each in records if states is None or each.outcome.state in states]

    def _rows(
        self,
        job_ids: Collection[str] | None,
        *,
        load_output: bool = True,
        status: str | None = None,
    ) -> Iterator[WorkflowStatus]:
        if job_ids is None:
            yield from self._client.list_workflows(
                name=WORKFLOW, status=status, load_input=False, load_output=load_output
            )
            return
        ordered = list(job_ids)
        for first in range(0, len(ordered), _CHUNK):
            yield from self._client.list_workflows(
                workflow_ids=ordered[first : first + _CHUNK],
                status=status,
                load_input=False,
                load_output=load_output,
            )


def _which_wait(schema: str | None) -> sa.Select[Any]:
    """Whether each queue has a job that waits, through DBOS's index of unfinished jobs alone."""
    queue_name = sa.column("queue_name", sa.Text)
    jobs = sa.table("workflow_status", queue_name, schema=schema)
    # The condition of the index in its own words, or SQLite does not see that it may be used.
    waits = sa.text("status = 'ENQUEUED' AND status IN ('ENQUEUED', 'PENDING')")
    each: list[sa.ColumnElement[Any]] = [
        sa.exists().select_from(jobs).where(queue_name == queue, waits).label(queue)
        for queue in QUEUES.values()
    ]
    return sa.select(*each)


def _outcome(row: WorkflowStatus) -> JobOutcome:
    name = (row.attributes or {}).get("job", "")
    if row.status == "SUCCESS" and row.output is not None:
        return JobOutcome.from_dict(row.output)
    if isinstance(row.error, JobFailed):
        return JobOutcome.from_dict(row.error.record)
    state = STATES[row.status]
    error = None
    if state is JobState.FAILED:
        fault = InternalError(str(row.error)) if row.error else CrashLoop()
        error = fault.as_dict()
    return JobOutcome(
        row.workflow_id,
        name,
        state,
        error=error,
        started=_moment(row.dequeued_at),
        finished=_moment(row.completed_at),
    )


def _payload(row: WorkflowStatus) -> Mapping[str, JsonValue] | None:
    """The second argument of the workflow, as `JobStore.add` passes it."""
    arguments: Any = row.input
    args: Any = arguments.get("args", ()) if isinstance(arguments, dict) else ()
    found = args[1] if len(args) > 1 else None
    return found if isinstance(found, dict) else None


def _moment(epoch_ms: int | None) -> datetime | None:
    return None if epoch_ms is None else datetime.fromtimestamp(epoch_ms / 1000, UTC)
