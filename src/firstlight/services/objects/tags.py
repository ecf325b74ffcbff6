"""Tags: words that objects are marked with."""

from __future__ import annotations

import builtins
import re
import uuid
from collections.abc import Collection
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from firstlight.errors import ConflictError, InvalidInput, MissingError
from firstlight.models.audience import widened
from firstlight.models.database import Database, among
from firstlight.models.notes import ObjectTag, Tag
from firstlight.models.object import Object
from firstlight.services.access import Viewer
from firstlight.services.objects.sharing import (
    chosen_audience,
    common_audience,
    groups_by_audience,
    may_change,
    tell,
)
from firstlight.services.objects.visible_objects import visible_object
from firstlight.services.objects.wire_values import LARGEST_ID, plain_text, wire_time
from firstlight.services.transaction_locks import lock_names
from firstlight.services.visibility import seen_by

__all__ = ["TagExists", "TagMissing", "TagService", "tag_rows"]

_COLOR = re.compile(r"#[0-9A-Fa-f]{3,8}|[a-zA-Z]{1,16}")
_MOST = 10_000


class TagMissing(MissingError):
    """There is no such tag, or none that you may see."""

    code = "tag.missing"


class TagExists(ConflictError):
    """There is a tag of this name already."""

    code = "tag.exists"


class TagService:
    """Makes tags, puts them on objects, takes them off.

    Parameters
    ----------
    database
        The tables.
    """

    def __init__(self, *, database: Database) -> None:
        self._database = database

    def list(self, viewer: Viewer) -> list[dict[str, Any]]:
        """All tags, by name."""
        viewer.require_named()
        with self._database.reading() as session:
            rows = session.scalars(select(Tag).order_by(Tag.name).limit(_MOST))
            return [_tag(row) for row in rows]

    def make(self, viewer: Viewer, name: str, color: str | None = None) -> dict[str, Any]:
        """Make a tag.

        Raises
        ------
        TagExists
            The name is taken.
        """
        viewer.require("annotate")
        row = Tag(name=_name(name), color=_checked_color(color))
        with self._database.begin() as session:
            _refuse_taken(session, row.name)
            session.add(row)
        return _tag(row)

    def change(self, viewer: Viewer, tag_id: int, name: str, color: str | None = None) -> None:
        """Give a tag another name or color; without a color it keeps the one it has."""
        viewer.require("manage_sources")
        with self._database.begin() as session:
            row = _one(session, tag_id)
            wanted = _name(name)
            if wanted != row.name:
                _refuse_taken(session, wanted)
            row.name, row.color = wanted, _checked_color(color) or row.color

    def remove(self, viewer: Viewer, tag_id: int) -> None:
        """Take a tag off all objects and away."""
        viewer.require("manage_sources")
        with self._database.begin() as session:
            session.delete(_one(session, tag_id))

    def on_objects(
        self, viewer: Viewer, *, name: str | None = None, tag_id: int | None = None
    ) -> builtins.list[dict[str, Any]]:
        """Which tags are on which objects, that the viewer may see."""
        viewer.require_named()
        query = (
            select(ObjectTag, Tag, Object.name)
            .join(Tag, Tag.id == ObjectTag.tag_id)
            .join(Object, Object.id == ObjectTag.object_id)
            .where(seen_by(viewer, ObjectTag.audience_id), seen_by(viewer, Object.audience_id))
            .order_by(ObjectTag.id)
            .limit(_MOST)
        )
        if tag_id is not None:
            query = query.where(ObjectTag.tag_id == min(max(tag_id, 0), LARGEST_ID))
        with self._database.reading() as session:
            if name is not None:
                query = query.where(ObjectTag.object_id == visible_object(session, viewer, name).id)
            return _marks(session, viewer, [tuple(row) for row in session.execute(query)])

    def put(
        self, viewer: Viewer, name: str, tag_id: int, group_ids: Collection[int] | None = None
    ) -> dict[str, Any]:
        """Put a tag on an object; one that is there already is shared with more groups.

        Without groups it is seen by whoever sees the object.
        """
        viewer.require("annotate")
        with self._database.begin() as session:
            thing = visible_object(session, viewer, name)
            tag = _one(session, tag_id)
            lock_names(session, f"tag {tag.id} of {thing.name}")
            wanted = list(group_ids or ())
            audience = chosen_audience(session, viewer, wanted, default=thing.audience_id)
            row = session.scalar(
                select(ObjectTag).where(ObjectTag.object_id == thing.id, ObjectTag.tag_id == tag.id)
            )
            if row is None:
                row = ObjectTag(
                    object_id=thing.id,
                    tag_id=tag.id,
                    author_id=viewer.user_id,
                    audience_id=audience,
                )
                session.add(row)
            elif wanted:
                row.audience_id = widened(session, row.audience_id, groups=wanted)
            else:
                row.audience_id = thing.audience_id
            session.flush()
            told = common_audience(session, thing.audience_id, row.audience_id)
            tell(session, thing.name, "tag", told, {"tag": tag.name})
            shown = _marks(session, viewer, [(row, tag, thing.name)])[0]
        return {name: shown[name] for name in _OF_POST}

    def take_off(self, viewer: Viewer, mark_id: int) -> None:
        """Take a tag off an object.

        Raises
        ------
        TagMissing, Forbidden
            It is not there; or somebody else has put it there.
        """
        viewer.require("annotate")
        with self._database.begin() as session:
            row = session.scalar(
                select(ObjectTag).where(
                    ObjectTag.id == min(max(mark_id, 0), LARGEST_ID),
                    seen_by(viewer, ObjectTag.audience_id),
                )
            )
            if row is None:
                raise TagMissing(subject=mark_id)
            if not viewer.may("manage_sources"):
                may_change(viewer, row.author_id, "tag")
            thing = session.get_one(Object, row.object_id)
            told = common_audience(session, thing.audience_id, row.audience_id)
            session.delete(row)
            tell(session, thing.name, "tag", told, {})


