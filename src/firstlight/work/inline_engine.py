"""An engine in the caller's own process: nothing is durable, nothing runs beside the caller."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import Self

from firstlight.work.engine import (
    EngineStopped,
    JobOutcome,
    JobRecord,
    JobRequest,
    JobState,
    JobTable,
    OnChange,
    UnknownJob,
    WorkerSetup,
    check_requests,
    to_json,
)
from firstlight.work.handlers import call_handler, resolve
from firstlight.work.retry import run_attempts

__all__ = ["InlineEngine"]


class InlineEngine:
    """Runs each job in the thread that waits for it: for tests, notebooks and debuggers.

    Time limits are not kept, and a job that crashes takes the caller with it.

    Parameters
    ----------
    jobs
        What it can do.
    setup
        Done once, at the start; ``preload`` is ignored.
    """

    def __init__(self, jobs: JobTable, setup: WorkerSetup | None = None) -> None:
        self._jobs = jobs
        self._setup = setup or WorkerSetup()
        self._services: object = None
        self._running = False
        self._requests: dict[str, JobRequest] = {}
        self._outcomes: dict[str, JobOutcome] = {}

    def start(self) -> None:
        """Set up, as a worker would."""
        if not self._running and self._setup.initializer is not None:
            self._services = resolve(self._setup.initializer)(self._setup.argument)
        self._running = True

    def stop(self) -> None:
        """Take no more work."""
        self._running = False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def submit(
        self, requests: Iterable[JobRequest], *, again: Collection[JobState] = frozenset()
    ) -> None:
        """Remember the jobs until someone waits for them."""
        if not self._running:
            raise EngineStopped(hint="start() it, or use it as a context manager")
        for request in check_requests(requests, self._jobs):
            known = self._outcomes.get(request.job_id)
            if known is None:
                # Through JSON, so that a handler sees here what it would see in a worker.
                payload = json.loads(to_json(dict(request.payload)))
                self._requests[request.job_id] = dataclasses.replace(request, payload=payload)
            if known is None or (known.state.finished and known.state in again):
                self._outcomes[request.job_id] = JobOutcome(
                    request.job_id, request.name, JobState.QUEUED
                )

    def wait(
        self, job_ids: Iterable[str], on_change: OnChange | None = None
    ) -> dict[str, JobOutcome]:
        """Run those that have not run, one by one, in the order given."""
        wanted = list(dict.fromkeys(job_ids))
        unknown = [job_id for job_id in wanted if job_id not in self._outcomes]
        if unknown:
            raise UnknownJob(subject=unknown[0])
        tell = on_change or (lambda _: None)
        for job_id in wanted:
            tell(self._outcomes[job_id])
        for job_id in wanted:
            # Asked anew at each turn: what is told of one job may lead to cancelling another.
            if self._outcomes[job_id].state is JobState.QUEUED:
                self._run(self._requests[job_id], tell)
            elif self._outcomes[job_id].state is JobState.CANCELLED:
                tell(self._outcomes[job_id])
        return {job_id: self._outcomes[job_id] for job_id in wanted}

    def _run(self, request: JobRequest, tell: OnChange) -> None:
        kind = self._jobs[request.name]
        job_id = request.job_id
        started = datetime.now(UTC)
        self._outcomes[job_id] = dataclasses.replace(
            self._outcomes[job_id], state=JobState.RUNNING, started=started, attempts=1
        )
        tell(self._outcomes[job_id])
        try:
            report, made = run_attempts(
                lambda _: call_handler(kind.handler, request.payload, self._services),
                kind.retries,
                time.sleep,
            )
        except BaseException:
            # Ctrl-C says nothing about the job: it is still to be done.
            self._outcomes[job_id] = JobOutcome(job_id, request.name, JobState.QUEUED)
            raise
        self._outcomes[job_id] = JobOutcome(
            job_id,
            request.name,
            JobState.DONE if report.cause is None else JobState.FAILED,
            result=report.result,
            error=report.error,
            attempts=made,
            started=started,
            finished=datetime.now(UTC),
        )
        tell(self._outcomes[job_id])

    def outcomes(
        self, job_ids: Iterable[str] | None = None, *, states: Collection[JobState] | None = None
    ) -> dict[str, JobOutcome]:
        """Tell what is known now."""
        wanted = self._outcomes if job_ids is None else set(job_ids)
        return {
            job_id: outcome
            for job_id, outcome in self._outcomes.items()
            if job_id in wanted and (states is None or outcome.state in states)
        }

    def recent(
        self, limit: int, *, skip: int = 0, states: Collection[JobState] | None = None
    ) -> list[JobRecord]:
        """Jobs in one of these states, the one asked for last first."""
        found = [
            JobRecord(outcome, self._requests[job_id].payload, None)
            for job_id, outcome in reversed(self._outcomes.items())
            if states is None or outcome.state in states
        ]
        return found[skip : skip + limit]

    def cancel(self, job_ids: Iterable[str]) -> None:
        """Drop those that have not run."""
        for job_id in job_ids:
            outcome = self._outcomes.get(job_id)
            if outcome is not None and not outcome.state.finished:
                self._outcomes[job_id] = dataclasses.replace(
                    outcome, state=JobState.CANCELLED, finished=datetime.now(UTC)
                )

    def forget(self, older_than: timedelta, names: Collection[str]) -> int:
        """Forget jobs that were done longer ago; see `Engine`."""
        before = datetime.now(UTC) - older_than
        done = [
            job_id
            for job_id, outcome in self._outcomes.items()
            if outcome.state is JobState.DONE
            and outcome.name in names
            and outcome.finished is not None
            and outcome.finished < before
        ]
        for job_id in done:
            del self._outcomes[job_id]
            self._requests.pop(job_id, None)
        return len(done)
