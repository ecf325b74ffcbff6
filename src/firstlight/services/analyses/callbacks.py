"""What services post back: results, once, and how far they are.

The token is all that a caller shows. It is looked up by its hash before anything large is read;
results are read and kept before the run is touched; and one update, which holds only while the
run waits, takes the results, their files, the annotations and the event together. Of two posts
at the same moment the database lets one through.
"""

from __future__ import annotations

import json
import math
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, bindparam, select
from sqlalchemy.orm import Session

from firstlight.errors import InvalidInput, UserError
from firstlight.models.analysis import Analysis, AnalysisFile, AnalysisStatus
from firstlight.models.base import utc_now
from firstlight.models.database import Database, DatabaseUnreachable
from firstlight.remotes.analysis_client import plain_words
from firstlight.services.analyses.analysis_settings import AnalysisSettings
from firstlight.services.analyses.run_annotations import annotate
from firstlight.services.analyses.run_ends import (
    WAITING,
    change_run,
    end_run,
    ending,
    tell_end,
    tell_run,
    thing_of,
)
from firstlight.services.analyses.run_tokens import token_hash

if TYPE_CHECKING:
    from firstlight.services.analyses.result_files import KeptFile, ResultFiles
    from firstlight.services.analyses.submissions import Submission, SubmissionReader

__all__ = [
    "AlreadyUpdated",
    "CallbackService",
    "CallbackTokenExpired",
    "CallbackTokenInvalid",
    "ExpectedRun",
    "RunResults",
]

_TOKEN = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TOLD_EVERY = timedelta(seconds=0.2)
_SHOWN_MESSAGE = 300
_INVALID, _EXPIRED = "Invalid token", "Token has expired"  # SkyPortal's words
_EXPECTED = select(Analysis.id, Analysis.status, Analysis.status_message, Analysis.invalid_after)
_BY_TOKEN = _EXPECTED.where(Analysis.token_hash == bindparam("token_hash"))
_PAUSES_S = (0.5, 2.0, 5.0)  # between attempts to write while the database is away


class CallbackTokenInvalid(UserError):
    """No run waits for results under this token."""

    code = "analysis.token_invalid"


class AlreadyUpdated(UserError):
    """The run has its results already."""

    code = "analysis.already_updated"

    @classmethod
    def by(cls, row: Row[*tuple[Any, ...]]) -> AlreadyUpdated:
        """In SkyPortal's words."""
        said = (row.status_message or "")[:_SHOWN_MESSAGE]
        return cls(f"Analysis already updated with status='{row.status}' and message={said}")


class CallbackTokenExpired(UserError):
    """The run has waited too long for its results."""

    code = "analysis.token_expired"


@dataclass(frozen=True, slots=True)
class ExpectedRun:
    """A run whose results are waited for."""

    number: int


