"""Events as they are read by watchers: in order, from any number on."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from firstlight.models.audience import Audience, AudienceGroup, AudienceSite
from firstlight.models.database import Database
from firstlight.models.event import Event
from firstlight.services.access import Viewer

__all__ = ["AudienceMembers", "EventMessage", "EventStreamService", "Wanted"]

_MOST_AUDIENCES = 10_000


@dataclass(frozen=True, slots=True)
class AudienceMembers:
    """Who belongs to an audience: everybody, or members of groups and readers of sites."""

    is_public: bool = False
    groups: frozenset[int] = frozenset()
    sites: frozenset[str] = frozenset()

    def has(self, viewer: Viewer) -> bool:
        """Whether somebody belongs to it; the same as `visibility.seen_by` says of rows."""
        if viewer.sees_all or self.is_public or self.groups & viewer.groups:
            return True
        sites = viewer.readable_sites()
        return bool(self.sites if sites is None else self.sites & sites)


@dataclass(frozen=True, slots=True)
class EventMessage:
    """One event. Numbers rise in the order in which events became true, with gaps."""

    number: int
    topic: str
    site: str | None
    data: dict[str, Any]
    created_at: datetime
    audience: AudienceMembers | None = None
    """Who alone is told; None for whoever watches the site."""

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
    viewer
        Who watches. Events that have an audience are for its members alone, and so are not told
        to a watcher who is not known.
    chosen
        Whether the sites are those that the watcher asked for, and not just all that it may.
    """

    sites: frozenset[str] | None = None
    topics: frozenset[str] | None = None
    viewer: Viewer | None = None
    chosen: bool = True

    def takes(self, event: EventMessage) -> bool:
        """Whether the watcher is told this event."""
        if self.topics is not None and event.topic not in self.topics:
            return False
        at_site = self.sites is None or event.site in self.sites
        if event.audience is None:
            return at_site
        if self.viewer is None or not event.audience.has(self.viewer):
            return False
        return at_site or not self.chosen

    def within(self, allowed: Collection[str] | None) -> Wanted:
        """The same, of the allowed sites only."""
        if allowed is None:
            return self
        sites = frozenset(allowed) if self.sites is None else self.sites & frozenset(allowed)
        return replace(self, sites=sites)

    def by(self, viewer: Viewer) -> Wanted:
        """The same, of what somebody may watch.

        Raises
        ------
        NotSignedIn, Forbidden
            The viewer may not watch a site that is asked for, or may watch nothing.
        """
        for site in self.sites or ():
            viewer.require("watch", site)
        limited = self.within(viewer.sites("watch"))
        return replace(limited, viewer=viewer, chosen=self.sites is not None)


class EventStreamService:
    """Reads the table of events.

    Parameters
    ----------
    database
        Where they are.
    """

    def __init__(self, *, database: Database) -> None:
        self._database = database
        # An audience never changes, but that groups of it are removed, which have no members.
        self._audiences: dict[int, AudienceMembers] = {}

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
            rows = session.scalars(query).all()
            known = self._members(session, {row.audience_id for row in rows} - {None})
        return [
            EventMessage(
                row.number,
                row.topic,
                row.site,
                row.data,
                row.created_at,
                None if row.audience_id is None else known[row.audience_id],
            )
            for row in rows
        ]

    def _members(self, session: Session, numbers: set[Any]) -> dict[int, AudienceMembers]:
        if len(self._audiences) > _MOST_AUDIENCES:
            self._audiences = {}
        missing = numbers - self._audiences.keys()
        if missing:
            self._audiences = {**self._audiences, **_read(session, missing)}
        return self._audiences


def _read(session: Session, numbers: Iterable[int]) -> dict[int, AudienceMembers]:
    groups: dict[int, set[int]] = {number: set() for number in numbers}
    sites: dict[int, set[str]] = {number: set() for number in groups}
    public = {
        row.id
        for row in session.scalars(select(Audience).where(Audience.id.in_(groups)))
        if row.is_public
    }
    for of_group in session.scalars(
        select(AudienceGroup).where(AudienceGroup.audience_id.in_(groups))
    ):
        groups[of_group.audience_id].add(of_group.group_id)
    for of_site in session.scalars(select(AudienceSite).where(AudienceSite.audience_id.in_(sites))):
        sites[of_site.audience_id].add(of_site.site)
    return {
        number: AudienceMembers(number in public, frozenset(found), frozenset(sites[number]))
        for number, found in groups.items()
    }
