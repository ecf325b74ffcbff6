"""The stored files of an observation: timelapse, stamps, light curves."""

from __future__ import annotations

import uuid
from enum import StrEnum

from sqlalchemy import BigInteger, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from firstlight.models.base import Base
from firstlight.models.provenance import Product

__all__ = ["ObservationFile", "ObservationFileRole"]


class ObservationFileRole(StrEnum):
    """What a file is to its observation."""

    TIMELAPSE = "timelapse"
    STAMPS = "stamps"


class ObservationFile(Product, Base):
    """One file made from all exposures of an observation, with its provenance."""

    __tablename__ = "observation_files"

    observation_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("observations.id", ondelete="CASCADE"), index=True
    )
    role: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(512))
    key: Mapped[str] = mapped_column(String(900))
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    n_exposures: Mapped[int]
