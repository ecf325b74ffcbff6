"""ZeroPoint: how bright an image is."""

from __future__ import annotations

import uuid

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from firstlight.models.base import Base
from firstlight.models.provenance import Product

__all__ = ["ZeroPoint"]


class ZeroPoint(Product, Base):
    """The photometric solution: ``m = -2.5 log10(electrons in the whole PSF) + zero_point``.

    With a colour term, ``m`` gains ``colour_term * (colour - reference_colour)``. Magnitudes
    are in `band` and `system` of the reference catalogue; ``ab_offset`` turns them into AB.
    """

    __tablename__ = "zero_points"

    sources_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("source_lists.id"), index=True)
    wcs_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("world_coordinates.id"), index=True)
    catalog: Mapped[str] = mapped_column(String(256))
    band: Mapped[str] = mapped_column(String(32))
    system: Mapped[str] = mapped_column(String(16))
    ab_offset: Mapped[float]
    """AB magnitude minus magnitude in `system`."""
    zero_point: Mapped[float]
    zero_point_err: Mapped[float]
    """Standard error, magnitudes."""
    scatter: Mapped[float]
    """Robust scatter of the stars about the fit, magnitudes."""
    n_stars: Mapped[int]
    n_rejected: Mapped[int]
    aperture: Mapped[int]
    """Index into ``SourceList.aperture_radii``."""
    aperture_correction: Mapped[float]
    colour_name: Mapped[str | None] = mapped_column(String(32))
    colour_term: Mapped[float | None]
    colour_term_err: Mapped[float | None]
    reference_colour: Mapped[float | None]
    limiting_magnitude: Mapped[float | None]
    """Five sigma, point source."""
