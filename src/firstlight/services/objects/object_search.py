"""The SQL of lists of objects: what is sought, in which order, from where on.

Conditions that lead to few objects by an index are looked up first, and counted no further than
that. Where there is one with few, its objects are gathered and sorted. Otherwise the index of the
order is walked until the page is full; conditions are then written so that no planner is tempted
by another index.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, Text, and_, cast, func, or_, select, tuple_
from sqlalchemy.orm import Session

from firstlight.algorithms.sky_index import cone_ranges
from firstlight.models.exposure_search import escaped
from firstlight.models.exposure_streams import is_postgres, opaque
from firstlight.models.notes import Classification, Comment, ObjectTag
from firstlight.models.object import Object, PhotometrySummary, SavedObject
from firstlight.models.spectrum import Spectrum
from firstlight.services.access import Viewer
from firstlight.services.objects.object_query import ANY, Mark, ObjectQuery, Order, Range
from firstlight.services.objects.saved_objects import SavedWhen
from firstlight.services.objects.sharing import readable
from firstlight.services.visibility import seen_by

__all__ = ["ObjectSearch"]

# So many are read and sorted in a few milliseconds.
FEW = 4_000
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
_ID: ColumnElement[uuid.UUID] = Object.__table__.c.id

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
        """The next objects of the list.

        Those that the statistics of a light curve are asked for may hold a few too many: whoever
        does not see all points must look at what they see (`ObjectQuery.fits`).
        """
        if self.audiences is not None and not self.audiences:
            return []
        gathered = self._gathered()
        found: list[Mark] = []
        if after is None or after.value is not None:
            valued = self._valued(order, gathered)
            found = self._run(valued, order, after, limit, offset)
        if len(found) >= limit or order.by in _NEVER_NULL:
            return found
        if offset and not found:
            valued = self._valued(order, gathered)
            total = select(func.count()).select_from(valued[0].subquery())
            offset -= self.session.scalar(total) or 0
        last = after if after is not None and after.value is None else None
        rest = self._run(
            self._without_value(order, gathered), order, last, limit - len(found), max(offset, 0)
        )
        return found + rest

    def count(self, at_most: int | None = None) -> int:
        """How many objects there are, counted no further than `at_most`."""
        if self.audiences is not None and not self.audiences:
            return 0
        chosen = self._chosen(self._gathered(), walking=False)
        if at_most is not None:
            chosen = chosen.limit(at_most)
        return self.session.scalar(select(func.count()).select_from(chosen.subquery())) or 0

    def _chosen(self, gathered: Sequence[uuid.UUID] | None, *, walking: bool) -> Select[Any]:
        """Ids of the objects sought, and no order yet."""
        chosen = select(Object.id)
        if gathered is not None:
            chosen = chosen.where(Object.id.in_(gathered))
        if self.query.by_numbers:
            chosen = chosen.join(PhotometrySummary, PhotometrySummary.object_id == Object.id)
        return chosen.where(*self._conditions(walking=walking and gathered is None))

    def _valued(
        self, order: Order, gathered: Sequence[uuid.UUID] | None
    ) -> tuple[Select[Any], ColumnElement[Any]]:
        """Objects that have what the list is sorted by, and that column."""
        walking = gathered is None
        if order.by == "saved_at":
            when = (self.query.saved or SavedWhen()).condition(self.viewer)
            latest = (
                select(SavedObject.object_id, func.max(SavedObject.saved_at).label("saved_at"))
                .where(when)
                .group_by(SavedObject.object_id)
                .subquery()
            )
            chosen = self._chosen(gathered, walking=walking)
            chosen = chosen.join(latest, latest.c.object_id == Object.id)
            return chosen.add_columns(latest.c.saved_at), latest.c.saved_at
        if order.by in _OF_OBJECTS:
            column: ColumnElement[Any] = getattr(Object, order.by)
            chosen = self._chosen(gathered, walking=walking)
            if order.by not in _NEVER_NULL:
                chosen = chosen.where(column.is_not(None))
            return chosen.add_columns(column), column
        column = _OF_SUMMARIES[order.by]
        # Walked by the summaries, each leads to its object and not the other way round.
        link = opaque(_summary.object_id) if walking else _summary.object_id
        chosen = (
            select(Object.id, column)
            .select_from(PhotometrySummary)
            .join(Object, Object.id == link)
            .where(column.is_not(None), *self._conditions(walking=walking))
        )
        if gathered is not None:
            chosen = chosen.where(Object.id.in_(gathered))
        return chosen, column

    def _without_value(
        self, order: Order, gathered: Sequence[uuid.UUID] | None
    ) -> tuple[Select[Any], None]:
        """Objects that do not have what the list is sorted by."""
        chosen = self._chosen(gathered, walking=gathered is None)
        if order.by in _OF_OBJECTS:
            return chosen.where(opaque(getattr(Object, order.by)).is_(None)), None
        column = _OF_SUMMARIES[order.by]
        if not self.query.by_numbers:
            chosen = chosen.outerjoin(PhotometrySummary, PhotometrySummary.object_id == Object.id)
        return chosen.where(column.is_(None)), None

    def _run(
        self,
        chosen: tuple[Select[Any], ColumnElement[Any] | None],
        order: Order,
        after: Mark | None,
        limit: int,
        offset: int,
    ) -> list[Mark]:
        statement, column = chosen
        keys: list[ColumnElement[Any]] = [_ID] if column is None else [column, _ID]
        if after is not None:
            place = [after.ident] if column is None else [after.value, after.ident]
            here, there = tuple_(*keys), tuple_(*place, types=[key.type for key in keys])
            statement = statement.where(here < there if order.descending else here > there)
        sorted_by = [key.desc() if order.descending else key.asc() for key in keys]
        statement = statement.order_by(*sorted_by).limit(limit)
        if offset:
            statement = statement.offset(offset)
        rows = self.session.execute(statement).all()
        return [Mark(None if column is None else row[1], row[0]) for row in rows]

    def _gathered(self) -> list[uuid.UUID] | None:
        """Ids of the objects that the narrowest condition leads to, where these are few."""
        best: list[uuid.UUID] | None = None
        for way in self._ways():
            most = FEW if best is None else len(best)
            found = list(self.session.scalars(way.limit(most + 1)))
            if len(found) <= most:
                best = list(dict.fromkeys(found))
                if len(best) < FEW // 10:
                    break
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
            ways.append(select(Spectrum.object_id).distinct())
        if query.redshift != ANY:
            ways.append(select(Object.id).where(*_between(Object.redshift, query.redshift)))
        if self.audiences is None:
            exact = {
                PhotometrySummary.last_detected_mag: query.last_mag,
                PhotometrySummary.last_detected_mjd: query.last_mjd,
            }
            for column, bounds in exact.items():
                if bounds != ANY:
                    chosen = select(PhotometrySummary.object_id)
                    ways.append(chosen.where(*_between(column, bounds)))
        if query.saved is not None:
            ways.append(select(SavedObject.object_id).where(query.saved.condition(self.viewer)))
        if self.audiences is not None:
            ways.append(select(Object.id).where(Object.audience_id.in_(self.audiences)))
        if query.name is not None:
            ways.append(select(Object.id).where(_named(query.name)))
        return ways

    def _conditions(self, *, walking: bool) -> list[Condition]:
        """What every object of the list fulfils."""

        def of(column: Any) -> Any:
            return opaque(column) if walking else column

        query, found = self.query, []
        if self.audiences is not None:
            found.append(of(Object.audience_id).in_(self.audiences))
        if query.name is not None:
            found.append(_named(query.name))
        if query.cone is not None:
            found.append(_in_cone(query.cone, of(Object.hpx)))
        found += _between(of(Object.redshift), query.redshift)
        if query.origin is not None:
            found.append(Object.origin == query.origin)
        if query.changed_after is not None:
            found.append(Object.modified_at >= query.changed_after)
        if query.without_names:
            found.append(of(Object.name).not_in(query.without_names))
        return found + self._notes() + self._numbers(of)

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
        if query.saved is not None:
            found.append(there(SavedObject, query.saved.condition(viewer)))
        return found

    def _numbers(self, of: Any) -> list[Condition]:
        """Conditions on statistics; too wide for who does not see all points."""
        query, row = self.query, PhotometrySummary
        if not query.by_numbers:
            return []
        exact = [
            *_between(of(row.last_detected_mag), query.last_mag),
            *_between(of(row.last_detected_mjd), query.last_mjd),
            *_between(row.peak_mag, query.peak_mag),
        ]
        if query.min_detections is not None:
            exact.append(row.n_detections >= query.min_detections)
        if self.audiences is None:
            return exact
        return [or_(and_(*exact), _is_mixed(self.session))]


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
