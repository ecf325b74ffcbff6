"""What is known near new measurements: Objects, and the measurements that made them."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session

from firstlight.algorithms.sky.sky_index import (
    angular_separation,
    cone_ranges,
    sky_position,
    unit_vectors,
)
from firstlight.models.base import OnSky
from firstlight.models.image import Image
from firstlight.models.measurement import Measurement, MeasurementSet
from firstlight.models.object import Object
from firstlight.models.step_run import is_current

__all__ = [
    "ORIGIN",
    "STEP",
    "ObjectPlace",
    "OldSighting",
    "current_measurement_sets",
    "joined_ranges",
    "objects_near",
    "old_sightings",
    "some_of",
    "within_ranges",
]

ORIGIN = "transients"
"""Of Objects that this room has founded: these alone it moves."""
STEP = "measure_changes"
"""Whose runs name the measurement sets that count."""

Floats = NDArray[np.float64]
T = TypeVar("T")
# So many places are looked for one by one; around more, their whole field is read.
_FEW = 48
_RANGES = 96
_BATCH = 5_000


@dataclass(frozen=True)
class ObjectPlace:
    """An Object, and whether its place is that of its measurements."""

    ident: uuid.UUID
    ra: float
    dec: float
    error: float
    """Degrees along one axis; 0 where it is not told."""
    is_ours: bool
    age: tuple[str, str]
    """Sorts the oldest first."""


@dataclass(frozen=True)
class OldSighting:
    """A measurement that counts and has its Object."""

    row: int
    object_id: uuid.UUID
    set_id: uuid.UUID
    mjd: float
    ra: float
    dec: float
    error: float | None
    """Arcseconds."""


def some_of(items: Iterable[T], size: int = _BATCH) -> Iterator[list[T]]:
    """Portions that a statement can hold."""
    wanted = list(items)
    for start in range(0, len(wanted), size):
        yield wanted[start : start + size]


def objects_near(session: Session, ra: Floats, dec: Floats, radius: float) -> list[ObjectPlace]:
    """Objects that are within a radius (degrees) of some places of one field, and others there."""
    columns = (
        Object.id, Object.ra, Object.dec, Object.dec_err, Object.origin, Object.created_at
    )  # fmt: skip
    found: dict[uuid.UUID, ObjectPlace] = {}
    for within in within_ranges(Object, _ranges(ra, dec, radius)):
        for row in session.execute(select(*columns).where(within)):
            found[row.id] = ObjectPlace(
                ident=row.id,
                ra=row.ra,
                dec=row.dec,
                error=row.dec_err or 0.0,
                is_ours=row.origin == ORIGIN,
                age=(row.created_at.isoformat(), str(row.id)),
            )
    return sorted(found.values(), key=lambda each: each.age)


def _ranges(ra: Floats, dec: Floats, radius: float) -> list[tuple[int, int]]:
    if len(ra) > _FEW:
        mean = unit_vectors(ra, dec).mean(axis=0)
        centre_ra, centre_dec = sky_position(mean)
        centre = float(centre_ra), float(centre_dec)
        reach = float(np.max(angular_separation(*centre, ra, dec))) + radius
        return cone_ranges(*centre, reach)
    return joined_ranges(
        each
        for one, other in zip(ra.tolist(), dec.tolist(), strict=True)
        for each in cone_ranges(one, other, radius, max_ranges=4)
    )


def joined_ranges(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges of the sky's index that may overlap, as ascending ones that do not."""
    joined: list[tuple[int, int]] = []
    for first, stop in sorted(ranges):
        if joined and first <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(stop, joined[-1][1])
        else:
            joined.append((first, stop))
    return joined


def within_ranges(
    table: type[OnSky], ranges: Iterable[tuple[int, int]]
) -> Iterator[ColumnElement[bool]]:
    """Conditions that hold together for every row in some ranges, each as a statement can hold."""
    for some in some_of(ranges, _RANGES):
        yield or_(*(and_(table.hpx >= first, table.hpx < stop) for first, stop in some))


def old_sightings(
    session: Session, objects: Collection[uuid.UUID], instead: Mapping[uuid.UUID, uuid.UUID]
) -> list[OldSighting]:
    """Measurements of Objects that count: of the sets that the runs of their sections name.

    Parameters
    ----------
    instead
        Sets that count from now on, by those that the runs still name.
    """
    rows: list[OldSighting] = []
    columns = (
        Measurement.id, Measurement.object_id, Measurement.set_id, Measurement.mjd,
        Measurement.ra, Measurement.dec, Measurement.position_err,
    )  # fmt: skip
    for some in some_of(sorted(objects)):
        query = select(*columns).where(Measurement.object_id.in_(some), Measurement.is_kept)
        rows += [
            OldSighting(n, ident, set_id, mjd, ra, dec, error)
            for n, ident, set_id, mjd, ra, dec, error in session.execute(query)
            if ident is not None and ra is not None and dec is not None
        ]
    current = current_measurement_sets(session, {row.set_id for row in rows})
    current = current - set(instead) | set(instead.values())
    return [row for row in rows if row.set_id in current]


def current_measurement_sets(session: Session, sets: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """Those of some measurement sets that are the present ones of their sections."""
    found: set[uuid.UUID] = set()
    for some in some_of(sorted(sets)):
        query = (
            select(MeasurementSet.id)
            .join(Image, Image.id == MeasurementSet.image_id)
            .where(MeasurementSet.id.in_(some), is_current(MeasurementSet.id))
        )
        found.update(session.scalars(query))
    return found
