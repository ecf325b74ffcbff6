"""What the home page shows: the last two nights of each site, what failed, what is new."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from firstlight.instruments.header_values import MJD_EPOCH
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.models.exposure import Exposure
from firstlight.models.exposure_streams import EXPOSURES, opaque
from firstlight.models.night import night_of
from firstlight.models.object import Object
from firstlight.models.photometry import LightCurve, LightCurveSet
from firstlight.models.step_run import StepRun, StepState
from firstlight.services.access import Viewer
from firstlight.services.finding.exposure_forms import ExposureRow
from firstlight.services.finding.search import SearchService
from firstlight.services.finding.search_query import ExposureQuery
from firstlight.services.visibility import seen_by

__all__ = ["Candidate", "FailedStep", "HomeService", "NightCount", "SiteNights"]

_LATEST = 8
_NEW_SETS = 12  # of light curves, among which new candidates are looked for
_CANDIDATES = 12
_FAILURES = 8
_UNSUCCESSFUL = (StepState.FAILED, StepState.TIMED_OUT)


@dataclass(frozen=True, slots=True)
class NightCount:
    """Exposures of one night at one site.

    Attributes
    ----------
    called
        ``tonight``, ``last night``, or empty for an earlier one.
    states
        How many science exposures stand so, by state of the reduction.
    """

    night: date
    called: str
    total: int
    science: int
    states: dict[str, int]


@dataclass(frozen=True, slots=True)
class SiteNights:
    """A site with its two latest nights and its latest exposures, the newest first."""

    site: str
    nights: tuple[NightCount, ...]
    latest: tuple[ExposureRow, ...]


@dataclass(frozen=True, slots=True)
class FailedStep:
    """A step that failed, the latest of its exposure."""

    exposure_id: uuid.UUID
    exposure: str
    site: str | None
    section: str
    step: str
    message: str
    when: datetime


@dataclass(frozen=True, slots=True)
class Candidate:
    """A star whose light curve varies more than its noise.

    Attributes
    ----------
    excess
        Scatter over the scatter that is expected of noise.
    """

    name: str
    ra: float
    dec: float
    mag: float | None
    scatter: float | None
    excess: float | None
    when: datetime


class HomeService:
    """Tells what has happened lately.

    Parameters
    ----------
    database
        The tables.
    search
        Finds the latest exposures.
    clock
        Returns the present, aware.
    """

    def __init__(
        self,
        *,
        database: Database,
        search: SearchService,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._search = search
        self._clock = clock

    def sites(self, viewer_sites: Collection[str] | None) -> list[SiteNights]:
        """All sites with exposures, the one with the newest first."""
        newest = self._search.latest_of_all_sites(viewer_sites, role=None)
        order = sorted(newest.values(), key=lambda row: -row.columns["sort_mjd"])
        found = []
        for row in order:
            site = str(row.columns["site"])
            query = ExposureQuery(site=(site,), collection=("data",))
            latest = self._search.exposures(query, [site], limit=_LATEST).rows
            with self._database.reading() as session:
                found.append(SiteNights(site, self._nights(session, row), latest))
        return found

    def _nights(self, session: Session, newest: ExposureRow) -> tuple[NightCount, ...]:
        """The night of the newest exposure, and the one with exposures before it."""
        site, night = newest.columns["site"], newest.columns["night"]
        longitude = newest.columns["longitude"]
        if night is None:
            return ()
        first = select(func.min(Exposure.sort_mjd)).where(
            Exposure.night == night, Exposure.site == site
        )
        before = session.scalar(
            select(Exposure.night)
            .where(
                Exposure.site == site,
                Exposure.sort_mjd < first.scalar_subquery(),
                Exposure.night.is_not(None),
            )
            .order_by(Exposure.sort_mjd.desc())
            .limit(1)
        )
        nights = [each for each in (night, before) if each is not None]
        return tuple(self._count(session, str(site), each, longitude) for each in nights)

    def _count(
        self, session: Session, site: str, night: date, longitude: float | None
    ) -> NightCount:
        query = (
            select(Exposure.kind, Exposure.reduction_state, func.count())
            .where(
                Exposure.night == night,
                Exposure.site == site,
                # The night tells most; its index is the one to take.
                opaque(EXPOSURES.c.collection) == "data",
            )
            .group_by(Exposure.kind, Exposure.reduction_state)
        )
        total, states = 0, dict[str, int]()
        for kind, state, count in session.execute(query):
            total += count
            if kind == "science":
                states[state] = states.get(state, 0) + count
        now = (self._clock() - MJD_EPOCH) / timedelta(days=1)
        ago = (night_of(now, longitude) - night).days
        called = {0: "tonight", 1: "last night"}.get(ago, "")
        return NightCount(night, called, total, sum(states.values()), states)

    def failures(self, viewer_sites: Collection[str] | None) -> list[FailedStep]:
        """The latest steps that failed, one an exposure."""
        query = (
            select(StepRun, Exposure)
            .join(Exposure, Exposure.id == StepRun.exposure_id)
            .where(StepRun.state.in_(_UNSUCCESSFUL))
            .order_by(StepRun.created_at.desc())
            .limit(4 * _FAILURES)
        )
        if viewer_sites is not None:
            query = query.where(Exposure.site.in_(sorted(viewer_sites)))
        found: dict[uuid.UUID, FailedStep] = {}
        with self._database.reading() as session:
            for run, exposure in session.execute(query):
                found.setdefault(
                    exposure.id,
                    FailedStep(
                        exposure.id,
                        exposure.label or exposure.name,
                        exposure.site,
                        run.section_id,
                        run.step,
                        str((run.error or {}).get("message") or run.state),
                        run.created_at,
                    ),
                )
        return list(found.values())[:_FAILURES]

    def candidates(self, viewer: Viewer) -> list[Candidate]:
        """The most variable stars of the light curves that were made last.

        One that stands in several of them is told once, by its newest.
        """
        newest = (
            select(LightCurveSet.id)
            .where(LightCurveSet.n_stars > 0)
            .order_by(LightCurveSet.created_at.desc())
            .limit(_NEW_SETS)
        )
        query = (
            select(Object.name, Object.ra, Object.dec, LightCurve, LightCurveSet.created_at)
            .join(LightCurve, LightCurve.object_id == Object.id)
            .join(LightCurveSet, LightCurveSet.id == LightCurve.set_id)
            .where(
                LightCurve.set_id.in_(newest),
                LightCurve.is_candidate,
                seen_by(viewer, Object.audience_id),
            )
            .order_by(LightCurveSet.created_at.desc())
        )
        found: dict[str, Candidate] = {}
        with self._database.reading() as session:
            for row in session.execute(query):
                found.setdefault(row.name, _candidate(row))
        return sorted(found.values(), key=lambda each: -(each.excess or 0.0))[:_CANDIDATES]


def _candidate(row: Row[*tuple[Any, ...]]) -> Candidate:
    curve: LightCurve = row.LightCurve
    scatter, expected = curve.scatter, curve.expected_scatter
    excess = scatter / expected if scatter is not None and expected else None
    return Candidate(row.name, row.ra, row.dec, curve.mag, curve.scatter, excess, row.created_at)
