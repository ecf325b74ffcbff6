"""Comments: what people and programs remark on objects and on their spectra."""

from __future__ import annotations

import builtins
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from firstlight.errors import MissingError
from firstlight.models.account import User
from firstlight.models.database import Database, among
from firstlight.models.notes import Comment
from firstlight.services.access import Viewer
from firstlight.services.objects.comment_attachments import (
    Attachment,
    Attachments,
    NewAttachment,
)
from firstlight.services.objects.comment_settings import CommentSettings
from firstlight.services.objects.note_rows import note_facts, one_note
from firstlight.services.objects.sharing import (
    account_of,
    by_object,
    chosen_audience,
    may_change,
    readable,
    tell_of_row,
)
from firstlight.services.objects.visible_objects import Subject, subject_of
from firstlight.services.objects.wire_values import (
    LARGEST_ID,
    optional_text,
    plain_text,
)
from firstlight.storage import Store

__all__ = ["CommentMissing", "CommentService", "comment_rows", "shown_comments"]

_LONGEST_PAGE = 1000
_LARGEST_AS_TEXT = 1 << 20  # bytes
_LONGEST_CHANNEL = 64


class CommentMissing(MissingError):
    """There is no such comment, or none that you may see."""

    code = "comment.missing"


class CommentService:
    """Writes, changes and lists comments.

    Parameters
    ----------
    database, store
        Rows, and the bytes of attached files.
    settings
        How long both may be.
    """

    def __init__(
        self, *, database: Database, store: Store, settings: CommentSettings | None = None
    ) -> None:
        self._database = database
        self._settings = settings or CommentSettings()
        self._attachments = Attachments(store=store, max_bytes=self._settings.max_attachment_bytes)

    def list(
        self,
        viewer: Viewer,
        kind: str,
        which: str,
        *,
        text: str | None = None,
        channel: str | None = None,
        page: int = 1,
        per_page: int = 25,
    ) -> builtins.list[dict[str, Any]]:
        """Comments on one thing, the oldest first.

        Parameters
        ----------
        kind, which
            ``sources`` and a name, or ``spectra`` and a number.
        text
            Only those that contain it; `page` and `per_page` count only then.
        channel
            Only those of a channel; without it, those of none.
        """
        with self._database.reading() as session:
            subject = subject_of(session, viewer, kind, which)
            query = (
                select(Comment)
                .where(
                    Comment.object_id == subject.object_id,
                    Comment.spectrum_id == subject.spectrum_id,
                    Comment.channel == optional_text(channel, "channel", longest=_LONGEST_CHANNEL),
                    readable(viewer, Comment),
                )
                .order_by(Comment.id)
            )
            wanted = optional_text(text, "text", longest=self._settings.max_text)
            if wanted is not None:
                size = min(max(per_page, 1), _LONGEST_PAGE)
                query = (
                    query.where(func.lower(Comment.text).contains(wanted.lower(), autoescape=True))
                    .offset((min(max(page, 1), LARGEST_ID) - 1) * size)
                    .limit(size)
                )
            rows = session.scalars(query).all()
            return shown_comments(session, viewer, rows, {subject.object_id: subject.name})

    def get(self, viewer: Viewer, kind: str, which: str, comment_id: int) -> dict[str, Any]:
        """One comment.

        Raises
        ------
        CommentMissing
            There is none of this number on this thing.
        """
        with self._database.reading() as session:
            subject = subject_of(session, viewer, kind, which)
            row = _one(session, viewer, subject, comment_id)
            return shown_comments(session, viewer, [row], {subject.object_id: subject.name})[0]

    def add(
        self,
        viewer: Viewer,
        kind: str,
        which: str,
        text: str,
        *,
        group_ids: object = None,
        channel: str | None = None,
        attachment: NewAttachment | None = None,
    ) -> dict[str, Any]:
        """Comment on something.

        Without groups it is seen by whoever sees what it is about.

        Returns
        -------
        dict
            ``comment_id``; with a ``message`` where the same author has said the same before,
            to the same people.
        """
        viewer.require("comment")
        author = account_of(viewer)
        plain_text(text, "text", longest=self._settings.max_text)
        channel = optional_text(channel, "channel", longest=_LONGEST_CHANNEL)
        with self._database.reading() as session:  # nothing is stored for what is refused
            subject_of(session, viewer, kind, which)
        name, key = (None, None) if attachment is None else self._attachments.keep(attachment)
        try:
            with self._database.begin() as session:
                subject = subject_of(session, viewer, kind, which)
                row = Comment(
                    object_id=subject.object_id,
                    spectrum_id=subject.spectrum_id,
                    author_id=author,
                    text=text,
                    channel=channel,
                    bot=bool(session.scalar(select(User.is_bot).where(User.id == author))),
                    attachment_name=name,
                    attachment_key=key,
                    audience_id=chosen_audience(
                        session, viewer, group_ids, default=subject.audience_id
                    ),
                )
                same = None if key else _same(session, row)
                if same is not None:
                    return {"comment_id": same, "message": "Same comment already exists."}
                session.add(row)
                session.flush()
                tell_of_row(session, subject, "comment", row, "added")
                return {"comment_id": row.id}
        except BaseException:
            self._attachments.forget(key)
            raise

    def change(
        self,
        viewer: Viewer,
        kind: str,
        which: str,
        comment_id: int,
        *,
        text: str | None = None,
        group_ids: object = None,
        attachment: NewAttachment | None = None,
    ) -> None:
        """Change one's own comment; what is not given stays.

        Raises
        ------
        CommentMissing, Forbidden
            There is none, or it is somebody else's.
        """
        viewer.require("comment")
        text = optional_text(text, "text", longest=self._settings.max_text)
        with self._database.reading() as session:
            subject = subject_of(session, viewer, kind, which)
            may_change(viewer, _one(session, viewer, subject, comment_id).author_id, "comment")
        name, key = (None, None) if attachment is None else self._attachments.keep(attachment)
        try:
            with self._database.begin() as session:
                row = _one(session, viewer, subject, comment_id)
                old_key = row.attachment_key
                row.text = text or row.text
                row.audience_id = chosen_audience(
                    session, viewer, group_ids, default=row.audience_id
                )
                if key is not None:
                    row.attachment_name, row.attachment_key = name, key
                tell_of_row(session, subject, "comment", row, "changed")
        except BaseException:
            self._attachments.forget(key)
            raise
        if key is not None:
            self._attachments.forget(old_key)

    def remove(self, viewer: Viewer, kind: str, which: str, comment_id: int) -> None:
        """Take one's own comment back, with what is attached to it."""
        viewer.require("comment")
        with self._database.begin() as session:
            subject = subject_of(session, viewer, kind, which)
            row = _one(session, viewer, subject, comment_id)
            may_change(viewer, row.author_id, "comment")
            key = row.attachment_key
            session.delete(row)
            tell_of_row(session, subject, "comment", row, "removed")
        self._attachments.forget(key)

    def attachment(self, viewer: Viewer, kind: str, which: str, comment_id: int) -> Attachment:
        """Open the file that is attached to a comment.

        Raises
        ------
        CommentMissing, AttachmentMissing
            There is none.
        """
        with self._database.reading() as session:
            subject = subject_of(session, viewer, kind, which)
            row = _one(session, viewer, subject, comment_id)
        return self._attachments.open(row.attachment_name, row.attachment_key)

    def attachment_text(
        self, viewer: Viewer, kind: str, which: str, comment_id: int
    ) -> dict[str, Any]:
        """The attached file as text, up to a megabyte; what is no text is shown as ``\ufffd``."""
        found = self.attachment(viewer, kind, which, comment_id)
        with found.stream as stream:
            content = stream.read(_LARGEST_AS_TEXT)
        return {
            "commentId": comment_id,
            "attachment": content.decode("utf-8", "replace"),
            "attachmentName": found.name,
        }

    def attachment_counts(self, viewer: Viewer) -> dict[str, int]:
        """How many comments have a file in the store. None is kept in the tables."""
        viewer.require("admin")
        with self._database.reading() as session:
            kept = session.scalar(select(func.count(Comment.attachment_key)))
        return {"totalWithoutAttachmentBytes": kept or 0, "totalWithAttachmentBytes": 0}


