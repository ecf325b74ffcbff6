"""Audience: who may see a row, as one number in the row.

Rows share few distinct sets of groups and sites, so that each set is written once and a query
is limited by a short list of numbers.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import ForeignKey, String, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from firstlight.models.base import Base
from firstlight.models.database import bulk_insert

__all__ = [
    "Audience",
    "AudienceGroup",
    "AudienceSite",
    "audience_of",
    "members_of",
    "public_audience",
    "widened",
]

_PUBLIC = "public"


class Audience(Base):
    """The members of some groups and the readers of some sites; or everybody.

    Attributes
    ----------
    key
        ``public``, or the sorted members: ``g3,g7,stst``.
    """

    __tablename__ = "audiences"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012, SQLAlchemy reads this class attribute

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(2000), unique=True)

    @property
    def is_public(self) -> bool:
        """Whether everybody sees its rows, signed in or not."""
        return self.key == _PUBLIC


class AudienceGroup(Base):
    """A group of an audience."""

    __tablename__ = "audience_groups"

    audience_id: Mapped[int] = mapped_column(ForeignKey("audiences.id"), primary_key=True)
    group_id: Mapped[int] = mapped_column(
        ForeignKey("groups.id", ondelete="CASCADE"), primary_key=True, index=True
    )


class AudienceSite(Base):
    """A site of an audience: whoever may read its archive belongs to it."""

    __tablename__ = "audience_sites"

    audience_id: Mapped[int] = mapped_column(ForeignKey("audiences.id"), primary_key=True)
    site: Mapped[str] = mapped_column(String(128), primary_key=True, index=True)


def audience_of(session: Session, *, groups: Iterable[int] = (), sites: Iterable[str] = ()) -> int:
    """The number of an audience, which is written where it is new. Does not commit.

    Without groups and sites it is the audience of those alone who see everything.
    """
    chosen, places = sorted(set(groups)), sorted(set(sites))
    key = ",".join([*(f"g{group}" for group in chosen), *(f"s{site}" for site in places)])
    return _number(session, key, chosen, places)


def public_audience(session: Session) -> int:
    """The number of the audience of everybody. Does not commit."""
    return _number(session, _PUBLIC, [], [])


def widened(
    session: Session, audience: int, *, groups: Iterable[int] = (), sites: Iterable[str] = ()
) -> int:
    """The number of the audience that has these members besides. Does not commit."""
    row = session.get_one(Audience, audience)
    if row.is_public:
        return audience
    old_groups, old_sites = members_of(session, audience)
    return audience_of(session, groups={*old_groups, *groups}, sites={*old_sites, *sites})


def members_of(session: Session, audience: int) -> tuple[set[int], set[str]]:
    """The groups and the sites of an audience."""
    groups = session.scalars(
        select(AudienceGroup.group_id).where(AudienceGroup.audience_id == audience)
    )
    sites = session.scalars(select(AudienceSite.site).where(AudienceSite.audience_id == audience))
    return set(groups), set(sites)


def _number(session: Session, key: str, groups: list[int], sites: list[str]) -> int:
    found = session.scalar(select(Audience.id).where(Audience.key == key))
    if found is not None:
        return found
    bulk_insert(session, Audience, [{"key": key}])
    number = session.scalars(select(Audience.id).where(Audience.key == key)).one()
    bulk_insert(
        session, AudienceGroup, [{"audience_id": number, "group_id": each} for each in groups]
    )
    bulk_insert(session, AudienceSite, [{"audience_id": number, "site": each} for each in sites])
    return number