_OF_POST = ("id", "created_at", "modified", "obj_id", "objtagoption_id", "author_id", "groups")


def tag_rows(
    session: Session, viewer: Viewer, objects: dict[uuid.UUID, str]
) -> dict[uuid.UUID, list[dict[str, Any]]]:
    """Tags of many objects, by the object's id.

    Parameters
    ----------
    objects
        Names by id, of objects that the viewer may see.
    """
    rows = session.execute(
        select(ObjectTag, Tag)
        .join(Tag, Tag.id == ObjectTag.tag_id)
        .where(among(session, ObjectTag.object_id, objects), seen_by(viewer, ObjectTag.audience_id))
        .order_by(ObjectTag.id)
    ).all()
    marks = _marks(session, viewer, [(mark, tag, objects[mark.object_id]) for mark, tag in rows])
    found: dict[uuid.UUID, list[dict[str, Any]]] = {}
    for (mark, _), shown in zip(rows, marks, strict=True):
        found.setdefault(mark.object_id, []).append(shown)
    return found


def _marks(session: Session, viewer: Viewer, rows: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
    groups = groups_by_audience(session, viewer, {mark.audience_id for mark, _, _ in rows})
    return [
        {
            "id": mark.id,
            "created_at": wire_time(mark.created_at),
            "modified": wire_time(mark.modified_at),
            "obj_id": name,
            "objtagoption_id": mark.tag_id,
            "author_id": mark.author_id,
            "name": tag.name,
            "objtagoption": _tag(tag),
            "groups": groups.get(mark.audience_id, []),
        }
        for mark, tag, name in rows
    ]


def _one(session: Session, tag_id: int) -> Tag:
    row = session.get(Tag, tag_id) if 0 < tag_id <= LARGEST_ID else None
    if row is None:
        raise TagMissing(subject=tag_id)
    return row


def _refuse_taken(session: Session, name: str) -> None:
    lock_names(session, f"tag {name}")
    if session.scalar(select(Tag.id).where(Tag.name == name)) is not None:
        raise TagExists(subject=name)


def _name(name: str) -> str:
    return plain_text(name, "name", longest=64).strip()


def _checked_color(color: str | None) -> str | None:
    if color is None or color == "":
        return None
    if not _COLOR.fullmatch(color) or len(color) > 16:
        raise InvalidInput(field="color", found=repr(color[:50]), expected="as #3a87ad")
    return color


def _tag(row: Tag) -> dict[str, Any]:
    return {
        "id": row.id,
        "created_at": wire_time(row.created_at),
        "modified": wire_time(row.modified_at),
        "name": row.name,
        "color": row.color,
    }
