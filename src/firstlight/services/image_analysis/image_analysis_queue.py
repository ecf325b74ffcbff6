"""Which analysis is next: users in turn, a few at a time, and none lost with its worker."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.models.image_analysis import AnalysisState, ImageAnalysis
from firstlight.models.object import Object
from firstlight.services.image_analysis.image_analysis_end import ended
from firstlight.services.image_analysis.image_analysis_limits import ImageAnalysisLimits
from firstlight.services.image_analysis.image_analysis_shapes import STEP_NAMES, error_shape
from firstlight.work.engine import JobOutcome, JobRequest, JobState
from firstlight.work.job_desk import JobDesk, cancel_alive

__all__ = ["JOB", "ImageAnalysisQueue", "in_turns", "last_turns", "next_ones"]

JOB = "image_analysis"
_BUSY_S = 0.25
_CANCELLED_WITHIN = timedelta(minutes=10)
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_STATES = {
    JobState.TIMED_OUT: AnalysisState.TIMED_OUT,
    JobState.CANCELLED: AnalysisState.CANCELLED,
}


@dataclass(frozen=True)
class _Waiting:
    number: int
    owner: int | None
    begun: datetime | None


class ImageAnalysisQueue:
    """Hands analyses to the engine, and ends those whose job has ended without them.

    The rows are the truth. Several processes may do this at one time: they come to the same
    choice, and a job asked for twice is one job.

    Parameters
    ----------
    database
        Where the analyses are.
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
        limits: ImageAnalysisLimits | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._jobs = jobs
        self._limits = limits or ImageAnalysisLimits()
        self._clock = clock

    def run(self) -> float:
        """Do it once; returns the seconds until the next time."""
        waiting, cancelled = self._rows()
        known = self._jobs.outcomes([job_id(each.number) for each in waiting])
        finished = {name: each for name, each in known.items() if each.state.finished}
        for each in waiting:
            if job_id(each.number) in finished:
                self._bury(each.number, finished[job_id(each.number)])
        given = [w for w in waiting if job_id(w.number) in known.keys() - finished.keys()]
        fresh = [
            w for w in waiting if job_id(w.number) not in known and not self._is_done_elsewhere(w)
        ]
        if fresh:
            chosen = next_ones(
                [(w.number, w.owner) for w in fresh],
                Counter(w.owner for w in given),
                self._turns_of({w.owner for w in fresh}),
                self._limits,
            )
            self._jobs.submit(
                [JobRequest(job_id(number), JOB, {"analysis": number}) for number in chosen]
            )
        cancel_alive(self._jobs, [job_id(number) for number in cancelled])
        return _BUSY_S if waiting else self.IDLE_S

    def _is_done_elsewhere(self, each: _Waiting) -> bool:
        """Whether somebody does it without a job, for as long as an analysis may take."""
        limit = timedelta(seconds=self._limits.timeout_s)
        return each.begun is not None and self._clock() - _aware(each.begun) < limit

    def _rows(self) -> tuple[list[_Waiting], list[int]]:
        """Analyses that are not ended, oldest first; and those cancelled a while ago."""
        since = self._clock() - _CANCELLED_WITHIN
        unfinished = (AnalysisState.QUEUED, AnalysisState.RUNNING)
        with self._database.reading() as session:
            rows = session.execute(
                select(ImageAnalysis.id, ImageAnalysis.owner_id, ImageAnalysis.started_at)
                .where(ImageAnalysis.state.in_(unfinished))
                .order_by(ImageAnalysis.id)
            )
            waiting = [_Waiting(*row) for row in rows]
            query = select(ImageAnalysis.id).where(
                ImageAnalysis.state == AnalysisState.CANCELLED, ImageAnalysis.finished_at > since
            )
            return waiting, list(session.scalars(query))

    def _turns_of(self, owners: set[int | None]) -> dict[int | None, datetime]:
        with self._database.reading() as session:
            return last_turns(session, owners)

    def _bury(self, number: int, outcome: JobOutcome) -> None:
        """Write the end of an analysis whose worker did not live to write it."""
        with self._database.begin() as session:
            row = session.get_one(ImageAnalysis, number)
            if row.state not in (AnalysisState.QUEUED, AnalysisState.RUNNING):
                return
            name = session.get_one(Object, row.object_id).name
            state = _STATES.get(outcome.state, AnalysisState.FAILED)
            step = _under_way(row.steps)
            error = None
            if state != AnalysisState.CANCELLED:
                error = error_shape(self._told(outcome), step)
                row.steps = [_ended_at(each, step, error) for each in row.steps]
            ended(session, row, name, state, error, self._clock())

    def _told(self, outcome: JobOutcome) -> dict[str, Any]:
        facts = dict(outcome.error or {})
        if outcome.state is JobState.TIMED_OUT:
            return {
                "code": "analysis.timed_out",
                "message": "The analysis took too long.",
                "found": facts.get("found"),
                "expected": f"at most {self._limits.timeout_s:g} s",
                "hint": "cut out the field around the target, or ask for fewer artificial stars",
            }
        if facts.get("code") == "work.worker_died":
            return {
                "code": "analysis.worker_died",
                "message": "The analysis ended with its process.",
                "found": facts.get("found"),
                "hint": "the image may need more memory than there is: cut out the field "
                "around the target, then run it again",
            }
        return facts


