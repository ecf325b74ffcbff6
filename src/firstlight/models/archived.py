"""What the archive knows of an exposure from its name, its files and its whole header."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import BigInteger, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from firstlight.models.base import UtcDateTime, utc_now

__all__ = ["COLLECTIONS", "SEARCH_COLUMNS", "Archived", "archive_indexes"]

COLLECTIONS = ("data", "allsky")
"""Regular exposures and those of all-sky cameras; info images have tables of their own."""

SEARCH_COLUMNS = (
    "filter",
    "camera",
    "instrument",
    "user_id",
    "username",
    "kind",
    "data_type",
    "collection",
    "reduction_state",
    "target",
    "night",
    "exp_time",
)
"""Columns with an index that answers a search by them, in one site or all, newest first."""


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
    label
        What people call the exposure: `Exposure.name`, stored for searches.
    smart_stack, stack_number, stack_length
        Group of exposures that are summed as they come, place in it from 0, planned length.
    expires_at
        When the exposure and all its files are removed; None for never.
    reduction_state
        ``none``, ``done``, ``partial`` (some sections or steps failed) or ``failed``.
    """

    collection: Mapped[str] = mapped_column(String(16), default="data")
    base_filename: Mapped[str | None] = mapped_column(String(200))
    label: Mapped[str] = mapped_column(String(900), default="")
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
    modified_at: Mapped[datetime] = mapped_column(UtcDateTime(), default=utc_now, onupdate=utc_now)


def archive_indexes() -> tuple[Index, ...]:
    """Return the indexes of searches: what is sought, then the order of the lists.

    Searches name them, since no planner knows how many rows a value has: see
    `models.exposure_search`.
    """
    order = ("sort_mjd", "id")
    return (
        Index("uq_exposures_base_filename", "base_filename", "collection", unique=True),
        Index("ix_exposures_search_date", *order),
        Index("ix_exposures_search_site", "site", *order),
        *(Index(f"ix_exposures_search_{name}", name, "site", *order) for name in SEARCH_COLUMNS),
        Index("ix_exposures_search_observation_id", "observation_id", *order),
        Index("ix_exposures_search_hpx", "hpx", *order),
        Index(
            "ix_exposures_search_label",
            "label",
            *order,
            postgresql_ops={"label": "text_pattern_ops"},
        ),
        Index("ix_exposures_search_modified", "modified_at", *order),
        Index("ix_exposures_search_smart_stack", "smart_stack", "stack_number"),
    )
