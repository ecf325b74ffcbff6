"""What rows of annotations and comments have in common: whose they are, and who reads them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from firstlight.models.notes import Annotation, Comment
from firstlight.services.access import Viewer
from firstlight.services.objects.sharing import groups_by_audience, readable
from firstlight.services.objects.visible_objects import Subject
from firstlight.services.objects.wire_values import authors, wire_time

__all__ = ["note_facts", "one_note"]

N = TypeVar("N", Annotation, Comment)


def one_note(
    session: Session,
    viewer: Viewer,
    table: type[N],
    subject: Subject,
    number: int,
    *conditions: ColumnElement[bool],
) -> N | None:
    """The note of a number about a thing; None where there is none that the viewer may see.

    Parameters
    ----------
    conditions
        What tells notes about this thing from others about its object.
    """
    return session.scalar(
        select(table).where(
            table.id == number,
            table.object_id == subject.object_id,
            *conditions,
            readable(viewer, table),
        )
    )


def note_facts(
    session: Session, viewer: Viewer, rows: Sequence[N], names: Mapping[uuid.UUID, str]
) -> Iterator[tuple[N, dict[str, Any]]]:
    """Each row, and what is shown of all notes alike.

    Parameters
    ----------
    names
        Of their objects, by id.
    """
    people = authors(session, (row.author_id for row in rows))
    groups = groups_by_audience(session, viewer, (row.audience_id for row in rows))
    for row in rows:
        yield (
            row,
            {
                "id": row.id,
                "created_at": wire_time(row.created_at),
                "modified": wire_time(row.modified_at),
                "author_id": row.author_id,
                "author": people.get(row.author_id),
                "groups": groups[row.audience_id],
                "obj_id": names[row.object_id],
                "spectrum_id": row.spectrum_id,
            },
        )
