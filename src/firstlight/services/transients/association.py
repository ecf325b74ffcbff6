"""Recognising what was measured: each measurement that is kept gets its Object."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from firstlight.algorithms.sky.sightings import (
    Groups,
    Reach,
    Sightings,
    give_nearest,
    group_sightings,
    mean_place,
    near,
)
from firstlight.algorithms.sky.sky_index import healpix_index, sky_position, unit_vectors
from firstlight.models.exposure import Exposure
from firstlight.models.image import Image
from firstlight.models.measurement import Measurement, MeasurementSet
from firstlight.models.object import Object
from firstlight.models.step_run import StepRun
from firstlight.services.object_matching import show_to, site_audience
from firstlight.services.transients.followed import follow
from firstlight.services.transients.known_objects import KnownObjects
from firstlight.services.transients.naming import Founder, add_named
from firstlight.services.transients.settings import AssociationSettings
from firstlight.services.transients.sky_locks import lock_sky
from firstlight.services.transients.sky_rows import (
    ORIGIN,
    STEP,
    ObjectPlace,
    OldSighting,
    objects_near,
    old_sightings,
    some_of,
)
from firstlight.services.transients.unused_objects import remove_unused

__all__ = ["ObjectRecogniser"]

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
_ARCSEC = float(np.radians(1.0 / 3600.0))


@dataclass(frozen=True)
class _New:
    """Measurements that are to be recognised."""

    rows: list[Measurement]
    vectors: Floats
    sigma: Floats


@dataclass
class _Sky:
    """What is there already: Objects by age, and what of ours was seen of each."""

    objects: list[ObjectPlace]
    old: dict[uuid.UUID, list[OldSighting]]
    vectors: Floats
    sigma: Floats


@dataclass
class _Decided:
    """What comes of it.

    Attributes
    ----------
    places
        Vector and error (radians) of each of our Objects that was touched.
    given
        Object of each new measurement, by its place in the list.
    founders
        The first measurement of each Object that is new.
    moved
        Old measurements, by row, that belong to another Object now.
    left
        Objects of ours that have lost all their measurements.
    """

    places: dict[uuid.UUID, tuple[Floats, float]] = field(default_factory=dict)
    given: dict[int, uuid.UUID] = field(default_factory=dict)
    founders: dict[uuid.UUID, Measurement | OldSighting] = field(default_factory=dict)
    moved: dict[int, uuid.UUID] = field(default_factory=dict)
    left: set[uuid.UUID] = field(default_factory=set)


class ObjectRecogniser:
    """Gives each measurement that is kept its Object; an `ObjectKeeper` of the reduction.

    A measurement goes to its nearest Object, and an Object takes from one image only its nearest
    measurement; what is left is new. Objects of others, such as stars and those that people
    added, are matched as they are. The place of one that was founded here is the weighted mean
    of its measurements, and which of them are of one Object depends on where they are, not on
    the order in which they came: see `algorithms.sky.sightings`.

    Measurements of older sets of a section keep their Objects and count no more.

    Parameters
    ----------
    settings
        Radii and names.
    known
        What varies or moves.
    moved_arcsec
        Objects whose place is refined by more are measured again in all images.
    """

    def __init__(
        self, settings: AssociationSettings, known: KnownObjects, *, moved_arcsec: float = 0.1
    ) -> None:
        self._settings = settings
        self._known = known
        self._moved = moved_arcsec

    def __call__(self, session: Session, measured: MeasurementSet, exposure: Exposure) -> None:
        """Recognise the measurements of a set; the caller commits.

        Those that have their Object already keep it. Waits for other workers at the same piece
        of sky.
        """
        session.flush()
        image = session.get_one(Image, measured.image_id)
        new = self._new(measured, self._flag_known(measured, image.mjd))
        before = self._superseded(session, measured, image)
        gone = self._objects_of(session, {before, measured.id})
        ra = np.array([row.ra for row in new.rows], float)
        dec = np.array([row.dec for row in new.rows], float)
        reach = self._reach(image.pixel_scale)
        farthest = float(np.degrees(max(reach.radius, reach.largest)))
        if not len(ra) and not gone:
            return
        there = session.execute(select(Object.ra, Object.dec).where(Object.id.in_(gone))).all()
        lock_sky(
            session,
            np.r_[ra, [row.ra for row in there]],
            np.r_[dec, [row.dec for row in there]],
            4.0 * farthest,
        )
        objects = objects_near(session, ra, dec, 2.0 * farthest) if len(ra) else []
        ours = {each.ident for each in objects if each.is_ours} | gone
        sky = _sky(objects, old_sightings(session, ours, instead={before: measured.id}), ours)
        decided = _Decided()
        left = self._give_to_others(new, sky, reach, decided)
        self._group(new, left, sky, reach, decided)
        self._derive_again(sky, gone, decided)
        self._save(session, new, exposure, decided)

    def _flag_known(self, measured: MeasurementSet, mjd: float) -> set[int]:
        """Name what is known; returns the numbers of those that move."""
        rows = measured.measurements
        if not self._known or not rows:
            return set()
        ra, dec = np.array([row.ra for row in rows]), np.array([row.dec for row in rows])
        moving = set()
        for row, known in zip(rows, self._known.at(ra, dec, mjd), strict=True):
            row.known_as = None if known is None else known.name
            if known is not None and known.moves:
                moving.add(row.number)
        return moving

    def _new(self, measured: MeasurementSet, moving: set[int]) -> _New:
        rows = [
            row
            for row in measured.measurements
            if row.is_kept
            and row.object_id is None
            and (self._settings.moving_objects or row.number not in moving)
        ]
        ra, dec = (
            np.array([row.ra for row in rows], float),
            np.array([row.dec for row in rows], float),
        )
        vectors = unit_vectors(ra, dec)
        return _New(rows, vectors.reshape(-1, 3), self._sigma([row.position_err for row in rows]))

    def _sigma(self, errors: Sequence[float | None]) -> Floats:
        """Radians, with what is uncertain of the coordinates."""
        unknown = self._settings.radius_arcsec / 3.0
        told = np.array([unknown if each is None else each for each in errors], float)
        return np.asarray(np.hypot(told, self._settings.error_floor_arcsec) * _ARCSEC)

    def _reach(self, pixel_scale: float | None) -> Reach:
        settings = self._settings
        radius = max(settings.radius_arcsec, settings.radius_pixels * (pixel_scale or 0.0))
        largest = max(settings.largest_arcsec, 2.0 * radius)
        return Reach(radius * _ARCSEC, settings.sigmas, largest * _ARCSEC)

    def _superseded(self, session: Session, measured: MeasurementSet, image: Image) -> uuid.UUID:
        """The set that was the present one of this section up to now; itself where none was."""
        before = session.scalar(
            select(StepRun.product_id).where(
                StepRun.exposure_id == image.exposure_id,
                StepRun.section_id == image.section_id,
                StepRun.step == STEP,
            )
        )
        return before or measured.id

    def _objects_of(self, session: Session, sets: set[uuid.UUID]) -> set[uuid.UUID]:
        found = session.scalars(
            select(Measurement.object_id)
            .where(Measurement.set_id.in_(sets), Measurement.object_id.is_not(None))
            .distinct()
        )
        return {each for each in found if each is not None}

    def _give_to_others(self, new: _New, sky: _Sky, reach: Reach, decided: _Decided) -> Indices:
        """Give measurements to Objects of others; returns the numbers of those that are left."""
        first, second, apart = near(new.vectors, new.sigma, sky.vectors, sky.sigma, reach)
        nearest: dict[int, int] = {}
        for pair in range(len(first)):
            nearest.setdefault(int(first[pair]), pair)
        foreign = [pair for pair in nearest.values() if not sky.objects[second[pair]].is_ours]
        foreign.sort(key=lambda pair: float(apart[pair]))
        given = give_nearest(first[foreign], second[foreign])
        owners = decided.given
        owners |= {row: sky.objects[there].ident for row, there in given.items()}
        winners = {there: row for row, there in given.items()}
        for pair in foreign:
            row, there = int(first[pair]), int(second[pair])
            beside = float(np.linalg.norm(new.vectors[row] - new.vectors[winners[there]]))
            if row not in owners and beside <= reach.radius:
                owners[row] = sky.objects[there].ident
        return np.array([n for n in range(len(new.rows)) if n not in owners], dtype=np.int64)

    def _group(self, new: _New, left: Indices, sky: _Sky, reach: Reach, decided: _Decided) -> None:
        """Group what is left with what was seen of our Objects there."""
        ours = np.array([n for n, each in enumerate(sky.objects) if each.is_ours], dtype=np.int64)
        vectors, sigma = new.vectors[left], new.sigma[left]
        one, other, _ = near(vectors, sigma, sky.vectors[ours], sky.sigma[ours], reach)
        two, three, _ = near(vectors, sigma, vectors, sigma, reach)
        links = np.r_[one, two], np.r_[other + len(left), three]
        size = len(left) + len(ours)
        graph = coo_array((np.ones(len(links[0])), links), shape=(size, size))
        label = connected_components(graph, directed=False)[1]
        order = np.argsort(label, kind="stable")
        for nodes in np.split(order, np.flatnonzero(np.diff(label[order])) + 1):
            fresh = nodes[nodes < len(left)]
            if len(fresh):
                known = [sky.objects[ours[n - len(left)]] for n in nodes[nodes >= len(left)]]
                self._decide(new, left[fresh], known, (sky, reach, decided))

    def _decide(
        self,
        new: _New,
        fresh: Indices,
        known: list[ObjectPlace],
        to: tuple[_Sky, Reach, _Decided],
    ) -> None:
        """One piece of sky: which of its measurements are of which Object."""
        sky, reach, decided = to
        old = [row for each in known for row in sky.old[each.ident]]
        rows = [new.rows[n] for n in fresh]
        seen = self._sightings(old, rows, new.sigma[fresh], new.vectors[fresh])
        groups = group_sightings(seen, reach)
        count = int(groups.label.max()) + 1
        means = _mean_places(seen, groups)
        owners = _owners(groups.label[: len(old)], old, known, means, reach)
        for label in range(count):
            if label not in owners:
                owners[label] = uuid.uuid4()
                members = [(*old, *rows)[n] for n in np.flatnonzero(groups.label == label)]
                decided.founders[owners[label]] = min(members, key=lambda each: each.mjd)
            decided.places[owners[label]] = means[label]
        for n, label in enumerate(groups.label.tolist()):
            if n >= len(old):
                decided.given[int(fresh[n - len(old)])] = owners[label]
            elif old[n].object_id != owners[label]:
                decided.moved[old[n].row] = owners[label]
        decided.left |= {each.ident for each in known if sky.old[each.ident]} - set(owners.values())

    def _sightings(
        self, old: list[OldSighting], rows: list[Measurement], sigma: Floats, vectors: Floats
    ) -> Sightings:
        there = unit_vectors([row.ra for row in old], [row.dec for row in old]).reshape(-1, 3)
        errors = self._sigma([row.error for row in old])
        keys = [(row.mjd, str(row.set_id)) for row in old]
        keys += [(row.mjd, str(row.set_id)) for row in rows]
        rank = {key: n for n, key in enumerate(sorted(set(keys)))}
        image = np.array([rank[key] for key in keys], dtype=np.int64)
        return Sightings(np.concatenate([there, vectors]), np.r_[errors, sigma], image)

    def _derive_again(self, sky: _Sky, gone: set[uuid.UUID], decided: _Decided) -> None:
        """Places of Objects whose measurement in this section counts no more, or again."""
        for ident in gone - set(decided.places) - decided.left:
            if sky.old[ident]:
                seen = self._sightings(sky.old[ident], [], np.zeros(0), np.zeros((0, 3)))
                decided.places[ident] = mean_place(seen.vectors, seen.sigma)

    def _save(self, session: Session, new: _New, exposure: Exposure, decided: _Decided) -> None:
        audience = site_audience(session, exposure.site)
        columns = {ident: _columns(*place) for ident, place in decided.places.items()}
        founded = {}
        for ident, row in decided.founders.items():
            facts = columns.pop(ident)
            founder = Founder(ident, row.mjd, facts["ra"], facts["dec"])
            founded[ident] = founder, facts | {"origin": ORIGIN, "audience_id": audience}
        add_named(session, self._settings, founded)
        moves = [{"id": ident} | facts for ident, facts in columns.items()]
        ours: set[uuid.UUID] = set()
        for some in some_of(sorted({*columns, *decided.given.values()})):
            # Locked in one order, as whoever summarises their light curves does.
            query = select(Object.id, Object.origin).where(Object.id.in_(some))
            locked = session.execute(query.order_by(Object.id).with_for_update(key_share=True))
            ours.update(row.id for row in locked if row.origin == ORIGIN and row.id in columns)
        if rows := [move for move in moves if move["id"] in ours]:
            session.execute(update(Object), rows)
        for n, ident in decided.given.items():
            new.rows[n].object_id = ident
        session.flush()
        if decided.moved:
            there = [{"id": row, "object_id": ident} for row, ident in decided.moved.items()]
            session.execute(update(Measurement), there)
        seen = set(decided.given.values())
        if exposure.site is not None:
            show_to(session, sorted(seen - set(founded)), exposure.site)
        follow(session, seen | ours, self._moved)
        remove_unused(session, decided.left)


def _sky(objects: list[ObjectPlace], rows: list[OldSighting], ours: set[uuid.UUID]) -> _Sky:
    old: dict[uuid.UUID, list[OldSighting]] = {ident: [] for ident in ours}
    for row in rows:
        old[row.object_id].append(row)
    vectors = unit_vectors([each.ra for each in objects], [each.dec for each in objects])
    error = np.radians([each.error for each in objects])
    return _Sky(objects, old, vectors.reshape(-1, 3), np.asarray(error, float))


def _mean_places(seen: Sightings, groups: Groups) -> list[tuple[Floats, float]]:
    """Place and error of each group, from those that count."""
    means = []
    for label in range(int(groups.label.max()) + 1):
        chosen = (groups.label == label) & groups.counts
        means.append(mean_place(seen.vectors[chosen], seen.sigma[chosen]))
    return means


def _owners(
    labels: Indices,
    old: list[OldSighting],
    known: list[ObjectPlace],
    means: list[tuple[Floats, float]],
    reach: Reach,
) -> dict[int, uuid.UUID]:
    """Which group stays which Object: by most measurements, then by the nearest place.

    Parameters
    ----------
    labels
        Groups of the old measurements.
    known
        Objects there, the oldest first.
    """
    age = {each.ident: n for n, each in enumerate(known)}
    shared = Counter((int(label), row.object_id) for label, row in zip(labels, old, strict=True))
    pairs = sorted(shared, key=lambda pair: (-shared[pair], age[pair[1]], pair[0]))
    owners: dict[int, uuid.UUID] = {}
    for label, ident in pairs:
        if label not in owners and ident not in owners.values():
            owners[label] = ident
    # Objects none of whose measurements counts at present, as when a section is measured anew.
    empty = [each for each in known if not any(row.object_id == each.ident for row in old)]
    free = [label for label in range(len(means)) if label not in owners]
    if not empty or not free:
        return owners
    places = unit_vectors([each.ra for each in empty], [each.dec for each in empty])
    errors = np.radians([each.error for each in empty])
    vectors, sigma = np.array([means[n][0] for n in free]), np.array([means[n][1] for n in free])
    first, second, _ = near(vectors, sigma, places, np.asarray(errors), reach)
    for one, other in give_nearest(first, second).items():
        owners[free[one]] = empty[other].ident
    return owners


def _columns(vector: Floats, error: float) -> dict[str, Any]:
    """Columns of an Object's place."""
    ra, dec = (float(each) for each in sky_position(vector))
    degrees = float(np.degrees(error))
    index = int(healpix_index(ra, dec))
    return {"ra": ra, "dec": dec, "hpx": index, "ra_err": degrees, "dec_err": degrees}
