"""Runs of services that live in a worker of this system: without HTTP, else the same.

A run is a job of the engine, and its author's function runs in a child process of that job's
worker, with limits of memory and time. Whatever is killed, the job is begun again, but only
once: what has taken its worker down twice would do so again.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import func, or_, select

from firstlight.analysis_kit.worker import Worker
from firstlight.errors import ConflictError, FirstlightError, InternalError, Kind
from firstlight.models.analysis import Analysis, AnalysisService, AnalysisStatus
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.services.analyses.analysis_settings import AnalysisSettings
from firstlight.services.analyses.callbacks import CallbackService, RunResults
from firstlight.services.analyses.delivery import told_fault
from firstlight.services.analyses.delivery_packing import PackedRun, RunPacker
from firstlight.services.analyses.run_ends import change_run, end_run, tell_run, thing_of
from firstlight.services.analyses.service_fields import LOCAL
from firstlight.work.engine import JobOutcome, JobRequest
from firstlight.work.job_desk import JobDesk, cancel_alive

__all__ = ["JOB", "LocalRunQueue", "LocalRuns", "LocalServiceMissing", "local_job_id"]

JOB = "analysis"
_MOST_ATTEMPTS = 2
_TO_IMPORT_S = 120.0
_BUSY_S = 0.25
_CANCELLED_WITHIN = timedelta(minutes=10)


class LocalServiceMissing(ConflictError):
    """No service of this name is installed here."""

    code = "analysis.local_service_missing"


class Child(Protocol):
    """Runs an author's function apart: a `Worker` of the kit."""

    def run(
        self, body: Mapping[str, Any], *, timeout: float, tell: Callable[[float, str], None]
    ) -> dict[str, Any]:
        """The answer to one request."""
        ...

    def close(self) -> None:
        """End the process."""
        ...


def local_job_id(number: int) -> str:
    """The id of a run's job."""
    return f"{JOB}/{number}"


