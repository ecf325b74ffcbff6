"""The table of `SensorSection`: how the properties of a camera's sections changed with time."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, Integer, String, Table, Uuid

from firstlight.instruments.sections import SensorSection
from firstlight.models.base import Base, UtcDateTime

__all__ = ["SENSOR_SECTIONS", "SensorSection"]

SENSOR_SECTIONS = Table(
    "sensor_sections",
    Base.metadata,
    Column("id", Uuid(), primary_key=True),
    Column("instrument", String(64), nullable=False, index=True),
    Column("identifier", String(32), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("validity_start", UtcDateTime()),
    Column("validity_end", UtcDateTime()),
    Column("size_x", Integer),
    Column("size_y", Integer),
    Column("offset_x", Float),
    Column("offset_y", Float),
    Column("filter_array_index", Integer),
    Column("pixel_scale", Float),
    Column("gain", Float),
    Column("read_noise", Float),
    Column("dark_current", Float),
    Column("saturation_limit", Float),
    Column("non_linearity_limit", Float),
    Column("defective", Boolean),
)

# The class lives with the instruments, which know nothing of tables.
Base.registry.map_imperatively(SensorSection, SENSOR_SECTIONS)
