"""What is known and said of an object, as an analysis service gets it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from firstlight.models.notes import Annotation, Classification, Comment
from firstlight.models.object import Object
from firstlight.services.access import Viewer
from firstlight.services.analyses.analysis_inputs_table import InputTable, content_of_records
from firstlight.services.objects.sharing import readable

__all__ = ["NOTE_TABLES", "note_table", "notes_shown"]

NOTE_TABLES: dict[str, type[Any]] = {
    "annotations": Annotation,
    "comments": Comment,
    "classifications": Classification,
}
_COLUMNS = {
    "annotations": ("data", "modified", "origin", "created_at"),
    "comments": ("text", "bot", "modified", "origin", "created_at"),
    "classifications": ("classification", "probability", "modified", "created_at"),
}
_TIMES = {"modified": "modified_at", "created_at": "created_at"}
_REDSHIFT = ("redshift", "redshift_error", "redshift_origin")


def note_table(session: Session, viewer: Viewer, thing: Object, kind: str) -> InputTable:
    """Annotations, comments or classifications that a viewer may see; or the redshift.

    Only what is about the object itself: not what is said of one spectrum or point.
    """
    if kind == "redshift":
        return _redshift(thing)
    table = NOTE_TABLES[kind]
    rows = session.scalars(
        select(table).where(*notes_shown(viewer, thing, kind)).order_by(table.id)
    ).all()
    names = _COLUMNS[kind]
    return InputTable(
        [row.id for row in rows],
        {name: [getattr(row, _TIMES.get(name, name)) for row in rows] for name in names},
        content_of_records(
            {name: getattr(row, name) for name in names if name not in _TIMES} for row in rows
        ),
    )


def notes_shown(viewer: Viewer, thing: Object, kind: str) -> list[ColumnElement[bool]]:
    """The conditions that a query on notes must have."""
    table = NOTE_TABLES[kind]
    found = [table.object_id == thing.id, readable(viewer, table)]
    if kind == "annotations":
        found.append(Annotation.subject == "object")
    if kind == "comments":
        found.append(Comment.spectrum_id.is_(None))
    return found


def _redshift(thing: Object) -> InputTable:
    """One row, as SkyPortal sends it, also where nothing is known."""
    row = {name: getattr(thing, name) for name in _REDSHIFT}
    return InputTable([], {name: [each] for name, each in row.items()}, content_of_records([row]))
