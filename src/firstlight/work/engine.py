"""What a job is, and what every engine that runs jobs promises.

A job is one durable unit of work: a name, a JSON payload, and an id that its caller derives from
what the job is about (one exposure, one provenance). Asking twice for one id is asking once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol, Self, TypeAlias, runtime_checkable

from firstlight.errors import ConflictError, InvalidInput, MissingError
from firstlight.work.retry import RETRIES, Cause, RetryRule

__all__ = [
    "UNSUCCESSFUL",
    "Engine",
    "EngineStopped",
    "JobKind",
    "JobOutcome",
    "JobRecord",
    "JobRequest",
    "JobState",
    "JobTable",
    "JsonValue",
    "Lane",
    "OnChange",
    "UnknownJob",
    "WorkerSetup",
    "check_requests",
    "to_json",
]

JsonValue: TypeAlias = Any  # None, bool, int, float, str, and lists and string-keyed dicts of these


class UnknownJob(MissingError):
    """No such job."""

    code = "work.unknown_job"


class EngineStopped(ConflictError):
    """The engine is not running."""

    code = "work.engine_stopped"


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"  # waits for a free worker, here or elsewhere
    RUNNING = "running"  # a worker has it, or it waits for its next attempt
    DONE = "done"  # finished, with a result
    FAILED = "failed"  # finished, with an error; not tried again unless asked
    CANCELLED = "cancelled"  # stopped because somebody asked
    TIMED_OUT = "timed_out"  # stopped because it took longer than its kind allows

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen unless somebody asks."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


class Lane(StrEnum):
    """Which workers do a job. Work in one lane never waits for work in the other."""

    HEAVY = "heavy"  # seconds to minutes of a CPU: as many workers as the machine has cores
    QUICK = "quick"  # milliseconds: one worker more, so that what arrives is taken at once
    ASKED = "asked"  # somebody waits for it: one worker more, which no night's work holds up


UNSUCCESSFUL = frozenset({JobState.FAILED, JobState.CANCELLED, JobState.TIMED_OUT})


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A wish for one job.

    Parameters
    ----------
    job_id
        Equal work, equal id: the caller derives it from the inputs.
    name
        A key of the engine's `JobTable`.
    payload
        What the handler gets. JSON only.
    """

    job_id: str
    name: str
    payload: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """What is known of one job.

    Parameters
    ----------
    result
        What the handler returned, once the job is done; else None.
    error
        `FirstlightError.as_dict()` of the last attempt, with ``traceback`` beside it where the
        fault was not foreseen; None while there is none.
    attempts
        How many times the handler was started, as far as is known now.
    started, finished
        Aware, UTC: start of the first attempt, end of the last.
    """

    job_id: str
    name: str
    state: JobState
    result: JsonValue = None
    error: Mapping[str, JsonValue] | None = None
    attempts: int = 0
    started: datetime | None = None
    finished: datetime | None = None

    def as_dict(self) -> dict[str, JsonValue]:
        """Everything a program needs, as JSON."""
        facts = asdict(self)
        for moment in ("started", "finished"):
            facts[moment] = facts[moment] and facts[moment].isoformat()
        return facts

    @classmethod
    def from_dict(cls, facts: Mapping[str, JsonValue]) -> JobOutcome:
        """Read what `as_dict` wrote."""
        moments = {
            moment: facts[moment] and datetime.fromisoformat(facts[moment])
            for moment in ("started", "finished")
        }
        return cls(**{**facts, **moments, "state": JobState(facts["state"])})


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job as lists show it.

    Parameters
    ----------
    payload
        That of its request; None where it cannot be read.
    asked
        When it was first asked for; aware, UTC. None where that is not known.
    """

    outcome: JobOutcome
    payload: Mapping[str, JsonValue] | None
    asked: datetime | None


@dataclass(frozen=True, slots=True)
class JobKind:
    """How jobs of one name are done.

    Parameters
    ----------
    handler
        ``"module:function"``, called in a worker as ``function(payload, services)``, where
        services is what the worker's initializer returned. It returns JSON and raises
        `FirstlightError` for what it foresees.
    timeout_s
        Longest time of one attempt; None for no limit.
    retries
        What is tried again, how often and when.
    lane
        Which workers do it.
    """

    handler: str
    timeout_s: float | None = None
    retries: Mapping[Cause, RetryRule] = field(default_factory=lambda: RETRIES)
    lane: Lane = Lane.HEAVY


JobTable: TypeAlias = Mapping[str, JobKind]
OnChange: TypeAlias = Callable[[JobOutcome], None]


@dataclass(frozen=True, slots=True)
class WorkerSetup:
    """What each worker does once, before its first job.

    Parameters
    ----------
    initializer
        ``"module:function"``, called as ``function(argument)``; what it returns is handed to
        every handler. None: handlers get None.
    argument
        JSON: for example the path of the workspace.
    preload
        Modules imported once and shared by all workers, so that a worker starts in milliseconds.
        Only modules that start no threads when imported.
    """

    initializer: str | None = None
    argument: JsonValue = None
    preload: tuple[str, ...] = ()


@runtime_checkable
class Engine(Protocol):
    """Runs jobs by name. Use it as a context manager: it starts and stops itself.

    Handlers may be run more than once for one job (after a crash, or by a retry), never twice at
    the same time in normal circumstances; their effects must bear repetition.
    """

    def start(self) -> None:
        """Begin to run jobs, those that an earlier process left unfinished included."""

    def stop(self) -> None:
        """Stop at once, and leave every unfinished job as it must be to be taken up again."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...

    def submit(
        self, requests: Iterable[JobRequest], *, again: Collection[JobState] = frozenset()
    ) -> None:
        """Ask for jobs. An id that is known is left as it is.

        Parameters
        ----------
        again
            Jobs found in one of these finished states are run anew (`UNSUCCESSFUL` for all that
            came to nothing), with the payload of their first request.

        Raises
        ------
        InvalidInput
            An unknown name or a payload that is not JSON; then none of the requests is accepted.
        """

    def wait(
        self, job_ids: Iterable[str], on_change: OnChange | None = None
    ) -> dict[str, JobOutcome]:
        """Wait until all of these are finished, wherever they run.

        Parameters
        ----------
        on_change
            Called in this thread with each new state of each job, starting with the present one.

        Returns
        -------
        dict
            By job id. All are finished; failures are outcomes, not exceptions.

        Raises
        ------
        UnknownJob
            An id was never submitted.
        """

    def outcomes(
        self, job_ids: Iterable[str] | None = None, *, states: Collection[JobState] | None = None
    ) -> dict[str, JobOutcome]:
        """Tell what is known now, of these ids or of all; ids that are unknown are absent."""

    def recent(
        self, limit: int, *, skip: int = 0, states: Collection[JobState] | None = None
    ) -> list[JobRecord]:
        """Jobs in one of these states, the one asked for last first."""

    def cancel(self, job_ids: Iterable[str]) -> None:
        """Stop these; finished and unknown ones are left alone."""

    def forget(self, older_than: timedelta, names: Collection[str]) -> int:
        """Forget jobs of these names that were done longer ago; tells how many.

        Failed ones are kept. Whoever asks for a forgotten job again has it done again.
        """


def to_json(value: JsonValue) -> str:
    """Write strict JSON; numbers that JSON lacks (NaN, infinities) become null.

    Raises
    ------
    TypeError, ValueError
        The value holds something that is not JSON.
    """
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(_without_nan(value), allow_nan=False)


def _without_nan(value: JsonValue) -> JsonValue:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return value


def check_requests(requests: Iterable[JobRequest], jobs: JobTable) -> list[JobRequest]:
    """Make sure that each request can be stored and run.

    Raises
    ------
    InvalidInput
        Names the first request that cannot.
    """
    checked = list(requests)
    for request in checked:
        if not request.job_id.strip():
            raise InvalidInput("A job needs an id", subject=request.name, field="job_id")
        if request.name not in jobs:
            raise InvalidInput(
                "There is no such kind of job",
                subject=request.job_id,
                field="name",
                found=request.name,
                expected=", ".join(sorted(jobs)),
            )
        try:
            to_json(dict(request.payload))
        except (TypeError, ValueError) as error:
            raise InvalidInput(
                "The payload of a job must be JSON",
                subject=request.job_id,
                field="payload",
                found=error,
            ) from error
    return checked
