"""Alert: a packet on one Measurement, and where it went."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from firstlight.models.base import Base, BigId, Changing

__all__ = ["Alert"]


class Alert(Changing, Base):
    """One measurement is told of once.

    Attributes
    ----------
    filename
        Of the packet in the store.
    sent_at
        When the sink had taken it; None while it has not.
    error
        Why the last attempt to send it failed.
    """

    __tablename__ = "alerts"

    measurement_id: Mapped[int] = mapped_column(
        BigId, ForeignKey("measurements.id"), primary_key=True, autoincrement=False
    )
    object_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("objects.id"), index=True)
    topic: Mapped[str] = mapped_column(String(128))
    filename: Mapped[str] = mapped_column(String(512), unique=True)
    sha256: Mapped[str] = mapped_column(String(64))
    sent_at: Mapped[datetime | None] = mapped_column(index=True)
    attempts: Mapped[int] = mapped_column(default=0)
    error: Mapped[dict[str, Any] | None]
