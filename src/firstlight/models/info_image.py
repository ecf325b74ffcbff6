"""InfoImage: a temporary picture pinned to one of three channels of a site."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    String,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from firstlight.models.base import Base, Timestamped
from firstlight.provenance.fingerprint import product_id

__all__ = ["CHANNELS", "InfoImage", "InfoImageFile"]

CHANNELS = (1, 2, 3)
_JSON = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


class InfoImage(Timestamped, Base):
    """A picture for one channel. The channel shows the one requested last that has a file.

    Attributes
    ----------
    requested_at
        When its channel was named: at the request to upload, or with its first file.
    shown_at
        When its first file came; None while it is only announced.
    header
        Triples of keyword, value, comment; None where no file had one.
    header_rank
        Of where the header came from; lower counts more, as in `ExposureHeader`.
    """

    __tablename__ = "info_images"
    __table_args__ = (
        CheckConstraint("channel BETWEEN 1 AND 3", "channel"),
        UniqueConstraint("site", "channel", "base_filename"),
        Index("ix_info_images_base_filename", "base_filename"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    site: Mapped[str] = mapped_column(String(128))
    channel: Mapped[int]
    base_filename: Mapped[str] = mapped_column(String(200))
    data_type: Mapped[str | None] = mapped_column(String(32))
    requested_at: Mapped[datetime]
    shown_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None] = mapped_column(index=True)
    header: Mapped[list[Any] | None] = mapped_column(_JSON)
    header_rank: Mapped[int | None]

    def identify(self) -> None:
        """Set the id from site, channel and base filename."""
        facts = [self.site, str(self.channel), self.base_filename]
        self.id = product_id("info image", facts)


class InfoImageFile(Timestamped, Base):
    """One stored file of an info image; the columns mean what they do in `ExposureFile`."""

    __tablename__ = "info_image_files"
    __table_args__ = (UniqueConstraint("info_image_id", "name"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    info_image_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("info_images.id", ondelete="CASCADE")
    )
    name: Mapped[str] = mapped_column(String(512))
    role: Mapped[str] = mapped_column(String(16))
    reduction_level: Mapped[str | None] = mapped_column(String(2))
    key: Mapped[str] = mapped_column(String(900), index=True)
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    md5: Mapped[str] = mapped_column(String(32))
    made: Mapped[bool] = mapped_column(default=False)

    def identify(self) -> None:
        """Set the id from the info image and the name."""
        self.id = product_id("info image file", [str(self.info_image_id), self.name])