class RunResults:
    """Ends runs with what came of them: the same for services far away and in a worker.

    Parameters
    ----------
    reader
        Reads what was sent, safely.
    files
        Keeps the bytes.
    """

    def __init__(
        self,
        *,
        database: Database,
        reader: SubmissionReader,
        files: ResultFiles,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._reader = reader
        self._files = files
        self._clock = clock
        # One after the other, as the database writes them anyway: however many come at once, a
        # page that is made meanwhile shares the processor with one of them.
        self._desk = threading.Lock()

    def take(self, number: int, body: Path) -> None:
        """Read what was sent, keep it and end the run.

        Raises
        ------
        ResultMalformed, ResultRefused, ResultTooLarge, ResultUnreadable, ReaderBusy
            It cannot be used. The run waits as before.
        AlreadyUpdated, CallbackTokenExpired
            It has ended, or its time is over; nothing was kept.
        """
        with self._reader.read(body) as submission:
            files = self._files.keep(number, submission.products)
            again = False
            for pause in (*_PAUSES_S, None):
                try:
                    with self._desk:
                        self._ended_with(number, submission, files, again=again)
                    return  # noqa: TRY300, the loop is for what fails
                except DatabaseUnreachable:
                    # Many a service posts once; and a commit that was not answered may have
                    # been made, so that the bytes stay.
                    if pause is None:
                        raise
                    time.sleep(pause)
                    again = True
                except BaseException:
                    self._files.discard(files)
                    raise

    def _ended_with(
        self, number: int, submission: Submission, files: list[KeptFile], *, again: bool
    ) -> None:
        """End the run, unless an attempt before has done so unawares."""
        keys = [each.key for each in files] if again else []
        saved = select(AnalysisFile.id).where(AnalysisFile.key.in_(keys)).limit(1)
        with self._database.begin() as session:
            if not keys or session.scalar(saved) is None:
                self._end(session, number, submission, files)

    def _end(
        self, session: Session, number: int, submission: Submission, files: list[KeptFile]
    ) -> None:
        now = self._clock()
        status = AnalysisStatus.COMPLETED if submission.succeeded else AnalysisStatus.FAILURE
        message = submission.message or ("" if submission.succeeded else "the service failed")
        error = None
        if not submission.succeeded:
            error = {"code": "analysis.service_failed", "message": message}
        values = {**ending(status, now, message, error), "facts": submission.facts}
        # Those that run in a worker of ours call back nowhere, and have no such limit.
        in_time = Analysis.invalid_after.is_(None) | (Analysis.invalid_after >= now)
        row = change_run(session, number, values, in_time)
        if row is None:
            raise _too_late(session, number)
        self._files.save(session, files)
        annotate(session, row, submission.annotations)
        tell_end(session, row)


class CallbackService:
    """Takes what services post.

    Parameters
    ----------
    results
        Ends runs.
    """

    def __init__(
        self,
        *,
        database: Database,
        results: RunResults,
        settings: AnalysisSettings | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._results = results
        self._settings = settings or AnalysisSettings()
        self._clock = clock

    @property
    def longest_body(self) -> int:
        """Bytes of the longest results that are read at all."""
        return self._settings.max_result_bytes

    def expect(self, token: str) -> ExpectedRun:
        """The run that waits for results under a token.

        Raises
        ------
        CallbackTokenInvalid
            There is none.
        AlreadyUpdated
            It has ended.
        CallbackTokenExpired
            Its time is over; if nobody has noticed so far, it ends as timed out.
        """
        row = self._found(token)
        now = self._clock()
        if row.status == AnalysisStatus.TIMED_OUT:
            raise CallbackTokenExpired(_EXPIRED)
        if not AnalysisStatus(row.status).waiting:
            raise AlreadyUpdated.by(row)
        if row.invalid_after is None:
            raise CallbackTokenInvalid(
                _INVALID
            )  # nothing was sent: whoever has it did not get it from us
        if row.invalid_after < now:
            self._time_out(row.id, now)
            raise CallbackTokenExpired(_EXPIRED)
        return ExpectedRun(row.id)

    def take(self, run: ExpectedRun, body: Path) -> None:
        """Take the results of a run; see `RunResults.take`."""
        self._results.take(run.number, body)

    def progress(self, run: ExpectedRun, body: bytes) -> None:
        """Note how far a run is. Those that come too fast are left out, but for the last one.

        Parameters
        ----------
        body
            JSON: ``{"progress": 0..1, "message": text}``.

        Raises
        ------
        InvalidInput
            It is something else.
        """
        fraction, message = _progress(body)
        self.note_progress(run.number, fraction, message)

    def note_progress(self, number: int, fraction: float, message: str) -> bool:
        """Write down how far a run is; whether it still waits."""
        now = self._clock()
        with self._database.begin() as session:
            query = select(Analysis.status, Analysis.progress).where(Analysis.id == number)
            found = session.execute(query).one_or_none()
            if found is None or not AnalysisStatus(found.status).waiting:
                return False
            told = (found.progress or {}).get("told_at")
            if told and fraction < 1.0 and now - datetime.fromisoformat(told) < _TOLD_EVERY:
                return True
            progress = {"fraction": fraction, "message": message, "told_at": now.isoformat()}
            row = change_run(session, number, {"progress": progress}, holding=WAITING)
            if row is not None:
                tell_run(session, row, thing_of(row), "progress")
            return row is not None

    def _found(self, token: str) -> Row[*tuple[Any, ...]]:
        if not _TOKEN.fullmatch(token.lower()):
            raise CallbackTokenInvalid(_INVALID)
        with self._database.together(), self._database.reading() as session:
            known = {"token_hash": token_hash(token.lower())}
            row = session.execute(_BY_TOKEN, known).one_or_none()
        if row is None:
            raise CallbackTokenInvalid(_INVALID)
        return row

    def _time_out(self, number: int, now: datetime) -> None:
        message = "the service has sent its results too late"
        with self._database.begin() as session:
            end_run(
                session,
                number,
                AnalysisStatus.TIMED_OUT,
                # One that is queued is sent again, and gets a new time.
                Analysis.status == AnalysisStatus.PENDING,
                Analysis.invalid_after < now,
                now=now,
                message=message,
                error={"code": "analysis.timed_out", "message": message},
            )


def _too_late(session: Session, number: int) -> UserError:
    """Why a run takes no results any more."""
    row = session.execute(_EXPECTED.where(Analysis.id == number)).one_or_none()
    if row is None:
        return CallbackTokenInvalid(_INVALID)
    if AnalysisStatus(row.status).waiting or row.status == AnalysisStatus.TIMED_OUT:
        return CallbackTokenExpired(_EXPIRED)
    return AlreadyUpdated.by(row)


def _progress(body: bytes) -> tuple[float, str]:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        told = None
    fraction = told.get("progress") if isinstance(told, dict) else None
    number = isinstance(fraction, int | float) and not isinstance(fraction, bool)
    if told is None or fraction is None or not number or not math.isfinite(fraction):
        raise InvalidInput(field="progress", expected='{"progress": 0..1, "message": "..."}')
    message = told.get("message")
    words = plain_words(message) if isinstance(message, str) else ""
    return min(max(float(fraction), 0.0), 1.0), words
