"""Webhook: an address that is told of events."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from firstlight.models.base import Base, Timestamped

__all__ = ["Webhook"]

_JSON = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


class Webhook(Timestamped, Base):
    """A subscription. Its signing secret is derived from the id and the workspace's secret.

    Attributes
    ----------
    sites, topics
        What is told; None for all that its owner may see.
    position
        Number of the last event that was delivered, or left out as not wanted.
    failures
        Attempts in a row that failed.
    next_try_at
        Not before; None for at once.
    """

    __tablename__ = "webhooks"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    url: Mapped[str] = mapped_column(String(2048))
    sites: Mapped[list[str] | None] = mapped_column(_JSON)
    topics: Mapped[list[str] | None] = mapped_column(_JSON)
    owner: Mapped[str] = mapped_column(String(128))
    enabled: Mapped[bool] = mapped_column(default=True)
    position: Mapped[int] = mapped_column(BigInteger, default=0)
    failures: Mapped[int] = mapped_column(default=0)
    next_try_at: Mapped[datetime | None]
    last_error: Mapped[dict[str, Any] | None] = mapped_column(_JSON)
