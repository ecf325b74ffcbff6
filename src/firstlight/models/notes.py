"""What people and programs say about objects: comments, annotations, classifications."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from firstlight.models.base import Base, BigId, Changing

__all__ = [
    "Annotation",
    "Classification",
    "ClassificationEdit",
    "ClassificationVote",
    "Comment",
    "ObjectTag",
    "Tag",
    "Taxonomy",
    "Thumbnail",
]


class Comment(Changing, Base):
    """A remark on an object or on one of its spectra.

    Attributes
    ----------
    spectrum_id
        None for a remark on the object itself.
    attachment_key
        Where the attached file is stored; it is served as a download only.
    """

    __tablename__ = "comments"
    __table_args__ = (
        Index("ix_comments_object_id_id", "object_id", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    object_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("objects.id"))
    spectrum_id: Mapped[int | None] = mapped_column(
        ForeignKey("spectra.id", ondelete="CASCADE"), index=True
    )
    author_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    text: Mapped[str] = mapped_column(Text)
    channel: Mapped[str | None] = mapped_column(String(64))
    origin: Mapped[str | None] = mapped_column(String(128))
    bot: Mapped[bool] = mapped_column(default=False)
    system: Mapped[bool] = mapped_column(default=False)
    attachment_name: Mapped[str | None] = mapped_column(String(256))
    attachment_key: Mapped[str | None] = mapped_column(String(900))
    audience_id: Mapped[int] = mapped_column(ForeignKey("audiences.id"))


class Annotation(Changing, Base):
    """Facts of one origin about an object, a spectrum or a point of photometry.

    One a subject and origin: a second one is refused, a change replaces it.

    Attributes
    ----------
    subject
        ``object``, ``spectrum:7`` or ``photometry:123``.
    """

    __tablename__ = "annotations"
    __table_args__ = (
        UniqueConstraint("object_id", "subject", "origin"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    object_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("objects.id"))
    subject: Mapped[str] = mapped_column(String(64))
    spectrum_id: Mapped[int | None] = mapped_column(
        ForeignKey("spectra.id", ondelete="CASCADE"), index=True
    )
    photometry_id: Mapped[int | None] = mapped_column(
        BigId, ForeignKey("photometry.id", ondelete="CASCADE"), index=True
    )
    origin: Mapped[str] = mapped_column(String(128))
    data: Mapped[dict[str, Any]]
    author_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    audience_id: Mapped[int] = mapped_column(ForeignKey("audiences.id"))


class Taxonomy(Changing, Base):
    """A tree of classes."""

    __tablename__ = "taxonomies"
    __table_args__ = (
        UniqueConstraint("name", "version"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(128))
    version: Mapped[str] = mapped_column(String(64))
    provenance: Mapped[str | None] = mapped_column(String(1000))
    is_latest: Mapped[bool] = mapped_column(default=True)
    hierarchy: Mapped[dict[str, Any]]
    """``{"class": name, "subclasses": [...]}``, nested."""
    audience_id: Mapped[int] = mapped_column(ForeignKey("audiences.id"))


class Classification(Changing, Base):
    """A class of a taxonomy, given to an object with a probability."""

    __tablename__ = "classifications"
    __table_args__ = (
        Index("ix_classifications_object_id_id", "object_id", "id"),
        # Whether an object has a class, and who sees that, is told by this alone.
        Index(
            "ix_classifications_object_id_classification",
            *("object_id", "classification", "audience_id", "author_id"),
        ),
        Index("ix_classifications_classification", "classification"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    object_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("objects.id"))
    taxonomy_id: Mapped[int] = mapped_column(ForeignKey("taxonomies.id"), index=True)
    classification: Mapped[str] = mapped_column(String(128))
    probability: Mapped[float | None]
    ml: Mapped[bool] = mapped_column(default=False)
    origin: Mapped[str | None] = mapped_column(String(128))
    author_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    audience_id: Mapped[int] = mapped_column(ForeignKey("audiences.id"))


class ClassificationVote(Changing, Base):
    """A user's word for (1) or against (-1) a classification."""

    __tablename__ = "classification_votes"
    __table_args__ = (
        UniqueConstraint("classification_id", "voter_id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    classification_id: Mapped[int] = mapped_column(
        ForeignKey("classifications.id", ondelete="CASCADE")
    )
    voter_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    vote: Mapped[int]


class ClassificationEdit(Changing, Base):
    """A change of the probability of a classification."""

    __tablename__ = "classification_edits"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012, SQLAlchemy reads this class attribute

    id: Mapped[int] = mapped_column(primary_key=True)
    classification_id: Mapped[int] = mapped_column(
        ForeignKey("classifications.id", ondelete="CASCADE"), index=True
    )
    editor_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    old_probability: Mapped[float | None]
    new_probability: Mapped[float | None]


class Tag(Changing, Base):
    """A word that objects can be marked with."""

    __tablename__ = "tags"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012, SQLAlchemy reads this class attribute

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    color: Mapped[str | None] = mapped_column(String(16))


class ObjectTag(Changing, Base):
    """A tag on an object."""

    __tablename__ = "object_tags"
    __table_args__ = (
        UniqueConstraint("object_id", "tag_id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    object_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("objects.id", ondelete="CASCADE"))
    tag_id: Mapped[int] = mapped_column(ForeignKey("tags.id", ondelete="CASCADE"), index=True)
    author_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    audience_id: Mapped[int] = mapped_column(ForeignKey("audiences.id"))


class Thumbnail(Changing, Base):
    """A small picture of an object. Whoever may see the object sees it.

    Attributes
    ----------
    type
        ``new``, ``ref``, ``sub``, ``ps1`` and so on.
    key
        Where the picture is stored.
    """

    __tablename__ = "thumbnails"
    __table_args__ = (
        Index("ix_thumbnails_object_id_type", "object_id", "type"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    object_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("objects.id", ondelete="CASCADE"))
    type: Mapped[str] = mapped_column(String(16))
    key: Mapped[str] = mapped_column(String(900))
    origin: Mapped[str | None] = mapped_column(String(128))
    survey: Mapped[str | None] = mapped_column(String(64))
    is_grayscale: Mapped[bool] = mapped_column(default=False)
