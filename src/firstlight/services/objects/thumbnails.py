"""Thumbnails: small pictures of objects. Whoever may see the object sees them."""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from firstlight.errors import InvalidInput, MissingError
from firstlight.formats.small_picture import BadPicture, rewritten_png
from firstlight.models.database import Database, among
from firstlight.models.notes import Thumbnail
from firstlight.models.object import Object
from firstlight.services.access import Viewer
from firstlight.services.objects.sharing import tell
from firstlight.services.objects.visible_objects import visible_object
from firstlight.services.objects.wire_values import LARGEST_ID, optional_text, wire_time
from firstlight.services.visibility import seen_by
from firstlight.storage import Store

__all__ = ["THUMBNAIL_TYPES", "ThumbnailMissing", "ThumbnailService", "thumbnail_rows"]

THUMBNAIL_TYPES = (
    "new", "ref", "sub", "sdss", "dr8", "ls", "ps1", "sm", "hst", "chandra", "jwst",
    "new_gz", "ref_gz", "sub_gz",
)  # fmt: skip
_FOLDER = "portal/thumbnails"
_LONGEST = 2_000_000  # bytes of a PNG of 500 x 500 pixels, 16 bits, four channels
_ELSEWHERE = ("file_uri", "public_url")


class ThumbnailMissing(MissingError):
    """There is no such thumbnail, or none that you may see."""

    code = "thumbnail.missing"


class ThumbnailService:
    """Takes small pictures in and gives them out.

    Parameters
    ----------
    database, store
        Rows and bytes.
    """

    def __init__(self, *, database: Database, store: Store) -> None:
        self._database = database
        self._store = store

    def get(self, viewer: Viewer, thumbnail_id: int) -> dict[str, Any]:
        """Facts of one thumbnail."""
        with self._database.reading() as session:
            row, thing = _one(session, viewer, thumbnail_id)
            return _shown(row, thing.name)

    def picture(self, viewer: Viewer, thumbnail_id: int) -> bytes:
        """The PNG itself.

        Raises
        ------
        ThumbnailMissing
            There is none that the viewer may see.
        """
        with self._database.reading() as session:
            row, _ = _one(session, viewer, thumbnail_id)
        try:
            return self._store.read(row.key)
        except MissingError as fault:
            raise ThumbnailMissing(subject=thumbnail_id) from fault

    def add(
        self,
        viewer: Viewer,
        obj_id: str,
        data: str,
        kind: str,
        *,
        survey: str | None = None,
        origin: str | None = None,
    ) -> int:
        """Add a picture; returns its number.

        Parameters
        ----------
        data
            A PNG of 16 to 500 pixels on each side, in base64, maybe as a data URL.
        kind
            One of `THUMBNAIL_TYPES`.

        Raises
        ------
        BadPicture
            It is no PNG, or has another size.
        """
        viewer.require("upload")
        _check_type(kind)
        survey = optional_text(survey, "survey", longest=64)
        origin = optional_text(origin, "origin", longest=128)
        with self._database.reading() as session:  # nothing is stored for what is refused
            visible_object(session, viewer, obj_id)
        content, is_grayscale = rewritten_png(_decoded(data))
        key = f"{_FOLDER}/{uuid.uuid4().hex}.png"
        self._store.put(key, content)
        try:
            with self._database.begin() as session:
                thing = visible_object(session, viewer, obj_id)
                row = Thumbnail(
                    object_id=thing.id,
                    type=kind,
                    key=key,
                    survey=survey,
                    origin=origin,
                    is_grayscale=is_grayscale,
                )
                session.add(row)
                session.flush()
                _tell(session, thing, row, "added")
                return row.id
        except BaseException:
            self._store.delete(key)
            raise

    def change(self, viewer: Viewer, thumbnail_id: int, given: Mapping[str, Any]) -> None:
        """Change what is told of a thumbnail, or whose it is; its picture stays.

        Parameters
        ----------
        given
            Of ``obj_id``, ``type``, ``origin`` and ``is_grayscale`` those that change.

        Raises
        ------
        InvalidInput
            It would point to another file.
        """
        viewer.require("manage_sources")
        for key in _ELSEWHERE:
            if given.get(key) is not None:
                raise InvalidInput(
                    "where a picture is kept cannot be chosen", field=key, hint="post a new one"
                )
        with self._database.begin() as session:
            row, thing = _one(session, viewer, thumbnail_id)
            if given.get("obj_id") is not None:
                thing = visible_object(session, viewer, given["obj_id"])
                row.object_id = thing.id
            if given.get("type") is not None:
                row.type = _check_type(given["type"])
            if given.get("origin") is not None:
                row.origin = optional_text(given["origin"], "origin", longest=128)
            if given.get("is_grayscale") is not None:
                row.is_grayscale = bool(given["is_grayscale"])
            _tell(session, thing, row, "changed")

    def remove(self, viewer: Viewer, thumbnail_id: int) -> None:
        """Remove a thumbnail and its picture."""
        viewer.require("manage_sources")
        with self._database.begin() as session:
            row, thing = _one(session, viewer, thumbnail_id)
            key = row.key
            session.delete(row)
            _tell(session, thing, row, "removed")
        self._store.delete(key)

    def count(self, viewer: Viewer, kinds: Sequence[str] = ()) -> int:
        """How many thumbnails of some types there are; of all, if none is named."""
        viewer.require("admin")
        query = select(func.count()).select_from(Thumbnail)
        if kinds:
            query = query.where(Thumbnail.type.in_([_check_type(kind) for kind in kinds]))
        with self._database.reading() as session:
            return session.scalar(query) or 0


