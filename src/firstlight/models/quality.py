"""QualityReport, BadnessMark and FakeSet: how good an image is, and how it was found out."""

from __future__ import annotations

import uuid
from enum import IntFlag
from typing import Any

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from firstlight.models.base import Base, Changing
from firstlight.models.provenance import Product

__all__ = ["Badness", "BadnessMark", "FakeSet", "QualityReport"]


class Badness(IntFlag):
    """What is wrong with an exposure or an image; products have that of all they are made of."""

    POINTING = 1
    """Not where it should be."""
    TRACKING = 2
    """Stars are trails."""
    SEEING = 4
    CLOUDS = 8
    """Zero point far from that of the instrument."""
    BRIGHT_SKY = 16
    NOISE = 32
    """More noise than photons and electronics explain."""
    FEW_STARS = 64
    ASTROMETRY = 128
    """Not solved, or badly."""
    PHOTOMETRY = 256
    """No zero point, or a bad one."""
    SUBTRACTION = 512
    """The difference is not clean."""
    SATURATION = 1024
    """Too much of it is saturated."""
    SHUTTER = 2048
    HARDWARE = 4096
    OTHER = 8192


class QualityReport(Changing, Base):
    """What one image is worth; made anew from its products at any time."""

    __tablename__ = "quality_reports"
    __table_args__ = (Index("ix_quality_reports_mjd_image_id", "mjd", "image_id"),)

    image_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("images.id"), primary_key=True)
    exposure_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("exposures.id"), index=True)
    audience_id: Mapped[int] = mapped_column(ForeignKey("audiences.id"), index=True)
    mjd: Mapped[float]
    seeing: Mapped[float | None]
    """FWHM, arcseconds."""
    limiting_magnitude: Mapped[float | None]
    sky: Mapped[float | None]
    """Electrons per pixel."""
    noise_ratio: Mapped[float | None]
    """Measured noise of the sky over that expected."""
    astrometric_rms: Mapped[float | None]
    """Arcseconds."""
    zero_point: Mapped[float | None]
    score_width: Mapped[float | None]
    """Of the difference's score where nothing changed: 1 where its errors are right."""
    n_sources: Mapped[int | None]
    n_candidates: Mapped[int | None]
    n_kept: Mapped[int | None]
    badness: Mapped[int] = mapped_column(default=0)
    """Bits of `Badness` that these numbers tell."""
    details: Mapped[dict[str, Any]]


class BadnessMark(Changing, Base):
    """What a person says is wrong with an exposure, or one image of it."""

    __tablename__ = "badness_marks"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012, SQLAlchemy reads this class attribute

    id: Mapped[int] = mapped_column(primary_key=True)
    exposure_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("exposures.id"), index=True)
    image_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("images.id"), index=True)
    """None for the whole exposure."""
    badness: Mapped[int]
    note: Mapped[str | None] = mapped_column(String(2000))
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))


class FakeSet(Product, Base):
    """Artificial transients in one image, and how many of them were found again."""

    __tablename__ = "fake_sets"

    image_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("images.id"), index=True)
    reference_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("sky_references.id"), index=True)
    n_fakes: Mapped[int]
    n_found: Mapped[int]
    limiting_magnitude: Mapped[float | None]
    """AB, at which half of them are found."""
    flux_bias: Mapped[float | None]
    """Mean of measured over injected flux, less one, of those found."""
    summary: Mapped[dict[str, Any]]
    """Completeness and bias by magnitude."""
    filename: Mapped[str] = mapped_column(String(512), unique=True)
    """Parquet, one row a fake."""
    sha256: Mapped[str | None] = mapped_column(String(64))
