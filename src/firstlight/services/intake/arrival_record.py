"""The second half of taking arrivals: one transaction for all rows and events of a batch."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError
from sqlalchemy.orm import Session

from firstlight.errors import InternalError
from firstlight.formats.base_filename import FileName, parse_name
from firstlight.models.arrival import Arrival, ArrivalState
from firstlight.models.base import utc_now
from firstlight.models.database import Database, DatabaseUnreachable
from firstlight.models.event import Event, record_events
from firstlight.models.exposure import Exposure
from firstlight.models.exposure_file import FileRole
from firstlight.models.info_image import InfoImage, InfoImageFile
from firstlight.services.expiry.leftovers import remember
from firstlight.services.intake.arrival_intake import Intake, OtherBytes, Taken
from firstlight.services.intake.exposure_facts import ExposureName
from firstlight.services.intake.exposure_rows import ExposureRows, Filed, NewFile
from firstlight.services.intake.info_images import InfoHeader
from firstlight.services.intake.stored_header import clean_text
from firstlight.storage import StoredFile

__all__ = ["ArrivalRecord", "Claim", "InfoImages", "TakenReport"]

ARRIVED, QUARANTINE = "imagedata", "quarantine"
"""Topics of the events."""

_TRIES = 5
_CONFLICTS = ("40001", "40P01")  # serialization failure, deadlock: of two one may try again

Claim = Callable[[Session, Iterable[str]], list[str]]
"""Keeps bytes under keys from being removed; returns the keys whose bytes are gone already."""


class InfoImages(Protocol):
    """Puts pictures on channels; see `InfoImageService.take`."""

    def take(
        self,
        session: Session,
        name: FileName,
        stored: StoredFile,
        *,
        now: datetime,
        channel: int | None = None,
        header: InfoHeader | None = None,
        made: bool = False,
    ) -> InfoImage | None:
        """Take one stored file; None where it is of no use."""
        ...


@dataclass
class TakenReport:
    """What became of arrivals, by their ids."""

    archived: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    superseded: list[str] = field(default_factory=list)
    quarantined: list[str] = field(default_factory=list)
    noted: list[dict[str, Any]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {**vars(self), "failures": []}


class _OnceMore(Exception):
    """Something changed between reading the bytes and writing the rows."""

    def __init__(self, arrivals: Sequence[Taken]) -> None:
        super().__init__()
        self.arrivals = arrivals


@dataclass
class ArrivalRecord:
    """Writes what became of arrivals.

    Parameters
    ----------
    database
        The tables.
    intake
        Reads bytes once more where others interfered.
    rows
        Writes exposures.
    info_images
        Takes files for channels.
    claim
        Keeps stored bytes from being swept away.
    """

    database: Database
    intake: Intake
    rows: ExposureRows
    info_images: InfoImages
    claim: Claim

    def save(
        self, batch: Sequence[Taken], report: TakenReport, instrument: str | None = None
    ) -> None:
        """Write a batch in one transaction; where one of it cannot be written, one by one.

        What cannot be written even alone is refused. Nothing of it is left then but its bytes.
        """
        if not batch:
            return
        fault: Exception | None = None
        for _ in range(_TRIES):
            try:
                told = TakenReport()
                with self.database.begin() as session:
                    _Batch(self, session, told).write(batch)
            except _OnceMore as change:
                for taken in change.arrivals:
                    self._read_again(taken, instrument)
                continue
            except (StatementError, DatabaseUnreachable) as problem:
                if not _may_pass(problem):
                    raise
                fault = problem
                continue
            except (ValueError, TypeError, LookupError, ArithmeticError) as problem:
                fault = problem  # of one odd header; found out by writing one by one
                break
            for name, values in vars(told).items():
                getattr(report, name).extend(values)
            return
        if len(batch) > 1:
            for taken in batch:
                self.save([taken], report, instrument)
            return
        self._give_up(batch[0], fault, report)

    def _read_again(self, taken: Taken, instrument: str | None) -> None:
        if taken.error is None:
            taken.stored, taken.files = None, []
            self.intake.take(taken, {}, instrument)
        self.intake.set_aside(taken)

    def _give_up(self, taken: Taken, fault: Exception | None, report: TakenReport) -> None:
        if taken.error is not None:
            raise InternalError("a refusal cannot be written", subject=taken.source) from fault
        taken.refuse(
            InternalError(
                "the rows of this file cannot be written", subject=taken.source, found=fault
            )
        )
        self.intake.set_aside(taken)
        self.save([taken], report)


def _may_pass(problem: Exception) -> bool:
    """Whether the rows are at fault, or another transaction; else it is the database itself."""
    cause = problem.__cause__ if isinstance(problem, DatabaseUnreachable) else problem
    if not isinstance(cause, DBAPIError):
        return isinstance(cause, StatementError)
    state = getattr(cause.orig, "sqlstate", None)
    if state in _CONFLICTS or isinstance(cause, IntegrityError):
        return True
    return type(cause).__name__ in ("DataError", "ProgrammingError", "InterfaceError")


class _Batch:
    """One transaction."""

    def __init__(self, record: ArrivalRecord, session: Session, report: TakenReport) -> None:
        self._record = record
        self._session = session
        self._report = report
        self._now = utc_now()
        self._events: list[Event] = []

    def write(self, batch: Sequence[Taken]) -> None:
        """Write everything, events last."""
        log = self._locked(batch)
        todo = [taken for taken in batch if taken.id in log]
        good = [taken for taken in todo if taken.error is None]
        self._claim(good)
        pictures = [taken for taken in good if taken.is_info_image]
        states = {
            taken.id: self._show(taken)
            for taken in sorted(pictures, key=lambda t: (t.site or "", t.channel or 0, t.id))
        }
        exposed = [taken for taken in good if not taken.is_info_image]
        states |= self._expose(exposed)
        for taken in todo:
            state = states.get(taken.id, ArrivalState.QUARANTINED)
            self._log(log[taken.id], taken, state)
        record_events(self._session, self._events)

    def _locked(self, batch: Sequence[Taken]) -> dict[uuid.UUID, Arrival]:
        """Rows of the log that nobody else has finished meanwhile."""
        ids = [taken.id for taken in batch]
        rows = self._session.scalars(
            select(Arrival).where(Arrival.id.in_(ids)).order_by(Arrival.id).with_for_update()
        )
        unfinished = (ArrivalState.RECEIVED, ArrivalState.QUARANTINED)
        return {row.id: row for row in rows if row.state in unfinished or row.exposure_id is None}

    def _claim(self, good: Sequence[Taken]) -> None:
        by_key = {key: taken for taken in good for key in taken.keys_put}
        gone = self._record.claim(self._session, by_key)
        if gone:
            raise _OnceMore([by_key[key] for key in gone])

    def _expose(self, good: Sequence[Taken]) -> dict[uuid.UUID, ArrivalState]:
        files = [new for taken in good for new in taken.files]
        if not files:
            return {}
        dropped = self._record.rows.add(self._session, files)
        states, spoiled = {}, []
        for taken in good:
            filed = taken.files[0].filed
            if filed is Filed.OTHER_BYTES:
                taken.refuse(OtherBytes(subject=taken.files[0].facts.key))
                spoiled.append(taken)
            elif filed is Filed.ADDED and not taken.keys_put:
                spoiled.append(taken)  # it was known when it was read, and is gone since
            added = filed is Filed.ADDED
            states[taken.id] = ArrivalState.ARCHIVED if added else ArrivalState.KNOWN
        if spoiled:
            raise _OnceMore(spoiled)
        sizes = {new.facts.key: new.facts.size for new in files}
        remember(self._session, {key: sizes.get(key, 0) for key in dropped}, self._now)
        return states

    def _show(self, taken: Taken) -> ArrivalState:
        """Hand a file to its channel; what was made of it goes along."""
        assert taken.name is not None  # noqa: S101, only names of the grammar say info image
        assert taken.stored is not None  # noqa: S101, it has no error
        new = taken.files[0]
        there = self._stored_picture(taken.stored)
        header = min(new.headers, key=lambda each: each.rank, default=None)
        image = self._record.info_images.take(
            self._session,
            taken.name,
            taken.stored,
            now=taken.arrived,
            channel=taken.channel,
            header=None if header is None else InfoHeader(header.rank, header.cards),
        )
        for made in taken.files[1:]:
            self._show_made(taken, made, image)
        if image is None:
            return ArrivalState.SUPERSEDED
        taken.channel = image.channel
        return ArrivalState.KNOWN if there else ArrivalState.ARCHIVED

    def _stored_picture(self, stored: StoredFile) -> bool:
        query = select(InfoImageFile.id).where(
            InfoImageFile.key == stored.key, InfoImageFile.sha256 == stored.sha256
        )
        return self._session.scalar(query.limit(1)) is not None

    def _show_made(self, taken: Taken, made: NewFile, image: InfoImage | None) -> None:
        stored = StoredFile(made.facts.key, made.facts.size, made.facts.sha256, made.facts.md5)
        delivered = (
            None
            if image is None
            else self._session.scalar(
                select(InfoImageFile.id).where(
                    InfoImageFile.info_image_id == image.id,
                    InfoImageFile.name == made.facts.name,
                    InfoImageFile.made.is_(False),
                )
            )
        )
        if image is None or delivered is not None:
            remember(self._session, {stored.key: stored.size}, self._now)
            return
        name = parse_name(f"info-images/{made.facts.name}")
        self._record.info_images.take(
            self._session, name, stored, now=taken.arrived, channel=image.channel, made=True
        )

    def _log(self, row: Arrival, taken: Taken, state: ArrivalState) -> None:
        """Write what became of an arrival, if that is news, and tell who watches."""
        getattr(self._report, state.value).append(str(taken.id))
        for problem in [*taken.problems, *(p for new in taken.files for p in new.problems)]:
            told = {**problem.as_dict(), "subject": taken.source}
            self._report.noted.append({"arrival": str(taken.id), "error": told})
        error = None if taken.error is None else _clean(taken.error)
        if row.state == state and row.error == error:
            return
        row.state, row.error = state.value, error
        row.finished_at = self._now
        if taken.stored is not None:
            row.key, row.size = taken.stored.key, taken.stored.size
            row.sha256 = taken.stored.sha256
        row.channel = taken.channel
        if state in (ArrivalState.ARCHIVED, ArrivalState.KNOWN) and not taken.is_info_image:
            self._point(row, taken)
        if state in (ArrivalState.ARCHIVED, ArrivalState.QUARANTINED):
            self._events.append(_event(row, taken, state))

    def _point(self, row: Arrival, taken: Taken) -> None:
        """Let the log say which exposure it is."""
        exposure = taken.files[0].exposure
        row.exposure_id = exposure.id
        if not isinstance(exposure, ExposureName):
            row.collection = "data"
            row.site = row.site or self._session.get_one(Exposure, exposure.id).site


def _event(row: Arrival, taken: Taken, state: ArrivalState) -> Event:
    if state is ArrivalState.QUARANTINED:
        refusal = {"arrival": str(row.id), "name": row.name, "site": row.site, "error": row.error}
        return Event(topic=QUARANTINE, site=row.site, data=refusal)
    facts = taken.files[0].facts
    data: dict[str, Any] = {
        "s3_directory": row.collection,
        "base_filename": row.base_filename or facts.name,
        "site": row.site,
        "filename": facts.name,
        "role": facts.role,
        "thumbnail": facts.role == FileRole.THUMBNAIL or len(taken.files) > 1,
    }
    if taken.is_info_image:
        data["channel"] = row.channel
    else:
        data["exposure_id"] = str(row.exposure_id)
    return Event(topic=ARRIVED, site=row.site, data=data)


def _clean(error: dict[str, Any]) -> dict[str, Any]:
    return {
        name: clean_text(value) if isinstance(value, str) else value
        for name, value in error.items()
    }
