"""Forced photometry: every followed Object in every difference that covers it."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table, bindparam, or_, select, update
from sqlalchemy.orm import Session

from firstlight.errors import FirstlightError, MissingError
from firstlight.models.database import Database
from firstlight.models.forced_run import FollowedObject
from firstlight.models.object import Object
from firstlight.models.provenance import Provenance
from firstlight.provenance.fingerprint import fingerprint
from firstlight.provenance.lineage import Lineage
from firstlight.services.objects.object_summary import summarise
from firstlight.services.transaction_locks import lock_names
from firstlight.services.transients.followed import follow
from firstlight.services.transients.forced_points import (
    Frame,
    Points,
    ReferenceFluxes,
    load_frames,
    measure_frame,
)
from firstlight.services.transients.forced_sections import (
    Followed,
    FollowedAround,
    Present,
    SectionKey,
    followed_of,
    lock_name,
    outdated_sections,
    present_sections,
    sections_around,
)
from firstlight.services.transients.forced_writing import SectionWriter
from firstlight.services.transients.measured_pairs import MeasuredPairs
from firstlight.services.transients.settings import ForcedPhotometrySettings
from firstlight.services.transients.sky_rows import some_of
from firstlight.work.engine import JobRequest

__all__ = ["ForcedPhotometryService", "NoSuchObject"]

PROCESS, VERSION = "forced_photometry", "1"
# Sections whose points are written in one transaction.
_SECTIONS = 64
# Points that are held in memory, and written in one transaction, when sections are measured.
_POINTS = 40_000


class NoSuchObject(MissingError):
    """There is no Object of this name."""

    code = "transients.no_such_object"


@dataclass
class _Measured:
    """Points of one section before they are written, and which Objects were looked for."""

    frame: Frame
    points: Points
    followed: Followed


@dataclass
class _Looked:
    """Sections that were measured before they were locked; those that have no points, too."""

    keys: Sequence[SectionKey]
    around: FollowedAround
    measured: Mapping[SectionKey, _Measured]


class ForcedPhotometryService:
    """Plans and makes forced photometry.

    Parameters
    ----------
    database
        The tables.
    settings
        What points are made with, and how jobs are cut.
    """

    def __init__(self, *, database: Database, settings: ForcedPhotometrySettings) -> None:
        self._database = database
        self._settings = settings
        self.lineage = Lineage(PROCESS, VERSION, dict(settings.critical()), ())

    def plan(
        self, retry_failed: bool = False, observations: Collection[uuid.UUID] | None = None
    ) -> list[JobRequest]:
        """Jobs for sections that are not measured from what they have now.

        Parameters
        ----------
        observations
            Whose sections are looked at; None for all.
        """
        del retry_failed  # what cannot be read is planned again: it is quickly told
        with self._database.reading() as session:
            keys = outdated_sections(session, self.lineage.id, observations)
            present = present_sections(session, keys)
        requests = []
        for some in some_of(keys, self._settings.images_per_job):
            sections = [[str(exposure), section] for exposure, section in some]
            facts = [self.lineage.id, sections, [_facts(present.get(key)) for key in some]]
            requests.append(
                JobRequest(
                    job_id=f"forced-{fingerprint(facts)}",
                    name="forced_photometry",
                    payload={"sections": sections},
                )
            )
        return requests

    def plan_objects(
        self,
        retry_failed: bool = False,
        observations: Collection[uuid.UUID] | None = None,
    ) -> list[JobRequest]:
        """Jobs for Objects that are new or have moved, and for those that have new points.

        The first are measured in older images, and the light curves of all are summarised.
        """
        del retry_failed, observations  # they are few, and a table keeps them
        row = FollowedObject
        query = (
            select(row.object_id, row.modified_at)
            .where(or_(row.is_complete.is_(False), row.is_summarised.is_(False)))
            .order_by(row.hpx, row.object_id)
        )
        with self._database.reading() as session:
            rows = session.execute(query).all()
        requests = []
        for some in some_of(rows, self._settings.objects_per_job):
            facts = [[str(ident), changed.isoformat()] for ident, changed in some]
            requests.append(
                JobRequest(
                    job_id=f"forced-objects-{fingerprint(facts)}",
                    name="forced_photometry",
                    payload={"objects": [ident for ident, _ in facts]},
                )
            )
        return requests

    def run(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Do a job of either plan.

        Returns
        -------
        dict
            ``points``: how many were written; ``failures``: one sentence for each section whose
            difference cannot be read.
        """
        if "objects" in payload:
            return self.measure_objects([uuid.UUID(each) for each in payload["objects"]])
        return self.measure_sections(
            [(uuid.UUID(exposure), str(section)) for exposure, section in payload["sections"]]
        )

    def measure_sections(self, keys: Sequence[SectionKey]) -> dict[str, Any]:
        """Measure all followed Objects in some sections, and forget points that are of no more."""
        failures: list[str] = []
        references = ReferenceFluxes(self._settings.reference_radius_arcsec)
        points = 0
        for some in some_of(keys, _SECTIONS):
            done = 0
            while done < len(some):
                looked = self._first_look(some[done:], references, failures)
                points += self._save_sections(looked, references, failures)
                done += len(looked.keys)
        return {"points": points, "failures": failures}

    def _first_look(
        self, keys: Sequence[SectionKey], references: ReferenceFluxes, failures: list[str]
    ) -> _Looked:
        """Measure the first of some sections before they are locked: most of the work.

        As many as there are, or as have `_POINTS` points.
        """
        measured: dict[SectionKey, _Measured] = {}
        points, done = 0, 0
        with self._database.reading() as session:
            frames = load_frames(session, present_sections(session, keys).values())
            around = FollowedAround({key: frame.wcs for key, frame in frames.items()})
            followed = around.look(session)
            while done < len(keys) and points < _POINTS:
                key = keys[done]
                done += 1
                if key not in frames:
                    continue
                references.load(session, frames[key].reference)
                one = self._measure(frames[key], followed[key], references, failures)
                if one is not None:
                    measured[key] = one
                    points += len(one.points)
        return _Looked(keys[:done], around, measured)

    def _save_sections(
        self, looked: _Looked, references: ReferenceFluxes, failures: list[str]
    ) -> int:
        """Write the points of sections, with Objects and products that came in between."""
        count, changed = 0, set[uuid.UUID]()
        with self._database.begin() as session:
            lock_names(session, *(lock_name(key) for key in looked.keys))
            Provenance.record(session, self.lineage)
            present = present_sections(session, looked.keys)
            followed = looked.around.look(session)
            writer = SectionWriter(session, self.lineage.id, looked.keys)
            for key in looked.keys:
                one = looked.measured.get(key)
                if key not in present:
                    changed |= writer.forget(key)
                if one is None or one.frame.present != present.get(key):
                    continue
                if not followed[key].is_same(one.followed):
                    one = self._measure(one.frame, followed[key], references, failures)
                if one is not None:
                    changed |= writer.replace(one.frame, one.points)
                    count += len(one.points)
            _note_points(session, changed)
        return count

    def measure_objects(self, objects: Sequence[uuid.UUID]) -> dict[str, Any]:
        """Measure some Objects in all sections that are measured already, and summarise them.

        The other sections will be, with these Objects among those that they find.
        """
        failures: list[str] = []
        points = 0
        with self._database.reading() as session:
            places = _places(session, objects, only_incomplete=True)
            around = sections_around(session, places) if places.ids else {}
            there = MeasuredPairs(session, places.ids)
        references = ReferenceFluxes(self._settings.reference_radius_arcsec)
        for some in some_of(around, _SECTIONS):
            wanted = {key: places.some(around[key]) for key in some}
            points += self._measure_in(wanted, there, references, failures)
        with self._database.begin() as session:
            if not failures:
                _complete(session, places)
            _summarise(session, objects)
        return {"points": points, "failures": failures}

    def follow(self, name: str) -> uuid.UUID:
        """Have an Object measured in every difference from now on; returns its id.

        Raises
        ------
        NoSuchObject
            There is none of this name.
        """
        with self._database.begin() as session:
            ident = session.scalar(select(Object.id).where(Object.name == name))
            if ident is None:
                raise NoSuchObject(subject=name, hint="firstlight object list")
            follow(session, [ident], 0.0)
            return ident

    def _measure(
        self, frame: Frame, followed: Followed, references: ReferenceFluxes, failures: list[str]
    ) -> _Measured | None:
        """Measure Objects; None where the difference cannot be read, which is told."""
        try:
            points = measure_frame(frame, followed, self._settings, references)
        except FirstlightError as fault:
            failures.append(
                f"forced photometry of {frame.exposure.label}, section "
                f"{frame.present.section_id}: {fault}"
            )
            return None
        return _Measured(frame, points, followed)

    def _measure_in(
        self,
        wanted: dict[SectionKey, Followed],
        there: MeasuredPairs,
        references: ReferenceFluxes,
        failures: list[str],
    ) -> int:
        """Measure Objects in a portion of sections; returns how many points were written."""
        measured: list[_Measured] = []
        with self._database.reading() as session:
            present = present_sections(session, wanted)
            places = {
                key: there.without(wanted[key], each.image_id) for key, each in present.items()
            }
            missing = [each for key, each in present.items() if places[key].ids]
            frames = load_frames(session, missing)
            for key, frame in frames.items():
                references.load(session, frame.reference)
                one = self._measure(frame, places[key], references, failures)
                if one is not None and one.points:
                    measured.append(one)
        # The locks are taken even where nothing was measured: whoever is measuring one of these
        # sections now may not see our Objects, and its run is there when it has let go.
        count, changed = 0, set[uuid.UUID]()
        with self._database.begin() as session:
            lock_names(session, *(lock_name(key) for key in wanted))
            writer = SectionWriter(session, self.lineage.id, wanted)
            for one in measured:
                if writer.is_measured(one.frame.present):
                    writer.add(one.frame, one.points)
                    count += len(one.points)
                    changed |= set(one.points.objects)
            _note_points(session, changed)
        return count


