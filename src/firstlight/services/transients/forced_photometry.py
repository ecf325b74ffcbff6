"""Forced photometry: every followed Object in every difference that covers it."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sqlalchemy import Table, bindparam, delete, select, update
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
    ReferenceFluxes,
    Row,
    load_frame,
    measure_frame,
    upsert_points,
)
from firstlight.services.transients.forced_sections import (
    Followed,
    Present,
    SectionKey,
    followed_in,
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
    """Points of one section before they are written.

    Attributes
    ----------
    places
        Where each Object was measured, those without a point as well.
    """

    frame: Frame
    rows: dict[uuid.UUID, Row] = field(default_factory=dict)
    places: dict[uuid.UUID, tuple[float, float]] = field(default_factory=dict)


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
        """Jobs for Objects that are new or have moved: their past, and their place of now."""
        del retry_failed, observations  # they are few, and a table keeps them
        query = (
            select(FollowedObject.object_id, FollowedObject.ra, FollowedObject.dec)
            .where(FollowedObject.is_complete.is_(False))
            .order_by(FollowedObject.hpx, FollowedObject.object_id)
        )
        with self._database.reading() as session:
            rows = session.execute(query).all()
        requests = []
        for some in some_of(rows, self._settings.objects_per_job):
            facts = [[str(row.object_id), row.ra, row.dec] for row in some]
            requests.append(
                JobRequest(
                    job_id=f"forced-objects-{fingerprint(facts)}",
                    name="forced_photometry",
                    payload={"objects": [str(row.object_id) for row in some]},
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
        measured: dict[SectionKey, _Measured] = {}
        points, left = 0, list(keys)
        while left:
            done = 0
            with self._database.reading() as session:
                present = present_sections(session, left)
                for done, key in enumerate(left, start=1):  # noqa: B007, told behind the loop
                    one = self._first_look(session, present.get(key), references, failures)
                    if one is not None:
                        measured[key] = one
                    if sum(len(each.rows) for each in measured.values()) >= _POINTS:
                        break
            points += self._save_sections(left[:done], measured, references, failures)
            measured, left = {}, left[done:]
        return {"points": points, "failures": failures}

    def _first_look(
        self,
        session: Session,
        present: Present | None,
        references: ReferenceFluxes,
        failures: list[str],
    ) -> _Measured | None:
        """Measure a section before it is locked; most of the work is done then."""
        if present is None:
            return None
        frame = load_frame(session, present)
        references.load(session, frame.reference)
        one = _Measured(frame)
        followed = followed_in(session, frame.wcs)
        return one if self._measure(one, followed, references, failures) else None

    def _save_sections(
        self,
        keys: Sequence[SectionKey],
        measured: Mapping[SectionKey, _Measured],
        references: ReferenceFluxes,
        failures: list[str],
    ) -> int:
        """Write the points of sections, with Objects and products that came in between."""
        points, changed = 0, set[uuid.UUID]()
        with self._database.begin() as session:
            lock_names(session, *(lock_name(key) for key in keys))
            present = present_sections(session, keys)
            for key in keys:
                now, one = present.get(key), measured.get(key)
                if now is None:
                    changed |= self._forget(session, key, keep=())
                elif one is not None and one.frame.present == now:
                    followed = followed_in(session, one.frame.wcs)
                    if self._measure(one, followed, references, failures):
                        changed |= self._save_section(session, one)
                        points += len(one.rows)
            summarise(session, changed)
        return points

    def measure_objects(self, objects: Sequence[uuid.UUID]) -> dict[str, Any]:
        """Measure some Objects in all sections that are measured already.

        The others will be, with these Objects among those that they find.
        """
        failures: list[str] = []
        points = 0
        with self._database.reading() as session:
            places = _places(session, objects)
            if not places.ids:
                return {"points": 0, "failures": []}
            around = sections_around(session, places)
            there = _points_there(session, places)
        references = ReferenceFluxes(self._settings.reference_radius_arcsec)
        for some in some_of(around, _SECTIONS):
            wanted = {key: places.some(around[key]) for key in some}
            points += self._measure_in(wanted, there, references, failures)
        if not failures:
            with self._database.begin() as session:
                _complete(session, places)
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
        self,
        one: _Measured,
        followed: Followed,
        references: ReferenceFluxes,
        failures: list[str],
    ) -> bool:
        """Measure what has not been; returns whether the difference can be read."""
        places = dict(
            zip(
                followed.ids,
                zip(followed.ra.tolist(), followed.dec.tolist(), strict=True),
                strict=True,
            )
        )
        for ident in [each for each in one.rows if each not in places]:
            del one.rows[ident]
        new = [n for n, each in enumerate(followed.ids) if one.places.get(each) != places[each]]
        one.places = places
        try:
            rows = measure_frame(one.frame, followed.some(new), self._settings, references)
        except FirstlightError as fault:
            exposure = one.frame.exposure
            failures.append(
                f"forced photometry of {exposure.label}, section "
                f"{one.frame.present.section_id}: {fault}"
            )
            return False
        for n in new:
            one.rows.pop(followed.ids[n], None)
        one.rows |= {row["object_id"]: row for row in rows}
        return True

    def _save_section(self, session: Session, one: _Measured) -> set[uuid.UUID]:
        """Write all points of a section; returns the Objects whose points have changed."""
        present = one.frame.present
        Provenance.record(session, self.lineage)
        rows = self._complete_rows(session, one.frame, one.rows.values())
        changed = self._forget(session, present.key, keep=one.rows)
        upsert_points(session, rows)
        session.merge(
            ForcedRun(
                exposure_id=present.exposure_id,
                section_id=present.section_id,
                image_id=present.image_id,
                difference_id=present.difference_id,
                zero_point_id=present.zero_point_id,
                provenance_id=self.lineage.id,
                n_objects=len(rows),
            )
        )
        session.flush()
        return changed | set(one.rows)

    def _complete_rows(self, session: Session, frame: Frame, rows: Iterable[Row]) -> list[Row]:
        belongs = belonging(session, frame.exposure)
        return [{**row, **belongs, "provenance_id": self.lineage.id} for row in rows]

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
                one = _Measured(frame)
                if self._measure(one, places, references, failures) and one.rows:
                    measured.append(one)
        # The locks are taken even where nothing was measured: whoever is measuring one of these
        # sections now may not see our Objects, and its run is there when it has let go.
        with self._database.begin() as session:
            lock_names(session, *(lock_name(key) for key in wanted))
            changed: set[uuid.UUID] = set()
            points = 0
            for one in measured:
                run = session.get(ForcedRun, one.frame.present.key)
                if run is None or not self._is_of(run, one.frame.present):
                    continue
                rows = self._complete_rows(session, one.frame, one.rows.values())
                upsert_points(session, rows)
                points += len(rows)
                changed |= set(one.rows)
            summarise(session, changed)
        return points

    def _is_of(self, run: ForcedRun, present: Present) -> bool:
        return (run.difference_id, run.zero_point_id, run.provenance_id) == (
            present.difference_id,
            present.zero_point_id,
            self.lineage.id,
        )


def _facts(present: Present | None) -> list[str]:
    return [] if present is None else [str(present.difference_id), str(present.zero_point_id)]


def _places(session: Session, objects: Sequence[uuid.UUID]) -> Followed:
    query = (
        select(FollowedObject.object_id, FollowedObject.ra, FollowedObject.dec)
        .where(FollowedObject.object_id.in_(objects))
        .order_by(FollowedObject.object_id)
    )
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
    session.execute(
        statement, [{"ident": each, "at_ra": ra, "at_dec": dec} for each, ra, dec in there]
    )
