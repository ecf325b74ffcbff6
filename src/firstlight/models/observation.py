"""Observation: a sequence of exposures of one field by one instrument in one night."""

from __future__ import annotations

import uuid
from datetime import date

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from firstlight.models.base import Base, Timestamped
from firstlight.provenance.fingerprint import product_id

__all__ = ["Observation"]


class Observation(Timestamped, Base):
    """Exposures that belong together.

    Those that name their sequence (a PANOPTES sequence, a smart stack) belong to it; others
    have instrument, target, filter, binning and night in common. The id is made of these
    facts, so that exposures find their observation in any order.
    """

    __tablename__ = "observations"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    instrument: Mapped[str] = mapped_column(String(64), index=True)
    target: Mapped[str] = mapped_column(String(256))
    filter: Mapped[str | None] = mapped_column(String(64))
    binning: Mapped[str] = mapped_column(String(16), default="1x1")
    night: Mapped[date] = mapped_column(index=True)
    """Local date of the noon before, or the UTC date where the site is not known."""

    site: Mapped[str | None] = mapped_column(String(128), index=True)
    sequence: Mapped[str | None] = mapped_column(String(200), unique=True)
    """Name of the sequence, with site and camera in it, where the camera names one."""

    def identify(self) -> None:
        """Set the id from the facts."""
        if self.sequence is not None:
            self.id = product_id("observation", [self.sequence])
            return
        facts = (self.instrument, self.target, self.filter or "", self.binning, self.night)
        self.id = product_id("observation", [str(fact) for fact in facts])
