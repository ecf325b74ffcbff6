"""Candidates: measurements on differences, listed, pictured and judged by people."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Row, Select, exists, func, select, tuple_
from sqlalchemy.orm import Session

from firstlight.algorithms.median_deviation import MAD_TO_SIGMA
from firstlight.algorithms.pictures.display import arcsinh_limits, to_levels
from firstlight.errors import MissingError
from firstlight.formats.preview import encode_levels
from firstlight.models.database import Database
from firstlight.models.exposure import Exposure
from firstlight.models.image import Image
from firstlight.models.measurement import Cutouts, Measurement, MeasurementSet, looks_back
from firstlight.models.notes import ObjectTag, Tag
from firstlight.models.object import Object
from firstlight.models.step_run import is_current
from firstlight.services.access import Viewer
from firstlight.services.exposure_names import named
from firstlight.services.objects.tags import TagService
from firstlight.services.scanning.candidate_query import CandidatePlace, CandidateQuery, Verdict
from firstlight.services.visibility import seen_by

__all__ = ["Candidate", "CandidateMissing", "CandidatePage", "CandidateService"]

VERDICTS: tuple[Verdict, ...] = ("real", "bogus")
# Images and exposures have long headers, of which nothing is told.
_LISTED = (
    Measurement,
    Object.name.label("object"),
    Image.instrument,
    Image.section_id,
    Exposure.id.label("exposure_id"),
    Exposure.label.label("exposure"),
    looks_back().label("looks_back"),
)
_GAP = 1  # pixels between the three pictures
_SHOWN_SIGMA = 6.0  # of the difference, from black to white on either side of grey


class CandidateMissing(MissingError):
    """There is no such candidate, or none that you may see."""

    code = "candidate.missing"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One candidate, as it is listed.

    Attributes
    ----------
    score
        Signal-to-noise ratio; negative where light is missing.
    mag, mag_err
        AB, of the size of the change.
    verdicts
        What people who looked at its object say: ``real``, ``bogus``.
    looks_back
        Whether its image was compared with a later reference.
    """

    id: int
    object: str | None
    ra: float | None
    dec: float | None
    mjd: float
    filter: str | None
    instrument: str
    section_id: str
    exposure_id: uuid.UUID
    exposure: str
    score: float
    real: float
    mag: float | None
    mag_err: float | None
    flux_ujy: float | None
    flux_err_ujy: float | None
    kept: bool
    why_not: list[str]
    known_as: str | None
    verdicts: list[str]
    looks_back: bool = False

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self) | {"exposure_id": str(self.exposure_id)}


@dataclass(frozen=True, slots=True)
class CandidatePage:
    """Some candidates, the latest first.

    Attributes
    ----------
    total
        How many there are in all; None where they were not counted.
    next_after
        To ask for the next page with; None on the last one.
    """

    candidates: list[Candidate]
    next_after: CandidatePlace | None
    total: int | None = None


