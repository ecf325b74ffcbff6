"""ForcedRun: which Objects were measured in one difference, and up to when."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from firstlight.models.base import Base, Changing

__all__ = ["ForcedRun"]


class ForcedRun(Changing, Base):
    """Forced photometry of one difference is complete for the Objects up to a moment.

    Attributes
    ----------
    image_id
        The new image.
    difference_id
        What was measured.
    objects_until
        Every Object of that footprint written before this has its point.
    """

    __tablename__ = "forced_runs"

    image_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("images.id"), primary_key=True)
    difference_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("images.id"), index=True)
    n_objects: Mapped[int]
    objects_until: Mapped[datetime] = mapped_column(index=True)
