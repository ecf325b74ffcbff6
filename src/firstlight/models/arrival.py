"""Arrival: a file has come. Kept whatever became of it, so that nothing is lost in silence."""

from __future__ import annotations

import uuid
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from firstlight.models.base import Base, Timestamped
from firstlight.provenance.fingerprint import product_id

__all__ = ["Arrival", "ArrivalState"]


class ArrivalState(StrEnum):
    """What became of an arrival."""

    ARCHIVED = "archived"
    QUARANTINED = "quarantined"  # it cannot be used; the reason is in `error`


class Arrival(Timestamped, Base):
    """One file offered to the archive. Offered again, it is the same row."""

    __tablename__ = "arrivals"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    source: Mapped[str] = mapped_column(String(4096))
    """Where it came from: a path or URL, as given."""
    state: Mapped[str] = mapped_column(String(16), index=True)
    size: Mapped[int | None] = mapped_column(BigInteger)
    sha256: Mapped[str | None] = mapped_column(String(64), index=True)
    exposure_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("exposures.id"), index=True)
    error: Mapped[dict[str, Any] | None]

    def identify(self) -> None:
        """Set the id from where it came and what it holds."""
        self.id = product_id("arrival", [self.source, self.sha256 or ""])
