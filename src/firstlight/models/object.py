"""Object: one thing in the sky."""

from __future__ import annotations

import uuid

from sqlalchemy import Double, String
from sqlalchemy.orm import Mapped, mapped_column

from firstlight.models.base import Base, OnSky, Timestamped

__all__ = ["Object", "coordinate_name"]


class Object(OnSky, Timestamped, Base):
    """One thing in the sky, real or bogus."""

    __tablename__ = "objects"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(128), unique=True)
    ra: Mapped[float] = mapped_column(Double)
    dec: Mapped[float] = mapped_column(Double)
    origin: Mapped[str] = mapped_column(String(64))
    """What added it: ``light_curves``, a user, an alert."""


def coordinate_name(ra: float, dec: float, prefix: str = "FL") -> str:
    """The name by coordinates (IAU style, truncated): ``FL J020410.28+464116.2``.

    Parameters
    ----------
    ra, dec
        ICRS degrees.
    """
    # Integers of the last digit shown, so that 59.999 never becomes 60.0.
    hundredths = int((ra % 360.0) / 15.0 * 360_000 + 1e-6)
    tenths = int(abs(dec) * 36_000 + 1e-6)
    hours, rest = divmod(hundredths, 360_000)
    minutes, rest = divmod(rest, 6_000)
    degrees, left = divmod(tenths, 36_000)
    arcminutes, left = divmod(left, 600)
    sign = "-" if dec < 0 else "+"
    return (
        f"{prefix} J{hours:02d}{minutes:02d}{rest / 100:05.2f}"
        f"{sign}{degrees:02d}{arcminutes:02d}{left / 10:04.1f}"
    )
