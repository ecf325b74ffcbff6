"""Site: an observatory, or one unit of a network."""

from __future__ import annotations

import uuid

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from firstlight.models.base import Base, Timestamped

__all__ = ["Site"]


class Site(Timestamped, Base):
    """An observatory. Longitude is positive to the east, degrees; elevation in metres."""

    __tablename__ = "sites"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(128), unique=True)
    latitude: Mapped[float | None]
    longitude: Mapped[float | None]
    elevation: Mapped[float | None]
