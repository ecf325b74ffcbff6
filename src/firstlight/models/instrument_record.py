"""Telescopes and instruments as the portal knows them: names and facts, without code."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Double, ForeignKey, String, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from firstlight.models.base import Base, Changing, NullableJson
from firstlight.models.database import bulk_insert

__all__ = ["InstrumentRecord", "Telescope", "instrument_number"]


class Telescope(Changing, Base):
    """A telescope. Longitude is positive to the east, degrees; elevation and diameter in metres."""

    __tablename__ = "telescopes"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012, SQLAlchemy reads this class attribute

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(128), unique=True)
    nickname: Mapped[str] = mapped_column(String(64))
    lat: Mapped[float | None] = mapped_column(Double)
    lon: Mapped[float | None] = mapped_column(Double)
    elevation: Mapped[float | None]
    diameter: Mapped[float | None]
    skycam_link: Mapped[str | None] = mapped_column(String(1000))
    weather_link: Mapped[str | None] = mapped_column(String(1000))
    robotic: Mapped[bool] = mapped_column(default=False)
    fixed_location: Mapped[bool] = mapped_column(default=True)


class InstrumentRecord(Changing, Base):
    """An instrument to which photometry and spectra belong.

    Attributes
    ----------
    name
        Unique. Of a camera that reduces here it is the name of its class (`Instrument`).
    type
        ``imager``, ``spectrograph`` or ``imaging spectrograph``.
    filters
        Names of its filters; an empty list allows any.
    details
        Further columns of the SkyPortal contract: sensitivity, configuration and the like.
    """

    __tablename__ = "instruments"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012, SQLAlchemy reads this class attribute

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(128), unique=True)
    type: Mapped[str] = mapped_column(String(32))
    telescope_id: Mapped[int | None] = mapped_column(ForeignKey("telescopes.id"), index=True)
    band: Mapped[str | None] = mapped_column(String(64))
    filters: Mapped[list[str]] = mapped_column(default=list)
    details: Mapped[dict[str, Any] | None] = mapped_column(NullableJson)


def instrument_number(session: Session, name: str) -> int:
    """The number of the instrument of this name, written where it is new. Does not commit."""
    found = session.scalar(select(InstrumentRecord.id).where(InstrumentRecord.name == name))
    if found is None:
        row = {"name": name, "type": "imager", "filters": []}
        bulk_insert(session, InstrumentRecord, [row])
        found = session.scalars(
            select(InstrumentRecord.id).where(InstrumentRecord.name == name)
        ).one()
    return found
