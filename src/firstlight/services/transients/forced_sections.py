"""Which sections have a difference now, what they were measured from, and what lies in them."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.orm import Session, aliased

from firstlight.algorithms.sky.sky_index import (
    angular_separation,
    cone_ranges,
    sky_position,
    unit_vectors,
)
from firstlight.models.astrometry import WorldCoordinates
from firstlight.models.exposure import Exposure
from firstlight.models.forced_run import FollowedObject, ForcedRun
from firstlight.models.image import Image
from firstlight.models.sky_search import in_ranges
from firstlight.models.sources import SourceList
from firstlight.models.step_run import StepRun, StepState
from firstlight.services.transients.sky_rows import joined_ranges, some_of, within_ranges

__all__ = [
    "Followed",
    "FollowedAround",
    "Present",
    "SectionKey",
    "followed_of",
    "lock_name",
    "outdated_sections",
    "present_sections",
    "sections_around",
]

SectionKey = tuple[uuid.UUID, str]
"""An exposure and one of its sections."""


@dataclass(frozen=True)
class Present:
    """The products of a section that forced photometry takes now."""

    exposure_id: uuid.UUID
    section_id: str
    image_id: uuid.UUID
    difference_id: uuid.UUID
    wcs_id: uuid.UUID
    zero_point_id: uuid.UUID | None

    @property
    def key(self) -> SectionKey:
        """What names the section."""
        return self.exposure_id, self.section_id


@dataclass(frozen=True)
class Followed:
    """Objects that are followed; each ``(n,)``, sorted by id."""

    ids: list[uuid.UUID]
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]

    def is_same(self, other: Followed) -> bool:
        """Whether they are the same Objects at the same places."""
        return (
            self.ids == other.ids
            and np.array_equal(self.ra, other.ra)
            and np.array_equal(self.dec, other.dec)
        )

    def some(self, wanted: Sequence[int] | NDArray[np.intp]) -> Followed:
        """Those of some numbers."""
        there = np.asarray(wanted, dtype=np.intp)
        return Followed([self.ids[n] for n in there.tolist()], self.ra[there], self.dec[there])


def followed_of(rows: Sequence[Any]) -> Followed:
    """Rows of ``object_id, ra, dec``, sorted by the first, and whatever else."""
    ra, dec = np.array([row.ra for row in rows], float), np.array([row.dec for row in rows], float)
    return Followed([row.object_id for row in rows], ra, dec)


def lock_name(key: SectionKey) -> str:
    """What whoever writes points of a section has locked."""
    return f"forced photometry {key[0]} {key[1]}"


def _done(step: str, run: type[StepRun], of: type[StepRun]) -> ColumnElement[bool]:
    return and_(
        run.exposure_id == of.exposure_id,
        run.section_id == of.section_id,
        run.step == step,
        run.state == StepState.DONE.value,
    )


def _present() -> tuple[type[StepRun], Select[*tuple[Any, ...]]]:
    """A query of `Present` over sections that have a difference, and the runs that made these."""
    subtracted, made = aliased(StepRun), aliased(StepRun)
    solved, calibrated = aliased(StepRun), aliased(StepRun)
    query: Select[*tuple[Any, ...]] = (
        select(
            subtracted.exposure_id,
            subtracted.section_id,
            made.product_id,
            subtracted.product_id,
            solved.product_id,
            calibrated.product_id,
        )
        .join(made, _done("preprocess", made, subtracted))
        .join(solved, _done("solve_astrometry", solved, subtracted))
        .outerjoin(calibrated, _done("solve_photometry", calibrated, subtracted))
        .where(subtracted.step == "subtract", subtracted.state == StepState.DONE.value)
    )
    return subtracted, query


def outdated_sections(
    session: Session, provenance_id: str, observations: Collection[uuid.UUID] | None
) -> list[SectionKey]:
    """Sections that are not measured from what they have now, near ones next to each other.

    Those that have lost their difference are among them.

    Parameters
    ----------
    provenance_id
        How they are to be measured.
    observations
        Whose sections are looked at; None for all.
    """
    subtracted, query = _present()
    run = ForcedRun
    of_it = and_(run.exposure_id == subtracted.exposure_id, run.section_id == subtracted.section_id)
    found = query.subquery()
    difference, zero = found.c[3], found.c[5]
    wanted = (
        select(found.c[0], found.c[1])
        .join(WorldCoordinates, WorldCoordinates.id == found.c[4])
        .outerjoin(run, and_(run.exposure_id == found.c[0], run.section_id == found.c[1]))
        .where(
            or_(
                run.difference_id.is_(None),
                run.difference_id != difference,
                run.zero_point_id.is_distinct_from(zero),
                run.provenance_id != provenance_id,
            )
        )
        .order_by(WorldCoordinates.hpx, found.c[0], found.c[1])
    )
    lost = select(run.exposure_id, run.section_id).where(
        ~select(subtracted.step)
        .where(of_it, subtracted.step == "subtract", subtracted.state == StepState.DONE.value)
        .exists()
    )
    if observations is not None:
        of_these = select(Exposure.id).where(Exposure.observation_id.in_(observations))
        wanted = wanted.where(found.c[0].in_(of_these))
        lost = lost.where(run.exposure_id.in_(of_these))
    keys = [(row[0], row[1]) for row in session.execute(wanted)]
    keys += [(row[0], row[1]) for row in session.execute(lost)]
    return keys


def present_sections(session: Session, keys: Collection[SectionKey]) -> dict[SectionKey, Present]:
    """Those of some sections that have a difference."""
    found: dict[SectionKey, Present] = {}
    wanted = set(keys)
    for some in some_of(sorted({exposure for exposure, _ in wanted})):
        subtracted, query = _present()
        for row in session.execute(query.where(subtracted.exposure_id.in_(some))):
            present = Present(*row)
            if present.key in wanted:
                found[present.key] = present
    return found


def sections_around(session: Session, places: Followed) -> dict[SectionKey, list[int]]:
    """Sections with a difference that may hold some Objects of one piece of sky.

    Returns
    -------
    dict
        Numbers of the Objects in `places`.
    """
    mean = unit_vectors(places.ra, places.dec).mean(axis=0)
    centre_ra, centre_dec = (float(each) for each in sky_position(mean))
    reach = float(np.max(angular_separation(centre_ra, centre_dec, places.ra, places.dec)))
    largest = session.scalar(select(func.max(WorldCoordinates.radius))) or 0.0
    solved, subtracted = aliased(StepRun), aliased(StepRun)
    query = (
        select(
            Image.exposure_id, Image.section_id,
            WorldCoordinates.ra, WorldCoordinates.dec, WorldCoordinates.radius,
        )
        .join(SourceList, SourceList.id == WorldCoordinates.sources_id)
        .join(Image, Image.id == SourceList.image_id)
        .join(
            solved,
            and_(
                solved.exposure_id == Image.exposure_id,
                solved.section_id == Image.section_id,
                solved.step == "solve_astrometry",
                solved.product_id == WorldCoordinates.id,
            ),
        )
        .join(subtracted, _done("subtract", subtracted, solved))
        .where(in_ranges(WorldCoordinates, centre_ra, centre_dec, reach + largest))
        .order_by(WorldCoordinates.hpx)
    )  # fmt: skip
    found: dict[SectionKey, list[int]] = {}
    for exposure_id, section_id, ra, dec, radius in session.execute(query):
        if exposure_id is None or ra is None or dec is None:
            continue
        apart = angular_separation(ra, dec, places.ra, places.dec)
        near = np.flatnonzero(apart <= radius)
        if len(near):
            found[exposure_id, section_id] = near.tolist()
    return found


class FollowedAround:
    """Followed Objects in the circles around images; looked for again at little cost.

    Parameters
    ----------
    images
        Where they are, by section.
    """

    def __init__(self, images: Mapping[SectionKey, WorldCoordinates]) -> None:
        self._circles = {
            key: (wcs.ra or 0.0, wcs.dec or 0.0, wcs.radius) for key, wcs in images.items()
        }
        self._ranges = {key: cone_ranges(*circle) for key, circle in self._circles.items()}
        every = joined_ranges(chain.from_iterable(self._ranges.values()))
        self._within = list(within_ranges(FollowedObject, every))
        self._seen: list[Any] | None = None
        self._found: dict[SectionKey, Followed] = {}

    def look(self, session: Session) -> Mapping[SectionKey, Followed]:
        """Those that are there now, by section."""
        row = FollowedObject
        # Whatever is added, moved or removed changes one of these.
        sums = select(func.count(), func.sum(row.ra), func.sum(row.dec), func.max(row.modified_at))
        now = [tuple(session.execute(sums.where(within)).one()) for within in self._within]
        if now != self._seen:
            self._seen, self._found = now, self._divided(self._all(session))
        return self._found

    def _divided(self, rows: Sequence[Any]) -> dict[SectionKey, Followed]:
        """Rows of Objects by the sections in whose circles they are."""
        followed, place = followed_of(rows), np.array([row.hpx for row in rows], np.int64)
        ascending = np.argsort(place)
        found = {}
        for key, circle in self._circles.items():
            # One job may have many fields: only what is near is compared with each.
            cuts = np.searchsorted(place[ascending], np.array(self._ranges[key], np.int64))
            near = np.sort(np.concatenate([ascending[first:stop] for first, stop in cuts]))
            apart = angular_separation(*circle[:2], followed.ra[near], followed.dec[near])
            found[key] = followed.some(near[apart <= circle[2]])
        return found

    def _all(self, session: Session) -> list[Any]:
        row = FollowedObject
        query = select(row.object_id, row.ra, row.dec, row.hpx)
        rows: list[Any] = []
        for within in self._within:
            rows += session.execute(query.where(within))
        return sorted(rows, key=itemgetter(0))
