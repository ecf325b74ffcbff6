"""Expiration: what has an end is removed when it has come, files, rows and pictures together.

Each batch is one transaction: it removes the rows, logs the removal, tells the watchers, and
notes the keys; the bytes follow (see `leftovers`). A sweep may be killed anywhere and be run
again, by any number of processes.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import delete, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from firstlight.errors import FirstlightError, RemoteError
from firstlight.models.base import utc_now
from firstlight.models.database import Database, DatabaseUnreachable
from firstlight.models.event import Event, record_events
from firstlight.models.expiration import PassingFile, PassingKind, Removal
from firstlight.models.exposure import Exposure
from firstlight.models.info_image import InfoImage, InfoImageFile
from firstlight.services.expiry.expiration_report import ExpireReport
from firstlight.services.expiry.expiration_rules import (
    INFO_IMAGES,
    ExpirationRules,
    ExpirationSettings,
    age_in_words,
)
from firstlight.services.expiry.exposure_removal import delete_exposures, files_of, judge
from firstlight.services.expiry.leftovers import Leftovers, remember
from firstlight.services.expiry.log_expiration import LogExpiration
from firstlight.services.transaction_locks import lock_names
from firstlight.storage import KeyMissing, StorageUnreachable, Store

__all__ = ["TOPIC", "ExpirationService"]

TOPIC = "expiration"
_AT_ONCE = 25  # exposures, or files, in one transaction: others want to write, too


class ExpirationService:
    """Removes what is due.

    Parameters
    ----------
    database, store
        Rows and bytes.
    settings
        Rules and ages.
    grace
        How long bytes outlive the rows of exposures and info images, for readers on the way.
    copies
        Folder in which local copies of stored files may lie, by their keys.
    clock
        Returns the present, aware.
    """

    def __init__(
        self,
        *,
        database: Database,
        store: Store,
        settings: ExpirationSettings,
        grace: timedelta = timedelta(),
        copies: Path | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._store = store
        self._settings = settings
        self._rules = ExpirationRules(settings)
        self._grace = grace
        self._leftovers = Leftovers(database=database, store=store, copies=copies)
        self._log = LogExpiration(database=database, settings=settings)
        self._clock = clock

    def run(self) -> float:
        """Sweep once, as a chore beside others; returns the seconds until the next time."""
        self.sweep()
        return self._settings.every_s

    def sweep(self, now: datetime | None = None, *, dry_run: bool = False) -> ExpireReport:
        """Remove everything whose time is over.

        Parameters
        ----------
        now
            The clock's time where it is not given.
        dry_run
            Only tell what would go. Nothing is changed.

        Returns
        -------
        ExpireReport
            What could not be removed is in `failed` and never stops the rest.
        """
        now = now or self._clock()
        report = ExpireReport(dry_run=dry_run)
        for ids in self._due_exposures(now):
            if not self._exposures(ids, now, report):
                break
        for image_id in self._due_info_images(now):
            self._info_image(image_id, now, report)
        self._log.sweep(now, report)
        self._bytes(now, report)
        return report

    def apply_rules(self) -> int:
        """Set anew when everything expires, after the rules were changed; returns how many."""
        return self._apply_to_exposures() + self._apply_to_info_images()

    # --- exposures -------------------------------------------------------------------------

    def _due_exposures(self, now: datetime) -> Iterator[list[uuid.UUID]]:
        """Ids in batches, the oldest first; each is looked at once in a sweep."""
        last: tuple[datetime, uuid.UUID] | None = None
        while True:
            query = (
                select(Exposure.expires_at, Exposure.id)
                .where(Exposure.expires_at <= now)
                .order_by(Exposure.expires_at, Exposure.id)
                .limit(_AT_ONCE)
            )
            if last is not None:
                query = query.where(tuple_(Exposure.expires_at, Exposure.id) > last)
            with self._database.reading() as session:
                rows = session.execute(query).all()
            if not rows:
                return
            moment, exposure_id = rows[-1]
            assert moment is not None  # noqa: S101, the query asks for those that have one
            last = (moment, exposure_id)
            yield [row.id for row in rows]

    def _exposures(self, ids: Sequence[uuid.UUID], now: datetime, report: ExpireReport) -> bool:
        """Remove a batch; where that fails, one by one, so that one does not keep the others.

        Returns whether it makes sense to go on: not where a server does not answer.
        """
        try:
            self._remove_exposures(ids, now, report)
        except RemoteError as fault:
            report.add_failed("exposures", fault.as_dict())
            return False
        except (FirstlightError, IntegrityError) as fault:
            # A file may be coming for an observation that was to go: that goes next time.
            if len(ids) > 1:
                return all(self._exposures([each], now, report) for each in ids)
            report.add_failed(str(ids[0]), _as_dict(fault))
        return True

    def _remove_exposures(
        self, ids: Sequence[uuid.UUID], now: datetime, report: ExpireReport
    ) -> None:
        sizes = self._measure(ids)
        with self._database.begin() as session:
            verdict = judge(session, ids, now)
            files = {
                owner: {key: sizes.get(key, 0) for key in keys}
                for owner, keys in files_of(session, [each.id for each in verdict.going]).items()
            }
            removals = [self._removal(each, files[each.id], now) for each in verdict.going]
            told = [_told(removal) for removal in removals]
            kept = [(each.name, each.site, why) for each, why in verdict.kept.items()]
            if not report.dry_run:
                events = [_exposure_event(each, now) for each in verdict.going]
                every = {key: size for sizes in files.values() for key, size in sizes.items()}
                delete_exposures(session, verdict, every, now + self._grace)
                session.add_all(removals)
                record_events(session, events)
        for facts in told:
            report.add_removed(**facts)
        for name, site, why in kept:
            report.add_kept(name, site, why)

    def _measure(self, ids: Sequence[uuid.UUID]) -> dict[str, int]:
        """Bytes of all files by key. Outside of the transaction: the store may be far away."""
        with self._database.reading() as session:
            found = files_of(session, ids)
        return {
            key: self._size(key) if size is None else size
            for files in found.values()
            for key, size in files.items()
        }

    def _size(self, key: str) -> int:
        try:
            return self._store.stat(key).size
        except KeyMissing:
            return 0

    def _removal(self, exposure: Exposure, files: dict[str, int], now: datetime) -> Removal:
        name = exposure.base_filename or exposure.name
        rule = self._rules.reason(
            data_type=exposure.data_type,
            site=exposure.site,
            collection=exposure.collection,
            name=name,
        )
        return Removal(
            id=uuid.uuid4(),
            what="exposure",
            name=name,
            site=exposure.site,
            rule=rule[:256],
            files=len(files),
            size=sum(files.values()),
            created_at=now,
        )

    # --- info images -----------------------------------------------------------------------

    def _due_info_images(self, now: datetime) -> list[uuid.UUID]:
        query = (
            select(InfoImage.id)
            .where(InfoImage.expires_at <= now)
            .order_by(InfoImage.expires_at, InfoImage.id)
        )
        with self._database.reading() as session:
            return list(session.scalars(query))

    def _info_image(self, image_id: uuid.UUID, now: datetime, report: ExpireReport) -> None:
        with self._database.begin() as session:
            found = session.get(InfoImage, image_id)
            if found is None:
                return
            lock_names(session, f"info image {found.site} {found.channel}")
            image = session.scalar(
                select(InfoImage)
                .where(InfoImage.id == image_id, InfoImage.expires_at <= now)
                .execution_options(populate_existing=True)  # as it is under the lock
            )
            if image is None:
                return
            files = session.scalars(
                select(InfoImageFile).where(InfoImageFile.info_image_id == image_id)
            ).all()
            removal = Removal(
                id=uuid.uuid4(),
                what="info image",
                name=image.base_filename,
                site=image.site,
                rule=self._rules.reason(**_info_facts(image))[:256],
                files=len(files),
                size=sum(file.size for file in files),
                created_at=now,
            )
            # A mark of one that was replaced, or never came, goes without a word.
            events = [] if image.shown_at is None else [_info_event(image, now)]
            if events:
                report.add_removed(**_told(removal))
            if not report.dry_run:
                remember(session, {file.key: file.size for file in files}, now + self._grace)
                session.execute(delete(InfoImage).where(InfoImage.id == image_id))
                session.add_all([removal] if events else [])
                record_events(session, events)

    # --- bytes -----------------------------------------------------------------------------

    def _bytes(self, now: datetime, report: ExpireReport) -> None:
        """Remove converted files that nobody asked for lately, and what rows left behind."""
        if report.dry_run:
            self._tell_downloads(now, report)
            return
        last: tuple[datetime, str] | None = None
        while found := self._leftovers.due(now, _AT_ONCE, after=last):
            last = found[-1]
            if not self._some_files([key for _, key in found], now, report):
                return

    def _some_files(self, keys: Sequence[str], now: datetime, report: ExpireReport) -> bool:
        """Remove the bytes of some keys, then their rows; where that fails, one by one.

        Returns whether it makes sense to go on.
        """
        try:
            self._remove_files(keys, now, report)
        except (StorageUnreachable, DatabaseUnreachable) as fault:
            report.add_failed(keys[0], fault.as_dict())
            return False
        except (FirstlightError, OSError) as fault:
            if len(keys) > 1:
                return all(self._some_files([key], now, report) for key in keys)
            report.add_failed(keys[0], _as_dict(fault))
        return True

    def _remove_files(self, keys: Sequence[str], now: datetime, report: ExpireReport) -> None:
        rule = f"downloads: {age_in_words(self._settings.downloads)}"
        with self._database.begin() as session:
            rows = self._leftovers.remove_all(session, keys, now)
            removals = [
                Removal(
                    id=uuid.uuid4(),
                    what="download",
                    name=row.key,
                    rule=rule,
                    files=1,
                    size=row.size,
                    created_at=now,
                )
                for row in rows
                if row.kind != PassingKind.LEFTOVER
            ]
            told = [_told(removal) for removal in removals]
            session.add_all(removals)
        for facts in told:
            report.add_removed(**facts)

    def _tell_downloads(self, now: datetime, report: ExpireReport) -> None:
        rule = f"downloads: {age_in_words(self._settings.downloads)}"
        query = (
            select(PassingFile)
            .where(PassingFile.expires_at <= now)
            .order_by(PassingFile.expires_at, PassingFile.key)
        )
        with self._database.reading() as session:
            for row in session.scalars(query):
                if row.kind != PassingKind.LEFTOVER:
                    report.add_removed("download", row.key, None, rule, files=1, size=row.size)

    # --- rules -----------------------------------------------------------------------------

    def _apply_to_exposures(self) -> int:
        columns = (
            Exposure.id,
            Exposure.data_type,
            Exposure.site,
            Exposure.collection,
            Exposure.base_filename,
            Exposure.filename,
            Exposure.created_at,
            Exposure.expires_at,
        )
        changed, last = 0, uuid.UUID(int=0)
        while True:
            query = select(*columns).where(Exposure.id > last).order_by(Exposure.id).limit(1000)
            with self._database.begin() as session:
                rows = session.execute(query).all()
                wanted = [
                    {
                        "id": row.id,
                        "expires_at": self._rules.expires_at(
                            data_type=row.data_type,
                            site=row.site,
                            collection=row.collection,
                            name=row.base_filename or (row.filename or "").rsplit("/", 1)[-1],
                            arrived=row.created_at,
                        ),
                    }
                    for row in rows
                ]
                pairs = zip(wanted, rows, strict=True)
                new = [each for each, row in pairs if each["expires_at"] != row.expires_at]
                if new:
                    session.execute(update(Exposure), new)
            changed += len(new)
            if not rows:
                return changed
            last = rows[-1].id

    def _apply_to_info_images(self) -> int:
        changed = 0
        with self._database.begin() as session:
            for image in session.scalars(select(InfoImage).order_by(InfoImage.id)):
                arrived = image.shown_at or image.requested_at
                moment = self._rules.expires_at(**_info_facts(image), arrived=arrived)
                changed += moment != image.expires_at
                image.expires_at = moment
        return changed


def _info_facts(image: InfoImage) -> dict[str, Any]:
    return {
        "data_type": image.data_type,
        "site": image.site,
        "collection": INFO_IMAGES,
        "name": image.base_filename,
    }


def _exposure_event(exposure: Exposure, now: datetime) -> Event:
    data = {
        "s3_directory": exposure.collection,
        "base_filename": exposure.base_filename or exposure.name,
        "site": exposure.site,
    }
    return Event(topic=TOPIC, site=exposure.site, data=data, created_at=now)


def _info_event(image: InfoImage, now: datetime) -> Event:
    data = {
        "s3_directory": INFO_IMAGES,
        "base_filename": image.base_filename,
        "site": image.site,
        "channel": image.channel,
    }
    return Event(topic=TOPIC, site=image.site, data=data, created_at=now)


def _told(removal: Removal) -> dict[str, Any]:
    """What a report tells of a removal."""
    return {
        "what": removal.what,
        "name": removal.name,
        "site": removal.site,
        "rule": removal.rule,
        "files": removal.files,
        "size": removal.size,
    }


def _as_dict(fault: Exception) -> dict[str, Any]:
    if isinstance(fault, FirstlightError):
        return fault.as_dict()
    return {"code": "internal", "message": str(fault).splitlines()[0]}
