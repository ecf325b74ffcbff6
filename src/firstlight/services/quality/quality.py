"""Quality of images, listed; and what people say is wrong with them."""

from __future__ import annotations

import statistics
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from firstlight.errors import InvalidInput, MissingError
from firstlight.models.database import Database
from firstlight.models.event import Event, record_events
from firstlight.models.exposure import Exposure
from firstlight.models.image import Image
from firstlight.models.quality import Badness, BadnessMark, QualityReport
from firstlight.models.step_run import is_current
from firstlight.services.access import Viewer
from firstlight.services.exposure_names import named
from firstlight.services.quality.badness import badness_of, words_of
from firstlight.services.quality.settings import QualitySettings
from firstlight.services.visibility import seen_by

__all__ = ["ImageQuality", "QualityMissing", "QualityPage", "QualityService"]

LONGEST_PAGE = 500
_FEWEST = 5  # reports that make a median
_COLUMNS = (
    "seeing", "limiting_magnitude", "sky", "noise_ratio", "astrometric_rms", "zero_point",
    "score_width", "n_sources", "n_candidates", "n_kept",
)  # fmt: skip


class QualityMissing(MissingError):
    """There is no report on such an image, or none that you may see."""

    code = "quality.missing"


@dataclass(frozen=True, slots=True)
class ImageQuality:
    """One image and what it is worth.

    Attributes
    ----------
    badness
        In words: by its numbers, by those of its camera's other images, and by people; with
        that of everything it was made of.
    marks
        What people say: badness, note.
    """

    image_id: uuid.UUID
    exposure_id: uuid.UUID
    exposure: str
    section_id: str
    instrument: str
    filter: str | None
    mjd: float
    seeing: float | None
    limiting_magnitude: float | None
    sky: float | None
    noise_ratio: float | None
    astrometric_rms: float | None
    zero_point: float | None
    score_width: float | None
    n_sources: int | None
    n_candidates: int | None
    n_kept: int | None
    badness: list[str]
    marks: list[dict[str, Any]]
    details: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        ids = {"image_id": str(self.image_id), "exposure_id": str(self.exposure_id)}
        return asdict(self) | ids


@dataclass(frozen=True, slots=True)
class QualityPage:
    """Some reports, the latest first; `next_skip` is None on the last page."""

    images: list[ImageQuality]
    next_skip: int | None


