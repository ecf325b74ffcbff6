"""FollowedObject and ForcedRun: what forced photometry measures, and where it is complete.

A point is made for each pair of a followed Object and a section with a difference. Whoever
measures a section looks for Objects after it has locked that section, and whoever measures an
Object looks for the `ForcedRun` of each section under the same locks; so one of the two sees the
other, and no pair is lost in whatever order their transactions end.
"""

from __future__ import annotations

import uuid

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from firstlight.models.base import Base, Changing, OnSky

__all__ = ["FollowedObject", "ForcedRun"]


class FollowedObject(OnSky, Changing, Base):
    """An Object that is measured in every difference that covers it.

    ``ra, dec`` are where its points are measured: its position, which is not followed in steps
    that change no flux.

    Attributes
    ----------
    is_complete
        Whether it has been measured there in all sections that were there when it came, or was
        moved; those that come later take care of it themselves.
    is_summarised
        Whether no point has come since its light curve was summarised.
    """

    __tablename__ = "followed_objects"
    __table_args__ = (
        Index("ix_followed_objects_is_complete", "is_complete", "hpx"),
        Index("ix_followed_objects_is_summarised", "is_summarised", "hpx"),
    )

    object_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("objects.id", ondelete="CASCADE"), primary_key=True
    )
    is_complete: Mapped[bool]
    is_summarised: Mapped[bool] = mapped_column(default=True)


class ForcedRun(Changing, Base):
    """Forced photometry of one section of an exposure was made from these products.

    Attributes
    ----------
    image_id
        The new image.
    difference_id, zero_point_id, provenance_id
        Where one of them is no longer the current one, the section is measured anew.
    n_objects
        Of which it held points when it was made.
    """

    __tablename__ = "forced_runs"

    exposure_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("exposures.id"), primary_key=True)
    section_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    image_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("images.id"), index=True)
    difference_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("images.id"), index=True)
    zero_point_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("zero_points.id"))
    provenance_id: Mapped[str] = mapped_column(ForeignKey("provenances.id"))
    n_objects: Mapped[int]
