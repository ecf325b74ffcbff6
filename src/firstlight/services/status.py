"""Status: what stands where, one entry an exposure."""

from __future__ import annotations

import statistics
import uuid
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from firstlight.models.arrival import Arrival, ArrivalState
from firstlight.models.astrometry import Registration, WorldCoordinates
from firstlight.models.database import Database
from firstlight.models.exposure import Exposure
from firstlight.models.image import Image, ImageInput
from firstlight.models.sources import SourceList
from firstlight.models.step_run import StepRun, StepState, is_absent
from firstlight.models.zero_point import ZeroPoint

__all__ = ["ExposureStatus", "SectionStatus", "StatusService"]

ARCHIVED = "archived"
# Which state speaks for the whole when its parts differ: the first of these that occurs.
LOUDEST = (
    StepState.FAILED,
    StepState.TIMED_OUT,
    StepState.CANCELLED,
    StepState.RUNNING,
    StepState.QUEUED,
    StepState.SKIPPED,
    StepState.DONE,
)


@dataclass
class SectionStatus:
    """Where one section stands; numbers are ``None`` until their step is done."""

    section: str
    state: str
    steps: dict[str, dict[str, Any]]
    fwhm_arcsec: float | None = None
    astrometric_rms_arcsec: float | None = None
    n_sources: int | None = None
    n_matched: int | None = None
    zero_point: float | None = None
    zero_point_err: float | None = None
    limiting_magnitude: float | None = None
    registration: dict[str, Any] | None = None
    """Where the section was not solved: on which image it lies, and how well."""
    error: dict[str, Any] | None = None


@dataclass
class ExposureStatus:
    """Where one exposure stands: the loudest state and the medians of its sections."""

    exposure: str
    exposure_id: str | None
    kind: str | None
    instrument: str | None
    filter: str | None
    target: str | None
    mjd: float | None
    state: str
    steps: dict[str, dict[str, Any]] = field(default_factory=dict)
    fwhm_arcsec: float | None = None
    astrometric_rms_arcsec: float | None = None
    n_matched: int | None = None
    zero_point: float | None = None
    zero_point_err: float | None = None
    error: dict[str, Any] | None = None
    sections: list[SectionStatus] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


class StatusService:
    """Tells what stands where.

    Parameters
    ----------
    database
        The tables.
    """

    def __init__(self, *, database: Database) -> None:
        self._database = database

    def exposures(self) -> list[ExposureStatus]:
        """All exposures by time, then the arrivals that were refused."""
        with self._database.reading() as session:
            rows = session.scalars(select(Exposure).order_by(Exposure.mjd, Exposure.filename))
            sections = _sections(session)
            used = set(session.scalars(select(ImageInput.input_exposure_id).distinct()))
            entries = [_exposure(row, sections.get(row.id, []), row.id in used) for row in rows]
            refused = session.scalars(
                select(Arrival)
                .where(Arrival.state == ArrivalState.QUARANTINED)
                .order_by(Arrival.source)
            )
            return entries + [_refused(arrival) for arrival in refused]


def _exposure(row: Exposure, sections: list[SectionStatus], used: bool) -> ExposureStatus:
    entry = ExposureStatus(
        exposure=row.name,
        exposure_id=str(row.id),
        kind=row.kind,
        instrument=row.instrument,
        filter=row.filter or "+".join(row.filter_array or []) or None,
        target=row.target,
        mjd=row.mjd,
        state=StepState.QUEUED.value,
        sections=sections,
    )
    if row.kind != "science":
        entry.state = StepState.DONE.value if used else ARCHIVED
        return entry
    if not sections:
        return entry
    entry.state = _loudest(section.state for section in sections)
    for name in sections[0].steps:
        parts = [section.steps[name] for section in sections if name in section.steps]
        state = _loudest(part["state"] for part in parts)
        entry.steps[name] = next(part for part in parts if part["state"] == state)
    for number in ("fwhm_arcsec", "astrometric_rms_arcsec", "zero_point", "zero_point_err"):
        setattr(entry, number, _median(getattr(section, number) for section in sections))
    matched = [section.n_matched for section in sections if section.n_matched is not None]
    entry.n_matched = sum(matched) if matched else None
    entry.error = next((section.error for section in sections if section.error), None)
    return entry