def job_id(number: int) -> str:
    """The id of an analysis's job."""
    return f"{JOB}/{number}"


def next_ones(
    waiting: Sequence[tuple[int, int | None]],
    under_way: Mapping[int | None, int],
    last_turn: Mapping[int | None, datetime],
    limits: ImageAnalysisLimits,
) -> list[int]:
    """Choose what is handed to the engine now.

    Users take turns: first who has waited longest since the last analysis of theirs began,
    whoever has more waiting; of one user the oldest first.

    Parameters
    ----------
    waiting
        Number and owner of each that no engine has, oldest first.
    under_way
        How many of each owner an engine has.
    last_turn
        When one of each owner was last begun; absent for never.

    Returns
    -------
    list
        Numbers, in order.
    """
    queues, order = _queues(waiting, last_turn)
    counts = Counter(under_way)
    free = limits.at_once - sum(counts.values())
    chosen: list[int] = []
    while free > 0:
        served = False
        for owner in order:
            if free > 0 and queues[owner] and counts[owner] < limits.at_once_per_user:
                chosen.append(queues[owner].pop(0))
                counts[owner] += 1
                free -= 1
                served = True
        if not served:
            break
    return chosen


def in_turns(
    waiting: Sequence[tuple[int, int | None]], last_turn: Mapping[int | None, datetime]
) -> list[int]:
    """All that wait, in the order in which they will be chosen if nobody asks for more.

    Parameters
    ----------
    waiting, last_turn
        As for `next_ones`.
    """
    queues, order = _queues(waiting, last_turn)
    rounds = zip_longest(*(queues[owner] for owner in order))
    return [number for each in rounds for number in each if number is not None]


def _queues(
    waiting: Sequence[tuple[int, int | None]], last_turn: Mapping[int | None, datetime]
) -> tuple[dict[int | None, list[int]], list[int | None]]:
    """What each user waits for, and the users: first who was served longest ago."""
    queues: dict[int | None, list[int]] = defaultdict(list)
    for number, owner in waiting:
        queues[owner].append(number)
    order = sorted(queues, key=lambda owner: (last_turn.get(owner, _NEVER), queues[owner][0]))
    return queues, order


def last_turns(session: Session, owners: set[int | None]) -> dict[int | None, datetime]:
    """When an analysis of each was last begun; those of whom none was are absent."""
    query = (
        select(ImageAnalysis.owner_id, func.max(ImageAnalysis.started_at))
        .where(ImageAnalysis.started_at.is_not(None))
        .group_by(ImageAnalysis.owner_id)
    )
    if None not in owners:
        query = query.where(ImageAnalysis.owner_id.in_(owners))
    return {owner: _aware(moment) for owner, moment in session.execute(query) if moment}


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _under_way(steps: Sequence[Mapping[str, Any]]) -> str:
    running = [step["name"] for step in steps if step["state"] == "running"]
    return str(running[-1]) if running else STEP_NAMES[0]


def _ended_at(step: Mapping[str, Any], last: str, error: Mapping[str, Any]) -> dict[str, Any]:
    if step["name"] == last:
        return {**step, "state": "failed", "message": error["message"]}
    return {**step, "state": "skipped"} if step["state"] in ("waiting", "running") else {**step}
