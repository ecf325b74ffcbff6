"""WorldCoordinates and Registration: where an image is on the sky, or on another image."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from firstlight.algorithms.sky.projection import Projection
from firstlight.models.base import Base, OnSky
from firstlight.models.provenance import Product

__all__ = ["Registration", "WorldCoordinates"]


class WorldCoordinates(OnSky, Product, Base):
    """The astrometric solution of one source list.

    `cards` are FITS header cards (TAN or TAN-SIP); ``ra, dec`` the centre of the image.
    """

    __tablename__ = "world_coordinates"

    sources_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("source_lists.id"), index=True)
    cards: Mapped[dict[str, Any]]
    catalog: Mapped[str] = mapped_column(String(256))
    """Name and release of the reference catalogue."""
    method: Mapped[str] = mapped_column(String(32))
    """How it was found: hinted, blind, solve-field."""
    pixel_scale: Mapped[float]
    """At the centre, arcseconds per pixel."""
    rms_arcsec: Mapped[float]
    rms_pixels: Mapped[float]
    n_matched: Mapped[int]
    log_odds: Mapped[float]
    """Natural logarithm of the odds that the match is not by chance."""
    radius: Mapped[float] = mapped_column(index=True)
    """Degrees from the centre to the farthest corner."""

    @property
    def projection(self) -> Projection:
        """Pixels to sky and back."""
        return Projection.from_header(self.cards)


class Registration(Product, Base):
    """How the pixels of one image lie on those of another of the same observation.

    ``[x_ref, y_ref] = matrix @ [x, y, 1]`` with `matrix` of shape ``(2, 3)``.
    """

    __tablename__ = "registrations"

    sources_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("source_lists.id"), index=True)
    reference_sources_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("source_lists.id"), index=True
    )
    matrix: Mapped[list[Any]]
    rms_pixels: Mapped[float]
    n_matched: Mapped[int]
    log_odds: Mapped[float]