class CandidateService:
    """Lists candidates, draws them, and takes what people think of them.

    Parameters
    ----------
    database
        The tables.
    tags
        A verdict is a tag on the candidate's object: ``real`` or ``bogus``.
    """

    def __init__(self, *, database: Database, tags: TagService) -> None:
        self._database = database
        self._tags = tags

    def page(
        self, viewer: Viewer, query: CandidateQuery, *, counted: bool = False
    ) -> CandidatePage:
        """Candidates that the viewer may see, of the measurements that are current.

        Parameters
        ----------
        counted
            Whether all of them are counted, too.
        """
        conditions = _conditions(viewer, query)
        rows = (
            _joined(select(*_LISTED))
            .where(*conditions, *_after(query.after))
            .order_by(Measurement.mjd.desc(), Measurement.id.desc())
            .offset(query.skip)
            .limit(query.limit + 1)
        )
        with self._database.reading() as session:
            found = session.execute(rows).all()
            told = _verdicts(session, viewer, [row.Measurement.object_id for row in found])
            total = None
            if counted:
                total = session.scalar(_joined(select(func.count())).where(*conditions))
        listed = [
            _candidate(row, told.get(row.Measurement.object_id, [])) for row in found[: query.limit]
        ]
        last = listed[-1] if len(found) > query.limit else None
        end = None if last is None else CandidatePlace(last.mjd, last.id)
        return CandidatePage(listed, end, total)

    def filters(self, viewer: Viewer) -> list[str]:
        """Filters in which there are candidates, for a choice."""
        names = select(Measurement.filter).where(seen_by(viewer, Measurement.audience_id))
        with self._database.reading() as session:
            return sorted(name for name in session.scalars(names.distinct()) if name is not None)

    def triplet(self, viewer: Viewer, number: int) -> bytes:
        """A PNG of new image, reference and difference side by side.

        Raises
        ------
        CandidateMissing
            There is no such candidate that the viewer may see, or its file is gone.
        """
        query = (
            select(Cutouts, Measurement.number)
            .join(MeasurementSet, MeasurementSet.cutouts_id == Cutouts.id)
            .join(Measurement, Measurement.set_id == MeasurementSet.id)
            .where(Measurement.id == number, seen_by(viewer, Measurement.audience_id))
        )
        with self._database.reading() as session:
            found = session.execute(query).first()
        if found is None:
            raise CandidateMissing(subject=number)
        try:
            rows = found[0].file.row(found[1])
        except MissingError as fault:
            raise CandidateMissing(subject=number) from fault
        return draw_triplet(rows.stamps.pixels[0], rows.stamps.variance[0])

    def judge(self, viewer: Viewer, number: int, verdict: Verdict | None) -> None:
        """Say what the candidate's object is; None takes one's word back.

        Raises
        ------
        CandidateMissing
            There is no such candidate, or it has no object, since something speaks against it.
        Forbidden
            The viewer may not annotate.
        """
        viewer.require("annotate")
        with self._database.reading() as session:
            name = session.scalar(
                select(Object.name)
                .join(Measurement, Measurement.object_id == Object.id)
                .where(
                    Measurement.id == number,
                    seen_by(viewer, Measurement.audience_id),
                    seen_by(viewer, Object.audience_id),
                )
            )
            if name is None:
                raise CandidateMissing(subject=number, expected="a candidate that is kept")
        known = {tag["name"]: tag["id"] for tag in self._tags.list(viewer)}
        for mark in self._tags.on_objects(viewer, name=name):
            theirs = mark["author_id"] == viewer.user_id
            if mark["name"] in VERDICTS and mark["name"] != verdict and theirs:
                self._tags.take_off(viewer, mark["id"])
        if verdict is not None:
            tag = known.get(verdict)
            self._tags.put(viewer, name, tag or self._tags.make(viewer, verdict)["id"])


def draw_triplet(pixels: NDArray[np.float32], variance: NDArray[np.float32]) -> bytes:
    """New image and reference on one scale, and the difference grey where nothing changed.

    Parameters
    ----------
    pixels
        New image, reference, difference, ``(3, k, k)``; NaN outside the image.
    variance
        Of the difference, ``(k, k)``.
    """
    low, high, softening = arcsinh_limits(pixels[:2].reshape(-1, pixels.shape[2]))
    levels = [to_levels(p, low, high, stretch="arcsinh", softening=softening) for p in pixels[:2]]
    known = pixels[2][np.isfinite(pixels[2])]
    noise = np.sqrt(np.nanmedian(variance)) if np.isfinite(variance).any() else np.nan
    if not np.isfinite(noise) or noise <= 0:
        noise = MAD_TO_SIGMA * np.median(np.abs(known)) if len(known) else 1.0
    reach = max(_SHOWN_SIGMA * float(noise), float(np.max(np.abs(known), initial=0.0)) / 2.0, 1e-6)
    levels.append(to_levels(pixels[2], -reach, reach, stretch="linear"))
    gap = np.zeros((levels[0].shape[0], _GAP), np.uint8)
    return encode_levels(np.hstack([levels[0], gap, levels[1], gap, levels[2]]))


