"""Objects that turned out to be others: taken away where nobody has used them."""

from __future__ import annotations

import uuid
from collections.abc import Collection

from sqlalchemy import Column, Table, delete, select
from sqlalchemy.orm import Session

from firstlight.models.base import Base
from firstlight.models.forced_run import FollowedObject
from firstlight.models.object import Object, PhotometrySummary
from firstlight.models.photometry import FORCED, Photometry

__all__ = ["remove_unused"]


def remove_unused(session: Session, objects: Collection[uuid.UUID]) -> None:
    """Remove Objects of which nothing but forced photometry tells. Does not commit.

    One that has comments, groups, measurements of older sets or anything else stays as it is.
    """
    for ident in sorted(objects):
        if any(_is_named(session, table, column, ident) for table, column in _references()):
            continue
        session.execute(delete(Photometry).where(Photometry.object_id == ident))
        session.execute(delete(Object).where(Object.id == ident))


def _references() -> list[tuple[Table, Column[uuid.UUID]]]:
    """Columns of other tables that name an Object."""
    own = {FollowedObject.__tablename__, PhotometrySummary.__tablename__}
    return [
        (table, key.parent)
        for table in Base.metadata.sorted_tables
        if table.name not in own
        for key in table.foreign_keys
        if key.column is Object.__table__.c.id
    ]


def _is_named(session: Session, table: Table, column: Column[uuid.UUID], ident: uuid.UUID) -> bool:
    query = select(column).where(column == ident).limit(1)
    if table.name == Photometry.__tablename__:
        query = query.where(table.c.origin != FORCED)
    return session.execute(query).first() is not None
