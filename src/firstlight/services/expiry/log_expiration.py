"""Forgetting old entries of the upload log, and leave to upload that has ended.

Folders and buckets that are watched tell of a file again when they are looked through anew. By
its entry it is known, or it would be archived once more, and expire once more. So two kinds of
entries stay, whatever their age, though the log does not show them any more: those of files that
still lie in a watched folder, and those of objects of a bucket whose exposure has expired.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

from sqlalchemy import ColumnElement, Select, and_, delete, func, select, tuple_
from sqlalchemy.orm import Session

from firstlight.models.arrival import Arrival, ArrivalState, Origin
from firstlight.models.database import Database
from firstlight.models.expiration import Removal
from firstlight.models.upload_ticket import UploadTicket
from firstlight.services.expiry.expiration_report import ExpireReport
from firstlight.services.expiry.expiration_rules import (
    INFO_IMAGES,
    ExpirationSettings,
    age_in_words,
)
from firstlight.services.expiry.leftovers import remember

__all__ = ["FINISHED", "LogExpiration"]

FINISHED = (ArrivalState.ARCHIVED, ArrivalState.KNOWN, ArrivalState.SUPERSEDED)
"""States of entries that need nobody's attention."""


# An entry points at its exposure until that is removed.
_EXPIRED_IN_BUCKET = and_(
    Arrival.origin == Origin.S3,
    Arrival.state == ArrivalState.ARCHIVED,
    Arrival.collection != INFO_IMAGES,
    Arrival.exposure_id.is_(None),
)


class LogExpiration:
    """Removes entries and tickets whose time is over.

    Parameters
    ----------
    database
        Where they are.
    settings
        Their ages.
    """

    def __init__(self, *, database: Database, settings: ExpirationSettings) -> None:
        self._database = database
        self._settings = settings
        # Where the look for files in watched folders goes on, a batch in each sweep.
        self._cursor: tuple[datetime, uuid.UUID] | None = None

    def sweep(self, now: datetime, report: ExpireReport) -> None:
        """Remove what is due, in batches, and tell of it."""
        age = self._settings.upload_log
        if age is not None:
            finished = Arrival.state.in_(FINISHED) & (Arrival.created_at <= now - age)
            passing = finished & (Arrival.origin != Origin.FOLDER) & ~_EXPIRED_IN_BUCKET
            self._all(passing, age, now, report)
            self._gone_from_folders(finished & (Arrival.origin == Origin.FOLDER), age, now, report)
        if self._settings.quarantine is not None:
            age = self._settings.quarantine
            unusable = (Arrival.state == ArrivalState.QUARANTINED) & (
                Arrival.created_at <= now - age
            )
            self._all(unusable, age, now, report)
        self._tickets(now, report)

    def _all(
        self, which: ColumnElement[bool], age: timedelta, now: datetime, report: ExpireReport
    ) -> None:
        """Remove entries batch by batch; in a dry run count them."""
        if report.dry_run:
            with self._database.reading() as session:
                count = session.scalar(select(func.count()).select_from(Arrival).where(which))
            if count:
                report.removed["upload log"] += count
            return
        query = _oldest(which).limit(self._settings.batch).with_for_update(skip_locked=True)
        while True:
            with self._database.begin() as session:
                rows = session.scalars(query).all()
                self._remove(session, rows, age, now, report)
            if not rows:
                return

    def _gone_from_folders(
        self, which: ColumnElement[bool], age: timedelta, now: datetime, report: ExpireReport
    ) -> None:
        """Of one batch of entries of watched folders, remove those whose file is not there."""
        query = _oldest(which).limit(self._settings.batch)
        if self._cursor is not None:
            query = query.where(tuple_(Arrival.created_at, Arrival.id) > self._cursor)
        with self._database.reading() as session:
            rows = session.scalars(query).all()
        self._cursor = (rows[-1].created_at, rows[-1].id) if rows else None
        gone = [row for row in rows if not _is_there(row.source)]
        with self._database.begin() as session:
            self._remove(session, gone, age, now, report)

    def _remove(
        self,
        session: Session,
        rows: Sequence[Arrival],
        age: timedelta,
        now: datetime,
        report: ExpireReport,
    ) -> None:
        rule = f"upload log: {age_in_words(age)}"
        bytes_of = {
            row.key: row.size or 0
            for row in rows
            if row.key is not None and row.state == ArrivalState.QUARANTINED
        }
        for row in rows:
            held = row.key in bytes_of
            report.add_removed(
                "upload log",
                row.name or row.source[:900],
                row.site,
                rule,
                files=int(held),
                size=(row.size or 0) * held,
            )
        if report.dry_run or not rows:
            return
        remember(session, bytes_of, now)
        session.add(
            Removal(
                id=uuid.uuid4(),
                what="upload log",
                name=f"{len(rows)} entries",
                rule=rule,
                files=len(bytes_of),
                size=sum(bytes_of.values()),
                created_at=now,
            )
        )
        session.execute(delete(Arrival).where(Arrival.id.in_([row.id for row in rows])))

    def _tickets(self, now: datetime, report: ExpireReport) -> None:
        """Forget tickets. Bytes that came with one are told of by their names alone then."""
        if self._settings.upload_tickets is None:
            return
        ended = UploadTicket.expires_at <= now - self._settings.upload_tickets
        with self._database.begin() as session:
            ids = session.scalars(
                select(UploadTicket.id).where(ended).limit(self._settings.batch)
            ).all()
            if ids and not report.dry_run:
                session.execute(delete(UploadTicket).where(UploadTicket.id.in_(ids)))
        if ids:
            report.removed["upload ticket"] += len(ids)


def _oldest(which: ColumnElement[bool]) -> Select[Arrival]:
    return select(Arrival).where(which).order_by(Arrival.created_at, Arrival.id)


def _is_there(source: str) -> bool:
    """Whether a file of a watched folder is still there; yes where nobody can tell."""
    try:
        if source.startswith("file://"):
            source = os.fsdecode(unquote_to_bytes(urlsplit(source).path))
        Path(source).lstat()
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True
    return True