def _joined(query: Select[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    return (
        query.select_from(Measurement)
        .join(MeasurementSet, MeasurementSet.id == Measurement.set_id)
        .join(Image, Image.id == MeasurementSet.image_id)
        .join(Exposure, Exposure.id == Image.exposure_id)
        .outerjoin(Object, Object.id == Measurement.object_id)
    )


def _conditions(viewer: Viewer, query: CandidateQuery) -> list[ColumnElement[bool]]:
    # A section that was measured anew counts once: as its run says.
    current = is_current(Measurement.set_id)
    conditions: list[ColumnElement[bool]] = [seen_by(viewer, Measurement.audience_id), current]
    if query.kept:
        conditions.append(Measurement.is_kept.is_(True))
    if query.sign != "any":
        brighter = query.sign == "brighter"
        conditions.append(Measurement.score > 0 if brighter else Measurement.score < 0)
    if query.min_score is not None:
        conditions.append(func.abs(Measurement.score) >= query.min_score)
    if query.min_real is not None:
        conditions.append(Measurement.real >= query.min_real)
    if query.filter is not None:
        conditions.append(Measurement.filter == query.filter)
    if query.instrument is not None:
        conditions.append(Image.instrument == query.instrument)
    if query.since is not None:
        conditions.append(Measurement.mjd >= query.since)
    if query.until is not None:
        conditions.append(Measurement.mjd < query.until)
    if query.object_name is not None:
        conditions += [Object.name == query.object_name, seen_by(viewer, Object.audience_id)]
    if query.exposure is not None:
        conditions.append(named(query.exposure))
    if query.judged is not None:
        conditions.append(_is_judged(viewer, query.judged))
    return conditions


def _after(last: CandidatePlace | None) -> list[ColumnElement[bool]]:
    """What comes after this one, in the order of pages."""
    if last is None:
        return []
    return [tuple_(Measurement.mjd, Measurement.id) < (last.mjd, last.number)]


def _is_judged(viewer: Viewer, verdict: str) -> ColumnElement[bool]:
    names = VERDICTS if verdict == "none" else (verdict,)
    marked = exists().where(
        ObjectTag.object_id == Measurement.object_id,
        ObjectTag.tag_id == Tag.id,
        Tag.name.in_(names),
        seen_by(viewer, ObjectTag.audience_id),
    )
    return ~marked if verdict == "none" else marked


def _verdicts(
    session: Session, viewer: Viewer, objects: Sequence[uuid.UUID | None]
) -> dict[uuid.UUID, list[str]]:
    asked = {each for each in objects if each is not None}
    told: dict[uuid.UUID, list[str]] = {}
    if not asked:
        return told
    rows = session.execute(
        select(ObjectTag.object_id, Tag.name)
        .join(Tag, Tag.id == ObjectTag.tag_id)
        .where(
            ObjectTag.object_id.in_(asked),
            Tag.name.in_(VERDICTS),
            seen_by(viewer, ObjectTag.audience_id),
        )
        .order_by(Tag.name)
        .distinct()
    )
    for thing, name in rows:
        told.setdefault(thing, []).append(name)
    return told


def _candidate(found: Row[*tuple[Any, ...]], verdicts: list[str]) -> Candidate:
    row: Measurement = found.Measurement
    return Candidate(
        id=row.id,
        object=found.object,
        ra=row.ra,
        dec=row.dec,
        mjd=row.mjd,
        filter=row.filter,
        instrument=found.instrument,
        section_id=found.section_id,
        exposure_id=found.exposure_id,
        exposure=found.exposure,
        score=row.score,
        real=row.real,
        mag=row.mag,
        mag_err=row.mag_err,
        flux_ujy=row.flux_ujy,
        flux_err_ujy=row.flux_err_ujy,
        kept=row.is_kept,
        why_not=row.why_not,
        known_as=row.known_as,
        verdicts=verdicts,
        looks_back=found.looks_back,
    )
