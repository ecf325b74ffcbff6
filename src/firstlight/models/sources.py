"""SourceList: the stars and galaxies found in one Image."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, reconstructor

from firstlight.models.base import Base
from firstlight.models.data_root import data_path
from firstlight.models.provenance import Product

if TYPE_CHECKING:
    from firstlight.formats.tables import TableData

__all__ = ["SourceList"]


class SourceList(Product, Base):
    """Sources of one image; the table itself is a Parquet file, loaded when first used.

    Columns of `table`, among others: ``x, y, x_err, y_err`` (windowed positions, pixels),
    ``flux, flux_err`` of shape ``(n, k)`` (electrons in the k apertures of `aperture_radii`),
    ``fwhm, elongation, snr, flags``.
    """

    __tablename__ = "source_lists"

    image_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("images.id"), index=True)
    n_sources: Mapped[int]
    fwhm: Mapped[float | None]
    """Of point sources, pixels; ``None`` where too few were found."""
    elongation: Mapped[float | None]
    background: Mapped[float]
    """Median sky, electrons per pixel."""
    noise: Mapped[float]
    """Robust rms of the sky, electrons per pixel."""
    aperture_radii: Mapped[list[float]]
    """Pixels."""
    aperture_corrections: Mapped[list[float]]
    """Magnitudes to add for each aperture to reach the total flux."""
    limiting_flux: Mapped[float | None]
    """Five sigma in the calibration aperture, electrons."""
    measures: Mapped[dict[str, Any]]
    filename: Mapped[str] = mapped_column(String(512), unique=True)
    sha256: Mapped[str | None] = mapped_column(String(64))

    def __init__(self, **columns: Any) -> None:
        super().__init__(**columns)
        self._table: TableData | None = None

    @reconstructor
    def _forget_table(self) -> None:
        self._table = None

    @property
    def table(self) -> TableData:
        """One row a source, brightest first."""
        if self._table is None:
            from firstlight.formats.tables import read_table  # noqa: PLC0415, slow to load

            self._table = read_table(data_path(self.filename))
        return self._table

    @table.setter
    def table(self, table: TableData) -> None:
        self._table = table
        self.n_sources = table.rows

    def free(self) -> None:
        """Let go of the table; it is read again when needed."""
        if self.sha256 is not None:
            self._table = None
