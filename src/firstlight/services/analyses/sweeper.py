"""What nobody else ends: runs whose service has fallen silent, or that none has taken."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, select

from firstlight.models.analysis import Analysis, AnalysisStatus
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.services.analyses.analysis_settings import AnalysisSettings
from firstlight.services.analyses.run_ends import end_run

__all__ = ["RunSweeper"]

_PAUSE_S = 1.0  # runs have minutes; a second more is none
_AT_ONCE = 200  # runs that are looked at in one turn


class RunSweeper:
    """Ends runs whose time is over.

    Parameters
    ----------
    database
        Where they are.
    """

    def __init__(
        self,
        *,
        database: Database,
        settings: AnalysisSettings | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._settings = settings or AnalysisSettings()
        self._clock = clock

    def run(self) -> float:
        """Do it once; returns the seconds until the next time."""
        self.sweep()
        return max(self._settings.every_s, _PAUSE_S)

    def sweep(self) -> int:
        """End what is due; returns how many runs that were."""
        now = self._clock()
        ended = 0
        for number in self._found(_silent(now)):
            ended += self._end(number, _silent(now), AnalysisStatus.TIMED_OUT, _SILENT)
        give_up = self._settings.give_up
        if give_up is None:
            return ended
        overdue = now - timedelta(seconds=self._settings.claim_s)
        untaken = _untaken(overdue) & (Analysis.created_at < now - give_up)
        for number in self._found(untaken):
            ended += self._end(number, untaken, AnalysisStatus.FAILURE, _UNTAKEN)
        return ended

    def _found(self, condition: ColumnElement[bool]) -> list[int]:
        with self._database.reading() as session:
            return list(session.scalars(select(Analysis.id).where(condition).limit(_AT_ONCE)))

    def _end(
        self,
        number: int,
        condition: ColumnElement[bool],
        status: AnalysisStatus,
        error: dict[str, str],
    ) -> bool:
        with self._database.begin() as session:
            return end_run(
                session, number, status, condition,
                now=self._clock(), message=error["message"], error=error,
            )  # fmt: skip


_SILENT = {
    "code": "analysis.timed_out",
    "message": "the service has not sent its results in time",
    "hint": "run it again, or give the service a longer time limit",
}
_UNTAKEN = {
    "code": "analysis.not_taken",
    "message": "given up: the service has not taken the run",
    "hint": "look whether the service is running, then run it again",
}


def _silent(now: datetime) -> ColumnElement[bool]:
    """Runs that a service has had for longer than it may."""
    return (Analysis.status == AnalysisStatus.PENDING) & (Analysis.invalid_after < now)


def _untaken(since: datetime) -> ColumnElement[bool]:
    """Runs that were tried and have been due since then, and that nobody sends.

    One that was never tried is no fault of its service: this system was not running.
    """
    return (
        (Analysis.status == AnalysisStatus.QUEUED)
        & (Analysis.attempts > 0)
        & (Analysis.next_try_at < since)
    )