class LocalRunQueue:
    """Hands runs of local services to the engine, and ends those whose job has ended without them.

    The rows are the truth. Several processes may do this at one time: a job asked for twice is
    one job.

    Parameters
    ----------
    jobs
        Of the engine that runs them.
    """

    IDLE_S = 1.0
    """Pause after a look that found nothing."""

    def __init__(
        self,
        *,
        database: Database,
        jobs: JobDesk,
        settings: AnalysisSettings | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._jobs = jobs
        self._settings = settings or AnalysisSettings()
        self._clock = clock

    def run(self) -> float:
        """Do it once; returns the seconds until the next time."""
        waiting, cancelled = self._rows()
        known = self._jobs.outcomes([local_job_id(number) for number in waiting])
        under_way = [each for each in known.values() if not each.state.finished]
        ended = {
            number
            for number in waiting
            if (outcome := known.get(local_job_id(number))) is not None
            and outcome.state.finished
            and self._bury(number, outcome)
        }
        free = self._settings.local_at_once - len(under_way)
        busy = {each.job_id for each in under_way}
        fresh = [each for each in waiting if local_job_id(each) not in busy and each not in ended]
        if free > 0 and fresh:
            self._jobs.submit(
                [JobRequest(local_job_id(each), JOB, {"analysis": each}) for each in fresh[:free]]
            )
        cancel_alive(self._jobs, [local_job_id(number) for number in cancelled])
        return _BUSY_S if waiting else self.IDLE_S

    def _rows(self) -> tuple[list[int], list[int]]:
        """Runs that wait or are under way, users in turn; and those cancelled a while ago."""
        turn = func.row_number().over(partition_by=Analysis.owner_id, order_by=Analysis.id)
        local = AnalysisService.url.like(f"{LOCAL}%")
        # Of one under way the service may have been removed meanwhile.
        running = (Analysis.status == AnalysisStatus.PENDING) & Analysis.invalid_after.is_(None)
        listed = (
            select(Analysis.id.label("number"), turn.label("turn"))
            .join(AnalysisService, AnalysisService.id == Analysis.service_id, isouter=True)
            .where(or_(running, (Analysis.status == AnalysisStatus.QUEUED) & local))
            .subquery()
        )
        stopped = (
            select(Analysis.id)
            .join(AnalysisService, AnalysisService.id == Analysis.service_id)
            .where(
                Analysis.status == AnalysisStatus.CANCELLED,
                Analysis.finished_at > self._clock() - _CANCELLED_WITHIN,
                Analysis.attempts > 0,
                local,
            )
        )
        with self._database.reading() as session:
            order = (listed.c.turn, listed.c.number)
            waiting = list(session.scalars(select(listed.c.number).order_by(*order)))
            return waiting, list(session.scalars(stopped))

    def _bury(self, number: int, outcome: JobOutcome) -> bool:
        """End a run whose worker did not live to do so, unless it may be begun once more."""
        error = {
            "code": "analysis.worker_died",
            "message": "the analysis ended with its process",
            "found": (outcome.error or {}).get("found"),
            "hint": "it may need more memory than there is",
        }
        with self._database.begin() as session:
            if outcome.started is not None:
                # A job that ended before it took the run up counts as well, or it would be
                # asked for again and again.
                untouched = or_(Analysis.sent_at.is_(None), Analysis.sent_at < outcome.started)
                change_run(session, number, {"attempts": Analysis.attempts + 1}, untouched)
            return end_run(
                session, number, AnalysisStatus.FAILURE, Analysis.attempts >= _MOST_ATTEMPTS,
                now=self._clock(), message=str(error["message"]), error=error,
            )  # fmt: skip


class LocalRuns:
    """Does one run, in a worker.

    Parameters
    ----------
    packer, results, callbacks
        As for services that are far away.
    services
        Gets ``module:function`` of each service that is installed, by name.
    make_child
        Makes what runs the function, given ``module:function``, megabytes, and seconds of the
        processor.

    Notes
    -----
    A run that takes longer than its service may is ended here, whatever it does: its process is
    killed. The limit of the processor's time is above all that a run can use by then, and is for
    processes that are left when their worker is killed.
    """

    def __init__(
        self,
        *,
        database: Database,
        packer: RunPacker,
        results: RunResults,
        callbacks: CallbackService,
        services: Callable[[], Mapping[str, str]],
        settings: AnalysisSettings | None = None,
        make_child: Callable[[str, int, float], Child] = lambda name, memory_mb, cpu_s: Worker(
            name, memory_mb=memory_mb, cpu_s=cpu_s
        ),
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._packer = packer
        self._results = results
        self._callbacks = callbacks
        self._services = services
        self._settings = settings or AnalysisSettings()
        self._make_child = make_child
        self._clock = clock

    def run(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Do one run. Whatever is wrong with it ends in its row, not in an error here.

        Returns
        -------
        dict
            ``analysis``.
        """
        number = int(payload["analysis"])
        attempt = self._begin(number)
        if attempt is not None:
            try:
                self._work(number, attempt)
            except FirstlightError as fault:
                if fault.kind is Kind.REMOTE and attempt < _MOST_ATTEMPTS:
                    raise
                self._fail(number, fault)
        return {"analysis": number}

    def _begin(self, number: int) -> int | None:
        """Take the run up; None where it has ended, or was begun too often."""
        now = self._clock()
        with self._database.begin() as session:
            values = {
                "status": AnalysisStatus.PENDING,
                "status_message": None,
                "error": None,
                "progress": None,
                "attempts": Analysis.attempts + 1,
                "sent_at": now,
                "invalid_after": None,
                "next_try_at": None,
            }
            row = change_run(session, number, values, Analysis.attempts < _MOST_ATTEMPTS)
            if row is not None:
                tell_run(session, row, thing_of(row), "sent")
                return int(row.attempts)
            message = "the analysis ended with its process twice"
            end_run(
                session, number, AnalysisStatus.FAILURE, now=now, message=message,
                error={"code": "analysis.worker_died", "message": message},
            )  # fmt: skip
            return None

    def _work(self, number: int, attempt: int) -> None:
        run = self._packer.pack(number)
        if run is None or not self._packer.keep(run, attempt):
            return
        name = run.url.removeprefix(LOCAL)
        where = self._services().get(name)
        if where is None:
            raise LocalServiceMissing(subject=name, hint="firstlight doctor says what there is")
        begun = time.monotonic()
        document = self._called(run, where)
        if document.get("status") != "success" and time.monotonic() - begun >= run.timeout_s:
            self._time_out(number, run.timeout_s)
            return
        with tempfile.NamedTemporaryFile(prefix="firstlight-", suffix=".json") as spool:
            spool.write(json.dumps(document, allow_nan=False).encode())
            spool.flush()
            self._results.take(number, Path(spool.name))

    def _called(self, run: PackedRun, where: str) -> dict[str, Any]:
        body = {**run.document, "inputs": json.loads(run.inputs)}
        cpu_s = run.timeout_s * (os.cpu_count() or 1) + _TO_IMPORT_S
        child = self._make_child(where, self._settings.local_memory_mb, cpu_s)

        def tell(fraction: float, message: str) -> None:
            if not self._callbacks.note_progress(run.number, fraction, message):
                child.close()  # cancelled

        try:
            return child.run(body, timeout=run.timeout_s, tell=tell)
        finally:
            child.close()

    def _time_out(self, number: int, timeout_s: float) -> None:
        message = f"the analysis took more than {timeout_s:g} s and was ended"
        with self._database.begin() as session:
            end_run(
                session, number, AnalysisStatus.TIMED_OUT, now=self._clock(), message=message,
                error={"code": "analysis.timed_out", "message": message},
            )  # fmt: skip

    def _fail(self, number: int, fault: FirstlightError) -> None:
        error = told_fault(fault)
        message = InternalError().message if fault.kind is Kind.INTERNAL else fault.message
        with self._database.begin() as session:
            end_run(
                session, number, AnalysisStatus.FAILURE,
                now=self._clock(), message=message, error=error,
            )  # fmt: skip
