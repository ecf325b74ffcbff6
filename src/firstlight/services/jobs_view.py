"""Jobs as people see them: what runs, waits and failed, why, and once more."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session

from firstlight.errors import ConflictError, InvalidInput, MissingError
from firstlight.models.database import Database
from firstlight.models.event import Event, record_events
from firstlight.models.exposure import Exposure
from firstlight.models.observation import Observation
from firstlight.services.access import Viewer
from firstlight.services.finding.search import ExposureNotFound
from firstlight.work.engine import (
    UNSUCCESSFUL,
    Engine,
    JobOutcome,
    JobRecord,
    JobRequest,
    JobState,
)

__all__ = ["JobMissing", "JobNotFailed", "JobPage", "JobView", "JobWatch", "JobsService"]

TOPIC = "job"
LONGEST_PAGE = 200
_LOOK_S = 1.0
_TITLES = {
    "make_master": "Master calibration",
    "reduce_section": "Reduction",
    "forced_photometry": "Forced photometry",
    "register": "Registration",
    "light_curves": "Light curves",
    "stamp_light_curves": "Light curves from stamps",
    "make_colour_pictures": "Colour pictures",
    "make_timelapse": "Timelapse",
    "take_arrivals": "Files that came",
}
_TOLD = ("code", "kind", "message", "subject", "field", "found", "expected", "hint")
_AGAIN = frozenset(state for state in JobState if state.finished)


class JobMissing(MissingError):
    """There is no such job, or none that one may see."""

    code = "jobs.missing"


class JobNotFailed(ConflictError):
    """The job has not failed, so there is nothing to do again."""

    code = "jobs.not_failed"


class Reduction(Protocol):
    """Plans what is still to be done."""

    def plan(
        self, retry_failed: bool = False, *, only: Sequence[uuid.UUID] | None = None
    ) -> list[JobRequest]:
        """Jobs for exposures."""
        ...


@dataclass(frozen=True, slots=True)
class JobView:
    """One job.

    Attributes
    ----------
    about, url
        What it is about, and the page of that; None where there is none.
    state
        One of `JobState`, or ``partial``: done, with failures told in `failures`.
    error
        Why it failed, and what to try.
    seconds
        From its first start to its end; None while it has none.
    may_retry
        Whether the viewer may have it done again.
    """

    job_id: str
    title: str
    about: str | None
    url: str | None
    state: str
    error: Mapping[str, Any] | None
    failures: tuple[str, ...]
    attempts: int
    asked: datetime | None
    started: datetime | None
    finished: datetime | None
    seconds: float | None
    may_retry: bool


@dataclass(frozen=True, slots=True)
class JobPage:
    """Some jobs, the one asked for last first; `next_skip` is None on the last page."""

    jobs: tuple[JobView, ...]
    next_skip: int | None


@dataclass(frozen=True, slots=True)
class _Subject:
    """What a job is about."""

    told: str
    url: str | None
    sites: frozenset[str | None]


class JobsService:
    """Lists jobs and has them done again.

    Parameters
    ----------
    database
        Where that what jobs are about is found.
    engine
        Returns an engine that is started; it needs no workers.
    count
        Returns the number of jobs by state.
    reduction
        Returns what plans the reduction of exposures.
    """

    def __init__(
        self,
        *,
        database: Database,
        engine: Callable[[], Engine],
        count: Callable[[], Mapping[str, int]],
        reduction: Callable[[], Reduction],
    ) -> None:
        self._database = database
        self._engine = engine
        self._count = count
        self._reduction = reduction

    def counts(self, viewer: Viewer) -> dict[str, int]:
        """Jobs by state; empty for those who may not see all sites."""
        return dict(self._count()) if viewer.sites() is None else {}

    def page(
        self, viewer: Viewer, *, state: str | None = None, skip: int = 0, limit: int = 60
    ) -> JobPage:
        """Jobs, the one asked for last first.

        Who may not see all sites is shown the jobs about exposures that he may see, so that a
        page may have fewer than `limit`.

        Raises
        ------
        InvalidInput
            There is no such state, or `skip` or `limit` is out of bounds.
        """
        if not 1 <= limit <= LONGEST_PAGE or not 0 <= skip < 10_000_000:
            raise InvalidInput(field="skip", found=skip, expected=f"0 or more, of {LONGEST_PAGE}")
        sites = viewer.sites()
        records = self._engine().recent(limit + 1, skip=skip, states=_states(state))
        shown = records[:limit]
        with self._database.reading() as session:
            subjects = _subjects(session, shown)
        jobs = [
            _view(each, subjects.get(each.outcome.job_id), viewer)
            for each in shown
            if sites is None or _seen(subjects.get(each.outcome.job_id), sites)
        ]
        return JobPage(tuple(jobs), skip + limit if len(records) > limit else None)

    def retry(self, viewer: Viewer, job_id: str) -> None:
        """Have a job done again that came to nothing.

        Raises
        ------
        JobMissing, JobNotFailed
            There is none, or it is under way, or was done.
        """
        viewer.require("operate")
        engine = self._engine()
        outcome = engine.outcomes([job_id]).get(job_id)
        if outcome is None:
            raise JobMissing(subject=ascii(job_id)[:120])
        if outcome.state not in UNSUCCESSFUL and not _failures(outcome):
            raise JobNotFailed(subject=job_id, found=outcome.state.value)
        engine.submit([JobRequest(job_id, outcome.name)], again=_AGAIN)
        self._tell(None, {"job": job_id, "state": JobState.QUEUED.value})

    def retry_exposure(self, viewer: Viewer, exposure_id: uuid.UUID) -> int:
        """Have the steps of an exposure tried again that failed; tells how many jobs that is.

        Raises
        ------
        ExposureNotFound
            There is none for this viewer.
        Forbidden, NotSignedIn
            He may not operate its site.
        JobNotFailed
            No step of it failed.
        """
        with self._database.reading() as session:
            found = session.execute(select(Exposure.site).where(Exposure.id == exposure_id)).first()
        if found is None or not viewer.may("read", found.site):
            raise ExposureNotFound(subject=exposure_id)
        viewer.require("operate", found.site)
        requests = self._reduction().plan(True, only=[exposure_id])
        if not requests:
            raise JobNotFailed("no step of this exposure failed", subject=exposure_id)
        self._engine().submit(requests, again=_AGAIN)
        self._tell(found.site, {"exposure": str(exposure_id), "state": JobState.QUEUED.value})
        return len(requests)

    def _tell(self, site: str | None, data: dict[str, Any]) -> None:
        with self._database.begin() as session:
            record_events(session, [Event(topic=TOPIC, site=site, data=data)])


class JobWatch:
    """Tells watchers, at most once a second, that jobs have changed.

    Parameters
    ----------
    database
        Where events are written.
    count
        Returns the number of jobs by state.
    """

    def __init__(self, *, database: Database, count: Callable[[], Mapping[str, int]]) -> None:
        self._database = database
        self._count = count
        self._before: dict[str, int] | None = None

    def run(self) -> float:
        """Look once; returns the seconds until the next look."""
        now = dict(self._count())
        if self._before is not None and now != self._before:
            with self._database.begin() as session:
                record_events(session, [Event(topic=TOPIC, site=None, data={"counts": now})])
        self._before = now
        return _LOOK_S


def _states(state: str | None) -> frozenset[JobState] | None:
    if state is None:
        return None
    if state == JobState.FAILED:
        return UNSUCCESSFUL
    try:
        return frozenset({JobState(state)})
    except ValueError as fault:
        raise InvalidInput(field="state", found=state[:40], expected=", ".join(JobState)) from fault


def _seen(subject: _Subject | None, sites: frozenset[str]) -> bool:
    return subject is not None and bool(subject.sites) and subject.sites <= sites


def _view(record: JobRecord, subject: _Subject | None, viewer: Viewer) -> JobView:
    outcome = record.outcome
    failures = tuple(_failures(outcome))
    seconds = None
    if outcome.started and outcome.finished:
        seconds = (outcome.finished - outcome.started) / timedelta(seconds=1)
    unsuccessful = outcome.state in UNSUCCESSFUL or bool(failures)
    error = outcome.error
    return JobView(
        job_id=outcome.job_id,
        title=_TITLES.get(outcome.name, outcome.name.replace("_", " ").capitalize()),
        about=None if subject is None else subject.told,
        url=None if subject is None else subject.url,
        state="partial" if failures else outcome.state.value,
        error=None if error is None else {key: error.get(key) for key in _TOLD},
        failures=failures,
        attempts=outcome.attempts,
        asked=record.asked,
        started=outcome.started,
        finished=outcome.finished,
        seconds=seconds,
        may_retry=unsuccessful and viewer.may("operate"),
    )


def _failures(outcome: JobOutcome) -> list[str]:
    """Steps that could not be done in a job that was."""
    result = outcome.result
    found = result.get("failures") if isinstance(result, dict) else None
    return [str(each) for each in found] if isinstance(found, list) else []


def _subjects(session: Session, records: Sequence[JobRecord]) -> dict[str, _Subject]:
    """What each job is about, as far as its payload tells."""
    exposures, observations = dict[str, uuid.UUID](), dict[str, uuid.UUID]()
    found: dict[str, _Subject] = {}
    for record in records:
        payload, job_id = record.payload or {}, record.outcome.job_id
        for name, into in (("exposure", exposures), ("observation", observations)):
            which = _uuid(payload.get(name))
            if which is not None:
                into[job_id] = which
        arrivals = payload.get("arrivals")
        if isinstance(arrivals, list):
            told = f"{len(arrivals)} file{'' if len(arrivals) == 1 else 's'}"
            found[job_id] = _Subject(told, None, frozenset())
    named = {
        row.id: row
        for row in session.execute(
            select(Exposure.id, Exposure.label, Exposure.site).where(
                Exposure.id.in_(set(exposures.values()))
            )
        )
    }
    sequences = {
        row.id: row
        for row in session.scalars(
            select(Observation).where(Observation.id.in_(set(observations.values())))
        )
    }
    for record in records:
        job_id = record.outcome.job_id
        row = named.get(exposures.get(job_id, _NOTHING))
        if row is not None:
            section = (record.payload or {}).get("section")
            told = row.label or str(row.id)
            told += f", section {section}" if section else ""
            found[job_id] = _Subject(told, f"/exposures/{row.id}", frozenset({row.site}))
        observed = sequences.get(observations.get(job_id, _NOTHING))
        if observed is not None:
            told = observed.sequence or f"{observed.target}, {observed.night}"
            url = f"/observations/{observed.id}"
            found[job_id] = _Subject(told, url, frozenset({observed.site}))
    return found


_NOTHING = uuid.UUID(int=0)


def _uuid(text: object) -> uuid.UUID | None:
    try:
        return uuid.UUID(str(text))
    except ValueError:
        return None