def comment_rows(
    session: Session, viewer: Viewer, objects: Mapping[uuid.UUID, str]
) -> dict[uuid.UUID, builtins.list[dict[str, Any]]]:
    """Comments on many objects, of each the newest first.

    Parameters
    ----------
    objects
        Names by id, of objects that the viewer may see.
    """
    rows = session.scalars(
        select(Comment)
        .where(
            among(session, Comment.object_id, objects),
            Comment.spectrum_id.is_(None),
            Comment.channel.is_(None),
            readable(viewer, Comment),
        )
        .order_by(Comment.id.desc())
    ).all()
    return by_object(rows, shown_comments(session, viewer, rows, objects))


def _one(session: Session, viewer: Viewer, subject: Subject, comment_id: int) -> Comment:
    about = Comment.spectrum_id == subject.spectrum_id
    row = one_note(session, viewer, Comment, subject, comment_id, about)
    if row is None:
        raise CommentMissing(subject=comment_id)
    return row


def _same(session: Session, new: Comment) -> int | None:
    return session.scalar(
        select(Comment.id).where(
            Comment.object_id == new.object_id,
            Comment.spectrum_id == new.spectrum_id,
            Comment.author_id == new.author_id,
            Comment.audience_id == new.audience_id,
            Comment.channel == new.channel,
            Comment.text == new.text,
            Comment.attachment_key.is_(None),
        )
    )


def shown_comments(
    session: Session, viewer: Viewer, rows: Sequence[Comment], names: Mapping[uuid.UUID, str]
) -> builtins.list[dict[str, Any]]:
    """Comments as SkyPortal shows them; names of their objects by id."""
    return [
        {
            **facts,
            "text": row.text,
            "channel": row.channel,
            "system": row.system,
            "attachment_name": row.attachment_name,
            "origin": row.origin,
            "bot": row.bot,
            "resourceType": "sources" if row.spectrum_id is None else "spectra",
        }
        for row, facts in note_facts(session, viewer, rows, names)
    ]
