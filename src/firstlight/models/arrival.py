"""Arrival: a file has come. Kept whatever became of it, so that nothing is lost in silence."""

from __future__ import annotations

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from firstlight.models.base import Base, Timestamped
from firstlight.provenance.fingerprint import product_id

__all__ = ["Arrival", "ArrivalState", "Origin"]

_JSON = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


class Origin(StrEnum):
    """Which way a file came."""

    FOLDER = "folder"
    S3 = "s3"
    UPLOAD = "upload"
    INGEST = "ingest"


class ArrivalState(StrEnum):
    """What became of an arrival."""

    RECEIVED = "received"  # noticed; its bytes are still to be read
    ARCHIVED = "archived"
    KNOWN = "known"  # the same bytes under the same name were in the archive already
    QUARANTINED = "quarantined"  # it cannot be used; the reason is in `error`
    SUPERSEDED = "superseded"  # an info image whose channel has a newer one, or none


class Arrival(Timestamped, Base):
    """One file offered to the archive: a row of the upload log. Offered again, the same row."""

    __tablename__ = "arrivals"
    __table_args__ = (
        Index("ix_arrivals_site_created_at", "site", "created_at"),
        Index("ix_arrivals_state_created_at", "state", "created_at"),
        Index("ix_arrivals_created_at_id", "created_at", "id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    source: Mapped[str] = mapped_column(String(4096))
    """Where it came from: a path or URL, as given."""
    version: Mapped[str] = mapped_column(String(256), default="")
    """What tells two files at one source apart: the server's tag, or size and time."""
    origin: Mapped[str] = mapped_column(String(16), default="ingest")
    """How it came: one of `Origin`."""
    name: Mapped[str | None] = mapped_column(String(900))
    """The key or path below the source, as its sender named it."""
    site: Mapped[str | None] = mapped_column(String(128))
    collection: Mapped[str | None] = mapped_column(String(16))
    base_filename: Mapped[str | None] = mapped_column(String(200), index=True)
    channel: Mapped[int | None]
    state: Mapped[str] = mapped_column(String(16))
    size: Mapped[int | None] = mapped_column(BigInteger)
    sha256: Mapped[str | None] = mapped_column(String(64), index=True)
    key: Mapped[str | None] = mapped_column(String(900))
    """Where its bytes are in the store; in quarantine where it cannot be used."""
    exposure_id: Mapped[uuid.UUID | None] = mapped_column(
        ForeignKey("exposures.id", ondelete="SET NULL"), index=True
    )
    header: Mapped[list[Any] | None] = mapped_column(_JSON)
    """Cards that came with the request to upload: triples of keyword, value, comment."""
    error: Mapped[dict[str, Any] | None] = mapped_column(_JSON)
    finished_at: Mapped[datetime | None]

    def identify(self) -> None:
        """Set the id from where it came and what it holds."""
        self.id = product_id("arrival", [self.source, self.version or self.sha256 or ""])