def thumbnail_rows(
    session: Session, objects: Mapping[uuid.UUID, str]
) -> dict[uuid.UUID, list[dict[str, Any]]]:
    """Thumbnails of many objects: of each the latest of every type.

    Parameters
    ----------
    objects
        Names by id, of objects that the viewer may see.
    """
    latest = (
        select(func.max(Thumbnail.id))
        .where(among(session, Thumbnail.object_id, objects))
        .group_by(Thumbnail.object_id, Thumbnail.type)
    )
    found: dict[uuid.UUID, list[dict[str, Any]]] = {}
    for row in session.scalars(
        select(Thumbnail).where(Thumbnail.id.in_(latest)).order_by(Thumbnail.id)
    ):
        found.setdefault(row.object_id, []).append(_shown(row, objects[row.object_id]))
    return found


def _decoded(data: str) -> bytes:
    text = data.partition(";base64,")[2] if data.startswith("data:") else data
    if len(text) * 3 // 4 > _LONGEST:
        raise BadPicture(found=f"{len(text) * 3 // 4} bytes", expected=f"at most {_LONGEST}")
    try:
        return base64.b64decode("".join(text.split()).encode("ascii"), validate=True)
    except (binascii.Error, ValueError) as fault:
        raise InvalidInput(field="data", found=str(fault)[:100], expected="base64") from fault


def _check_type(kind: object) -> str:
    if not isinstance(kind, str) or kind not in THUMBNAIL_TYPES:
        raise InvalidInput(
            field="ttype", found=repr(kind)[:100], expected=", ".join(THUMBNAIL_TYPES)
        )
    return kind


def _one(session: Session, viewer: Viewer, thumbnail_id: int) -> tuple[Thumbnail, Object]:
    found = None
    if 0 < thumbnail_id <= LARGEST_ID:
        found = session.execute(
            select(Thumbnail, Object)
            .join(Object, Object.id == Thumbnail.object_id)
            .where(Thumbnail.id == thumbnail_id, seen_by(viewer, Object.audience_id))
        ).first()
    if found is None:
        raise ThumbnailMissing(subject=thumbnail_id)
    return found[0], found[1]


def _tell(session: Session, thing: Object, row: Thumbnail, change: str) -> None:
    facts = {"id": row.id, "change": change}
    tell(session, thing.name, "thumbnail", thing.audience_id, facts)


def _shown(row: Thumbnail, name: str) -> dict[str, Any]:
    return {
        "id": row.id,
        "created_at": wire_time(row.created_at),
        "modified": wire_time(row.modified_at),
        "obj_id": name,
        "type": row.type,
        "file_uri": None,
        "public_url": f"/api/thumbnail/{row.id}/picture.png",
        "origin": row.origin,
        "survey": row.survey,
        "is_grayscale": row.is_grayscale,
    }
