"""Arrivals: what has come is written down, then taken into the archive by jobs.

The rows in state ``received`` are the truth: whatever is announced stays there until it is in
the archive or refused with a reason, however often a worker dies on the way.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from firstlight.errors import FirstlightError
from firstlight.formats.base_filename import BadBaseFilename
from firstlight.models.arrival import Arrival, ArrivalState
from firstlight.models.base import utc_now
from firstlight.models.database import Database, bulk_insert
from firstlight.models.exposure_file import ExposureFile
from firstlight.provenance.fingerprint import fingerprint
from firstlight.services.intake.announcement import Announcement
from firstlight.services.intake.archive_settings import ArchiveSettings
from firstlight.services.intake.arrival_intake import Intake, Taken
from firstlight.services.intake.arrival_names import parse_offered
from firstlight.services.intake.arrival_record import ArrivalRecord, TakenReport
from firstlight.services.intake.exposure_facts import ExposureName
from firstlight.services.intake.stored_header import clean_cards, clean_text
from firstlight.storage import StorageFull
from firstlight.work.engine import JobRequest

__all__ = ["JOB", "ArrivalService", "arrival_id"]

JOB = "take_arrivals"
_UNTOUCHED_FOR = timedelta(seconds=20)  # until then the job that was asked for is trusted
_MOST_PLANNED = 20_000
_LONGEST_NAME = 900
_WRITERS = 4  # files that are on their way to the disk at once: its waits overlap
_IN_MEMORY = 20  # light files that are held until they are stored


class ArrivalService:
    """Takes files into the archive, wherever they come from.

    Parameters
    ----------
    database
        The tables.
    intake
        Reads and checks bytes.
    record
        Writes what became of them.
    """

    def __init__(
        self,
        *,
        database: Database,
        intake: Intake,
        record: ArrivalRecord,
        settings: ArchiveSettings,
    ) -> None:
        self._database = database
        self._intake = intake
        self._record = record
        self._settings = settings

    def announce(self, announcements: Sequence[Announcement]) -> list[uuid.UUID]:
        """Write down that files have come. The same again is the same row.

        Returns
        -------
        list of UUID
            Those of them that are still to be taken, in the order given.
        """
        now = utc_now()
        rows = {arrival_id(each): each for each in announcements}
        with self._database.begin() as session:
            bulk_insert(session, Arrival, [_row(each, rows[each], now) for each in sorted(rows)])
            waiting = set(
                session.scalars(
                    select(Arrival.id).where(
                        Arrival.id.in_(rows), Arrival.state == ArrivalState.RECEIVED
                    )
                )
            )
        return [each for each in rows if each in waiting]

    def requests(self, ids: Sequence[uuid.UUID]) -> list[JobRequest]:
        """Jobs for arrivals that were announced."""
        if not ids:
            return []
        with self._database.reading() as session:
            moments = session.execute(
                select(Arrival.id, Arrival.created_at).where(Arrival.id.in_(ids))
            )
            return self._requests(session, {row.id: row.created_at for row in moments})

    def plan(self, now: datetime) -> list[JobRequest]:
        """Jobs for every arrival that waits, but for those that have only just come."""
        query = (
            select(Arrival.id, Arrival.created_at)
            .where(
                Arrival.state == ArrivalState.RECEIVED,
                Arrival.created_at <= now - _UNTOUCHED_FOR,
            )
            .order_by(Arrival.created_at, Arrival.id)
            .limit(_MOST_PLANNED)
        )
        with self._database.reading() as session:
            return self._requests(
                session, {row.id: row.created_at for row in session.execute(query)}
            )

    def take(
        self,
        ids: Iterable[uuid.UUID | str],
        *,
        instrument: str | None = None,
        again: bool = False,
    ) -> dict[str, Any]:
        """Take arrivals into the archive. Those that are not waiting are left alone.

        Parameters
        ----------
        instrument
            Which camera plain exposures come from, where the caller knows.
        again
            Whether what was refused, or was removed since, is tried once more.

        Returns
        -------
        dict
            ``archived``, ``known``, ``superseded`` and ``quarantined``: ids; ``noted``: what
            is wrong with headers of archived files, by id.

        Raises
        ------
        FirstlightError
            The machine failed for some of them, which still wait; the others are taken.
        """
        items, known = self._waiting([uuid.UUID(str(each)) for each in ids], again=again)
        ready, failures = [], []
        for part in _parts(items):
            for taken in part:
                failures += self._failure(self._intake.read, taken, known, instrument)
            with ThreadPoolExecutor(_WRITERS) as writers:
                stored = writers.map(partial(self._failure, self._intake.store_light), part)
                failures += [each for failed in stored for each in failed]
            for taken in part:
                failures += self._failure(self._intake.set_aside, taken)
            ready += [taken for taken in part if not taken.failed]
            if any(isinstance(each, StorageFull) for each in failures):
                break
        report = TakenReport()
        self._record.save(ready, report, instrument)
        if failures:
            raise failures[0]
        return report.as_dict()

    def _failure(
        self, work: Callable[..., None], taken: Taken, *arguments: Any
    ) -> list[FirstlightError]:
        """Do a part of the work for one arrival; what comes back is the machine's fault."""
        if taken.failed:
            return []
        try:
            work(taken, *arguments)
        except FirstlightError as fault:
            taken.failed = True
            return [fault]
        return []

    def _waiting(
        self, ids: Sequence[uuid.UUID], *, again: bool
    ) -> tuple[list[Taken], dict[tuple[uuid.UUID, str], str]]:
        """Arrivals to be taken, and checksums of files of their names that are there."""
        with self._database.reading() as session:
            rows = session.scalars(select(Arrival).where(Arrival.id.in_(ids))).all()
            items = [Taken.of(row) for row in rows if is_waiting(row, again=again)]
            order = {each: place for place, each in enumerate(ids)}
            items.sort(key=lambda each: order[each.id])
            exposures = [each for each in map(_exposure_of, items) if each is not None]
            files = session.execute(
                select(ExposureFile.exposure_id, ExposureFile.name, ExposureFile.sha256).where(
                    ExposureFile.exposure_id.in_(exposures), ExposureFile.made.is_(False)
                )
            )
            known = {(owner, name): sha256 for owner, name, sha256 in files}
        return items, known

    def _requests(self, session: Session, waiting: dict[uuid.UUID, datetime]) -> list[JobRequest]:
        """One job for each group of arrivals that were announced together.

        The groups do not depend on which of them still wait, so the same arrivals asked for
        again are the same job.
        """
        together: dict[datetime, list[uuid.UUID]] = defaultdict(list)
        siblings = select(Arrival.id, Arrival.created_at).where(
            Arrival.state.in_([each.value for each in ArrivalState]),
            Arrival.created_at.in_(sorted(set(waiting.values()))),
        )
        for each, moment in session.execute(siblings):
            together[moment].append(each)
        requests = []
        for moment in sorted(together):
            group = sorted(together[moment])
            for start in range(0, len(group), self._settings.batch):
                ids = [str(each) for each in group[start : start + self._settings.batch]]
                if any(uuid.UUID(each) in waiting for each in ids):
                    requests.append(JobRequest(f"take-{fingerprint(ids)}", JOB, {"arrivals": ids}))
        return requests


