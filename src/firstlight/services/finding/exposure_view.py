"""What the page of an exposure shows beside its files: steps, quality, sources, residuals."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from firstlight.errors import MissingError
from firstlight.models.astrometry import Registration, WorldCoordinates
from firstlight.models.database import Database
from firstlight.models.exposure import Exposure
from firstlight.models.image import Image, ImageKind
from firstlight.models.measurement import Measurement, MeasurementSet
from firstlight.models.photometry import LightCurve, LightCurveSet, Photometry
from firstlight.models.provenance import Product
from firstlight.models.sources import SourceList
from firstlight.models.step_run import StepRun, StepState, is_absent, is_current
from firstlight.models.zero_point import ZeroPoint
from firstlight.services.access import Viewer
from firstlight.services.finding.search import ExposureNotFound
from firstlight.services.visibility import seen_by

__all__ = [
    "ExposureViewService",
    "Residual",
    "SectionView",
    "Source",
    "SourcesMissing",
    "StepView",
    "TrendPoint",
]

MOST_SOURCES = 1500
MOST_TREND = 2000
MOST_RESIDUALS = 4000
_FAR = 2.0  # magnitudes; beyond it is another star, and would squeeze all others into a line
_LATEST_SETS = 1
# What the page tells of an error; where files lie is the operator's affair.
_TOLD = ("code", "kind", "message", "field", "found", "expected", "hint")

Row = TypeVar("Row", bound=Product)


class SourcesMissing(MissingError):
    """The sources of this section cannot be shown: none were sought, or their table is gone."""

    code = "exposure.no_sources"


@dataclass(frozen=True, slots=True)
class StepView:
    """One step of the recipe on one section.

    Attributes
    ----------
    error
        Code, message and what to try; None where the step did not fail.
    product_id
        Of what it made; None where it made nothing.
    """

    name: str
    state: str
    error: dict[str, Any] | None
    notes: dict[str, Any]
    cpu_s: float | None
    when: datetime
    provenance_id: str | None
    product_id: uuid.UUID | None

    @property
    def is_failed(self) -> bool:
        """Whether it ended without what it should have made, by a fault of its own."""
        return self.state in (StepState.FAILED, StepState.TIMED_OUT)


@dataclass(slots=True)
class SectionView:
    """Where one section of an exposure stands; products are None until their step is done.

    `image` is the calibrated one, `difference` what is left of it without the reference.
    """

    name: str
    steps: list[StepView] = field(default_factory=list)
    image: Image | None = None
    difference: Image | None = None
    sources: SourceList | None = None
    wcs: WorldCoordinates | None = None
    zero_point: ZeroPoint | None = None
    registration: Registration | None = None

    @property
    def pixel_scale(self) -> float | None:
        """Arcseconds per pixel: of the solution, else nominal."""
        if self.wcs is not None:
            return self.wcs.pixel_scale
        return None if self.image is None else self.image.pixel_scale

    @property
    def fwhm_arcsec(self) -> float | None:
        """Of point sources."""
        if self.sources is None or self.sources.fwhm is None or self.pixel_scale is None:
            return None
        return self.sources.fwhm * self.pixel_scale

    @property
    def failed(self) -> list[StepView]:
        """Steps that failed."""
        return [step for step in self.steps if step.is_failed]


@dataclass(frozen=True, slots=True)
class Source:
    """A detected source: pixels, 0-based, centres at integers; FWHM in pixels.

    `mag` is None without a zero point. Of a change, `flagged` says that light is missing.
    """

    x: float
    y: float
    radius: float
    fwhm: float
    mag: float | None
    snr: float
    flagged: bool


@dataclass(frozen=True, slots=True)
class TrendPoint:
    """One exposure of the same section of the same observation."""

    exposure_id: uuid.UUID
    mjd: float
    fwhm_arcsec: float | None
    background: float
    zero_point: float | None
    zero_point_err: float | None


@dataclass(frozen=True, slots=True)
class Residual:
    """One star of the image: its mean magnitude, and how far this image is from it."""

    mag: float
    residual: float
    error: float | None


class ExposureViewService:
    """Tells of one exposure what its reduction has made.

    Parameters
    ----------
    database
        The tables.
    """

    def __init__(self, *, database: Database) -> None:
        self._database = database

    def sections(self, exposure_id: uuid.UUID, viewer: Viewer) -> list[SectionView]:
        """Steps and products of each section; empty where nothing was tried yet.

        Raises
        ------
        ExposureNotFound
            There is none, or none that the viewer may see.
        """
        with self._database.reading() as session:
            _check_seen(session, exposure_id, viewer)
            runs = session.scalars(
                select(StepRun)
                .where(StepRun.exposure_id == exposure_id)
                .order_by(StepRun.section_id, StepRun.number)
            ).all()
            found: dict[str, SectionView] = {}
            for run in runs:
                section = found.setdefault(run.section_id, SectionView(run.section_id))
                section.steps.append(_step(run))
            _attach(session, found, runs)
        absent = {run.section_id for run in runs if is_absent([run])}
        return [section for name, section in found.items() if name not in absent]

    def sources(self, section: SectionView) -> list[Source]:
        """The sources of a section, the brightest first, at most 1500.

        Raises
        ------
        SourcesMissing
            None were sought, or their table cannot be read.
        """
        if section.sources is None:
            raise SourcesMissing(subject=f"section {section.name}")
        try:
            table = section.sources.table
        except OSError as fault:
            raise SourcesMissing(subject=f"section {section.name}", found=fault) from fault
        flux = np.asarray(table["total_flux"], float)
        chosen = np.argsort(-np.nan_to_num(flux, nan=-np.inf), kind="stable")[:MOST_SOURCES]
        zero = None if section.zero_point is None else section.zero_point.zero_point
        radius = 2.0 * (section.sources.fwhm or 3.0)
        columns = [np.asarray(table[name])[chosen] for name in ("x", "y", "fwhm", "snr", "flags")]
        return [
            Source(
                float(x),
                float(y),
                radius,
                float(fwhm),
                None if zero is None or not light > 0 else float(zero - 2.5 * np.log10(light)),
                float(snr),
                bool(flags),
            )
            for x, y, fwhm, snr, flags, light in zip(*columns, flux[chosen], strict=True)
        ]

    def changes(self, section: SectionView, viewer: Viewer) -> list[Source]:
        """What is kept of that which changed in a section, the most certain first."""
        if section.difference is None:
            return []
        query = (
            select(Measurement)
            .join(MeasurementSet, MeasurementSet.id == Measurement.set_id)
            .join(Image, Image.id == MeasurementSet.image_id)
            .where(
                MeasurementSet.difference_id == section.difference.id,
                Measurement.is_kept.is_(True),
                is_current(Measurement.set_id),
                seen_by(viewer, Measurement.audience_id),
            )
            .order_by(func.abs(Measurement.score).desc(), Measurement.id)
            .limit(MOST_SOURCES)
        )
        with self._database.reading() as session:
            rows = session.scalars(query).all()
        fwhm = 3.0 if section.sources is None else section.sources.fwhm or 3.0
        return [
            Source(row.x, row.y, 2.0 * fwhm, fwhm, row.mag, row.score, row.score < 0)
            for row in rows
        ]

    def trend(
        self, exposure_id: uuid.UUID, section: str, sites: Collection[str] | None
    ) -> list[TrendPoint]:
        """Quality of all exposures of the same observation, in order of time.

        Parameters
        ----------
        sites
            Whose exposures are told; None for all.
        """
        ours = select(Exposure.observation_id).where(Exposure.id == exposure_id)
        with self._database.reading() as session:
            observation = session.scalar(ours)
            if observation is None:
                return []
            query = (
                select(Exposure.id, Exposure.mjd, SourceList, Image.pixel_scale)
                .join(StepRun, StepRun.exposure_id == Exposure.id)
                .join(SourceList, SourceList.id == StepRun.product_id)
                .join(Image, Image.id == SourceList.image_id)
                .where(
                    Exposure.observation_id == observation,
                    StepRun.section_id == section,
                    StepRun.step == "find_sources",
                    StepRun.state == StepState.DONE,
                )
                .order_by(Exposure.mjd)
                .limit(MOST_TREND)
            )
            if sites is not None:
                query = query.where(Exposure.site.in_(sorted(sites)))
            rows = session.execute(query).all()
            zeros = _zero_points(session, [row.id for row in rows], section)
        return [
            TrendPoint(
                row.id,
                row.mjd,
                row.SourceList.fwhm * row.pixel_scale
                if row.SourceList.fwhm and row.pixel_scale
                else None,
                row.SourceList.background,
                *zeros.get(row.id, (None, None)),
            )
            for row in rows
        ]

    def residuals(self, image_id: uuid.UUID, viewer: Viewer) -> list[Residual]:
        """Magnitudes in one image minus each star's mean over its light curve.

        A zero point that is wrong moves all of them, one that varies over the image spreads
        them. Empty before there are light curves.
        """
        with self._database.reading() as session:
            sets = (
                select(Photometry.set_id, LightCurveSet.created_at)
                .join(LightCurveSet, LightCurveSet.id == Photometry.set_id)
                .where(Photometry.image_id == image_id)
                .distinct()
                .order_by(LightCurveSet.created_at.desc())
                .limit(_LATEST_SETS)
            )
            current = [row.set_id for row in session.execute(sets)]
            stars = (
                select(LightCurve.mag, Photometry.mag.label("here"), Photometry.mag_err)
                .join(
                    LightCurve,
                    (LightCurve.set_id == Photometry.set_id)
                    & (LightCurve.object_id == Photometry.object_id),
                )
                .where(
                    Photometry.image_id == image_id,
                    Photometry.set_id.in_(current),
                    Photometry.flags == 0,
                    Photometry.mag.is_not(None),
                    LightCurve.mag.is_not(None),
                    seen_by(viewer, Photometry.audience_id),
                )
                .limit(MOST_RESIDUALS)
            )
            rows = session.execute(stars).all()
        return [
            Residual(row.mag, row.here - row.mag, row.mag_err)
            for row in rows
            if abs(row.here - row.mag) < _FAR
        ]


def _check_seen(session: Session, exposure_id: uuid.UUID, viewer: Viewer) -> None:
    found = session.execute(select(Exposure.site).where(Exposure.id == exposure_id)).first()
    if found is None or not viewer.may("read", found.site):
        raise ExposureNotFound(subject=exposure_id)


def _step(run: StepRun) -> StepView:
    error = None if run.error is None else {key: run.error.get(key) for key in _TOLD}
    return StepView(
        run.step,
        run.state,
        error,
        run.notes or {},
        run.cpu_s,
        run.created_at,
        run.provenance_id,
        run.product_id if run.state == StepState.DONE else None,
    )


def _attach(session: Session, found: dict[str, SectionView], runs: Sequence[StepRun]) -> None:
    """Put the products of the runs to their sections."""
    owner = {
        run.product_id: run.section_id
        for run in runs
        if run.product_id is not None and run.state == StepState.DONE
    }
    for image in _by_ids(session, Image, owner):
        name = "difference" if image.kind == ImageKind.DIFFERENCE.value else "image"
        setattr(found[owner[image.id]], name, image)
    for table, name in (
        (SourceList, "sources"),
        (WorldCoordinates, "wcs"),
        (ZeroPoint, "zero_point"),
    ):
        for row in _by_ids(session, table, owner):
            setattr(found[owner[row.id]], name, row)
    lists = {view.sources.id: view for view in found.values() if view.sources is not None}
    for row in session.scalars(select(Registration).where(Registration.sources_id.in_(lists))):
        lists[row.sources_id].registration = row


def _by_ids(session: Session, table: type[Row], ids: Collection[uuid.UUID]) -> Sequence[Row]:
    return session.scalars(select(table).where(table.id.in_(ids))).all()


def _zero_points(
    session: Session, exposures: Sequence[uuid.UUID], section: str
) -> dict[uuid.UUID, tuple[float, float]]:
    """Zero point and its error by exposure."""
    query = (
        select(StepRun.exposure_id, ZeroPoint.zero_point, ZeroPoint.zero_point_err)
        .join(ZeroPoint, ZeroPoint.id == StepRun.product_id)
        .where(
            StepRun.exposure_id.in_(exposures),
            StepRun.section_id == section,
            StepRun.step == "solve_photometry",
            StepRun.state == StepState.DONE,
        )
    )
    return {which: (zero, error) for which, zero, error in session.execute(query)}
