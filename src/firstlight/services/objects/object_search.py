"""The SQL of lists of objects: what is sought, in which order, from where on.

A list begins where its order does: the index of the order is walked for a little. Most lists have
a page full by then. Where it is not, the ways that other indexes offer are looked at, counted no
further than that. Where one leads to few objects, these are gathered and sorted; otherwise the walk
goes on.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select, text, tuple_
from sqlalchemy.orm import Session

from firstlight.models.database import check_apart
from firstlight.models.exposure_streams import is_postgres, opaque
from firstlight.models.object import Object, PhotometrySummary, SavedObject
from firstlight.services.access import Viewer
from firstlight.services.objects.object_conditions import (
    OBJECT,
    OBJECT_ID,
    SUMMARY,
    Condition,
    Sought,
    Way,
    is_there,
    named,
)
from firstlight.services.objects.object_parts import own_audiences
from firstlight.services.objects.object_query import Mark, ObjectQuery, Order
from firstlight.services.objects.saved_objects import ENTRY, SavedWhen

__all__ = ["ObjectSearch"]

# So many are read and sorted in a few hundredths of a second.
FEW = 10_000
# So many are looked at in order before other ways are.
NEXT = 1_000
_PORTION = 2_000
_FAR = (40_000, 160_000)
_NEARER = (20_000,)
# How often a place far down is sought.
_GUESSES = 4
_JUDGED_AT_ONCE, _FEW_MORE = 500, 20
# The server hands over no more rows than are fetched.
_AS_WANTED = {"stream_results": True, "max_row_buffer": 1}
_MOST_NAMES = 2_000
_OF_OBJECTS = {"name", "ra", "dec", "redshift", "created_at"}
_OF_SUMMARIES = {
    "n_points": "n_points",
    "last_detected": "last_detected_mjd",
    "last_mag": "last_detected_mag",
    "peak_mag": "peak_mag",
    "mean_mag": "mean_mag",
}
_NEVER_NULL = {"name", "ra", "dec", "created_at", "saved_at"}
# Plans that follow the way the queries are written; compiling one takes longer than running it.
_CALM = text(
    "SELECT set_config('jit', 'off', true), set_config('enable_seqscan', 'off', true),"
    " set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true),"
    " set_config('enable_material', 'off', true),"
    " set_config('max_parallel_workers_per_gather', '0', true),"
    " set_config('plan_cache_mode', 'force_custom_plan', true)"
)
# What is walked comes in the order of its index; what is gathered is sorted.
_SORTING = text(
    "SELECT set_config('enable_sort', :sort, true), set_config('enable_bitmapscan', :sort, true)"
)

Found = list[tuple[Mark, Sequence[Any]]]


@dataclass(frozen=True)
class _Listed:
    """Objects in an order, not yet sorted: ids, and by what they are sorted.

    Attributes
    ----------
    key
        None where they are sorted by their ids alone.
    gathered
        Whether they are to be sorted, no index having them in this order.
    """

    statement: Select[Any]
    ident: ColumnElement[uuid.UUID]
    key: ColumnElement[Any] | None
    gathered: bool = False

    @property
    def keys(self) -> list[ColumnElement[Any]]:
        """What they are sorted by."""
        return [self.ident] if self.key is None else [self.key, self.ident]

    def sorted(self, order: Order) -> Select[Any]:
        """The list in its order."""
        ends = [key.desc() if order.descending else key.asc() for key in self.keys]
        return self.statement.order_by(*ends)

    def after(self, order: Order, mark: Mark | None) -> _Listed:
        """The part behind a place."""
        if mark is None:
            return self
        here, there = self._place(mark)
        return self.where(here < there if order.descending else here > there)

    def up_to(self, order: Order, mark: Mark) -> _Listed:
        """The part up to a place, with it."""
        here, there = self._place(mark)
        return self.where(here >= there if order.descending else here <= there)

    def _place(self, mark: Mark) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
        place = [mark.ident] if self.key is None else [mark.value, mark.ident]
        return tuple_(*self.keys), tuple_(*place, types=[key.type for key in self.keys])

    def where(self, *conditions: Condition) -> _Listed:
        """Those for which conditions hold."""
        return replace(self, statement=self.statement.where(*conditions))

    def join(self, table: Any, link: Condition) -> _Listed:
        """Those that have a row in another table, which conditions may be on."""
        return replace(self, statement=self.statement.join(table, link))


@dataclass
class ObjectSearch:
    """One search of one viewer.

    Attributes
    ----------
    audiences
        Numbers of the audiences that the viewer belongs to; None for all.
    """

    session: Session
    viewer: Viewer
    query: ObjectQuery
    audiences: frozenset[int] | None
    _sorts: bool = field(default=True, init=False)
    _must_walk: bool = field(default=False, init=False)
    _borders: list[Mark | None] = field(default_factory=list, init=False)

    @classmethod
    def begin(cls, session: Session, viewer: Viewer, query: ObjectQuery) -> ObjectSearch:
        """Prepare a transaction for one search."""
        check_apart(session)
        if is_postgres(session):
            session.execute(_CALM)
        return cls(session, viewer, query, own_audiences(session, viewer))

    def _plan(self, *, sorting: bool) -> None:
        """Let the next plans sort, or follow an index."""
        if is_postgres(self.session) and sorting != self._sorts:
            self.session.execute(_SORTING, {"sort": "on" if sorting else "off"})
            self._sorts = sorting

    def let_sort(self) -> None:
        """Let what is read next, of few objects, be sorted.

        PostgreSQL would else follow the index of its order, past the rows of all other objects.
        """
        self._plan(sorting=True)

    @property
    def _sought(self) -> Sought:
        return Sought(self.viewer, self.query, self.audiences)

    def marks(
        self, order: Order, limit: int, *, after: Mark | None = None, offset: int = 0
    ) -> list[Mark]:
        """The next objects of the list; fewer than `limit` only where there are no more."""
        if self._sought.is_impossible:
            return []
        if self._sought.is_exact:
            return [mark for mark, _ in self._rows(order, limit, after, offset)]
        return list(islice(self._fitting(order, after, offset + limit), offset, offset + limit))

    def count(self, at_most: int | None = None) -> int:
        """How many objects there are, counted no further than `at_most`."""
        sought = self._sought
        if sought.is_impossible:
            return 0
        if self.query == ObjectQuery(saved=self.query.saved) and self.query.saved is not None:
            return self.query.saved.count_objects(self.session, self.viewer, at_most)
        chosen = self._chosen(self._narrow or self._long(self._ways, at_most))
        if sought.is_exact:
            return self._counted(chosen, at_most)
        if self._narrow is not None or self.query.cone is not None:
            return self._count_fitting(chosen, at_most)
        # Most light curves are seen as a whole or not at all, and need no closer look.
        only = SUMMARY.only_audience_id
        ways = sought.number_ways(whole=True) or self._ways
        chosen = self._chosen(self._narrowest(ways)[0] or self._long(ways, at_most))
        sure = self._counted(chosen.where(opaque(only).is_not(None)), at_most)
        if sure == at_most:
            return sure
        in_parts = Way(PhotometrySummary, [only.is_(None)])
        chosen = self._chosen(self._narrowest([in_parts])[0] or self._long(self._ways, at_most))
        more = None if at_most is None else at_most - sure
        return sure + self._count_fitting(chosen.where(opaque(only).is_(None)), more)

    def _counted(self, chosen: Select[Any], at_most: int | None) -> int:
        self._plan(sorting=True)
        some = chosen if at_most is None else chosen.limit(at_most)
        return self.session.scalar(select(func.count()).select_from(some.subquery())) or 0

    def _count_fitting(self, chosen: Select[Any], at_most: int | None) -> int:
        """As `_counted`, where what SQL finds is a little more than what is sought."""
        self._plan(sorting=True)
        evidence = chosen.with_only_columns(*self._sought.evidence())
        # Not by the session, which would fetch all from SQLite.
        found = self.session.connection().execute(evidence, execution_options=_AS_WANTED)
        count, wanted = 0, _JUDGED_AT_ONCE
        while at_most is None or count < at_most:
            if at_most is not None:
                # A few more than are missing, as some of them do not fit.
                wanted = min(_JUDGED_AT_ONCE, at_most - count + _FEW_MORE)
            rows = found.fetchmany(wanted)
            count += int(self._sought.fit(rows).sum())
            if len(rows) < wanted:
                break
        found.close()
        return count if at_most is None else min(count, at_most)

    def _fitting(self, order: Order, after: Mark | None, wanted: int) -> Iterator[Mark]:
        """Objects that are sought indeed, in order, read in portions."""
        portion = wanted + wanted // 2
        while wanted > 0:
            rows = self._rows(order, portion, after, 0)
            fit = self._sought.fit([evidence for _, evidence in rows]).tolist()
            yield from (mark for (mark, _), good in zip(rows, fit, strict=True) if good)
            if len(rows) < portion:
                return
            after, found = rows[-1][0], sum(fit)
            wanted -= found
            # As many as these promise, and some more.
            portion = wanted * portion // found * 3 // 2 + 10 if found else 2 * portion
            portion = min(portion, _PORTION)

    def _rows(self, order: Order, limit: int, after: Mark | None, offset: int) -> Found:
        """The next objects that SQL finds, each with its evidence."""
        found: Found = []
        if after is None or after.value is not None:
            found = self._valued(order, limit, after, offset)
        if len(found) >= limit or order.by in _NEVER_NULL:
            return found
        if found:
            offset = 0
        elif offset:
            listed = self._way_or_walk(order, None)
            offset -= self._counted(listed.statement, None)
        last = after if after is not None and after.value is None else None
        rest = self._without_value(order).after(order, last)
        return found + self._read(rest, order, limit - len(found), max(offset, 0))

    def _valued(self, order: Order, limit: int, after: Mark | None, offset: int) -> Found:
        """Those that have what the list is sorted by."""
        if offset + limit > NEXT // 2 or not self._is_limited:
            listed = self._way_or_walk(order, after)
            if after is None and not listed.gathered and self._can_leap(order):
                leap, passed = self._leap(order, offset)
                listed, offset = listed.after(order, leap), offset - passed
            return self._read(listed, order, limit, offset)
        walk = self._walk(order).after(order, after)
        border = None if self._must_walk else self._border(order, after)
        if border is None:
            return self._read(walk, order, limit, offset)
        found = self._read(walk.up_to(order, border), order, limit + offset, 0)
        if len(found) < limit + offset:
            if self._narrow is not None:
                listed = self._gathered(order, self._narrow).after(order, after)
                return self._read(listed, order, limit, offset)
            self._must_walk = True
            rest = self._walk(order).after(order, border)
            found += self._read(rest, order, limit + offset - len(found), 0)
        return found[offset:]

    def _way_or_walk(self, order: Order, after: Mark | None) -> _Listed:
        narrow = self._narrow if self._is_limited else None
        listed = self._walk(order) if narrow is None else self._gathered(order, narrow)
        return listed.after(order, after)

    def _can_leap(self, order: Order) -> bool:
        """Whether this is the list of all that is saved in several lists, the last first."""
        saved = self.query.saved
        if saved is None or self.query != ObjectQuery(saved=saved):
            return False
        last_first = order.by == "saved_at" and order.descending
        return last_first and not saved.has_each_once(self.viewer)

    def _leap(self, order: Order, offset: int) -> tuple[Mark | None, int]:
        """A place far down the list of what is saved, and how many objects are up to it.

        An object in several lists has several entries, of which only the latest counts. That of
        each is looked for one by one only behind the place: up to it, objects are counted.

        Returns
        -------
        tuple
            The place is at most `offset` objects from the top, and rarely much less; None, and
            no objects, where none is found.
        """
        entries = self._entries()
        place, passed, looked = None, 0, min(2 * NEXT, offset)
        near = max(NEXT, offset // 8)
        for _ in range(_GUESSES if offset > NEXT else 0):
            self._plan(sorting=False)
            nth = entries.sorted(order).limit(1).offset(looked - 1)
            row = self.session.execute(nth).first()
            if row is None:
                break
            found = Mark(row[1], row[0])
            above = entries.up_to(order, found).statement.with_only_columns(entries.ident)
            count = self._counted(above.group_by(entries.ident), None)
            if passed < count <= offset:
                place, passed = found, count
            if offset - near <= count <= offset:
                break
            # As many objects among the entries after these, and a little less.
            looked = max(1, int(looked * (offset - near // 2) / count))
        return place, passed

    def _border(self, order: Order, after: Mark | None) -> Mark | None:
        """The place so many objects further on than the list begins; None where there are fewer."""
        if not self._borders:
            table = OBJECT if order.by in _OF_OBJECTS else SUMMARY
            bounded = self._every(order).where(*self._sought.bounds(order.by, table))
            statement = bounded.after(order, after).sorted(order)
            self._plan(sorting=False)
            row = self.session.execute(statement.limit(1).offset(NEXT - 1)).first()
            self._borders.append(None if row is None else Mark(row[1], row[0]))
        return self._borders[0]

    def _every(self, order: Order, summary: Any = SUMMARY) -> _Listed:
        """All objects that have what the list is sorted by.

        Parameters
        ----------
        summary
            Columns of `PhotometrySummary`, or of an alias of it.
        """
        if order.by == "saved_at":
            saved = SavedObject.__table__.c
            return _Listed(select(saved.object_id, saved.saved_at), saved.object_id, saved.saved_at)
        if order.by in _OF_OBJECTS:
            key: ColumnElement[Any] = OBJECT[order.by]
            every = _Listed(select(OBJECT_ID, key), OBJECT_ID, key)
        else:
            key, ident = summary[_OF_SUMMARIES[order.by]], summary.object_id
            every = _Listed(select(ident, key), ident, key)
        return every if order.by in _NEVER_NULL else every.where(key.is_not(None))

    def _walk(self, order: Order) -> _Listed:
        """What is sought, along the index of the order and no other."""
        sought = self._sought
        conditions = [*sought.conditions(), *self._saved_somewhere(order)]
        # What leads from one table to another is hidden, so that none is begun with but this.
        if order.by == "saved_at":
            listed = self._saved_list()
            if conditions or sought.evidence():
                listed = listed.join(Object, opaque(listed.ident) == OBJECT_ID)
        elif order.by in _OF_OBJECTS:
            listed = self._every(order).where(*sought.bounds(order.by, OBJECT))
        else:
            # The table once more, of which nothing is read that the index does not have.
            walked = PhotometrySummary.__table__.alias("walked").c
            listed = self._every(order, walked).where(*sought.bounds(order.by, walked))
            listed = listed.join(Object, opaque(listed.ident) == OBJECT_ID)
        if self.query.by_numbers:
            listed = listed.join(PhotometrySummary, SUMMARY.object_id == opaque(listed.ident))
        return listed.where(*conditions)

    def _entries(self) -> _Listed:
        """All entries in the lists that count, by the time of saving."""
        saved = SavedObject.__table__.c
        entries = _Listed(select(saved.object_id, saved.saved_at), saved.object_id, saved.saved_at)
        return entries.where(self._when.condition(self.viewer, hidden=True))

    def _saved_list(self) -> _Listed:
        ident, key = _column(ENTRY.object_id), _column(ENTRY.saved_at)
        chosen = select(ident, key).where(self._when.latest(self.viewer, ENTRY))
        return _Listed(chosen, ident, key)

    @property
    def _when(self) -> SavedWhen:
        return self.query.saved or SavedWhen()

    def _saved_somewhere(self, order: Order) -> list[Condition]:
        """Whether an object is in a list of a group, where that is asked for."""
        if self.query.saved is None or order.by == "saved_at":
            return []
        return [self._is_saved(self.query.saved)]

    def _is_saved(self, when: SavedWhen) -> Condition:
        there = select(SavedObject.id).where(
            SavedObject.object_id == opaque(OBJECT_ID), when.condition(self.viewer, hidden=True)
        )
        return is_there(there.correlate(Object))

    def _gathered(self, order: Order, way: Way) -> _Listed:
        """What is sought, along a way."""
        conditions = self._sought.conditions({way.fulfils})
        chosen = self._along(way, numbers=order.by in _OF_SUMMARIES)
        if order.by == "saved_at":
            column: ColumnElement[Any] = _column(ENTRY.saved_at)
            chosen = chosen.join(ENTRY, ENTRY.object_id == opaque(OBJECT_ID))
            conditions.append(self._when.latest(self.viewer, ENTRY))
        else:
            column = self._value(order)
            conditions += [column.is_not(None), *self._saved_somewhere(order)]
        statement = chosen.add_columns(column).where(*conditions)
        return _Listed(statement, OBJECT_ID, opaque(column), gathered=True)

    def _value(self, order: Order) -> ColumnElement[Any]:
        """What objects are sorted by."""
        by = order.by
        return OBJECT[by] if by in _OF_OBJECTS else SUMMARY[_OF_SUMMARIES[by]]

    def _along(self, way: Way | None, *, numbers: bool = False) -> Select[Any]:
        """Ids of objects along a way or all, with the table of statistics where that is needed.

        Parameters
        ----------
        numbers
            Whether it is needed for more than what is sought.
        """
        if way is not None and way.table is PhotometrySummary:
            linked = opaque(SUMMARY.object_id) == OBJECT_ID
            chosen = select(OBJECT_ID).select_from(PhotometrySummary).join(Object, linked)
            return chosen.where(way.condition)
        chosen = select(OBJECT_ID)
        if numbers or self.query.by_numbers:
            chosen = chosen.join(PhotometrySummary, SUMMARY.object_id == opaque(OBJECT_ID))
        return chosen if way is None else chosen.where(way.narrowing)

    def _without_value(self, order: Order) -> _Listed:
        """Objects that do not have what the list is sorted by."""
        way = self._narrow if self._is_limited else None
        conditions = [*self._sought.conditions({way.fulfils} if way else ())]
        conditions += [*self._saved_somewhere(order), opaque(self._value(order)).is_(None)]
        chosen = self._along(way)
        if order.by in _OF_SUMMARIES and not self.query.by_numbers:
            linked = SUMMARY.object_id == opaque(OBJECT_ID)
            chosen = chosen.join(PhotometrySummary, linked, isouter=True)
        ident = OBJECT_ID if way is None else opaque(OBJECT_ID)
        return _Listed(chosen.where(*conditions), ident, None, gathered=way is not None)

    def _read(self, listed: _Listed, order: Order, limit: int, offset: int) -> Found:
        self._plan(sorting=listed.gathered)
        statement = listed.sorted(order).add_columns(*self._sought.evidence()).limit(limit)
        if offset:
            statement = statement.offset(offset)
        rows = self.session.execute(statement).all()
        if listed.key is None:
            return [(Mark(None, row[0]), row[1:]) for row in rows]
        return [(Mark(row[1], row[0]), row[2:]) for row in rows]

    def _chosen(self, way: Way | None) -> Select[Any]:
        """Ids of what is sought, in no order."""
        conditions = self._sought.conditions({way.fulfils} if way else ())
        if self.query.saved is not None:
            conditions.append(self._is_saved(self.query.saved))
        return self._along(way).where(*conditions)

    @property
    def _is_limited(self) -> bool:
        """Whether not every object is sought."""
        return self.query != ObjectQuery() or self.audiences is not None

    @cached_property
    def _ways(self) -> list[Way]:
        return self._sought.ways()

    @cached_property
    def _narrow(self) -> Way | None:
        """The way to the fewest objects, if these are few."""
        best, size = self._narrowest(self._ways)
        name = self.query.name
        if name is not None and size >= FEW // 10:
            best = self._names(name, min(size, _MOST_NAMES)) or best
        return best

    def _narrowest(self, ways: Sequence[Way]) -> tuple[Way | None, int]:
        """The first of the fewest; None with `FEW` where all have more."""
        sizes = self._sizes(ways, FEW + 1)
        size = min(sizes, default=FEW + 1)
        return (None, FEW) if size > FEW else (ways[sizes.index(size)], size)

    def _sizes(self, ways: Sequence[Way], at_most: int) -> list[int]:
        """How many rows each leads along, counted no further than `at_most`."""
        if not ways:
            return []
        return list(self.session.execute(select(*(way.counted(at_most) for way in ways))).one())

    def _names(self, name: str, wanted: int) -> Way | None:
        """The objects of a name, if they are few: no index leads to a part of one."""
        part = select(OBJECT_ID).where(named(name)).limit(wanted + 1)
        found = list(self.session.scalars(part))
        return Way(Object, [OBJECT_ID.in_(found)], "name") if len(found) <= wanted else None

    def _long(self, ways: Sequence[Way], at_most: int | None) -> Way | None:
        """The way to count along where none leads to few; None for all objects in turn."""
        long = [way for way in ways if way.is_single]
        # Where the count ends soon, the first is good enough.
        bounds = _FAR if at_most is None or at_most > NEXT else _NEARER
        for bound in bounds if len(long) > 1 else ():
            sizes = self._sizes(long, bound)
            if min(sizes) < bound:
                return long[sizes.index(min(sizes))]
        return long[0] if long else None


def _column(attribute: Any) -> ColumnElement[Any]:
    """The column of an alias, as the others here are."""
    column: ColumnElement[Any] = attribute.expression
    return column
