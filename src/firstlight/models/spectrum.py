"""Spectrum: light by wavelength."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from firstlight.models.base import Base, Changing, NullableJson

__all__ = ["Spectrum"]


class Spectrum(Changing, Base):
    """One spectrum of an Object.

    Attributes
    ----------
    wavelengths, fluxes, errors
        Little-endian float64, one after the other. Wavelengths in Ångström.
    units
        ``Jy``, ``AB`` or ``erg/s/cm/cm/AA``; None where they are not known.
    people
        Numbers of users under ``pis``, ``reducers``, ``observers``; names of others under
        ``external_pi``, ``external_reducer``, ``external_observer``.
    original_text
        The file it was read from, as it came.
    """

    __tablename__ = "spectra"
    __table_args__ = (
        Index("ix_spectra_object_id_observed_at", "object_id", "observed_at"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    object_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("objects.id"))
    instrument_id: Mapped[int] = mapped_column(ForeignKey("instruments.id"), index=True)
    observed_at: Mapped[datetime] = mapped_column(index=True)
    wavelengths: Mapped[bytes] = mapped_column(LargeBinary)
    fluxes: Mapped[bytes] = mapped_column(LargeBinary)
    errors: Mapped[bytes | None] = mapped_column(LargeBinary)
    units: Mapped[str | None] = mapped_column(String(32))
    type: Mapped[str] = mapped_column(String(32), default="source")
    label: Mapped[str | None] = mapped_column(String(256))
    origin: Mapped[str | None] = mapped_column(String(128))
    people: Mapped[dict[str, Any]] = mapped_column(default=dict)
    altdata: Mapped[dict[str, Any] | None] = mapped_column(NullableJson)
    original_text: Mapped[str | None] = mapped_column(Text)
    original_filename: Mapped[str | None] = mapped_column(String(256))
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    audience_id: Mapped[int] = mapped_column(ForeignKey("audiences.id"))