def _facts(present: Present | None) -> list[str]:
    return [] if present is None else [str(present.difference_id), str(present.zero_point_id)]


def _note_points(session: Session, objects: Collection[uuid.UUID]) -> None:
    """Note that points of Objects have come or gone; `plan_objects` has them summarised."""
    for some in some_of(sorted(objects)):
        row = FollowedObject
        # Locked in one order, as two jobs may note points of the same Objects.
        known = session.scalars(
            select(row.object_id)
            .where(row.object_id.in_(some), row.is_summarised.is_(True))
            .order_by(row.object_id)
            .with_for_update()
        ).all()
        session.execute(update(row).where(row.object_id.in_(known)).values(is_summarised=False))


def _summarise(session: Session, objects: Sequence[uuid.UUID]) -> None:
    """Summarise light curves; points that come meanwhile wait, and are noted anew."""
    row = FollowedObject
    wanted = sorted(objects)
    session.execute(
        select(row.object_id)
        .where(row.object_id.in_(wanted))
        .order_by(row.object_id)
        .with_for_update()
    ).all()
    summarise(session, wanted)
    session.execute(update(row).where(row.object_id.in_(wanted)).values(is_summarised=True))


def _places(
    session: Session, objects: Sequence[uuid.UUID], *, only_incomplete: bool = False
) -> Followed:
    query = (
        select(FollowedObject.object_id, FollowedObject.ra, FollowedObject.dec)
        .where(FollowedObject.object_id.in_(objects))
        .order_by(FollowedObject.object_id)
    )
    if only_incomplete:
        query = query.where(FollowedObject.is_complete.is_(False))
    return followed_of(session.execute(query).all())


def _complete(session: Session, places: Followed) -> None:
    """Note that Objects are measured, unless they have moved since."""
    table: Table = FollowedObject.__table__  # type: ignore[assignment]  # a mapped class has a Table
    statement = (
        update(table)
        .where(
            table.c.object_id == bindparam("ident"),
            table.c.ra == bindparam("at_ra"),
            table.c.dec == bindparam("at_dec"),
        )
        .values(is_complete=True)
    )
    there = zip(places.ids, places.ra.tolist(), places.dec.tolist(), strict=True)
    rows = [{"ident": each, "at_ra": ra, "at_dec": dec} for each, ra, dec in there]
    if rows:
        session.execute(statement, rows)
