"""Forced photometry: every followed Object in every difference that covers it."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Table, bindparam, delete, or_, select, update
from sqlalchemy.orm import Session

from firstlight.errors import FirstlightError, MissingError
from firstlight.models.database import Database
from firstlight.models.forced_run import FollowedObject, ForcedRun
from firstlight.models.image import Image
from firstlight.models.object import Object
from firstlight.models.photometry import Photometry
from firstlight.models.provenance import Provenance
from firstlight.provenance.fingerprint import fingerprint
from firstlight.provenance.lineage import Lineage
from firstlight.services.object_matching import belonging
from firstlight.services.objects.object_summary import summarise
from firstlight.services.transaction_locks import lock_names
from firstlight.services.transients.followed import follow
from firstlight.services.transients.forced_points import (
    Frame,
    Points,
    ReferenceFluxes,
    load_frame,
    measure_frame,
    upsert_points,
)
from firstlight.services.transients.forced_sections import (
    Followed,
    FollowedAround,
    Present,
    SectionKey,
    lock_name,
    outdated_sections,
    present_sections,
    sections_around,
)
from firstlight.services.transients.settings import ForcedPhotometrySettings
from firstlight.services.transients.sky_rows import some_of
from firstlight.services.transients.unused_objects import FORCED
from firstlight.work.engine import JobRequest

__all__ = ["ForcedPhotometryService", "NoSuchObject"]

PROCESS, VERSION = "forced_photometry", "1"
# Sections whose points are written in one transaction, when Objects are measured.
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
class _Around:
    """A section that was measured before it was locked."""

    measured: _Measured
    around: FollowedAround


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
        points, left = 0, list(keys)
        while left:
            measured: dict[SectionKey, _Around] = {}
            followed: dict[Sequence[Any], Followed] = {}
            done = 0
            with self._database.reading() as session:
                present = present_sections(session, left)
                for done, key in enumerate(left, start=1):  # noqa: B007, told behind the loop
                    one = self._first_look(
                        session, present.get(key), references, followed, failures
                    )
                    if one is not None:
                        measured[key] = one
                    if sum(len(each.measured.points) for each in measured.values()) >= _POINTS:
                        break
            points += self._save_sections(left[:done], measured, references, failures)
            left = left[done:]
        return {"points": points, "failures": failures}

    def _first_look(
        self,
        session: Session,
        present: Present | None,
        references: ReferenceFluxes,
        followed: dict[Sequence[Any], Followed],
        failures: list[str],
    ) -> _Around | None:
        """Measure a section before it is locked; most of the work is done then."""
        if present is None:
            return None
        frame = load_frame(session, present)
        references.load(session, frame.reference)
        around = FollowedAround(frame.wcs, followed)
        one = self._measure(frame, around.look(session), references, failures)
        return None if one is None else _Around(one, around)

    def _save_sections(
        self,
        keys: Sequence[SectionKey],
        measured: Mapping[SectionKey, _Around],
        references: ReferenceFluxes,
        failures: list[str],
    ) -> int:
        """Write the points of sections, with Objects and products that came in between."""
        count, changed = 0, set[uuid.UUID]()
        with self._database.begin() as session:
            lock_names(session, *(lock_name(key) for key in keys))
            Provenance.record(session, self.lineage)
            present = present_sections(session, keys)
            for key in keys:
                now, before = present.get(key), measured.get(key)
                if now is None:
                    changed |= self._forget(session, key, keep=())
                if before is None or before.measured.frame.present != now:
                    continue
                one: _Measured | None = before.measured
                followed = before.around.look(session)
                if followed is not before.measured.followed:
                    one = self._measure(before.measured.frame, followed, references, failures)
                if one is not None:
                    changed |= self._save_section(session, one)
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
            there = _points_there(session, places)
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

    def _save_section(self, session: Session, one: _Measured) -> set[uuid.UUID]:
        """Write all points of a section; returns the Objects whose points have changed."""
        present = one.frame.present
        objects = set(one.points.objects)
        changed = self._forget(session, present.key, keep=objects)
        self._write(session, one)
        session.merge(
            ForcedRun(
                exposure_id=present.exposure_id,
                section_id=present.section_id,
                image_id=present.image_id,
                difference_id=present.difference_id,
                zero_point_id=present.zero_point_id,
                provenance_id=self.lineage.id,
                n_objects=len(one.points),
            )
        )
        return changed | objects

    def _write(self, session: Session, one: _Measured) -> None:
        belongs = belonging(session, one.frame.exposure)
        upsert_points(session, one.points, belongs | {"provenance_id": self.lineage.id})

    def _forget(
        self, session: Session, key: SectionKey, keep: Collection[uuid.UUID]
    ) -> set[uuid.UUID]:
        """Remove points of a section but for those of some Objects; returns whose they were."""
        run = session.get(ForcedRun, key)
        if run is None:
            return set()
        images = select(Image.id).where(Image.exposure_id == key[0], Image.section_id == key[1])
        points = session.execute(
            select(Photometry.id, Photometry.object_id).where(
                Photometry.image_id.in_(images), Photometry.origin == FORCED
            )
        ).all()
        gone = [row for row in points if row.object_id not in keep]
        for some in some_of(row.id for row in gone):
            session.execute(delete(Photometry).where(Photometry.id.in_(some)))
        if not keep:
            session.delete(run)
            session.flush()
        return {row.object_id for row in gone}

    def _measure_in(
        self,
        wanted: dict[SectionKey, Followed],
        there: dict[tuple[uuid.UUID, uuid.UUID], tuple[float, float]],
        references: ReferenceFluxes,
        failures: list[str],
    ) -> int:
        """Measure Objects in a portion of sections; returns how many points were written."""
        measured: list[_Measured] = []
        with self._database.reading() as session:
            for key, present in present_sections(session, wanted).items():
                places = _without(wanted[key], present.image_id, there)
                if not places.ids:
                    continue
                frame = load_frame(session, present)
                references.load(session, frame.reference)
                one = self._measure(frame, places, references, failures)
                if one is not None and one.points:
                    measured.append(one)
        # The locks are taken even where nothing was measured: whoever is measuring one of these
        # sections now may not see our Objects, and its run is there when it has let go.
        count, changed = 0, set[uuid.UUID]()
        with self._database.begin() as session:
            lock_names(session, *(lock_name(key) for key in wanted))
            for one in measured:
                run = session.get(ForcedRun, one.frame.present.key)
                if run is not None and self._is_of(run, one.frame.present):
                    self._write(session, one)
                    count += len(one.points)
                    changed |= set(one.points.objects)
            _note_points(session, changed)
        return count

    def _is_of(self, run: ForcedRun, present: Present) -> bool:
        return (run.difference_id, run.zero_point_id, run.provenance_id) == (
            present.difference_id,
            present.zero_point_id,
            self.lineage.id,
        )


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
    rows = session.execute(query).all()
    ra, dec = np.array([row.ra for row in rows], float), np.array([row.dec for row in rows], float)
    return Followed([row.object_id for row in rows], ra, dec)


def _points_there(
    session: Session, places: Followed
) -> dict[tuple[uuid.UUID, uuid.UUID], tuple[float, float]]:
    """Where Objects were measured, by Object and image."""
    query = select(Photometry.object_id, Photometry.image_id, Photometry.ra, Photometry.dec).where(
        Photometry.object_id.in_(places.ids), Photometry.origin == FORCED
    )
    return {
        (ident, image): (ra, dec)
        for ident, image, ra, dec in session.execute(query)
        if image is not None and ra is not None and dec is not None
    }


def _without(
    places: Followed,
    image: uuid.UUID,
    there: dict[tuple[uuid.UUID, uuid.UUID], tuple[float, float]],
) -> Followed:
    """Those that were not measured in an image at the place where they are now."""
    return places.some(
        [
            n
            for n, ident in enumerate(places.ids)
            if there.get((ident, image)) != (float(places.ra[n]), float(places.dec[n]))
        ]
    )


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