def _refused(arrival: Arrival) -> ExposureStatus:
    return ExposureStatus(
        exposure=arrival.source.rsplit("/", 1)[-1],
        exposure_id=None,
        kind=None,
        instrument=None,
        filter=None,
        target=None,
        mjd=None,
        state=arrival.state,
        error=arrival.error,
    )


def _sections(session: Session) -> dict[uuid.UUID, list[SectionStatus]]:
    runs: dict[tuple[uuid.UUID, str], list[StepRun]] = defaultdict(list)
    for run in session.scalars(select(StepRun).order_by(StepRun.number)):
        runs[run.exposure_id, run.section_id].append(run)
    products = _Products(session)
    found: dict[uuid.UUID, list[SectionStatus]] = defaultdict(list)
    for (exposure_id, section_id), steps in sorted(runs.items(), key=lambda item: item[0][1]):
        if not is_absent(steps):
            found[exposure_id].append(_section(section_id, steps, products))
    return found


class _Products:
    """All products that step runs may point at, by id: a handful of queries, not thousands."""

    def __init__(self, session: Session) -> None:
        self.images = {row.id: row for row in session.scalars(select(Image))}
        self.sources = {row.id: row for row in session.scalars(select(SourceList))}
        self.wcs = {row.id: row for row in session.scalars(select(WorldCoordinates))}
        self.zero_points = {row.id: row for row in session.scalars(select(ZeroPoint))}
        self.registrations = {row.sources_id: row for row in session.scalars(select(Registration))}


def _section(section_id: str, steps: list[StepRun], products: _Products) -> SectionStatus:
    ids = [run.product_id for run in steps if run.product_id and run.state == StepState.DONE]
    entry = SectionStatus(
        section=section_id,
        state=_loudest(run.state for run in steps),
        steps={
            run.step: {
                "state": run.state,
                "error": run.error,
                "notes": run.notes,
                "cpu_s": run.cpu_s,
                "provenance_id": run.provenance_id,
                "product_id": str(run.product_id),
            }
            for run in steps
        },
        error=next((run.error for run in steps if run.error), None),
    )
    image = next((products.images[i] for i in ids if i in products.images), None)
    sources = next((products.sources[i] for i in ids if i in products.sources), None)
    wcs = next((products.wcs[i] for i in ids if i in products.wcs), None)
    zero_point = next((products.zero_points[i] for i in ids if i in products.zero_points), None)
    scale = wcs.pixel_scale if wcs else (image.pixel_scale if image else None)
    if sources is not None:
        entry.n_sources = sources.n_sources
        entry.fwhm_arcsec = sources.fwhm * scale if sources.fwhm and scale else None
        entry.registration = _registration(products.registrations.get(sources.id))
    if wcs is not None:
        entry.astrometric_rms_arcsec = wcs.rms_arcsec
        entry.n_matched = wcs.n_matched
    if zero_point is not None:
        entry.zero_point = zero_point.zero_point
        entry.zero_point_err = zero_point.zero_point_err
        entry.limiting_magnitude = zero_point.limiting_magnitude
    return entry


def _registration(row: Registration | None) -> dict[str, Any] | None:
    if row is None:
        return None
    return {
        "reference_sources_id": str(row.reference_sources_id),
        "rms_pixels": row.rms_pixels,
        "n_matched": row.n_matched,
        "matrix": row.matrix,
    }


def _loudest(states: Iterable[str]) -> str:
    present = set(states)
    return next((state.value for state in LOUDEST if state in present), StepState.DONE.value)


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
