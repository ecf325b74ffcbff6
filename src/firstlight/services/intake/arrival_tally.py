"""Counting arrivals while they come, at a cost that does not grow with their number."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from firstlight.models.arrival import Arrival, ArrivalState
from firstlight.models.base import utc_now
from firstlight.models.database import Database

__all__ = ["ArrivalCounts", "ArrivalTally"]

_SETTLES_AFTER = timedelta(seconds=10)  # a transaction that began before may end later


@dataclass(frozen=True)
class ArrivalCounts:
    """How many arrivals of a time stand where."""

    waiting: int = 0
    archived: int = 0
    known: int = 0
    quarantined: int = 0
    superseded: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return sum(asdict(self).values())

    def as_dict(self) -> dict[str, int]:
        """JSON values."""
        return asdict(self)

    def sentence(self) -> str:
        """The counts in one line; what is nil is left out, except the archived."""
        told = [f"{self.archived} archived", *_named(self, "known", "quarantined", "superseded")]
        return ", ".join([*told, *_named(self, "waiting")])


class ArrivalTally:
    """Counts the arrivals noticed since it was made.

    Those that are finished, and older than any that waits, are counted once for all.

    Parameters
    ----------
    database
        Where arrivals are.
    since
        From when on they count; by default from now.
    """

    def __init__(self, database: Database, since: datetime | None = None) -> None:
        self._database = database
        self._mark = since or utc_now()
        self._told_until = self._mark
        self._told: set[Any] = set()
        self._settled: Counter[str] = Counter()

    def counts(self) -> ArrivalCounts:
        """How many stand where now. All that wait are counted, whenever they were noticed."""
        with self._database.reading() as session:
            oldest = session.scalar(
                select(func.min(Arrival.created_at)).where(Arrival.state == ArrivalState.RECEIVED)
            )
            edge = min(oldest or utc_now(), utc_now() - _SETTLES_AFTER)
            if edge > self._mark:
                self._settled += _by_state(session, self._mark, edge)
                self._mark = edge
            recent = _by_state(session, self._mark, None)
            waiting = session.scalar(
                select(func.count()).where(Arrival.state == ArrivalState.RECEIVED)
            )
        recent.pop(ArrivalState.RECEIVED.value, None)
        return ArrivalCounts(waiting=waiting or 0, **(self._settled + recent))

    def refused(self) -> list[dict[str, Any]]:
        """What could not be used, with the reason; each is told once."""
        query = (
            select(Arrival)
            .where(
                Arrival.state == ArrivalState.QUARANTINED,
                Arrival.created_at >= self._told_until,
            )
            .order_by(Arrival.created_at)
        )
        told = []
        with self._database.reading() as session:
            for row in session.scalars(query):
                if row.id not in self._told:
                    self._told.add(row.id)
                    told.append({"name": row.name or row.source, "error": row.error or {}})
        self._told_until = max(self._told_until, self._mark)
        return told


def _named(counts: ArrivalCounts, *names: str) -> list[str]:
    return [f"{getattr(counts, name)} {name}" for name in names if getattr(counts, name)]


def _by_state(session: Session, begin: datetime, end: datetime | None) -> Counter[str]:
    """Arrivals noticed in ``[begin, end)``, without an end all later ones."""
    query = select(Arrival.state, func.count()).where(Arrival.created_at >= begin)
    if end is not None:
        query = query.where(Arrival.created_at < end)
    return Counter(dict(session.execute(query.group_by(Arrival.state)).all()))
