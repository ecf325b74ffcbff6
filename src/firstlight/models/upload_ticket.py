"""UploadTicket: leave to upload one file, given on request."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from firstlight.models.base import Base, Timestamped

__all__ = ["UploadTicket"]

_JSON = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


class UploadTicket(Timestamped, Base):
    """What was asked for, so that it is known when the bytes come.

    Attributes
    ----------
    key
        Where the bytes go: a place of their own in the inbox.
    name
        As the sender named it.
    cards
        Header given with the request: triples of keyword, value, comment.
    max_size
        Bytes.
    """

    __tablename__ = "upload_tickets"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(900), unique=True)
    name: Mapped[str] = mapped_column(String(900))
    site: Mapped[str | None] = mapped_column(String(128))
    channel: Mapped[int | None]
    cards: Mapped[list[Any] | None] = mapped_column(_JSON)
    max_size: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[datetime] = mapped_column(index=True)
