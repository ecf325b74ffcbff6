"""Events as they are read by watchers: in order, from any number on."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from firstlight.models.database import Database
from firstlight.models.event import Event

__all__ = ["EventMessage", "EventStreamService", "Wanted"]


@dataclass(frozen=True, slots=True)
class EventMessage:
    """One event. Numbers rise in the order in which events became true, with gaps."""

    number: int
    topic: str
    site: str | None
    data: dict[str, Any]
    created_at: datetime

    def as_dict(self) -> dict[str, Any]:
        """The message as watchers get it."""
        return {
            "number": self.number,
            "topic": self.topic,
            "site": self.site,
            "data": self.data,
            "created_at": self.created_at.isoformat(),
        }


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events a watcher is told.

    Parameters
    ----------
    sites, topics
        ``None`` for all. Events of no site are for those who want, and may see, all sites.
    """

    sites: frozenset[str] | None = None
    topics: frozenset[str] | None = None

    def takes(self, event: EventMessage) -> bool:
        """Whether the watcher is told this event."""
        return (self.sites is None or event.site in self.sites) and (
            self.topics is None or event.topic in self.topics
        )

    def within(self, allowed: Collection[str] | None) -> Wanted:
        """The same, of the allowed sites only."""
        if allowed is None:
            return self
        sites = frozenset(allowed) if self.sites is None else self.sites & frozenset(allowed)
        return Wanted(sites, self.topics)


class EventStreamService:
    """Reads the table of events.

    Parameters
    ----------
    database
        Where they are.
    """

    def __init__(self, *, database: Database) -> None:
        self._database = database

    def last_number(self) -> int:
        """The number of the newest event; 0 before the first."""
        with self._database.reading() as session:
            return session.scalar(select(func.max(Event.number))) or 0

    def first_number(self) -> int | None:
        """The number of the oldest event that is kept; None where there is none."""
        with self._database.reading() as session:
            return session.scalar(select(func.min(Event.number)))

    def after(self, number: int, limit: int = 500) -> list[EventMessage]:
        """Events above a number, in order, at most `limit`."""
        query = select(Event).where(Event.number > number).order_by(Event.number).limit(limit)
        with self._database.reading() as session:
            return [
                EventMessage(row.number, row.topic, row.site, row.data, row.created_at)
                for row in session.scalars(query)
            ]
