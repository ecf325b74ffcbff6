"""Cutouts, MeasurementSet and Measurement: what changed in an image, and the numbers on it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ColumnElement,
    Double,
    ForeignKey,
    Index,
    String,
    UniqueConstraint,
    exists,
)
from sqlalchemy.orm import Mapped, mapped_column, reconstructor, relationship

from firstlight.models.base import Base, BigId, OnSky, Timestamped
from firstlight.models.data_root import data_path
from firstlight.models.provenance import Product
from firstlight.models.reference import Reference

if TYPE_CHECKING:
    from firstlight.formats.cutout_file import CutoutFile, CutoutRows

__all__ = ["Cutouts", "Measurement", "MeasurementSet", "looks_back"]


class Cutouts(Product, Base):
    """Stamps of new image, reference and difference at each candidate of one difference.

    The stamps are one columnar file; `file` reads single rows of it.
    """

    __tablename__ = "cutouts"

    difference_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("images.id"), index=True)
    n_candidates: Mapped[int]
    size: Mapped[int]
    """Side of a stamp, pixels."""
    threshold: Mapped[float]
    """Of the score, in sigma."""
    filename: Mapped[str] = mapped_column(String(512), unique=True)
    sha256: Mapped[str | None] = mapped_column(String(64))

    def __init__(self, **columns: object) -> None:
        super().__init__(**columns)
        self._rows: CutoutRows | None = None

    @reconstructor
    def _forget_rows(self) -> None:
        self._rows = None

    @property
    def file(self) -> CutoutFile:
        """The file, for single rows of it."""
        from firstlight.formats.cutout_file import CutoutFile  # noqa: PLC0415, slow to load

        return CutoutFile(data_path(self.filename))

    @property
    def rows(self) -> CutoutRows:
        """Everything, one row a candidate."""
        if self._rows is None:
            self._rows = self.file.read()
        return self._rows

    @rows.setter
    def rows(self, rows: CutoutRows) -> None:
        self._rows = rows
        self.n_candidates, self.size = len(rows), rows.size


class MeasurementSet(Product, Base):
    """All measurements on the cutouts of one difference."""

    __tablename__ = "measurement_sets"

    cutouts_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("cutouts.id"), index=True)
    image_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("images.id"), index=True)
    """The new image."""
    difference_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("images.id"), index=True)
    reference_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("sky_references.id"), index=True)
    n_candidates: Mapped[int]
    n_kept: Mapped[int]
    model: Mapped[str] = mapped_column(String(128))
    """Name and version of what judged real or bogus."""
    measurements: Mapped[list[Measurement]] = relationship(
        order_by=lambda: Measurement.number, back_populates="set"
    )


def looks_back() -> ColumnElement[bool]:
    """Whether a measurement's image was compared with a reference all of which is later.

    What such a difference shows as new has gone since, and what is missing came afterwards. For a
    query of `Measurement` and `MeasurementSet`.
    """
    return exists().where(
        Reference.id == MeasurementSet.reference_id, Reference.mjd_start > Measurement.mjd
    )


class Measurement(OnSky, Timestamped, Base):
    """One candidate of one difference: place, flux, shape, and whether it is kept.

    Attributes
    ----------
    number
        Row of the cutouts.
    object_id
        What it was recognised as; None for those that are not kept.
    score
        Signal-to-noise ratio; negative where light is missing.
    flux_ujy, flux_err_ujy
        µJy, AB; of the change, negative where light is missing. None without a zero point.
    flux, flux_err
        The same in electrons of the new image.
    mag, mag_err
        AB, of the size of the change.
    position_err
        One sigma along one axis, arcseconds.
    real
        Probability that it is a new source.
    is_kept
        Whether nothing speaks against it.
    why_not
        Everything that does, in words.
    known_as
        Name in a catalogue of things that move or vary, where one is configured.
    measures
        All other numbers; see `algorithms.candidates.measures.Measures`.
    """

    __tablename__ = "measurements"
    __table_args__ = (
        UniqueConstraint("set_id", "number"),
        Index("ix_measurements_object_id_mjd", "object_id", "mjd"),
        Index("ix_measurements_is_kept_mjd", "is_kept", "mjd"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    set_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("measurement_sets.id"))
    number: Mapped[int]
    object_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("objects.id"))
    audience_id: Mapped[int] = mapped_column(ForeignKey("audiences.id"), index=True)
    mjd: Mapped[float] = mapped_column(Double)
    filter: Mapped[str | None] = mapped_column(String(64))
    x: Mapped[float]
    y: Mapped[float]
    position_err: Mapped[float | None]
    score: Mapped[float]
    flux: Mapped[float]
    flux_err: Mapped[float]
    flux_ujy: Mapped[float | None]
    flux_err_ujy: Mapped[float | None]
    mag: Mapped[float | None]
    mag_err: Mapped[float | None]
    real: Mapped[float]
    is_kept: Mapped[bool]
    why_not: Mapped[list[str]]
    known_as: Mapped[str | None] = mapped_column(String(128))
    flags: Mapped[int]
    measures: Mapped[dict[str, Any]]
    set: Mapped[MeasurementSet] = relationship(back_populates="measurements")
