"""Which observations are wanted, as SQL on observations and the exposures that belong to them."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from datetime import date, timedelta
from typing import Any, TypeAlias

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from sqlalchemy import ColumnElement, Select, and_, case, func, or_, select
from sqlalchemy.orm import Session, aliased

from firstlight.algorithms.sky.sky_index import angular_separation
from firstlight.errors import InvalidInput
from firstlight.models.base import utc_now
from firstlight.models.exposure import Exposure
from firstlight.models.observation import Observation
from firstlight.models.sky_search import in_ranges

__all__ = [
    "STATUSES",
    "ObservationQuery",
    "Place",
    "at_sites",
    "behind",
    "conditions",
    "counted",
    "cursor_of",
    "observations_near",
    "of_groups",
    "read_cursor",
]

STATUSES = ("received", "partial", "done", "failed")
"""Nothing reduced yet; some exposures reduced wholly; all; none, and all were tried."""

LONGEST_PAGE = 1000
Place: TypeAlias = tuple[date, uuid.UUID]
# Another look at the table whose rows are counted, so that a condition leaves all of them in.
_Member = aliased(Exposure)


class ObservationQuery(BaseModel):
    """Which observations are wanted; all conditions hold together."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    days: int | None = Field(default=None, ge=1, le=36_525)
    """Of the last so many nights."""
    since: date | None = None
    """First night."""
    until: date | None = None
    """Last night."""
    min_images: int = Field(default=1, ge=1)
    """Fewest exposures."""
    unit: str | None = None
    """Site, unit or telescope, as `ObservationService.find` tells it."""
    field: str | None = None
    """Part of the target's name, in any case."""
    status: str | None = None
    """One of `STATUSES`."""
    ra: float | None = Field(default=None, ge=0, le=360)
    """Degrees; with `dec` and `radius`."""
    dec: float | None = Field(default=None, ge=-90, le=90)
    """Degrees."""
    radius: float | None = Field(default=None, gt=0, le=180)
    """Degrees around the pointing of any of the exposures."""
    limit: int = Field(default=100, ge=1, le=LONGEST_PAGE)
    """Most observations of one page."""
    cursor: str | None = None
    """`ObservationPage.next` of the page before."""

    @model_validator(mode="after")
    def _check(self) -> ObservationQuery:
        if len({self.ra is None, self.dec is None, self.radius is None}) != 1:
            raise ValueError("ra, dec and radius come together")
        if self.status is not None and self.status not in STATUSES:
            raise ValueError(f"status is one of {', '.join(STATUSES)}")
        return self

    @classmethod
    def of(cls, **conditions: Any) -> ObservationQuery:
        """Make a query from what a person gave.

        Raises
        ------
        InvalidInput
            A condition is unknown or makes no sense; it is named.
        """
        try:
            return cls(**conditions)
        except ValidationError as fault:
            first = fault.errors()[0]
            raise InvalidInput(
                field=".".join(map(str, first["loc"])) or None,
                found=repr(first["input"]) if first["loc"] else None,
                expected=first["msg"],
            ) from fault


def counted() -> Select[*tuple[Any, ...]]:
    """Observations with the counts of `_Counted`; those without exposures are left out."""
    return (
        select(
            Observation,
            func.count(Exposure.id),
            func.coalesce(func.sum(Exposure.exp_time), 0.0),
            func.min(Exposure.sort_mjd),
            _number_with("done"),
            _number_with("done", "partial", "failed"),
        )
        .join(Exposure, Exposure.observation_id == Observation.id)
        .group_by(Observation.id)
    )


def _number_with(*states: str) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((Exposure.reduction_state.in_(states), 1), else_=0)), 0)


def conditions(query: ObservationQuery, sites: Collection[str] | None) -> list[ColumnElement[bool]]:
    """What can be told of the observation itself."""
    chosen = at_sites(sites)
    since = [query.since] if query.since is not None else []
    if query.days is not None:
        since.append(utc_now().date() - timedelta(days=query.days))
    if since:
        chosen.append(Observation.night >= max(since))
    if query.until is not None:
        chosen.append(Observation.night <= query.until)
    if query.field is not None:
        chosen.append(Observation.target.icontains(query.field, autoescape=True))
    if query.unit is not None:
        chosen.append(_of_unit(query.unit))
    return chosen


def behind(place: Place) -> ColumnElement[bool]:
    """What comes after a place in the list: the newest night first, then by id."""
    night, last = place
    return or_(Observation.night < night, and_(Observation.night == night, Observation.id > last))


def _of_unit(unit: str) -> ColumnElement[bool]:
    some = select(_Member.id).where(
        _Member.observation_id == Observation.id,
        or_(_Member.site == unit, and_(_Member.site.is_(None), _Member.telescope == unit)),
    )
    return or_(
        Observation.sequence.startswith(f"{unit}_", autoescape=True),
        Observation.site == unit,
        some.exists(),
    )


def at_sites(sites: Collection[str] | None) -> list[ColumnElement[bool]]:
    """Only observations with an exposure at one of the sites; no condition for ``None``."""
    if sites is None:
        return []
    some = select(_Member.id).where(
        _Member.observation_id == Observation.id, _Member.site.in_(sorted(sites))
    )
    return [some.exists()]


def of_groups(query: ObservationQuery) -> list[ColumnElement[bool]]:
    """What can be told of the exposures together."""
    chosen: list[ColumnElement[bool]] = [func.count(Exposure.id) >= query.min_images]
    if query.status is not None:
        chosen.append(_has_status(query.status))
    return chosen


def _has_status(status: str) -> ColumnElement[bool]:
    count = func.count(Exposure.id)
    done, tried = _number_with("done"), _number_with("done", "partial", "failed")
    failed = and_(done == 0, tried == count)
    of: dict[str, ColumnElement[bool]] = {
        "done": done == count,
        "received": tried == 0,
        "failed": failed,
        "partial": and_(done < count, tried > 0, ~failed),
    }
    return of[status]


def observations_near(session: Session, query: ObservationQuery) -> set[uuid.UUID] | None:
    """Ids of observations with an exposure in the cone; None where no cone is asked for."""
    if query.ra is None or query.dec is None or query.radius is None:
        return None
    statement = select(Exposure.observation_id, Exposure.ra, Exposure.dec).where(
        in_ranges(Exposure, query.ra, query.dec, query.radius),
        Exposure.observation_id.is_not(None),
    )
    rows = session.execute(statement.distinct()).all()
    if not rows:
        return set()
    ids, ra, dec = zip(*rows, strict=True)
    apart = angular_separation(query.ra, query.dec, np.array(ra, float), np.array(dec, float))
    return {each for each, near in zip(ids, apart <= query.radius, strict=True) if near}


def cursor_of(row: Observation) -> str:
    """Name the place of this observation in the list."""
    return f"{row.night.isoformat()}_{row.id.hex}"


def read_cursor(cursor: str) -> Place:
    """Return the place that a cursor names."""
    night, _, last = cursor.partition("_")
    try:
        return date.fromisoformat(night), uuid.UUID(last)
    except ValueError as fault:
        raise InvalidInput(
            field="cursor", found=repr(cursor), expected="`next` of a page before"
        ) from fault
