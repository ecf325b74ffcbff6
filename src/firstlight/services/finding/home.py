"""What the home page shows: the last two nights of each site, what failed, what is new."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any, TypeAlias

from sqlalchemy import (
    BindParameter,
    CompoundSelect,
    Row,
    Select,
    bindparam,
    func,
    select,
    union_all,
)
from sqlalchemy.orm import Session, load_only

from firstlight.instruments.header_values import MJD_EPOCH
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.models.exposure import Exposure
from firstlight.models.exposure_streams import EXPOSURES, MAX_MERGED, opaque
from firstlight.models.night import night_of
from firstlight.models.object import Object
from firstlight.models.photometry import LightCurve, LightCurveSet
from firstlight.models.step_run import StepRun, StepState
from firstlight.services.access import Viewer
from firstlight.services.finding.exposure_forms import ExposureRow
from firstlight.services.finding.search import SearchService
from firstlight.services.visibility import seen_by

__all__ = ["Candidate", "FailedStep", "HomeService", "NightCount", "SiteNights"]

_LATEST = 8
_NEW_SETS = 12  # of light curves, among which new candidates are looked for
_CANDIDATES = 12
_FAILURES = 8

_Counted: TypeAlias = list[tuple[str, str, int]]
"""Kind, state of the reduction, and how many."""
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
        newest = self._search.newest_of_all_sites(viewer_sites, _LATEST)
        with self._database.reading() as session:
            before = _nights_before(
                session, {site: _night(rows[0]) for site, rows in newest.items()}
            )
            nights = {
                site: [each for each in (_night(rows[0]), before.get(site)) if each is not None]
                for site, rows in newest.items()
            }
            counts = _counts(session, [(site, each) for site in nights for each in nights[site]])
        found = []
        for site, rows in newest.items():
            where = rows[0].columns["longitude"]
            told = (self._told(each, where, counts[site, each]) for each in nights[site])
            found.append(SiteNights(site, tuple(told), rows))
        return found

    def _told(self, night: date, longitude: float | None, counted: _Counted) -> NightCount:
        states = dict[str, int]()
        for kind, state, count in counted:
            if kind == "science":
                states[state] = states.get(state, 0) + count
        now = (self._clock() - MJD_EPOCH) / timedelta(days=1)
        ago = (night_of(now, longitude) - night).days
        called = {0: "tonight", 1: "last night"}.get(ago, "")
        total = sum(count for _, _, count in counted)
        return NightCount(night, called, total, sum(states.values()), states)

    def failures(self, viewer_sites: Collection[str] | None) -> list[FailedStep]:
        """The latest steps that failed, one an exposure."""
        query = (
            select(StepRun, Exposure)
            .join(Exposure, Exposure.id == StepRun.exposure_id)
            .where(StepRun.state.in_(_UNSUCCESSFUL))
            .order_by(StepRun.created_at.desc())
            .limit(4 * _FAILURES)
            .options(
                load_only(Exposure.label, Exposure.filename, Exposure.base_filename, Exposure.site)
            )
        )
        if viewer_sites is not None:
            query = query.where(Exposure.site.in_(sorted(viewer_sites)))
        found: dict[uuid.UUID, FailedStep] = {}
        with self._database.reading() as session:
            for run, exposure in session.execute(query):
                found.setdefault(
                    run.exposure_id,
                    FailedStep(
                        run.exposure_id,
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


def _night(newest: ExposureRow) -> date | None:
    night: date | None = newest.columns["night"]
    return night


def _nights_before(session: Session, nights: Mapping[str, date | None]) -> dict[str, date]:
    """Of each site the latest night with exposures before the one that is given."""
    known = [(site, night) for site, night in nights.items() if night is not None]
    return {row.site: row.night for row in _of_each(session, _one_before, known)}


def _counts(
    session: Session, nights: Sequence[tuple[str, date]]
) -> dict[tuple[str, date], _Counted]:
    """How many exposures of each night at a site there are, by kind and state."""
    found: dict[tuple[str, date], _Counted] = {each: [] for each in nights}
    for row in _of_each(session, _counted, nights):
        found[row.site, row.night].append((row.kind, row.reduction_state, row.n))
    return found


_Asks: TypeAlias = Callable[[BindParameter[str], BindParameter[date]], Select[*tuple[Any, ...]]]
"""What makes the query for one site and night."""


def _of_each(
    session: Session, ask: _Asks, nights: Sequence[tuple[str, date]]
) -> Iterator[Row[*tuple[Any, ...]]]:
    """What there is for each night at a site, in few statements."""
    for start in range(0, len(nights), MAX_MERGED):
        some = nights[start : start + MAX_MERGED]
        given: dict[str, str | date] = {f"site_{n}": site for n, (site, _) in enumerate(some)}
        given.update({f"night_{n}": night for n, (_, night) in enumerate(some)})
        yield from session.execute(_united(ask, len(some)), given)


@lru_cache(maxsize=64)
def _united(ask: _Asks, count: int) -> CompoundSelect[*tuple[Any, ...]]:
    """One statement for so many nights: to build it takes longer than to execute it."""
    return union_all(*(ask(bindparam(f"site_{n}"), bindparam(f"night_{n}")) for n in range(count)))


def _one_before(site: BindParameter[str], night: BindParameter[date]) -> Select[str, date]:
    first = select(func.min(Exposure.sort_mjd)).where(
        Exposure.night == night, Exposure.site == site
    )
    before = (
        select(Exposure.site, Exposure.night)
        .where(
            Exposure.site == site,
            Exposure.sort_mjd < first.scalar_subquery(),
            Exposure.night.is_not(None),
        )
        .order_by(Exposure.sort_mjd.desc())
        .limit(1)
    )
    return select(before.subquery())


def _counted(site: BindParameter[str], night: BindParameter[date]) -> Select[*tuple[Any, ...]]:
    by = (Exposure.site, Exposure.night, Exposure.kind, Exposure.reduction_state)
    return (
        select(*by, func.count().label("n"))
        .where(
            Exposure.night == night,
            Exposure.site == site,
            # The night tells most; its index is the one to take.
            opaque(EXPOSURES.c.collection) == "data",
        )
        .group_by(*by)
    )


def _candidate(row: Row[*tuple[Any, ...]]) -> Candidate:
    curve: LightCurve = row.LightCurve
    scatter, expected = curve.scatter, curve.expected_scatter
    excess = scatter / expected if scatter is not None and expected else None
    return Candidate(row.name, row.ra, row.dec, curve.mag, curve.scatter, excess, row.created_at)
