"""Pieces of a search among exposures: streams that come newest first, and gatherings.

No planner knows how many exposures match a search, nor that a filter was given up years ago,
so none is asked to choose. Each piece is written so that one index can serve it. SQLite takes
the name of the index. PostgreSQL cannot be told, so there a stream compares whole rows of the
index's columns and is ordered by all of them, and a condition that must not lead to another
index is wrapped in `opaque`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import (
    ARRAY,
    CTE,
    ColumnElement,
    CompoundSelect,
    Select,
    String,
    Subquery,
    Table,
    and_,
    column,
    func,
    literal,
    or_,
    select,
    text,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.orm import Session

from firstlight.models.database import check_apart
from firstlight.models.exposure import Exposure
from firstlight.models.exposure_file import ExposureCard

__all__ = [
    "EVER",
    "EXPOSURES",
    "MAX_MERGED",
    "CardStream",
    "Gathering",
    "Key",
    "Stream",
    "Stretch",
    "counted",
    "distinct_sites",
    "first_of_each",
    "is_postgres",
    "merged",
    "newest",
    "opaque",
    "sites_of_exposures",
    "steady",
]

EXPOSURES: Table = Exposure.__table__  # type: ignore[assignment]  # it is a Table
CARDS: Table = ExposureCard.__table__  # type: ignore[assignment]  # likewise

Key: TypeAlias = tuple[float, uuid.UUID]
"""Place of an exposure in every list: `sort_mjd` and id, the largest first."""

Condition: TypeAlias = ColumnElement[bool]
Keys: TypeAlias = Select[tuple[float, uuid.UUID]]

# One statement merges so many streams at most; SQLite allows 500.
MAX_MERGED = 100
# Before and after every exposure, and still a number to both databases.
EVER = 1e300

# Rows must come from the indexes that the queries are written for, in their order. Plans made
# once for all values would be made for none of these.
_STEADY = text(
    "SELECT set_config('enable_seqscan', 'off', true),"
    " set_config('enable_bitmapscan', 'off', true),"
    " set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),"
    " set_config('enable_sort', 'off', true), set_config('jit', 'off', true),"
    " set_config('max_parallel_workers_per_gather', '0', true),"
    " set_config('plan_cache_mode', 'force_custom_plan', true)"
)


def is_postgres(session: Session) -> bool:
    """Whether the session speaks to PostgreSQL."""
    return session.get_bind().dialect.name == "postgresql"


def steady(session: Session) -> None:
    """Make the plans of this transaction follow the way the queries are written.

    Other queries would have bad ones: a search reads apart, see `Database.reading`.
    """
    check_apart(session)
    if is_postgres(session):
        session.execute(_STEADY)


def opaque(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """The value of a column, which no index is known for."""
    return func.coalesce(column, column, type_=column.type)


@dataclass(frozen=True)
class Stretch:
    """A part of the list of all exposures.

    Attributes
    ----------
    first, last
        `sort_mjd` from `first` on and before `last`.
    after
        Only what comes after this key, in the order of lists.
    """

    first: float = -EVER
    last: float = EVER
    after: Key | None = None

    @property
    def top(self) -> tuple[float] | Key:
        """What every key of the stretch is below."""
        if self.after is not None and self.after[0] < self.last:
            return self.after
        return (self.last,)

    def conditions(self, mjd: ColumnElement[float], key: ColumnElement[Any]) -> list[Condition]:
        """The stretch for columns that no index is needed for."""
        found: list[Condition] = []
        if self.first > -EVER:
            found.append(opaque(mjd) >= self.first)
        if len(self.top) == 2:
            when, which = self.top
            found.append(or_(opaque(mjd) < when, and_(opaque(mjd) == when, opaque(key) < which)))
        elif self.last < EVER:
            found.append(opaque(mjd) < self.last)
        return found


@dataclass(frozen=True)
class Stream:
    """Exposures with some values, newest first, from one index and nothing else.

    Attributes
    ----------
    index
        Name of an index on the columns of `values`, then `sort_mjd` and the id.
    values
        Name and value of the columns; only the last may be None.
    """

    index: str
    values: tuple[tuple[str, Any], ...] = ()

    def keys(
        self, session: Session, stretch: Stretch, limit: int, residual: Sequence[Condition] = ()
    ) -> Keys:
        """Select the first keys for which the residual conditions hold."""
        mjd, key = EXPOSURES.c.sort_mjd, EXPOSURES.c.id
        chosen = select(mjd, key).limit(limit)
        if residual:
            chosen = chosen.where(*residual)
        columns = [EXPOSURES.c[name] for name, _ in self.values]
        given = [value for _, value in self.values]
        if is_postgres(session):
            return _of_index(chosen, (columns, given), (mjd, key), stretch)
        chosen = chosen.with_hint(EXPOSURES, f"INDEXED BY {self.index}", "sqlite")
        equal = [
            column.is_(None) if value is None else column == value
            for column, value in zip(columns, given, strict=True)
        ]
        return _in_order(chosen.where(*equal), (mjd, key), stretch)

    @property
    def site(self) -> str | None:
        """The site all its exposures are of, where it is the last of the values."""
        name, value = self.values[-1] if self.values else ("", None)
        return value if name == "site" else None

    def keys_of_sites(
        self, sites: Sequence[str], stretch: Stretch, limit: int, residual: Sequence[Condition]
    ) -> Keys:
        """Select, on PostgreSQL, the first keys of each site; the stream itself names none."""
        mjd, key, site = EXPOSURES.c.sort_mjd, EXPOSURES.c.id, EXPOSURES.c.site
        names = func.unnest(literal(list(sites), ARRAY(String)))
        each = names.table_valued(column("v", String)).render_derived(name="sites")
        columns = [*(EXPOSURES.c[name] for name, _ in self.values), site]
        given = [*(value for _, value in self.values), each.c.v]
        chosen = select(mjd, key).where(*residual) if residual else select(mjd, key)
        ordered = _of_index(chosen.limit(limit), (columns, given), (mjd, key), stretch)
        found = ordered.correlate(each).lateral("found")
        return select(found.c.sort_mjd, found.c.id).select_from(each.join(found, true()))


@dataclass(frozen=True)
class CardStream:
    """Exposures with a card in their header, newest first."""

    card: int

    def keys(
        self, session: Session, stretch: Stretch, limit: int, residual: Sequence[Condition] = ()
    ) -> Keys:
        """Select the first keys for which the residual conditions hold."""
        mjd, key = CARDS.c.sort_mjd, CARDS.c.exposure_id
        chosen = select(mjd, key.label("id")).limit(limit)
        if residual:
            # A subquery with a value is never made into a join, which would have an order.
            there = select(literal(1)).where(EXPOSURES.c.id == key, *residual).correlate(CARDS)
            chosen = chosen.where(there.scalar_subquery().is_not(None))
        if is_postgres(session):
            return _of_index(chosen, ([CARDS.c.card], [self.card]), (mjd, key), stretch)
        return _in_order(chosen.where(CARDS.c.card == self.card), (mjd, key), stretch)


def _in_order(
    chosen: Select[Any],
    order: tuple[ColumnElement[float], ColumnElement[Any]],
    stretch: Stretch,
) -> Select[Any]:
    """Newest first, within the stretch."""
    mjd, key = order
    if stretch.first > -EVER:
        chosen = chosen.where(mjd >= stretch.first)
    top = stretch.top
    if len(top) == 2:
        chosen = chosen.where(tuple_(mjd, key) < _row((mjd, key), top))
    elif stretch.last < EVER:
        chosen = chosen.where(mjd < stretch.last)
    return chosen.order_by(mjd.desc(), key.desc())


def _of_index(
    chosen: Select[Any],
    values: tuple[Sequence[ColumnElement[Any]], Sequence[Any]],
    order: tuple[ColumnElement[float], ColumnElement[Any]],
    stretch: Stretch,
) -> Select[Any]:
    """The same for PostgreSQL: between two rows of the index, in the order of its columns."""
    columns, given = values
    if given and given[-1] is None:
        # No row with NULL compares. This order too is that of one index (or of that of the
        # site alone, which then is no longer).
        equal = [c == value for c, value in zip(columns[:-1], given[:-1], strict=True)]
        chosen = chosen.where(*equal, columns[-1].is_(None)).order_by(columns[-1].desc())
        return _in_order(chosen, order, stretch)
    mjd, key = order
    top = stretch.top
    above = (*columns, mjd, key)[: len(given) + len(top)]
    below = (*columns, mjd)
    return chosen.where(
        tuple_(*above) < _row(above, (*given, *top)),
        tuple_(*below) >= _row(below, (*given, stretch.first)),
    ).order_by(*(column.desc() for column in (*columns, mjd, key)))


def _row(columns: Sequence[ColumnElement[Any]], values: Sequence[Any]) -> ColumnElement[Any]:
    return tuple_(
        *(
            value if isinstance(value, ColumnElement) else literal(value, column.type)
            for column, value in zip(columns, values, strict=True)
        )
    )


@dataclass(frozen=True)
class Gathering:
    """Exposures from somewhere in an index that is not in the order of lists.

    Attributes
    ----------
    index
        Its name.
    ranges
        Half-open ranges of `column`; None for no upper bound.
    equal
        Values instead of ranges.
    condition
        A further condition on columns of the index.
    """

    index: str
    column: str
    ranges: tuple[tuple[Any, Any], ...] = ()
    equal: tuple[Any, ...] = ()
    condition: Condition | None = None

    def keys(
        self, session: Session, stretch: Stretch, limit: int | None, residual: Sequence[Condition]
    ) -> Subquery:
        """Select keys in any order, at most so many."""
        mjd, key = EXPOSURES.c.sort_mjd, EXPOSURES.c.id
        more = [*stretch.conditions(mjd, key), *residual]
        if self.condition is not None:
            more.append(self.condition)
        chosen = select(self._all(session, more))
        # Without a limit, OFFSET 0 keeps PostgreSQL from sorting by another index from within.
        return (chosen.offset(0) if limit is None else chosen.limit(limit)).subquery()

    def count(self, session: Session, at_most: int) -> int:
        """How many have to be looked at, whatever else is sought; counted so far at most."""
        some = select(self._all(session, ())).limit(at_most).subquery()
        return session.scalar(select(func.count()).select_from(some)) or 0

    def _all(self, session: Session, more: Sequence[Condition]) -> Subquery:
        parts = [self._part(session, [*each, *more]) for each in self._wheres(session)]
        return (parts[0] if len(parts) == 1 else union_all(*parts)).subquery()

    def _part(self, session: Session, where: Sequence[Condition]) -> Keys:
        chosen = select(EXPOSURES.c.sort_mjd, EXPOSURES.c.id).where(*where)
        if is_postgres(session):
            return chosen
        return chosen.with_hint(EXPOSURES, f"INDEXED BY {self.index}", "sqlite")

    def _wheres(self, session: Session) -> list[list[Condition]]:
        column = EXPOSURES.c[self.column]
        if self.equal:
            return [[column == value] for value in self.equal]
        # The index of labels is in the order of bytes, which PostgreSQL has operators for.
        by_bytes = self.column == "label" and is_postgres(session)
        at_least, below = ("~>=~", "~<~") if by_bytes else (">=", "<")
        return [
            [column.op(at_least, is_comparison=True)(literal(low, column.type))]
            + (
                []
                if high is None
                else [column.op(below, is_comparison=True)(literal(high, column.type))]
            )
            for low, high in self.ranges
        ]


def newest(keys: Subquery, limit: int) -> Keys:
    """Sort gathered keys."""
    return (
        select(keys.c.sort_mjd, keys.c.id)
        .order_by(keys.c.sort_mjd.desc(), keys.c.id.desc())
        .limit(limit)
    )


def merged(
    session: Session,
    streams: Sequence[Stream | CardStream],
    stretch: Stretch,
    limit: int,
    residual: Sequence[Condition] = (),
) -> list[Key]:
    """The first keys of several streams together. Streams have no key in common."""
    found: list[Key] = []
    parts = _parts(session, streams, stretch, limit, residual)
    for together in _united(parts):
        # One stream is in order already; one part may be of many.
        statement = newest(together.subquery(), limit) if len(streams) > 1 else together
        found += [(row.sort_mjd, row.id) for row in session.execute(statement)]
    if len(parts) > MAX_MERGED:
        found.sort(reverse=True)
    return found[:limit]


def first_of_each(
    session: Session, streams: Sequence[Stream], stretch: Stretch, limit: int
) -> list[Key]:
    """The first keys of each of several streams, newest first. They have no key in common."""
    parts = _parts(session, streams, stretch, limit, ())
    rows = [row for together in _united(parts) for row in session.execute(together)]
    return sorted(((row.sort_mjd, row.id) for row in rows), reverse=True)


def _united(parts: Sequence[Keys]) -> Iterator[Keys | CompoundSelect[float, uuid.UUID]]:
    """Statements with all parts, as many in one as the databases take."""
    for start in range(0, len(parts), MAX_MERGED):
        some = parts[start : start + MAX_MERGED]
        yield union_all(*some) if len(some) > 1 else some[0]


def counted(
    session: Session,
    streams: Sequence[Stream | CardStream],
    stretch: Stretch,
    at_most: int,
    residual: Sequence[Condition] = (),
) -> int:
    """How many keys streams have, counted no further than `at_most`."""
    total = 0
    parts = _parts(session, streams, stretch, at_most, residual)
    for start in range(0, len(parts), MAX_MERGED):
        keys = union_all(*parts[start : start + MAX_MERGED]).limit(at_most - total).subquery()
        total += session.scalar(select(func.count()).select_from(keys)) or 0
        if total >= at_most:
            break
    return total


def _parts(
    session: Session,
    streams: Sequence[Stream | CardStream],
    stretch: Stretch,
    limit: int,
    residual: Sequence[Condition],
) -> list[Keys]:
    """What to merge, each part with its own limit and in a form that a union takes."""
    parts: list[Keys] = []
    by_site: dict[Stream, list[str]] = {}
    for each in streams:
        if is_postgres(session) and isinstance(each, Stream) and each.site is not None:
            # The plan of one statement for all sites takes less time than one for each.
            by_site.setdefault(Stream(each.index, each.values[:-1]), []).append(each.site)
        else:
            parts.append(select(each.keys(session, stretch, limit, residual).subquery()))
    for common, sites in by_site.items():
        parts.append(common.keys_of_sites(sites, stretch, limit, residual))
    return parts


def distinct_sites() -> CTE:
    """The sites that exposures have, as the column `v` of a statement's part.

    From one name of the index to the next, without a look at each row.
    """
    column = EXPOSURES.c.site
    least = func.min(column, type_=column.type)
    steps = select(least.label("v")).cte("steps", recursive=True)
    following = select(least).where(column > steps.c.v).correlate(steps).scalar_subquery()
    return steps.union_all(select(following).where(steps.c.v.is_not(None)))


def sites_of_exposures(session: Session) -> list[str]:
    """The sites that exposures have, in order."""
    steps = distinct_sites()
    return list(session.scalars(select(steps.c.v).where(steps.c.v.is_not(None))))