def _parts(items: Sequence[Taken]) -> Iterator[list[Taken]]:
    """As many at a time as may be in memory together."""
    for start in range(0, len(items), _IN_MEMORY):
        yield list(items[start : start + _IN_MEMORY])


def is_waiting(row: Arrival, *, again: bool = False) -> bool:
    """Whether an arrival is to be taken.

    Parameters
    ----------
    again
        Whether this holds for what was refused, too, and for what is no longer there.
    """
    if row.state == ArrivalState.RECEIVED:
        return True
    gone = row.state == ArrivalState.ARCHIVED and row.exposure_id is None
    return again and (row.state == ArrivalState.QUARANTINED or gone)


def arrival_id(announcement: Announcement) -> uuid.UUID:
    """Id of the row of an announcement."""
    row = Arrival(source=_source(announcement), version=_version(announcement))
    row.identify()
    return row.id


def _source(announcement: Announcement) -> str:
    return clean_text(announcement.source)[:4096]


def _version(announcement: Announcement) -> str:
    version = clean_text(announcement.version)
    return version if len(version) <= 256 else fingerprint(version)


def _row(row_id: uuid.UUID, announcement: Announcement, now: datetime) -> dict[str, Any]:
    """Of the upload log; site and exposure are told by the name already."""
    name = clean_text(announcement.name)
    row: dict[str, Any] = {
        "id": row_id,
        "source": _source(announcement),
        "version": _version(announcement),
        "origin": announcement.origin.value,
        "name": name[-_LONGEST_NAME:],
        "site": announcement.site and clean_text(announcement.site)[:128],
        "collection": None,
        "base_filename": None,
        "channel": announcement.channel,
        "state": ArrivalState.RECEIVED.value,
        "size": announcement.size,
        "header": None if announcement.metadata is None else clean_cards(announcement.metadata),
        "created_at": now,
    }
    try:
        parsed = parse_offered(name)
    except BadBaseFilename:
        return row
    if parsed is not None:
        row |= {
            "site": parsed.site,
            "collection": parsed.collection.value,
            "base_filename": parsed.base_filename,
        }
    return row


def _exposure_of(taken: Taken) -> uuid.UUID | None:
    try:
        name = parse_offered(taken.offered_name)
    except BadBaseFilename:
        return None
    return None if name is None else ExposureName.of(name).id
