"""What was removed because its time was over, and what is kept for a while only."""

from __future__ import annotations

import uuid
from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from firstlight.models.base import Base, Timestamped

__all__ = ["PassingFile", "PassingKind", "Removal"]


class Removal(Timestamped, Base):
    """One thing that expired and was removed, with all its files. These rows stay."""

    __tablename__ = "removals"
    __table_args__ = (Index("ix_removals_site_created_at", "site", "created_at"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    what: Mapped[str] = mapped_column(String(32))
    """``exposure``, ``info image``, ``download``, ``upload log``."""
    name: Mapped[str] = mapped_column(String(900))
    site: Mapped[str | None] = mapped_column(String(128))
    rule: Mapped[str] = mapped_column(String(256))
    """The rule that said so, in words."""
    files: Mapped[int]
    size: Mapped[int] = mapped_column(BigInteger)
    """Bytes of all its files together."""


class PassingKind(StrEnum):
    """Why a file will not stay."""

    DOWNLOAD = "download"  # converted for somebody, and may be asked for again
    LEFTOVER = "leftover"  # its rows are gone


class PassingFile(Timestamped, Base):
    """Bytes that are removed when their time is over, unless somebody claims them."""

    __tablename__ = "passing_files"

    key: Mapped[str] = mapped_column(String(900), primary_key=True)
    """Where it is in the store. That of a download tells its content and how it was converted."""
    kind: Mapped[str] = mapped_column(String(16), default=PassingKind.DOWNLOAD)
    exposure_id: Mapped[uuid.UUID | None] = mapped_column(index=True)
    """Of a download: what it was converted from."""
    size: Mapped[int] = mapped_column(BigInteger)
    used_at: Mapped[datetime]
    """Of a download: when it was asked for last; of a leftover: when its rows went."""
    expires_at: Mapped[datetime | None] = mapped_column(index=True)
