"""Reference: the coadd that stands for how the sky was."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from firstlight.models.base import Base, OnSky
from firstlight.models.provenance import Product

__all__ = ["Reference"]


class Reference(OnSky, Product, Base):
    """A deep image of one field in one filter, with all that a subtraction takes of it.

    Its image is of kind ``reference``, without sky, in electrons of the image whose pixels it
    took; ``ra, dec`` are its centre. A new build of a field is a new version beside the old one.
    """

    __tablename__ = "sky_references"
    __table_args__ = (Index("ix_sky_references_choice", "instrument", "filter", "mjd_end"),)

    image_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("images.id"), index=True)
    sources_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("source_lists.id"))
    psf_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("psfs.id"))
    wcs_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("world_coordinates.id"))
    zero_point_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("zero_points.id"))
    field: Mapped[str] = mapped_column(String(128), index=True)
    """Target of its exposures, or a name by its centre."""
    version: Mapped[int]
    """Counts the builds of one field, section and filter, from 1."""
    instrument: Mapped[str] = mapped_column(String(64))
    section_id: Mapped[str] = mapped_column(String(32))
    filter: Mapped[str | None] = mapped_column(String(64))
    mjd_start: Mapped[float]
    """Of the earliest image in it."""
    mjd_end: Mapped[float]
    """Of the latest."""
    n_images: Mapped[int]
    fwhm: Mapped[float]
    """Pixels."""
    seeing: Mapped[float | None]
    """FWHM, arcseconds."""
    limiting_magnitude: Mapped[float | None]
    """Five sigma, point source."""
    corners: Mapped[list[Any]]
    """Of its pixels, ``[[ra, dec], …]``, ICRS degrees."""
    radius: Mapped[float]
    """Degrees from its centre to the farthest corner."""
    method: Mapped[str] = mapped_column(String(32))
    """How its images were put together: weighted, clipped, proper."""
    usable: Mapped[bool] = mapped_column(default=True)
    """False where somebody took it out of use."""
    measures: Mapped[dict[str, Any]]

    def is_later_than(self, mjd: float) -> bool:
        """Whether all of its images were taken after a time."""
        return self.mjd_start > mjd
