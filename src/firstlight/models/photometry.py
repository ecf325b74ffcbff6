"""LightCurveSet and Photometry: the light curves of all stars of an observation."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import Double, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from firstlight.models.base import Base, BigId, Changing, NullableJson
from firstlight.models.provenance import Product

__all__ = ["FORCED", "LightCurve", "LightCurveSet", "Photometry", "PhotometryValidation"]

FORCED = "forced"
"""Origin of points that were measured because of an Object's place."""


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


class Photometry(Changing, Base):
    """One point of an Object's light curve, from any origin.

    Fluxes are µJy (AB zero point 23.9); magnitudes are in the filter and system named, NaN-free:
    ``None`` where the flux is not positive or the image has no zero point. ``rel_flux`` is the
    flux relative to the star's own mean after the ensemble's solution.

    Attributes
    ----------
    key
        Made of the facts that make the point unique: the image and light-curve set of one
        that was measured here; else object, instrument, origin, time, filter and flux.
    image_id, set_id, provenance_id
        Of points that were measured here.
    upload_id
        Of the request that brought it, by which all its points can be removed.
    flux_ujy
        None for an upper limit that tells no flux; ``limiting_mag`` and ``flux_err_ujy`` then
        tell its depth.
    limiting_mag
        AB, at ``limit_sigma`` times the error.
    original
        The row as it was sent.
    """

    __tablename__ = "photometry"
    __table_args__ = (
        Index("ix_photometry_object_mjd", "object_id", "mjd"),
        Index("ix_photometry_instrument_id_mjd", "instrument_id", "mjd"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    key: Mapped[uuid.UUID] = mapped_column(unique=True)
    object_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("objects.id"))
    instrument_id: Mapped[int | None] = mapped_column(ForeignKey("instruments.id"))
    image_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("images.id"), index=True)
    set_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("light_curve_sets.id"), index=True)
    # No provenance and no audience is ever removed, and to look for that of each point would take a
    # server a fifth of the time in which it writes points.
    provenance_id: Mapped[str | None] = mapped_column(String(26))
    image_analysis_id: Mapped[int | None] = mapped_column(
        ForeignKey("image_analyses.id"), index=True
    )
    upload_id: Mapped[uuid.UUID | None] = mapped_column(index=True)
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    audience_id: Mapped[int]
    origin: Mapped[str] = mapped_column(String(128), default="")
    mjd: Mapped[float] = mapped_column(Double)
    bjd_tdb: Mapped[float | None] = mapped_column(Double)
    filter: Mapped[str | None] = mapped_column(String(64))
    flux_ujy: Mapped[float | None]
    flux_err_ujy: Mapped[float | None]
    mag: Mapped[float | None]
    mag_err: Mapped[float | None]
    mag_system: Mapped[str | None] = mapped_column(String(16))
    limiting_mag: Mapped[float | None]
    limit_sigma: Mapped[float | None]
    reference_flux_ujy: Mapped[float | None]
    """Flux of the reference image, where ``flux_ujy`` is a difference."""
    reference_flux_err_ujy: Mapped[float | None]
    rel_flux: Mapped[float | None]
    rel_flux_err: Mapped[float | None]
    ra: Mapped[float | None] = mapped_column(Double)
    dec: Mapped[float | None] = mapped_column(Double)
    ra_err: Mapped[float | None]
    dec_err: Mapped[float | None]
    x: Mapped[float | None]
    y: Mapped[float | None]
    airmass: Mapped[float | None]
    flags: Mapped[int] = mapped_column(default=0)
    altdata: Mapped[dict[str, Any] | None] = mapped_column(NullableJson)
    original: Mapped[dict[str, Any] | None] = mapped_column(NullableJson)


class PhotometryValidation(Changing, Base):
    """What somebody who looked at a point thinks of it."""

    __tablename__ = "photometry_validations"

    photometry_id: Mapped[int] = mapped_column(
        ForeignKey("photometry.id", ondelete="CASCADE"), primary_key=True
    )
    validated: Mapped[bool | None]
    """None where the question is open."""
    explanation: Mapped[str | None] = mapped_column(String(1000))
    notes: Mapped[str | None] = mapped_column(String(2000))
    validator_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
