"""Facts that services put on objects, under an origin that is the service's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.orm import Session

from firstlight.models.account import User
from firstlight.models.database import bulk_insert
from firstlight.models.notes import Annotation

__all__ = ["annotate"]

_LONGEST_ORIGIN = 128


def annotate(
    session: Session, row: Row[*tuple[Any, ...]], annotations: Sequence[Mapping[str, Any]]
) -> None:
    """Put a service's facts on the object, under an origin that is the service's own.

    What runs of the same user have written there before is replaced. Where somebody else has
    written under that origin, the user's name is added to it.
    """
    if row.owner_id is None:
        return
    for each in annotations:
        origin = _origin(row.service_name, each.get("origin"))
        theirs = _author_of(session, row, origin)
        if theirs is not None and theirs != row.owner_id:
            name = session.get_one(User, row.owner_id).username
            origin = f"{origin[: _LONGEST_ORIGIN - len(name) - 4]} by {name}"[:_LONGEST_ORIGIN]
        values = {"data": each["data"], "audience_id": row.audience_id}
        key = {"object_id": row.object_id, "subject": "object", "origin": origin}
        bulk_insert(session, Annotation, [{**key, **values, "author_id": row.owner_id}])
        session.execute(
            update(Annotation)
            .where(
                Annotation.object_id == row.object_id,
                Annotation.subject == "object",
                Annotation.origin == origin,
                Annotation.author_id == row.owner_id,
            )
            .values(**values)
            .execution_options(synchronize_session=False)
        )


def _author_of(session: Session, row: Row[*tuple[Any, ...]], origin: str) -> int | None:
    return session.scalar(
        select(Annotation.author_id).where(
            Annotation.object_id == row.object_id,
            Annotation.subject == "object",
            Annotation.origin == origin,
        )
    )


def _origin(service: str, named: object) -> str:
    """``service`` or ``service:name``; nobody else's origin can be made of it."""
    name = f"{service}:{named}" if isinstance(named, str) and named.strip() else service
    return name[:_LONGEST_ORIGIN]
