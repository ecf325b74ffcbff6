"""Event: something that watchers are told. Written in the transaction that made it true."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Integer, String, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from firstlight.models.base import Base, Timestamped

__all__ = ["Event", "record_events"]

_ORDER_LOCK = 0x66_6C_65_76  # any number that nothing else locks


class Event(Timestamped, Base):
    """One message, numbered in the order in which it became visible.

    Whoever has read up to a number and asks for those above it misses none: see
    `record_events`.
    """

    __tablename__ = "events"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012, SQLAlchemy reads this class attribute

    number: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    topic: Mapped[str] = mapped_column(String(32), index=True)
    site: Mapped[str | None] = mapped_column(String(128), index=True)
    audience_id: Mapped[int | None] = mapped_column(ForeignKey("audiences.id"))
    """Who is told; None for whoever watches the site."""
    data: Mapped[dict[str, Any]]

    def message(self) -> dict[str, Any]:
        """The message as it goes out: topic, site, data."""
        return {"topic": self.topic, "site": self.site, "data": self.data}


def record_events(session: Session, events: Iterable[Event]) -> None:
    """Add events, as the last thing before the commit.

    Numbers are drawn under a lock that lasts to the commit, so that a lower number is never
    seen after a higher one. SQLite has one writer anyway.
    """
    rows = list(events)
    if not rows:
        return
    session.flush()
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ORDER_LOCK})
    for row in rows:
        session.add(row)
        session.flush()  # one by one: a bulk insert may number them in another order
