"""ImageAnalysis: photometry of an object in an image that somebody uploaded."""

from __future__ import annotations

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from firstlight.models.base import Base, Changing, NullableJson

__all__ = ["AnalysisState", "ImageAnalysis", "UploadedImage"]


class AnalysisState(StrEnum):
    """Where the run of an analysis stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


class UploadedImage(Changing, Base):
    """An image file that a user gave for analysis, stored as it came.

    Attributes
    ----------
    facts
        What its header tells: instrument, filter, time, gain, saturation, shape, position.
    removed_at
        When its bytes were removed; the row stays for provenance.
    """

    __tablename__ = "uploaded_images"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    filename: Mapped[str] = mapped_column(String(256))
    key: Mapped[str] = mapped_column(String(900))
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    facts: Mapped[dict[str, Any]]
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    audience_id: Mapped[int] = mapped_column(ForeignKey("audiences.id"))
    removed_at: Mapped[datetime | None]


class ImageAnalysis(Changing, Base):
    """One run of the image analysis; a run with other parameters is another row.

    Attributes
    ----------
    engine
        ``firstlight`` or ``stdpipe``.
    parameters
        What the user chose; what is absent was found by the program.
    steps
        Of each step in order: ``{"name", "state", "started_at", "seconds", "message"}``.
    result
        What was measured: the preview of the photometry and the numbers of each step.
    files
        Keys of the report's pictures and tables by name.
    error
        ``{"code", "message", "step", "hint"}`` of a failure.
    photometry_key
        ``Photometry.key`` of the point that the user accepted.
    """

    __tablename__ = "image_analyses"
    __table_args__ = (
        Index("ix_image_analyses_object_id_id", "object_id", "id"),
        Index("ix_image_analyses_state", "state"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    object_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("objects.id"))
    upload_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("uploaded_images.id"), index=True)
    owner_id: Mapped[int | None] = mapped_column(
        ForeignKey("users.id", ondelete="SET NULL"), index=True
    )
    audience_id: Mapped[int] = mapped_column(ForeignKey("audiences.id"))
    engine: Mapped[str] = mapped_column(String(32), default="firstlight")
    parameters: Mapped[dict[str, Any]]
    state: Mapped[AnalysisState] = mapped_column(String(16), default=AnalysisState.QUEUED)
    steps: Mapped[list[Any]] = mapped_column(default=list)
    result: Mapped[dict[str, Any] | None] = mapped_column(NullableJson)
    files: Mapped[dict[str, Any]] = mapped_column(default=dict)
    error: Mapped[dict[str, Any] | None] = mapped_column(NullableJson)
    provenance_id: Mapped[str | None] = mapped_column(ForeignKey("provenances.id"))
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    accepted_at: Mapped[datetime | None]
    discarded_at: Mapped[datetime | None]
    photometry_key: Mapped[uuid.UUID | None]
