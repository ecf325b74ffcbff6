"""Annotations: facts of one origin about an object, a spectrum or a point of photometry."""

from __future__ import annotations

import builtins
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from firstlight.errors import ConflictError, InvalidInput, MissingError
from firstlight.models.database import Database, among
from firstlight.models.notes import Annotation
from firstlight.models.object import Object
from firstlight.services.access import Viewer
from firstlight.services.objects.note_rows import note_facts, one_note
from firstlight.services.objects.sharing import (
    account_of,
    by_object,
    chosen_audience,
    may_change,
    readable,
    refusing_twins,
    tell_of_row,
)
from firstlight.services.objects.visible_objects import Subject, subject_of
from firstlight.services.objects.wire_values import plain_json, plain_text
from firstlight.services.visibility import seen_by

__all__ = [
    "AnnotationExists",
    "AnnotationMissing",
    "AnnotationService",
    "annotation_rows",
    "shown_annotations",
]

_LONGEST_ORIGIN = 128
_OBJECT = "object"


class AnnotationMissing(MissingError):
    """There is no such annotation, or none that you may see."""

    code = "annotation.missing"


class AnnotationExists(ConflictError):
    """There is an annotation of this origin already; change that one."""

    code = "annotation.exists"


class AnnotationService:
    """Writes, changes and lists annotations.

    Parameters
    ----------
    database
        Where they are kept.
    """

    def __init__(self, *, database: Database) -> None:
        self._database = database

    def list(self, viewer: Viewer, kind: str, which: str) -> builtins.list[dict[str, Any]]:
        """Annotations of one thing, by origin.

        Parameters
        ----------
        kind, which
            ``sources`` and a name, or ``spectra`` or ``photometry`` and a number.
        """
        with self._database.reading() as session:
            subject = subject_of(session, viewer, kind, which)
            rows = session.scalars(
                select(Annotation)
                .where(
                    Annotation.object_id == subject.object_id,
                    Annotation.subject == subject.key,
                    readable(viewer, Annotation),
                )
                .order_by(Annotation.origin)
            ).all()
            return shown_annotations(session, viewer, rows, {subject.object_id: subject.name})

    def get(self, viewer: Viewer, kind: str, which: str, annotation_id: int) -> dict[str, Any]:
        """One annotation.

        Raises
        ------
        AnnotationMissing
            There is none of this number on this thing.
        """
        with self._database.reading() as session:
            subject = subject_of(session, viewer, kind, which)
            row = _one(session, viewer, subject, annotation_id)
            return shown_annotations(session, viewer, [row], {subject.object_id: subject.name})[0]

    def add(
        self,
        viewer: Viewer,
        kind: str,
        which: str,
        origin: str,
        data: object,
        *,
        group_ids: object = None,
    ) -> int:
        """Annotate something; returns the number of the annotation.

        Without groups it is seen by all groups of the viewer, or, where there is none, by
        whoever sees what it is about.

        Raises
        ------
        AnnotationExists
            There is one of this origin, maybe one that the viewer does not see.
        """
        viewer.require("annotate")
        author = account_of(viewer)
        plain_text(origin, "origin", longest=_LONGEST_ORIGIN)
        facts = _facts(data)
        with self._database.begin() as session:
            subject = subject_of(session, viewer, kind, which)
            if _taken(session, subject, origin):
                raise AnnotationExists(subject=subject.name, field="origin", found=origin)
            row = Annotation(
                object_id=subject.object_id,
                subject=subject.key,
                spectrum_id=subject.spectrum_id,
                photometry_id=subject.photometry_id,
                origin=origin,
                data=facts,
                author_id=author,
                audience_id=chosen_audience(
                    session,
                    viewer,
                    group_ids,
                    default=None if viewer.groups else subject.audience_id,
                ),
            )
            twin = AnnotationExists(subject=subject.name, field="origin", found=origin)
            with refusing_twins(session, twin):
                session.add(row)
            tell_of_row(session, subject, "annotation", row, "added")
            return row.id

    def change(
        self,
        viewer: Viewer,
        kind: str,
        which: str,
        annotation_id: int,
        data: object,
        *,
        origin: str | None = None,
        group_ids: object = None,
    ) -> None:
        """Replace the facts of one's own annotation.

        Raises
        ------
        AnnotationMissing, Forbidden
            There is none, or it is somebody else's.
        AnnotationExists
            There is another one of the new origin.
        """
        viewer.require("annotate")
        facts = _facts(data)
        if origin is not None:
            plain_text(origin, "origin", longest=_LONGEST_ORIGIN)
        with self._database.begin() as session:
            subject = subject_of(session, viewer, kind, which)
            row = _one(session, viewer, subject, annotation_id)
            may_change(viewer, row.author_id, "annotation")
            if origin not in {None, row.origin} and _taken(session, subject, str(origin)):
                raise AnnotationExists(subject=subject.name, field="origin", found=origin)
            twin = AnnotationExists(subject=subject.name, field="origin", found=origin)
            with refusing_twins(session, twin):
                row.data, row.origin = facts, origin or row.origin
            row.audience_id = chosen_audience(session, viewer, group_ids, default=row.audience_id)
            tell_of_row(session, subject, "annotation", row, "changed")

    def remove(self, viewer: Viewer, kind: str, which: str, annotation_id: int) -> None:
        """Take one's own annotation away."""
        viewer.require("annotate")
        with self._database.begin() as session:
            subject = subject_of(session, viewer, kind, which)
            row = _one(session, viewer, subject, annotation_id)
            may_change(viewer, row.author_id, "annotation")
            session.delete(row)
            tell_of_row(session, subject, "annotation", row, "removed")

    def known_keys(self, viewer: Viewer) -> dict[str, builtins.list[dict[str, str]]]:
        """Of each origin, the keys in use and the kind of their values, for forms of searches."""
        kinds: dict[str, dict[str, str]] = {}
        with self._database.reading() as session:
            rows = session.execute(
                select(Annotation.origin, Annotation.data)
                .join(Object, Object.id == Annotation.object_id)
                .where(
                    readable(viewer, Annotation),
                    seen_by(viewer, Object.audience_id),
                    Annotation.subject == _OBJECT,
                )
                .order_by(Annotation.id.desc())
                .limit(_MOST_LOOKED_AT)
            )
            for origin, data in rows:
                known = kinds.setdefault(origin, {})
                known |= {key: _kind(value) for key, value in data.items() if value is not None}
        return {
            origin: [{key: kind} for key, kind in sorted(keys.items())]
            for origin, keys in sorted(kinds.items())
        }


