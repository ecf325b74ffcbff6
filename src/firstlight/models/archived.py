"""What the archive knows of an exposure from its name, its files and its whole header."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import BigInteger, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from firstlight.models.base import UtcDateTime, utc_now

__all__ = ["COLLECTIONS", "Archived", "archive_indexes"]

COLLECTIONS = ("data", "allsky")
"""Regular exposures and those of all-sky cameras; info images have tables of their own."""

# Columns by which exposures are searched, each newest first: one index, one sorted walk.
_SEARCHED = (
    "site",
    "camera",
    "instrument",
    "filter",
    "user_id",
    "username",
    "night",
    "kind",
    "data_type",
    "target",
    "observation_id",
    "smart_stack",
    "reduction_state",
)


class Archived:
    """Columns of an exposure that serve the archive.

    Attributes
    ----------
    collection
        One of `COLLECTIONS`.
    base_filename
        What all files of a Photon Ranch exposure have in common; None for a plain exposure.
    data_type
        Letters before the reduction level in the file's name: EX, EP, EF, ...
    camera
        The instrument as the file's name or header calls it; `instrument` is our class for it.
    night
        Local date of the noon before; the day in the file's name where there is one.
    sort_mjd
        MJD (UTC) of the exposure's start; the noon that begins its night where the header is
        not known yet. Lists of exposures are in the order of this column.
    altitude, azimuth
        Degrees.
    smart_stack, stack_number, stack_length
        Group of exposures that are summed as they come, place in it from 0, planned length.
    expires_at
        When the exposure and all its files are removed; None for never.
    reduction_state
        ``none``, ``done``, ``partial`` (some sections or steps failed) or ``failed``.
    """

    collection: Mapped[str] = mapped_column(String(16), default="data")
    base_filename: Mapped[str | None] = mapped_column(String(200))
    data_type: Mapped[str | None] = mapped_column(String(32))
    camera: Mapped[str | None] = mapped_column(String(128))
    night: Mapped[date | None]
    sort_mjd: Mapped[float] = mapped_column(default=0.0)
    altitude: Mapped[float | None]
    azimuth: Mapped[float | None]
    user_id: Mapped[str | None] = mapped_column(String(128))
    username: Mapped[str | None] = mapped_column(String(128))
    smart_stack: Mapped[str | None] = mapped_column(String(128))
    stack_number: Mapped[int | None]
    stack_length: Mapped[int | None]
    expires_at: Mapped[datetime | None] = mapped_column(index=True)
    reduction_state: Mapped[str] = mapped_column(String(16), default="none")
    image_number: Mapped[int | None] = mapped_column(BigInteger, index=True)
    """A positive integer that names the exposure for clients that need one; made of the id."""
    modified_at: Mapped[datetime] = mapped_column(
        UtcDateTime(), default=utc_now, onupdate=utc_now, index=True
    )


def archive_indexes() -> tuple[Index, ...]:
    """Return one index for each searched column, in the order of the lists."""
    return (
        Index("uq_exposures_base_filename", "base_filename", "collection", unique=True),
        Index("ix_exposures_sort_mjd_id", "sort_mjd", "id"),
        *(Index(f"ix_exposures_{name}_sort_mjd", name, "sort_mjd") for name in _SEARCHED),
    )
