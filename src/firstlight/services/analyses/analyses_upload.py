"""Results that people upload for a service that is never called."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy.orm import Session

from firstlight.errors import ConflictError, InvalidInput
from firstlight.models.analysis import Analysis, AnalysisService, AnalysisStatus
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.models.object import Object
from firstlight.services.access import Forbidden, Viewer
from firstlight.services.analyses.analyses_start import (
    ServiceDisabled,
    SubjectGone,
    lock_of_user,
    room_for_run,
    run_audience,
)
from firstlight.services.analyses.analysis_services import visible_service
from firstlight.services.analyses.analysis_settings import AnalysisSettings
from firstlight.services.analyses.result_files import KeptFile, ResultFiles
from firstlight.services.analyses.run_annotations import annotate
from firstlight.services.analyses.run_ends import change_run, ending, tell_run
from firstlight.services.analyses.submissions import Submission, SubmissionReader
from firstlight.services.objects.sharing import account_of, refusing_twins
from firstlight.services.objects.visible_objects import visible_object

__all__ = ["AnalysisUploads", "UploadOvertaken"]

_WITHIN = timedelta(minutes=15)  # then a run whose files were never kept is swept away
_SWITCHES = ("show_parameters", "show_plots", "show_corner")
_KNOWN = frozenset({*_SWITCHES, "group_ids", "message", "status", "analysis"})


class UploadOvertaken(ConflictError):
    """The analysis was cancelled or deleted while its files were being kept."""

    code = "analysis.upload_overtaken"


@dataclass(frozen=True)
class _Wish:
    """What the upload says of itself."""

    group_ids: object
    show_parameters: bool
    show_plots: bool
    show_corner: bool

    @classmethod
    def of(cls, others: Mapping[str, Any]) -> _Wish:
        unknown = sorted(set(others) - _KNOWN)
        if unknown:
            raise InvalidInput(
                f"Invalid/missing parameters: {unknown[0][:100]}.",
                field=unknown[0][:100],
                expected=", ".join(sorted(_KNOWN)),
            )
        shown = {name: _switch(name, others.get(name)) for name in _SWITCHES}
        return cls(group_ids=others.get("group_ids"), **shown)


class AnalysisUploads:
    """Takes uploaded results.

    Parameters
    ----------
    database
        Rows.
    reader
        Reads what was sent, apart from everything else.
    files
        Keeps its files.
    """

    def __init__(
        self,
        *,
        database: Database,
        reader: SubmissionReader,
        files: ResultFiles,
        settings: AnalysisSettings | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._reader = reader
        self._files = files
        self._settings = settings or AnalysisSettings()
        self._clock = clock

    @property
    def longest_body(self) -> int:
        """Bytes of the longest results that are read at all."""
        return self._settings.max_result_bytes

    def expect(self, viewer: Viewer, object_name: str, service_id: int) -> None:
        """Refuse early what `take` would refuse, before a long body is read.

        Raises
        ------
        NotSignedIn, Forbidden, ObjectMissing, AnalysisServiceMissing, TooManyRuns
            As `take`.
        """
        viewer.require("analyse")
        owner = account_of(viewer)
        with self._database.reading() as session:
            thing, _ = _subject(session, viewer, object_name, service_id)
            room_for_run(session, owner, thing, self._settings)

    def take(self, viewer: Viewer, object_name: str, service_id: int, body: Path) -> dict[str, Any]:
        """Keep uploaded results as a run that has ended.

        Parameters
        ----------
        body
            The file with JSON as services send it; a status is not needed.

        Returns
        -------
        dict
            ``id`` of the run, and a ``message``.

        Raises
        ------
        NotSignedIn, Forbidden, ObjectMissing, AnalysisServiceMissing
            The object or service is not for the viewer, or the service takes no uploads.
        ResultMalformed, ResultRefused, ResultTooLarge, ResultUnreadable, ReaderBusy
            The body cannot be used. Nothing was kept.
        TooManyRuns
            Some have to be deleted before.
        """
        viewer.require("analyse")
        account_of(viewer)
        with self._reader.read(body, needs_status=False) as submission:
            wish = _Wish.of(submission.others)
            number = self._begin(viewer, object_name, service_id, wish)
            files: list[KeptFile] = []
            try:
                files = self._files.keep(number, submission.products)
                self._end(number, submission, files)
            except BaseException:
                self._files.discard(files)
                self._forget(number)
                raise
        kept = (
            "Saved upload_only analysis data."
            if files
            else ("Note: empty analysis upload_only results.")
        )
        return {"id": number, "message": f"{kept} Message: {submission.message}"}

    def _begin(self, viewer: Viewer, object_name: str, service_id: int, wish: _Wish) -> int:
        now = self._clock()
        with self._database.begin() as session:
            thing, service = _subject(session, viewer, object_name, service_id)
            lock_of_user(session, viewer)
            room_for_run(session, account_of(viewer), thing, self._settings)
            row = Analysis(
                key=uuid4(),
                object_id=thing.id,
                service_id=service.id,
                service_name=service.name,
                service_version=service.version,
                owner_id=viewer.user_id,
                audience_id=run_audience(session, viewer, service, wish.group_ids),
                status=AnalysisStatus.PENDING,
                show_parameters=wish.show_parameters,
                show_plots=wish.show_plots,
                show_corner=wish.show_corner,
                invalid_after=now + _WITHIN,
                created_at=now,
            )
            with refusing_twins(session, SubjectGone(subject=thing.name)):
                session.add(row)
            return row.id

    def _end(self, number: int, submission: Submission, files: Sequence[KeptFile]) -> None:
        # Without a status it is one's own word that the results are good.
        good = submission.succeeded or not submission.status
        status = AnalysisStatus.COMPLETED if good else AnalysisStatus.FAILURE
        error = None
        if not good:
            error = {"code": "analysis.service_failed", "message": submission.message}
        values = ending(status, self._clock(), submission.message, error)
        with self._database.begin() as session:
            row = change_run(session, number, {**values, "facts": submission.facts})
            if row is None:
                raise UploadOvertaken(subject=number)
            self._files.save(session, files)
            annotate(session, row, submission.annotations)
            tell_run(session, row, session.get_one(Object, row.object_id), "uploaded")

    def _forget(self, number: int) -> None:
        with self._database.begin() as session:
            row = session.get(Analysis, number)
            if row is not None and row.status == AnalysisStatus.PENDING:
                session.delete(row)


def _subject(
    session: Session, viewer: Viewer, object_name: str, service_id: int
) -> tuple[Object, AnalysisService]:
    thing = visible_object(session, viewer, object_name)
    service = visible_service(session, viewer, service_id)
    if not service.upload_only:
        raise Forbidden(
            f"Analysis Service {service.display_name} is not of type upload_only.",
            subject=service.name,
        )
    if not service.enabled:
        raise ServiceDisabled(subject=service.display_name)
    return thing, service


def _switch(name: str, value: object) -> bool:
    if value is None:
        return True
    if not isinstance(value, bool):
        raise InvalidInput(field=name, found=repr(value)[:100], expected="true or false")
    return value