_MOST_LOOKED_AT = 1000  # annotations; the newest tell enough


def annotation_rows(
    session: Session, viewer: Viewer, objects: Mapping[uuid.UUID, str]
) -> dict[uuid.UUID, builtins.list[dict[str, Any]]]:
    """Annotations of many objects themselves, by origin.

    Parameters
    ----------
    objects
        Names by id, of objects that the viewer may see.
    """
    # Columns are read in a third of the time that whole rows of the model take.
    rows: Sequence[Any] = session.execute(
        select(*Annotation.__table__.columns)
        .where(
            among(session, Annotation.object_id, objects),
            Annotation.subject == _OBJECT,
            readable(viewer, Annotation),
        )
        .order_by(Annotation.origin)
    ).all()
    return by_object(rows, shown_annotations(session, viewer, rows, objects))


def _facts(data: object) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise InvalidInput(field="data", found=type(data).__name__, expected="keys and values")
    facts: dict[str, Any] = plain_json(data, "data")
    return facts


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _taken(session: Session, subject: Subject, origin: str) -> bool:
    found = session.scalar(
        select(Annotation.id).where(
            Annotation.object_id == subject.object_id,
            Annotation.subject == subject.key,
            Annotation.origin == origin,
        )
    )
    return found is not None


def _one(session: Session, viewer: Viewer, subject: Subject, annotation_id: int) -> Annotation:
    about = Annotation.subject == subject.key
    row = one_note(session, viewer, Annotation, subject, annotation_id, about)
    if row is None:
        raise AnnotationMissing(subject=annotation_id)
    return row


def shown_annotations(
    session: Session, viewer: Viewer, rows: Sequence[Annotation], names: Mapping[uuid.UUID, str]
) -> builtins.list[dict[str, Any]]:
    """Annotations as SkyPortal shows them; names of their objects by id."""
    return [
        {
            **facts,
            "data": row.data,
            "origin": row.origin,
            "photometry_id": row.photometry_id,
            "type": _TYPES[row.subject.partition(":")[0]],
        }
        for row, facts in note_facts(session, viewer, rows, names)
    ]


_TYPES = {_OBJECT: "source", "spectrum": "spectrum", "photometry": "photometry"}
