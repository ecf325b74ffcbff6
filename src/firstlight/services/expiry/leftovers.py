"""Bytes whose rows are gone: remembered in the transaction that removed the rows.

Rows go first, in one transaction that also notes the keys; then the bytes; then the notes. So
a process that is killed anywhere leaves either everything, or notes from which the next sweep
finishes, and no row ever points at bytes that were removed.

A note is a `PassingFile` whose time is over, or will soon be.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from sqlalchemy import delete, select, tuple_
from sqlalchemy.orm import Session

from firstlight.models.database import Database, bulk_insert
from firstlight.models.expiration import PassingFile, PassingKind
from firstlight.models.exposure import Exposure
from firstlight.models.exposure_file import ExposureFile
from firstlight.models.image import Image
from firstlight.models.info_image import InfoImageFile
from firstlight.models.observation_file import ObservationFile
from firstlight.models.sources import SourceList
from firstlight.services.transaction_locks import lock_names
from firstlight.storage import Store

__all__ = ["Leftovers", "remember"]


def remember(session: Session, sizes: Mapping[str, int], due: datetime) -> None:
    """Note keys whose rows go in this transaction; their bytes are removed once it is `due`.

    Parameters
    ----------
    sizes
        Bytes by key; 0 where it is not known.
    """
    if not sizes:
        return
    keys = list(sizes)
    # A converted file that is itself removed early becomes a note.
    session.execute(delete(PassingFile).where(PassingFile.key.in_(keys)))
    rows = [
        {
            "key": key,
            "size": size,
            "kind": PassingKind.LEFTOVER.value,
            "used_at": due,
            "expires_at": due,
            "created_at": due,
        }
        for key, size in sizes.items()
    ]
    bulk_insert(session, PassingFile, rows)


class Leftovers:
    """Removes bytes that nothing refers to any more.

    Parameters
    ----------
    database, store
        Rows and bytes.
    copies
        Folder in which local copies of stored files may lie, by their keys.
    """

    def __init__(self, *, database: Database, store: Store, copies: Path | None = None) -> None:
        self._database = database
        self._store = store
        self._copies = copies

    def claim(self, session: Session, keys: Iterable[str]) -> list[str]:
        """Keep the bytes under these keys, because rows will point at them again.

        For whoever archives a file: in its transaction, before it adds the rows. Until that
        ends the bytes stay, so what is there now is there when the rows are.

        Returns
        -------
        list of str
            Keys whose bytes were removed after they were put. Roll back, put them again, and
            begin anew.
        """
        wanted = sorted(set(keys))
        lock_names(session, *map(_lock_of, wanted))
        session.execute(delete(PassingFile).where(PassingFile.key.in_(wanted)))
        return [key for key in wanted if not self._store.exists(key)]

    def due(
        self, now: datetime, limit: int, after: tuple[datetime, str] | None = None
    ) -> list[tuple[datetime, str]]:
        """Keys whose time is over, the oldest first, each with when that was.

        Parameters
        ----------
        limit, after
            At most so many, of those that follow one found before.
        """
        query = (
            select(PassingFile.expires_at, PassingFile.key)
            .where(PassingFile.expires_at <= now)
            .order_by(PassingFile.expires_at, PassingFile.key)
            .limit(limit)
        )
        if after is not None:
            query = query.where(tuple_(PassingFile.expires_at, PassingFile.key) > after)
        with self._database.reading() as session:
            rows = session.execute(query).all()
        return [(moment, key) for moment, key in rows if moment is not None]

    def remove(self, session: Session, key: str, now: datetime) -> PassingFile | None:
        """Do what `remove_all` does for one key; None where nothing was removed."""
        return next(iter(self.remove_all(session, [key], now)), None)

    def remove_all(self, session: Session, keys: Sequence[str], now: datetime) -> list[PassingFile]:
        """Remove the bytes of some keys and their rows, unless somebody has claimed them.

        The keys are locked meanwhile: who wants to claim one waits, and then sees that the
        bytes are gone; and who has claimed one is waited for, until the new rows can be seen.

        Returns
        -------
        list of PassingFile
            Rows that were removed; without those that were claimed, used again, or are being
            removed by another process.
        """
        lock_names(session, *map(_lock_of, keys))
        rows = session.scalars(
            select(PassingFile)
            .where(PassingFile.key.in_(keys), PassingFile.expires_at <= now)
            .order_by(PassingFile.expires_at, PassingFile.key)
            .with_for_update(skip_locked=True)
        ).all()
        used = used_keys(session, [row.key for row in rows])
        for row in rows:
            if row.key not in used:
                self._store.delete(row.key)
                if self._copies is not None:
                    (self._copies / row.key).unlink(missing_ok=True)
            session.delete(row)
        return list(rows)


def used_keys(session: Session, keys: Collection[str]) -> set[str]:
    """Tell under which keys there are bytes that any row points at."""
    # Names of exposures and images may be completed by extensions: try every beginning.
    names = {name for key in keys for name in _beginnings(key)}
    whole = (
        select(ExposureFile.key).where(ExposureFile.key.in_(keys)),
        select(InfoImageFile.key).where(InfoImageFile.key.in_(keys)),
        select(SourceList.filename).where(SourceList.filename.in_(keys)),
        select(ObservationFile.key).where(ObservationFile.key.in_(keys)),
    )
    begun = (
        select(Exposure.filename).where(Exposure.filename.in_(names)),
        select(Image.filename).where(Image.filename.in_(names)),
    )
    found = {key for query in whole for key in session.scalars(query)}
    beginnings = {name for query in begun for name in session.scalars(query)}
    return found | {key for key in keys if not beginnings.isdisjoint(_beginnings(key))}


def _beginnings(key: str) -> list[str]:
    """The key, and what is left of it before each dot in its last part."""
    folder, slash, name = key.rpartition("/")
    cuts = [at for at, character in enumerate(name) if character == "."]
    return [key, *(folder + slash + name[:cut] for cut in cuts)]


def _lock_of(key: str) -> str:
    return f"stored file {key}"
