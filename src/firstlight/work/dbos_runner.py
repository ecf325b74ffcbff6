"""DBOS as the runner of jobs: takes them from the queue, and keeps what each attempt gave.

Imported only when an engine starts, as `dbos_store` is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from dbos import DBOS, DBOSConfig, Queue

from firstlight.errors import ConflictError
from firstlight.work.dbos_store import (
    APPLICATION,
    QUEUES,
    SCHEMA,
    VERSION,
    WORKFLOW,
    JobFailed,
    JsonSerializer,
)
from firstlight.work.engine import JsonValue, Lane

__all__ = ["OneRunnerOnly", "Pace", "Runner"]

_AT_ONCE_S = 0.001  # what DBOS waits for before it asks; the waiting is done by then

JobRecord = dict[str, JsonValue]
RunJob = Callable[[str, str, dict[str, JsonValue]], JobRecord]


class OneRunnerOnly(ConflictError):
    """One durable engine runs in a process, and there is one already: stop it first."""

    code = "work.one_runner_only"


class Pace:
    """How much this executor takes from each queue, and when.

    Parameters
    ----------
    width
        How many jobs of a lane it may have at this moment.
    await_job
        Returns when it is worth asking for one.
    """

    def __init__(self, width: Callable[[Lane], int], await_job: Callable[[Lane], None]) -> None:
        self.width = width
        self.await_job = await_job


class Runner:
    """DBOS, launched. DBOS is one per process, and so is this.

    Parameters
    ----------
    run_job
        Called in a thread with id, name and payload of each job that this executor has taken;
        returns the record of a success or raises `JobFailed`. A BaseException leaves the job
        unfinished in the record.
    """

    _launched = False

    def __init__(self, engine: sa.Engine, executor_id: str, run_job: RunJob, pace: Pace) -> None:
        if Runner._launched:
            raise OneRunnerOnly

        @DBOS.workflow(name=WORKFLOW)
        def job(name: str, payload: dict[str, JsonValue]) -> JobRecord:
            record = run_job(DBOS.workflow_id or "", name, payload)
            if record["error"] is not None:
                raise JobFailed(record)
            return record

        config: DBOSConfig = {
            "name": APPLICATION,
            "system_database_engine": engine,
            "dbos_system_schema": SCHEMA,
            "application_version": VERSION,
            "executor_id": executor_id,
            "serializer": JsonSerializer(),
            "run_migrations": False,  # open_database has
            "use_listen_notify": False,  # jobs are announced by polling; nothing else is used
            "enable_otlp": False,
            "log_level": "WARNING",
            "notification_listener_polling_interval_sec": 0.1,  # what stopping waits for
        }
        dbos = DBOS(config=config)
        Runner._launched = True
        try:
            DBOS.listen_queues(list(QUEUES.values()))
            self._dbos = dbos
            DBOS.launch()
            _keep_own_pace(dbos, pace)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop taking jobs; those in hand must have been interrupted."""
        DBOS.destroy(destroy_registry=True)
        Runner._launched = False


def attempt_step(number: int, attempt: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Make one attempt, or read what it gave if an earlier process has made it."""
    return DBOS.run_step({"name": f"attempt-{number}"}, attempt)


def _keep_own_pace(dbos: DBOS, pace: Pace) -> None:
    """Give this process limits of its own, and have it ask for jobs only when there are some.

    DBOS keeps a queue's limit of jobs per executor in the database, where a laptop and a cluster
    node would have to share one number; it reads it anew before each poll, and that reading is
    completed here, when it is time. The only use of DBOS's inside; the tests of the engine notice
    if it moves.
    """
    system = dbos._sys_db  # noqa: SLF001 - no public way, see above
    shared = system.get_queue
    lanes = {queue: lane for lane, queue in QUEUES.items()}

    def own(name: str, **options: Any) -> Queue | None:
        if name in lanes:
            pace.await_job(lanes[name])
        queue = shared(name, **options)
        if queue is not None and name in lanes:
            queue._worker_concurrency = pace.width(lanes[name])  # noqa: SLF001 - no public way
            queue._polling_interval_sec = _AT_ONCE_S  # noqa: SLF001 - no public way
        return queue

    system.get_queue = own  # type: ignore[method-assign]  # an override for this one object
