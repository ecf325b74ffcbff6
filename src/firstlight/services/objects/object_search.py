"""The SQL of lists of objects: what is sought, in which order, from where on.

Conditions that lead to few objects by an index are looked up first, and counted no further than
that. Where there is one with few, its objects are gathered and sorted. Otherwise the index of the
order is walked until the page is full; conditions are then written so that no planner is tempted
by another index.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Select, Text, and_, case, cast, func, or_, select, tuple_
from sqlalchemy.orm import Session

from firstlight.algorithms.sky_index import angular_separation, cone_ranges
from firstlight.models.exposure_search import escaped
from firstlight.models.exposure_streams import is_postgres, opaque
from firstlight.models.notes import Classification, Comment, ObjectTag
from firstlight.models.object import Object, PhotometrySummary, SavedObject
from firstlight.models.spectrum import Spectrum
from firstlight.services.access import Viewer
from firstlight.services.objects.object_query import ANY, Mark, ObjectQuery, Order, Range
from firstlight.services.objects.object_summary import visible_numbers
from firstlight.services.objects.saved_objects import SavedWhen
from firstlight.services.objects.sharing import readable
from firstlight.services.visibility import seen_by

__all__ = ["ObjectSearch"]

# So many are read and sorted in a few milliseconds.
FEW = 10_000
_PORTION = 2_000
_MOST_NAMES = 2_000
_MOST_RANGES = 16
_OF_OBJECTS = {"name", "ra", "dec", "redshift", "created_at"}
_summary = PhotometrySummary.__table__.c
_OF_SUMMARIES: dict[str, ColumnElement[Any]] = {
    "n_points": _summary.n_points,
    "last_detected": _summary.last_detected_mjd,
    "last_mag": _summary.last_detected_mag,
    "peak_mag": _summary.peak_mag,
    "mean_mag": _summary.mean_mag,
}
_NEVER_NULL = {"name", "ra", "dec", "created_at", "saved_at"}
_objects = Object.__table__.c
_ID: ColumnElement[uuid.UUID] = _objects.id

Condition = ColumnElement[bool]


@dataclass(frozen=True)
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

    def marks(
        self, order: Order, limit: int, *, after: Mark | None = None, offset: int = 0
    ) -> list[Mark]:
        """The next objects of the list; fewer than `limit` only where there are no more."""
        if self._nothing:
            return []
        if self._is_exact:
            return [mark for mark, _ in self._rows(order, limit, after, offset)]
        return list(islice(self._fitting(order, after, limit), offset, offset + limit))

    def count(self, at_most: int | None = None) -> int:
        """How many objects there are, counted no further than `at_most`."""
        if self._nothing:
            return 0
        chosen = self._chosen(self._gathered(), in_order=False)
        if self._is_exact:
            return self._counted(chosen, at_most)
        if self.query.cone is None:
            sure = self._counted(chosen.where(~_is_mixed(self.session)), at_most)
            if sure == at_most:
                return sure
            chosen = chosen.where(_is_mixed(self.session))
        else:
            sure = 0
        # What SQL finds is a little more than what is sought.
        more = None if at_most is None else 2 * at_most
        rows = self.session.execute(chosen.with_only_columns(*self._evidence()).limit(more)).all()
        count = sure + int(self._fit(rows).sum())
        return count if at_most is None else min(count, at_most)

    def _counted(self, chosen: Select[Any], at_most: int | None) -> int:
        some = chosen if at_most is None else chosen.limit(at_most)
        return self.session.scalar(select(func.count()).select_from(some.subquery())) or 0

    @property
    def _nothing(self) -> bool:
        return self.audiences is not None and not self.audiences

    @property
    def _is_exact(self) -> bool:
        """Whether all that SQL finds is sought."""
        return self.query.cone is None and not self._is_loose

    @property
    def _is_loose(self) -> bool:
        """Whether statistics are asked for by someone who may not see all points."""
        return self.query.by_numbers and self.audiences is not None

    def _fitting(self, order: Order, after: Mark | None, portion: int) -> Iterator[Mark]:
        """Objects that are sought indeed, in order, read in portions."""
        while True:
            rows = self._rows(order, portion, after, 0)
            fit = self._fit([evidence for _, evidence in rows])
            yield from (mark for (mark, _), good in zip(rows, fit.tolist(), strict=True) if good)
            if len(rows) < portion:
                return
            after, portion = rows[-1][0], _PORTION

    def _evidence(self) -> list[ColumnElement[Any]]:
        """Columns that tell whether an object is sought indeed."""
        columns: list[ColumnElement[Any]] = []
        if self.query.cone is not None:
            columns += [_objects.ra, _objects.dec]
        if self._is_loose:
            mixed = PhotometrySummary.filters
            columns.append(case((_is_mixed(self.session), mixed), else_=None))
        return columns

    def _fit(self, evidence: Sequence[Sequence[Any]]) -> NDArray[np.bool_]:
        """Which are in the cone, and have the statistics sought in the viewer's eyes."""
        fit = np.ones(len(evidence), dtype=bool)
        cone = self.query.cone
        if cone is not None and evidence:
            ra, dec = np.array([row[:2] for row in evidence], dtype=float).T
            fit &= angular_separation(cone[0], cone[1], ra, dec) <= cone[2]
        if self._is_loose:
            for n in np.flatnonzero(fit).tolist():
                filters = evidence[n][-1]
                if filters is not None:
                    fit[n] = self.query.fits(visible_numbers(filters, self.audiences))
        return fit

    def _rows(
        self, order: Order, limit: int, after: Mark | None, offset: int
    ) -> list[tuple[Mark, Sequence[Any]]]:
        """The next objects that SQL finds, each with its evidence."""
        gathered = self._gathered()
        found: list[tuple[Mark, Sequence[Any]]] = []
        if after is None or after.value is not None:
            found = self._run(self._valued(order, gathered), order, after, limit, offset)
        if len(found) >= limit or order.by in _NEVER_NULL:
            return found
        if found:
            offset = 0
        elif offset:
            valued = self._valued(order, gathered)
            total = select(func.count()).select_from(valued[0].subquery())
            offset -= self.session.scalar(total) or 0
        last = after if after is not None and after.value is None else None
        rest = self._without_value(order, gathered)
        return found + self._run(rest, order, last, limit - len(found), max(offset, 0))

    def _chosen(
        self, gathered: Condition | None, *, in_order: bool = True, saved: bool = True
    ) -> Select[Any]:
        """Ids of the objects sought; where they come in no order, any index may lead to them."""
        chosen = select(_ID)
        if gathered is not None:
            chosen = chosen.where(gathered)
        if self.query.by_numbers:
            chosen = chosen.join(PhotometrySummary, PhotometrySummary.object_id == _ID)
        if saved:
            chosen = chosen.where(*self._saved(opaque(_ID) if in_order else _ID))
        return chosen.where(*self._conditions(in_order=in_order or gathered is not None))

    def _saved(self, ident: ColumnElement[uuid.UUID]) -> list[Condition]:
        """Whether an object is in a list of a group."""
        if self.query.saved is None:
            return []
        when = self.query.saved.condition(self.viewer)
        return [ident.in_(select(SavedObject.object_id).where(when))]

    def _valued(
        self, order: Order, gathered: Condition | None
    ) -> tuple[Select[Any], ColumnElement[Any]]:
        """Objects that have what the list is sorted by, and that column."""
        if order.by == "saved_at":
            when = (self.query.saved or SavedWhen()).condition(self.viewer)
            latest = (
                select(SavedObject.object_id, func.max(SavedObject.saved_at).label("saved_at"))
                .where(when)
                .group_by(SavedObject.object_id)
                .subquery()
            )
            chosen = self._chosen(gathered, saved=False)
            chosen = chosen.join(latest, latest.c.object_id == _ID)
            return chosen.add_columns(latest.c.saved_at), latest.c.saved_at
        if order.by in _OF_OBJECTS:
            column: ColumnElement[Any] = _objects[order.by]
            chosen = self._chosen(gathered).add_columns(column)
            return chosen if order.by in _NEVER_NULL else chosen.where(column.is_not(None)), column
        column = _OF_SUMMARIES[order.by]
        # Walked by the summaries, each leads to its object and not the other way round.
        link = opaque(_summary.object_id) if gathered is None else _summary.object_id
        chosen = (
            select(_ID, column)
            .select_from(PhotometrySummary)
            .join(Object, link == _ID)
            .where(column.is_not(None), *self._conditions(), *self._saved(opaque(_ID)))
        )
        return chosen if gathered is None else chosen.where(gathered), column

    def _without_value(self, order: Order, gathered: Condition | None) -> tuple[Select[Any], None]:
        """Objects that do not have what the list is sorted by."""
        chosen = self._chosen(gathered)
        if order.by in _OF_OBJECTS:
            return chosen.where(opaque(_objects[order.by]).is_(None)), None
        if not self.query.by_numbers:
            chosen = chosen.outerjoin(PhotometrySummary, PhotometrySummary.object_id == _ID)
        return chosen.where(opaque(_OF_SUMMARIES[order.by]).is_(None)), None

    def _run(
        self,
        chosen: tuple[Select[Any], ColumnElement[Any] | None],
        order: Order,
        after: Mark | None,
        limit: int,
        offset: int,
    ) -> list[tuple[Mark, Sequence[Any]]]:
        statement, column = chosen
        keys: list[ColumnElement[Any]] = [_ID] if column is None else [column, _ID]
        if after is not None:
            place = [after.ident] if column is None else [after.value, after.ident]
            here, there = tuple_(*keys), tuple_(*place, types=[key.type for key in keys])
            statement = statement.where(here < there if order.descending else here > there)
        sorted_by = [key.desc() if order.descending else key.asc() for key in keys]
        statement = statement.add_columns(*self._evidence()).order_by(*sorted_by).limit(limit)
        if offset:
            statement = statement.offset(offset)
        rows = self.session.execute(statement).all()
        if column is None:
            return [(Mark(None, row[0]), row[1:]) for row in rows]
        return [(Mark(row[1], row[0]), row[2:]) for row in rows]

    def _gathered(self) -> Condition | None:
        """The narrowest condition that an index leads to, where it leads to few objects."""
        best: Condition | None = None
        size = FEW
        for way in self._ways():
            some = select(func.count()).select_from(way.limit(size + 1).subquery())
            count = self.session.scalar(some) or 0
            if count <= size:
                best, size = _ID.in_(way), count
            if size < FEW // 10:
                return best
        if self.query.name is not None:
            # No index leads to a part of a name: what is found in all of them is kept.
            wanted = min(size, _MOST_NAMES)
            found = list(
                self.session.scalars(select(_ID).where(_named(self.query.name)).limit(wanted + 1))
            )
            best = _ID.in_(found) if len(found) <= wanted else best
        return best

    def _ways(self) -> list[Select[Any]]:
        """Conditions that an index leads to, those first that are likely to be narrow."""
        query, ways = self.query, []
        if query.cone is not None:
            ways.append(select(Object.id).where(_in_cone(query.cone, Object.hpx)))
        if query.classifications:
            ways.append(
                select(Classification.object_id).where(
                    Classification.classification.in_(query.classifications)
                )
            )
        if query.tags:
            ways.append(select(ObjectTag.object_id).where(ObjectTag.tag_id.in_(query.tags)))
        if query.has_spectrum:
            ways.append(select(Spectrum.object_id))
        if query.redshift != ANY:
            ways.append(select(Object.id).where(*_between(Object.redshift, query.redshift)))
        ways += [select(_summary.object_id).where(*each) for each in self._number_ways()]
        if query.saved is not None:
            ways.append(select(SavedObject.object_id).where(query.saved.condition(self.viewer)))
        if self.audiences is not None:
            ways.append(select(Object.id).where(Object.audience_id.in_(self.audiences)))
        return ways

    def _number_ways(self) -> list[list[Condition]]:
        """Conditions on statistics that an index leads to.

        What a viewer sees of a light curve is never brighter than the whole of it, nor later.
        """
        query = self.query
        if self.audiences is None:
            every = [
                _between(_summary.last_detected_mag, query.last_mag),
                _between(_summary.last_detected_mjd, query.last_mjd),
                _between(_summary.peak_mag, query.peak_mag),
            ]
        else:
            every = [
                _between(_summary.peak_mag, (None, query.last_mag[1])),
                _between(_summary.peak_mag, (None, query.peak_mag[1])),
                _between(_summary.last_detected_mjd, (query.last_mjd[0], None)),
            ]
        return [each for each in every if each]

    def _conditions(self, *, in_order: bool = True) -> list[Condition]:
        """What every object of the list fulfils; in order, so that no other index is led to."""
        query, of = self.query, opaque
        found: list[Condition] = []
        if self.audiences is not None:
            found.append(of(_objects.audience_id).in_(self.audiences))
        if query.name is not None:
            found.append(_named(query.name))
        if query.cone is not None:
            hpx = of(_objects.hpx) if in_order else _objects.hpx
            found.append(_in_cone(query.cone, hpx))
        found += _between(of(_objects.redshift), query.redshift)
        if query.origin is not None:
            found.append(Object.origin == query.origin)
        if query.changed_after is not None:
            found.append(Object.modified_at >= query.changed_after)
        if query.without_names:
            found.append(of(_objects.name).not_in(query.without_names))
        return found + self._notes() + self._numbers()

    def _notes(self) -> list[Condition]:
        """Conditions on rows of other tables."""
        query, viewer, found = self.query, self.viewer, []

        def there(table: Any, *conditions: Any) -> Condition:
            inner = select(table.id).where(table.object_id == opaque(_ID), *conditions)
            return inner.correlate(Object).exists()

        seen = readable(viewer, Classification)
        if query.classifications:
            named = opaque(Classification.__table__.c.classification).in_(query.classifications)
            found.append(there(Classification, named, seen))
        if query.without:
            named = opaque(Classification.__table__.c.classification).in_(query.without)
            found.append(~there(Classification, named, seen))
        if query.classified is not None:
            any_class = there(Classification, seen)
            found.append(any_class if query.classified else ~any_class)
        if query.tags:
            tagged = opaque(ObjectTag.__table__.c.tag_id).in_(query.tags)
            found.append(there(ObjectTag, tagged, seen_by(viewer, ObjectTag.audience_id)))
        if query.has_spectrum is not None:
            spectrum = there(Spectrum, seen_by(viewer, Spectrum.audience_id))
            found.append(spectrum if query.has_spectrum else ~spectrum)
        if query.comment is not None:
            said = func.lower(Comment.text).contains(query.comment.lower(), autoescape=True)
            found.append(there(Comment, said, readable(viewer, Comment)))
        return found

    def _numbers(self) -> list[Condition]:
        """Conditions on statistics. Light curves that a viewer may see in part are let through."""
        query = self.query
        if not query.by_numbers:
            return []
        exact = [
            *_between(opaque(_summary.last_detected_mag), query.last_mag),
            *_between(opaque(_summary.last_detected_mjd), query.last_mjd),
            *_between(opaque(_summary.peak_mag), query.peak_mag),
        ]
        if query.min_detections is not None:
            exact.append(_summary.n_detections >= query.min_detections)
        if self.audiences is None:
            return exact
        only = PhotometrySummary.filters[("audiences", 0)].as_integer()
        return [or_(and_(only.in_(self.audiences), *exact), _is_mixed(self.session))]


def _is_mixed(session: Session) -> Condition:
    """Whether the points of an object have several audiences."""
    if is_postgres(session):
        return func.jsonb_array_length(PhotometrySummary.filters["audiences"]) > 1
    return func.json_array_length(PhotometrySummary.filters, "$.audiences") > 1


def _between(column: Any, bounds: Range) -> list[Condition]:
    low, high = bounds
    found = [] if low is None else [column >= low]
    return found if high is None else [*found, column <= high]


def _in_cone(cone: tuple[float, float, float], hpx: Any) -> Condition:
    ranges = cone_ranges(*cone, max_ranges=_MOST_RANGES)
    return or_(*(and_(hpx >= first, hpx < stop) for first, stop in ranges))


def _named(name: str) -> Condition:
    pattern = f"%{escaped(name.lower())}%"
    return or_(
        func.lower(Object.name).like(pattern, escape="\\"),
        func.lower(cast(Object.aliases, Text)).like(pattern, escape="\\"),
    )
