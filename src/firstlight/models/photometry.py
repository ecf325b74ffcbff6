"""LightCurveSet and Photometry: the light curves of all stars of an observation."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from firstlight.models.base import Base
from firstlight.models.provenance import Product

__all__ = ["LightCurve", "LightCurveSet", "Photometry"]


class LightCurveSet(Product, Base):
    """One solution of the ensemble of stars over the exposures of one observation."""

    __tablename__ = "light_curve_sets"

    observation_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("observations.id"), index=True)
    section_id: Mapped[str] = mapped_column(String(32))
    frame: Mapped[str] = mapped_column(String(16))
    """``sky``, or ``pixels`` of the reference image where the field was not solved; ``none`` where
    there are no stars: ``summary`` says why under ``error``."""
    n_stars: Mapped[int]
    n_images: Mapped[int]
    summary: Mapped[dict[str, Any]]
    """Aperture chosen, terms removed, scatter of the best stars."""


class LightCurve(Base):
    """One star in one `LightCurveSet`, with its statistics."""

    __tablename__ = "light_curves"

    set_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("light_curve_sets.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    object_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("objects.id"), index=True)
    x: Mapped[float]
    """Mean position in the reference image, pixels."""
    y: Mapped[float]
    n_points: Mapped[int]
    mag: Mapped[float | None]
    scatter: Mapped[float | None]
    """Robust scatter of ``rel_flux`` about one."""
    expected_scatter: Mapped[float | None]
    chi2: Mapped[float | None]
    """Per degree of freedom."""
    is_candidate: Mapped[bool] = mapped_column(default=False)
    statistics: Mapped[dict[str, Any]]


class Photometry(Base):
    """One point of an Object's light curve.

    Fluxes are µJy (AB zero point 23.9); magnitudes are in the filter and system named, NaN-free:
    ``None`` where the flux is not positive or the image has no zero point. ``rel_flux`` is the
    flux relative to the star's own mean after the ensemble's solution.
    """

    __tablename__ = "photometry"
    __table_args__ = (Index("ix_photometry_object_mjd", "object_id", "mjd"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    object_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("objects.id"))
    image_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("images.id"), index=True)
    set_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("light_curve_sets.id"), index=True)
    provenance_id: Mapped[str] = mapped_column(ForeignKey("provenances.id"))
    mjd: Mapped[float]
    bjd_tdb: Mapped[float]
    filter: Mapped[str | None] = mapped_column(String(64))
    flux_ujy: Mapped[float | None]
    flux_err_ujy: Mapped[float | None]
    mag: Mapped[float | None]
    mag_err: Mapped[float | None]
    mag_system: Mapped[str | None] = mapped_column(String(16))
    rel_flux: Mapped[float | None]
    rel_flux_err: Mapped[float | None]
    x: Mapped[float]
    y: Mapped[float]
    airmass: Mapped[float | None]
    flags: Mapped[int]
