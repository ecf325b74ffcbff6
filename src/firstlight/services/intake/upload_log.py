"""The upload log: what has come to a site, and what became of it.

An entry is shown for a while; one that waits, or could not be used, until that is resolved.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Select, and_, or_, select

from firstlight.errors import InvalidInput
from firstlight.models.arrival import Arrival, ArrivalState, Origin
from firstlight.models.base import utc_now
from firstlight.models.database import Database

__all__ = ["LogPage", "UploadLogService"]

LONGEST_PAGE = 1000
_STAY = (ArrivalState.RECEIVED, ArrivalState.QUARANTINED)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Where a file came from and where it lies is the operator's affair, not every reader's.
_TOLD = ("code", "kind", "message", "field", "found", "expected", "hint")


@dataclass(frozen=True, slots=True)
class LogPage:
    """Some entries, the newest first.

    Attributes
    ----------
    next
        Cursor of the page with older entries; ``None`` on the last page.
    """

    entries: list[dict[str, Any]]
    next: str | None

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {"uploads": self.entries, "next": self.next}


class UploadLogService:
    """Reads the upload log.

    Parameters
    ----------
    database
        Where it is.
    kept
        How long entries of files that are safe are shown; None for ever.
    clock
        Returns the present, aware.
    """

    def __init__(
        self,
        *,
        database: Database,
        kept: timedelta | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._kept = kept
        self._clock = clock

    def page(
        self,
        sites: Collection[str] | None,
        *,
        state: str | None = None,
        name: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> LogPage:
        """Entries of some sites, the newest first.

        Parameters
        ----------
        sites
            ``None`` for all, and for what tells no site.
        state
            Only those that stand so: one of `ArrivalState`.
        name
            Only those whose name holds this text; ``*`` stands for any characters, ``?`` for
            one. Letter case does not count.
        cursor
            `LogPage.next` of the page before.

        Raises
        ------
        InvalidInput
            There is no such state, the cursor is not one, or the limit is out of bounds.
        """
        if not 1 <= limit <= LONGEST_PAGE:
            raise InvalidInput(field="limit", found=limit, expected=f"1 to {LONGEST_PAGE}")
        query = select(Arrival).order_by(Arrival.created_at.desc(), Arrival.id.desc())
        if sites is not None:
            query = query.where(Arrival.site.in_(sorted(sites)))
        if state is not None:
            query = query.where(Arrival.state == _state(state))
        if name:
            query = query.where(Arrival.name.ilike(_like(name), escape="\\"))
        if self._kept is not None:
            # Entries of watched places may not be removed then: they tell what was taken.
            recent = Arrival.created_at > self._clock() - self._kept
            removed = Arrival.origin.not_in((Origin.FOLDER, Origin.S3))
            query = query.where(or_(recent, removed, Arrival.state.in_(_STAY)))
        if cursor is not None:
            query = _older(query, cursor)
        with self._database.reading() as session:
            rows = session.scalars(query.limit(limit + 1)).all()
        entries, more = rows[:limit], len(rows) > limit
        return LogPage(
            [self._entry(row) for row in entries], _cursor(entries[-1]) if more else None
        )

    def _entry(self, row: Arrival) -> dict[str, Any]:
        error = None if row.error is None else {key: row.error.get(key) for key in _TOLD}
        stays = self._kept is None or row.state in _STAY
        return {
            "id": row.id,
            "name": row.name or row.source.replace("\\", "/").rpartition("/")[2],
            "site": row.site,
            "origin": row.origin,
            "collection": row.collection,
            "base_filename": row.base_filename,
            "channel": row.channel,
            "state": row.state,
            "size": row.size,
            "sha256": row.sha256,
            "exposure_id": row.exposure_id,
            "error": error,
            "received_at": row.created_at,
            "finished_at": row.finished_at,
            "expires_at": None if stays else row.created_at + (self._kept or timedelta()),
        }


def _state(name: str) -> str:
    try:
        return ArrivalState(name).value
    except ValueError as fault:
        raise InvalidInput(
            field="state", found=name[:40], expected=", ".join(ArrivalState)
        ) from fault


def _like(name: str) -> str:
    """Pattern of SQL for a piece of a name."""
    for plain, escaped in (("\\", "\\\\"), ("%", "\\%"), ("_", "\\_"), ("*", "%"), ("?", "_")):
        name = name.replace(plain, escaped)
    return f"%{name}%"


def _cursor(row: Arrival) -> str:
    return f"{(row.created_at - _EPOCH) // timedelta(microseconds=1)}~{row.id}"


def _older(query: Select[Arrival], cursor: str) -> Select[Arrival]:
    moment, _, name = cursor.partition("~")
    try:
        before, last = _EPOCH + timedelta(microseconds=int(moment)), uuid.UUID(name)
    except (ValueError, OverflowError) as fault:
        raise InvalidInput(
            field="cursor", found=cursor[:80], expected="that of the page before"
        ) from fault
    same = and_(Arrival.created_at == before, Arrival.id < last)
    return query.where(or_(Arrival.created_at < before, same))
