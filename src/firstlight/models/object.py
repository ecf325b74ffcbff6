"""Object: one thing in the sky, and the groups that keep it in their list."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Double, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from firstlight.models.base import Base, Changing, OnSky

__all__ = ["Object", "PhotometrySummary", "SavedObject", "coordinate_name"]


class Object(OnSky, Changing, Base):
    """One thing in the sky, real or bogus.

    Attributes
    ----------
    name
        By which people and programs call it; unique.
    aliases
        Other names.
    audience_id
        Who may see it: the readers of the sites that have observed it and the groups that
        have saved it.
    redshift_history
        ``{"set_at_utc", "set_by_user_id", "value", "uncertainty", "origin"}`` of each change.
    details
        Further columns of the SkyPortal contract that are kept but not searched.
    """

    __tablename__ = "objects"
    __table_args__ = (
        Index("ix_objects_created_at_id", "created_at", "id"),
        Index("ix_objects_audience_id_created_at", "audience_id", "created_at"),
        # Cones are cut, and who sees what is in them is told, by this alone.
        Index("ix_objects_hpx", "hpx", "audience_id", "id", "ra", "dec"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    hpx: Mapped[int | None] = mapped_column(BigInteger)
    name: Mapped[str] = mapped_column(String(128), unique=True)
    ra: Mapped[float] = mapped_column(Double, index=True)
    dec: Mapped[float] = mapped_column(Double, index=True)
    ra_err: Mapped[float | None] = mapped_column(Double)
    """Degrees."""
    dec_err: Mapped[float | None] = mapped_column(Double)
    origin: Mapped[str] = mapped_column(String(64))
    """What added it: ``light_curves``, a user, an alert."""
    aliases: Mapped[list[str]] = mapped_column(default=list)
    redshift: Mapped[float | None] = mapped_column(Double, index=True)
    redshift_error: Mapped[float | None] = mapped_column(Double)
    redshift_origin: Mapped[str | None] = mapped_column(String(128))
    redshift_history: Mapped[list[Any]] = mapped_column(default=list)
    t0: Mapped[float | None] = mapped_column(Double)
    """Reference epoch of a light curve, MJD."""
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    audience_id: Mapped[int] = mapped_column(ForeignKey("audiences.id"))


class SavedObject(Changing, Base):
    """An object in the list of a group, or asked to be.

    Members of the group see the object: its audience is widened when it is put here, and no
    audience of an object is ever narrowed.
    """

    __tablename__ = "saved_objects"
    __table_args__ = (
        UniqueConstraint("object_id", "group_id"),
        Index("ix_saved_objects_group_id_saved_at", "group_id", "active", "saved_at"),
        # Lists by the time of saving are walked and counted by these alone.
        Index(
            "ix_saved_objects_saved_at",
            *("saved_at", "object_id", "group_id", "active", "requested"),
        ),
        Index(
            "ix_saved_objects_object_id",
            *("object_id", "group_id", "active", "requested", "saved_at"),
        ),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    object_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("objects.id", ondelete="CASCADE"))
    group_id: Mapped[int] = mapped_column(ForeignKey("groups.id", ondelete="CASCADE"))
    active: Mapped[bool] = mapped_column(default=True)
    requested: Mapped[bool] = mapped_column(default=False)
    saved_at: Mapped[datetime]
    saved_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    unsaved_at: Mapped[datetime | None]
    unsaved_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))


_AND_WHO = ("object_id", "only_audience_id")
_LISTED_BY = {
    "n_points": _AND_WHO,
    "last_detected_mjd": _AND_WHO,
    "last_detected_mag": (*_AND_WHO, "peak_mag"),
    "peak_mag": _AND_WHO,
    "mean_mag": _AND_WHO,
}


class PhotometrySummary(Changing, Base):
    """What the list of objects shows of a light curve; made anew from its points.

    Magnitudes are AB. A detection has a signal of at least three sigma.

    Attributes
    ----------
    only_audience_id
        The audience of all its points; None where they have several.
    """

    __tablename__ = "photometry_summaries"
    __table_args__ = (
        # Lists by a number are walked by one of these, which tells at once who sees it all, and
        # by its peak whether a part of it can be as bright as is asked.
        *(
            Index(f"ix_photometry_summaries_{name}", name, *columns)
            for name, columns in _LISTED_BY.items()
        ),
        Index("ix_photometry_summaries_only_audience_id", "only_audience_id"),
    )

    object_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("objects.id", ondelete="CASCADE"), primary_key=True
    )
    n_points: Mapped[int]
    n_detections: Mapped[int]
    first_detected_mjd: Mapped[float | None]
    last_detected_mjd: Mapped[float | None]
    last_detected_mag: Mapped[float | None]
    last_detected_filter: Mapped[str | None] = mapped_column(String(64))
    peak_mag: Mapped[float | None]
    peak_mjd: Mapped[float | None]
    peak_filter: Mapped[str | None] = mapped_column(String(64))
    mean_mag: Mapped[float | None]
    only_audience_id: Mapped[int | None]
    filters: Mapped[dict[str, Any]]
    """Of each filter: counts, first, last, peak, mean, scatter and the deepest limit."""


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