class QualityService:
    """Lists reports, and takes people's word on exposures.

    Parameters
    ----------
    database
        The tables.
    settings
        What is far from the usual.
    """

    def __init__(self, *, database: Database, settings: QualitySettings) -> None:
        self._database = database
        self._settings = settings

    def page(
        self,
        viewer: Viewer,
        *,
        instrument: str | None = None,
        exposure: str | None = None,
        bad: bool = False,
        skip: int = 0,
        limit: int = 50,
    ) -> QualityPage:
        """Reports on current images that the viewer may see.

        Parameters
        ----------
        exposure
            Name or number of one exposure.
        bad
            Only those with badness of their own numbers or by a person.
        """
        if not 1 <= limit <= LONGEST_PAGE:
            raise InvalidInput(field="limit", found=limit, expected=f"1 to {LONGEST_PAGE}")
        conditions = [
            seen_by(viewer, QualityReport.audience_id),
            is_current(QualityReport.image_id),
        ]
        if instrument is not None:
            conditions.append(Image.instrument == instrument)
        if exposure is not None:
            conditions.append(named(exposure))
        if bad:
            marked = exists().where(BadnessMark.exposure_id == QualityReport.exposure_id)
            conditions.append((QualityReport.badness != 0) | marked)
        query = (
            select(QualityReport, Image, Exposure)
            .join(Image, Image.id == QualityReport.image_id)
            .join(Exposure, Exposure.id == QualityReport.exposure_id)
            .where(*conditions)
            .order_by(QualityReport.mjd.desc(), QualityReport.image_id)
            .offset(skip)
            .limit(limit + 1)
        )
        with self._database.reading() as session:
            rows = session.execute(query).all()
            images = self._told(session, [(row[0], row[1], row[2]) for row in rows[:limit]])
        # Here and not by the database, whose index would then be of no use.
        images.sort(key=lambda each: (-each.mjd, each.exposure, each.section_id))
        return QualityPage(images, skip + limit if len(rows) > limit else None)

    def mark(
        self,
        viewer: Viewer,
        exposure: str,
        badness: Sequence[str],
        *,
        note: str | None = None,
        section: str | None = None,
    ) -> int:
        """Say what is wrong with an exposure, or one section of it; nothing takes it back.

        Parameters
        ----------
        badness
            Words as `Badness` has them, ``seeing``, ``bright_sky``.

        Returns
        -------
        How many images it holds for.

        Raises
        ------
        QualityMissing
            No image of it has been reduced, or none that the viewer may see.
        InvalidInput
            There is no such badness.
        Forbidden
            The viewer may not run the archive.
        """
        viewer.require("operate")
        bits = _bits(badness)
        conditions = [seen_by(viewer, QualityReport.audience_id), named(exposure)]
        if section is not None:
            conditions.append(Image.section_id == section)
        with self._database.begin() as session:
            rows = session.execute(
                select(Image, Exposure)
                .join(QualityReport, QualityReport.image_id == Image.id)
                .join(Exposure, Exposure.id == Image.exposure_id)
                .where(*conditions)
            ).all()
            if not rows:
                where = None if section is None else f"section {section}"
                raise QualityMissing(subject=exposure, field=where)
            said = {"badness": int(bits), "note": note, "user_id": viewer.user_id}
            for image, exposed in rows:
                _renew_mark(session, exposed.id, None if section is None else image.id, said)
            for exposed in {row.Exposure.id: row.Exposure for row in rows}.values():
                told = {"exposure": str(exposed.id), "name": exposed.label, "badness": int(bits)}
                record_events(session, [Event(topic="reduction", site=exposed.site, data=told)])
        return len(rows)

    def _told(
        self, session: Session, rows: Sequence[tuple[QualityReport, Image, Exposure]]
    ) -> list[ImageQuality]:
        bits = badness_of(session, [image.id for _, image, _ in rows])
        usual = self._usual(session, {_group(image) for _, image, _ in rows})
        marks = _marks(session, {exposure.id for _, _, exposure in rows})
        return [
            ImageQuality(
                image_id=image.id,
                exposure_id=exposure.id,
                exposure=exposure.label,
                section_id=image.section_id,
                instrument=image.instrument,
                filter=image.filter,
                mjd=report.mjd,
                **{name: getattr(report, name) for name in _COLUMNS},
                badness=words_of(
                    bits[image.id] | self._unusual(report, image, usual[_group(image)])
                ),
                marks=marks.get(exposure.id, []),
                details=report.details,
            )
            for report, image, exposure in rows
        ]

    def _usual(
        self, session: Session, groups: set[tuple[str, str, str | None]]
    ) -> dict[tuple[str, str, str | None], tuple[float | None, float | None]]:
        """Median zero point and sky, both for one second, of each camera, section and filter."""
        usual = {}
        for instrument, section, band in groups:
            rows = session.execute(
                select(QualityReport.zero_point, QualityReport.sky, Image.exp_time)
                .join(Image, Image.id == QualityReport.image_id)
                .where(
                    Image.instrument == instrument,
                    Image.section_id == section,
                    Image.filter == band,
                )
                .order_by(QualityReport.mjd.desc())
                .limit(self._settings.history)
            ).all()
            zeros = [z - _magnitudes_of(t) for z, _, t in rows if z is not None and t]
            skies = [s / t for _, s, t in rows if s is not None and t]
            usual[instrument, section, band] = (_median(zeros), _median(skies))
        return usual

    def _unusual(
        self, report: QualityReport, image: Image, usual: tuple[float | None, float | None]
    ) -> Badness:
        bad, told, seconds = Badness(0), self._settings, image.exp_time
        zero, sky = usual
        if not seconds:
            return bad
        if None not in (zero, report.zero_point, told.cloud_magnitudes):
            assert zero is not None and report.zero_point is not None  # noqa: S101, PT018, as asked
            below = zero - (report.zero_point - _magnitudes_of(seconds))
            bad |= Badness.CLOUDS if below > (told.cloud_magnitudes or 0.0) else Badness(0)
        if None not in (sky, report.sky, told.bright_sky):
            assert sky is not None and report.sky is not None  # noqa: S101, PT018, as asked
            bright = report.sky / seconds > (told.bright_sky or 0.0) * sky > 0
            bad |= Badness.BRIGHT_SKY if bright else Badness(0)
        return bad


def _bits(words: Sequence[str]) -> Badness:
    known = {(bit.name or "").lower(): bit for bit in Badness}
    bits = Badness(0)
    for word in words:
        bit = known.get(word.strip().lower().replace(" ", "_").replace("-", "_"))
        if bit is None:
            raise InvalidInput(field="badness", found=word, expected=", ".join(known))
        bits |= bit
    return bits


def _renew_mark(
    session: Session, exposure: uuid.UUID, image: uuid.UUID | None, said: dict[str, Any]
) -> None:
    """Put a mark in place of the one there may be; without bits there is none."""
    same = BadnessMark.image_id.is_(None) if image is None else BadnessMark.image_id == image
    row = session.scalar(select(BadnessMark).where(BadnessMark.exposure_id == exposure, same))
    if not said["badness"]:
        if row is not None:
            session.delete(row)
    elif row is None:
        session.add(BadnessMark(exposure_id=exposure, image_id=image, **said))
    else:
        row.badness, row.note, row.user_id = said["badness"], said["note"], said["user_id"]
    session.flush()


def _marks(session: Session, exposures: set[uuid.UUID]) -> dict[uuid.UUID, list[dict[str, Any]]]:
    found: dict[uuid.UUID, list[dict[str, Any]]] = {}
    query = select(BadnessMark).where(BadnessMark.exposure_id.in_(exposures))
    for row in session.scalars(query.order_by(BadnessMark.id)):
        told = {
            "badness": words_of(row.badness),
            "note": row.note,
            "at": row.modified_at.isoformat(),
        }
        found.setdefault(row.exposure_id, []).append(told)
    return found


def _group(image: Image) -> tuple[str, str, str | None]:
    return image.instrument, image.section_id, image.filter


def _magnitudes_of(seconds: float) -> float:
    return float(2.5 * np.log10(seconds))


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if len(values) >= _FEWEST else None
