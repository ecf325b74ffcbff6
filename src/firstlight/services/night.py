"""Reducing a night: stages of jobs on the engine, each planned from what is there by then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from firstlight.errors import Kind, in_one_line
from firstlight.work.engine import Engine, JobOutcome, JobRequest, JobState

__all__ = ["NightReport", "NightService", "Plan", "Stage"]

# What is planned is wanted: a job of the same id that has ended is run again.
AGAIN = frozenset(state for state in JobState if state.finished)


@dataclass(frozen=True)
class Plan:
    """One kind of work of a night.

    Attributes
    ----------
    title
        For the progress bar.
    make
        Given whether failed work is to be tried again, the jobs that are still to be done.
        Called when all earlier stages are finished. Given observations as well, the jobs of
        these only, in a time that does not grow with the archive.
    """

    title: str
    make: Callable[..., list[JobRequest]]


@dataclass
class Stage:
    """Jobs that may run side by side."""

    title: str
    requests: list[JobRequest]
    engine: Engine
    outcomes: dict[str, JobOutcome] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Number of jobs."""
        return len(self.requests)

    def run(self, on_progress: Callable[[int], None]) -> None:
        """Submit the jobs and wait for all of them; failures are kept, not raised."""
        finished: set[str] = set()

        def changed(outcome: JobOutcome) -> None:
            if outcome.state.finished:
                finished.add(outcome.job_id)
                on_progress(len(finished))

        self.engine.submit(self.requests, again=AGAIN)
        ids = [request.job_id for request in self.requests]
        self.outcomes = self.engine.wait(ids, changed)


@dataclass
class NightReport:
    """What a reduction did.

    Attributes
    ----------
    done
        Jobs that came to their end, though steps of theirs may have failed.
    failures
        Of steps and of jobs, a line each.
    stages
        Number of jobs by the title of their stage.
    broken
        Kinds of the errors of jobs that did not come to their end: what they were to make is
        still to be made.
    """

    done: int
    failures: list[str]
    stages: dict[str, int]
    broken: list[Kind] = field(default_factory=list)

    def sentence(self) -> str:
        """The result in one line."""
        if not self.stages:
            return "nothing to do: everything is reduced with these parameters"
        jobs = ", ".join(f"{count} × {title}" for title, count in self.stages.items())
        return (
            f"{jobs}: {self.done} jobs done, {len(self.failures)} failures; see: firstlight status"
        )

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "done": self.done,
            "failures": self.failures,
            "stages": self.stages,
            "broken": len(self.broken),
        }


class NightService:
    """Plans and runs everything that is still to be done in a workspace.

    Parameters
    ----------
    make_engine
        Makes the engine; only called when there is something to run.
    plans
        In the order in which they depend on each other.
    """

    def __init__(self, *, make_engine: Callable[[], Engine], plans: list[Plan]) -> None:
        self._make_engine = make_engine
        self._plans = plans
        self._engine: Engine | None = None
        self._stages: list[Stage] = []

    @contextmanager
    def running(self) -> Iterator[NightService]:
        """Hold the engine, if one was started, until the end."""
        try:
            yield self
        finally:
            if self._engine is not None:
                self._engine.stop()
                self._engine = None

    def stages(self, *, retry_failed: bool = False) -> Iterator[Stage]:
        """Each stage that has work, planned when the one before is finished."""
        for plan in self._plans:
            requests = plan.make(retry_failed)
            if requests:
                stage = Stage(plan.title, requests, self._started())
                self._stages.append(stage)
                yield stage

    def report(self) -> NightReport:
        """What was done since the start of this service."""
        outcomes = [each for stage in self._stages for each in stage.outcomes.values()]
        broken = [each for each in outcomes if each.state is not JobState.DONE]
        return NightReport(
            done=len(outcomes) - len(broken),
            failures=[line for each in outcomes for line in _failures(each)],
            stages={stage.title: stage.total for stage in self._stages},
            broken=[Kind((each.error or {}).get("kind", Kind.INTERNAL)) for each in broken],
        )

    def _started(self) -> Engine:
        if self._engine is None:
            self._engine = self._make_engine()
            self._engine.start()
        return self._engine


def _failures(outcome: JobOutcome) -> list[str]:
    """Failures of a job, and those that its result tells of (steps that could not be done)."""
    if outcome.state is JobState.DONE:
        return list((outcome.result or {}).get("failures", []))
    error = outcome.error or {}
    subject = error.get("subject") or outcome.name
    message = error.get("message") or outcome.state.value
    return [in_one_line({**error, "subject": subject, "message": message})]
