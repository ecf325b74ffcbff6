"""The declarative base, column types and mixins that every table shares."""

from __future__ import annotations

import math
import uuid
from datetime import UTC, datetime
from typing import Any, SupportsFloat

from sqlalchemy import JSON, BigInteger, DateTime, Integer, MetaData, TypeDecorator, Uuid
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = [
    "Base",
    "BigId",
    "Changing",
    "NullableJson",
    "Timestamped",
    "UtcDateTime",
    "finite_or_none",
    "utc_now",
]

BigId = BigInteger().with_variant(Integer, "sqlite")
"""Type of a counting primary key; SQLite counts in ``INTEGER`` only."""

NullableJson = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
"""JSON in a column that may be null; otherwise ``None`` would be stored as the JSON ``null``."""

NAMING = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


def utc_now() -> datetime:
    """Now, aware, in UTC."""
    return datetime.now(UTC)


def finite_or_none(value: SupportsFloat) -> float | None:
    """A number for a column that may be null: neither SQL nor JSON has NaN and infinity."""
    number = float(value)
    return number if math.isfinite(number) else None


class UtcDateTime(TypeDecorator[datetime]):
    """Aware datetimes in UTC on every database; naive ones are refused.

    SQLite has no time zones, so its values are stored as UTC and come back aware.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002, the signature is SQLAlchemy's
        """To the database."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a datetime without a time zone cannot be stored")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002, the signature is SQLAlchemy's
        """From the database."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Every table of firstlight."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012, SQLAlchemy reads this class attribute
        dict[str, Any]: JSON().with_variant(JSONB(), "postgresql"),
        list[Any]: JSON().with_variant(JSONB(), "postgresql"),
        list[str]: JSON().with_variant(JSONB(), "postgresql"),
        list[float]: JSON().with_variant(JSONB(), "postgresql"),
        datetime: UtcDateTime(),
        uuid.UUID: Uuid(),
    }


class Timestamped:
    """When the row was written. The only columns that differ between two identical runs."""

    created_at: Mapped[datetime] = mapped_column(UtcDateTime(), default=utc_now)


class Changing(Timestamped):
    """When the row was written, and when it was last changed."""

    modified_at: Mapped[datetime] = mapped_column(UtcDateTime(), default=utc_now, onupdate=utc_now)


class OnSky:
    """A position, and its HEALPix index (nested, order 29) for cone searches.

    `hpx` is set from `ra` and `dec` by ``algorithms.sky_index.healpix_index``.
    """

    ra: Mapped[float | None]
    dec: Mapped[float | None]
    hpx: Mapped[int | None] = mapped_column(BigInteger, index=True)
