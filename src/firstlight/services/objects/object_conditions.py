"""What is sought among objects, as SQL: conditions, and ways that an index leads along.

Conditions are written so that no planner is tempted by an index; those that an index leads to are
offered a second time, as ways, to be chosen from by their sizes.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    BindParameter,
    ColumnCollection,
    ColumnElement,
    ScalarSelect,
    Select,
    Text,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from firstlight.algorithms.sky.sky_index import angular_separation, cone_ranges
from firstlight.models.exposure_search import escaped
from firstlight.models.exposure_streams import opaque
from firstlight.models.notes import Classification, Comment, ObjectTag
from firstlight.models.object import Object, PhotometrySummary, SavedObject
from firstlight.models.spectrum import Spectrum
from firstlight.services.access import Viewer
from firstlight.services.objects.object_query import ANY, ObjectQuery, Range
from firstlight.services.objects.object_summary import visible_totals
from firstlight.services.objects.sharing import readable
from firstlight.services.visibility import seen_by

__all__ = [
    "OBJECT",
    "OBJECT_ID",
    "SUMMARY",
    "Condition",
    "Sought",
    "Way",
    "between",
    "is_there",
    "named",
]

OBJECT = Object.__table__.c
SUMMARY = PhotometrySummary.__table__.c
OBJECT_ID: ColumnElement[uuid.UUID] = OBJECT.id
Condition = ColumnElement[bool]

_MOST_RANGES = 16
# Places on the rim of a cone must not fall out of its box through rounding.
_RIM_DEG = 1e-7
_MIXED: Condition = SUMMARY.only_audience_id.is_(None)


@dataclass(frozen=True)
class Way:
    """Objects that one index leads to.

    Attributes
    ----------
    table
        `Object`, or one with ``object_id``.
    where
        On columns of one index of the table.
    fulfils
        Name of the condition in `Sought.conditions` that holds for all of them.
    apart
        Instead of `where`, conditions of which a row fulfils one or more; each on one index.
    """

    table: type[Any]
    where: Sequence[Condition] = ()
    fulfils: str = ""
    apart: Sequence[Condition] = ()

    @property
    def is_single(self) -> bool:
        """Whether the table has one row an object."""
        return self.table in (Object, PhotometrySummary)

    @property
    def condition(self) -> Condition:
        """The condition on rows of the table."""
        return or_(*self.apart) if self.apart else and_(true(), *self.where)

    @property
    def narrowing(self) -> Condition:
        """The condition on objects."""
        if self.table is Object:
            return self.condition
        return OBJECT_ID.in_(select(self.table.object_id).where(self.condition))

    def counted(self, at_most: int) -> ScalarSelect[int]:
        """How many rows it leads along, counted no further than `at_most`."""
        one = select(literal(1)).select_from(self.table)
        # Read from the index alone, as rows that fulfil one condition or another are not.
        parts = [one.where(each) for each in self.apart] or [one.where(*self.where)]
        some = parts[0] if len(parts) == 1 else union_all(*parts)
        return select(func.count()).select_from(some.limit(at_most).subquery()).scalar_subquery()


@dataclass(frozen=True)
class Sought:
    """What one viewer seeks.

    Attributes
    ----------
    audiences
        Numbers of the audiences that the viewer belongs to; None for all.
    """

    viewer: Viewer
    query: ObjectQuery
    audiences: frozenset[int] | None

    @property
    def is_impossible(self) -> bool:
        """Whether the viewer can see nothing at all."""
        return self.audiences is not None and not self.audiences

    @property
    def is_exact(self) -> bool:
        """Whether all that SQL finds is sought."""
        return self.query.cone is None and not self.is_loose

    @property
    def is_loose(self) -> bool:
        """Whether statistics are asked for by someone who may not see all points."""
        return self.query.by_numbers and self.audiences is not None

    def evidence(self) -> list[ColumnElement[Any]]:
        """Columns that tell whether what SQL finds is sought indeed."""
        columns: list[ColumnElement[Any]] = []
        if self.query.cone is not None:
            columns += [OBJECT.ra, OBJECT.dec]
        if self.is_loose:
            columns.append(case((_MIXED, PhotometrySummary.filters), else_=None))
        return columns

    def fit(self, evidence: Sequence[Sequence[Any]]) -> NDArray[np.bool_]:
        """Which are in the cone, and have the statistics sought in the viewer's eyes."""
        fit = np.ones(len(evidence), dtype=bool)
        cone = self.query.cone
        if cone is not None and evidence:
            ra, dec = np.array([row[:2] for row in evidence], dtype=float).T
            fit &= angular_separation(cone[0], cone[1], ra, dec) <= cone[2]
        if self.is_loose:
            for n in np.flatnonzero(fit).tolist():
                filters = evidence[n][-1]
                if filters is not None:
                    fit[n] = self.query.fits(visible_totals(filters, self.audiences))
        return fit

    def conditions(self, but: Container[str] = ()) -> list[Condition]:
        """What every object of the list fulfils, but for what is known to be fulfilled.

        The cheap ones come first. Whether it is saved is not among them.
        """
        query, of = self.query, opaque
        found: dict[str, list[Condition]] = {}
        # Members of a group see what the group has saved: see `SavedObject`.
        if self.audiences is not None and query.saved is None:
            found["audience"] = [_one_of(of(OBJECT.audience_id), self.audiences)]
        if query.cone is not None:
            found["cone"] = _around(query.cone)
        found["redshift"] = between(of(OBJECT.redshift), query.redshift)
        if query.origin is not None:
            found["origin"] = [OBJECT.origin == query.origin]
        if query.changed_after is not None:
            found["changed"] = [OBJECT.modified_at >= query.changed_after]
        if query.without_names:
            found["without names"] = [of(OBJECT.name).not_in(query.without_names)]
        if query.name is not None:
            found["name"] = [named(query.name)]
        if query.by_numbers:
            found["numbers"] = self._numbers()
        chosen = [each for name, some in found.items() if name not in but for each in some]
        return chosen + self._notes()

    def ways(self) -> list[Way]:
        """Conditions that an index leads to, those first that are likely to be narrow."""
        query, ways = self.query, []
        if query.cone is not None:
            ways.append(Way(Object, fulfils="cone", apart=_in_cone(query.cone, OBJECT.hpx)))
        if query.classifications:
            named_so = Classification.classification.in_(query.classifications)
            ways.append(Way(Classification, [named_so]))
        if query.tags:
            ways.append(Way(ObjectTag, [ObjectTag.tag_id.in_(query.tags)]))
        if query.has_spectrum:
            ways.append(Way(Spectrum))
        if query.redshift != ANY:
            ways.append(Way(Object, between(OBJECT.redshift, query.redshift), "redshift"))
        ways += self.number_ways()
        if query.saved is not None:
            ways.append(Way(SavedObject, [query.saved.condition(self.viewer)]))
        elif self.audiences is not None:
            mine = _one_of(OBJECT.audience_id, self.audiences)
            ways.append(Way(Object, [mine], "audience"))
        return ways

    def bounds(self, by: str, of: ColumnCollection[str, Any]) -> list[Condition]:
        """Where a list by a number begins and ends, for an index that leads along it.

        Light curves that the viewer may see in part are let through where a part may be so.

        Parameters
        ----------
        of
            Columns of the table, or of an alias, along which the index leads.
        """
        if by == "redshift":
            return between(of.redshift, self.query.redshift)
        column, sought = _SOUGHT_BY.get(by, ("", ""))
        bounds = getattr(self.query, sought) if column else ANY
        if self.audiences is None or bounds == ANY:
            return between(of[column], bounds) if column else []
        only = opaque(of.only_audience_id)
        whole = [*between(opaque(of[column]), bounds), _one_of(only, self.audiences)]
        part = [only.is_(None), *_possible(column, bounds, lambda name: opaque(of[name]))]
        return [or_(and_(*whole), and_(*part))]

    def number_ways(self, *, whole: bool = False) -> list[Way]:
        """Conditions on statistics that an index leads to.

        Parameters
        ----------
        whole
            Only to objects of which the viewer sees the whole light curve.
        """
        query, ways = self.query, []
        last_mag = (query.last_mag, SUMMARY.last_detected_mag)
        last_mjd = (query.last_mjd, SUMMARY.last_detected_mjd)
        peak_mag = (query.peak_mag, SUMMARY.peak_mag)
        for bounds, column in (last_mag, last_mjd, peak_mag):
            exact = between(column, bounds)
            if not exact:
                continue
            if self.audiences is None or whole:
                ways.append(Way(PhotometrySummary, exact))
                continue
            possible = _possible(column.name, bounds, SUMMARY.__getitem__)
            # Who sees the whole is not asked here: that takes longer than to read a few more.
            ways.append(Way(PhotometrySummary, apart=[and_(*exact), and_(*possible, _MIXED)]))
        return ways

    def _numbers(self) -> list[Condition]:
        """Conditions on statistics. Light curves that a viewer may see in part are let through."""
        query, of = self.query, opaque
        exact = [
            *between(of(SUMMARY.last_detected_mag), query.last_mag),
            *between(of(SUMMARY.last_detected_mjd), query.last_mjd),
            *between(of(SUMMARY.peak_mag), query.peak_mag),
        ]
        fewest = query.min_detections
        many = [] if fewest is None else [SUMMARY.n_detections >= fewest]
        if self.audiences is None:
            return exact + many
        whole = _one_of(of(SUMMARY.only_audience_id), self.audiences)
        possible = [
            *between(of(SUMMARY.peak_mag), (None, query.last_mag[1])),
            *between(of(SUMMARY.peak_mag), (None, query.peak_mag[1])),
            *between(of(SUMMARY.last_detected_mjd), (query.last_mjd[0], None)),
        ]
        return [*many, or_(and_(whole, *exact), and_(_MIXED, *possible))]

    def _notes(self) -> list[Condition]:
        """Conditions on rows of other tables."""
        query, viewer, found = self.query, self.viewer, []

        def there(table: Any, *conditions: Any) -> Condition:
            # Nothing is read that an index does not have.
            inner = select(table.object_id).where(table.object_id == opaque(OBJECT_ID), *conditions)
            return is_there(inner.correlate(Object))

        seen = readable(viewer, Classification)
        if query.classifications:
            named_so = opaque(Classification.__table__.c.classification)
            found.append(there(Classification, named_so.in_(query.classifications), seen))
        if query.without:
            named_so = opaque(Classification.__table__.c.classification)
            found.append(~there(Classification, named_so.in_(query.without), seen))
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


def _possible(
    column: str, bounds: Range, of: Callable[[str], ColumnElement[Any]]
) -> list[Condition]:
    """What a light curve fulfils of which a part may have a number within bounds.

    No part is brighter than the whole, nor later.

    Parameters
    ----------
    of
        The columns of the whole, by their names.
    """
    if column == "last_detected_mjd":
        return between(of(column), (bounds[0], None))
    return between(of("peak_mag"), (None, bounds[1]))


# What a list by a number of the summary is sought by, and its column there.
_SOUGHT_BY: Mapping[str, tuple[str, str]] = {
    "last_detected": ("last_detected_mjd", "last_mjd"),
    "last_mag": ("last_detected_mag", "last_mag"),
    "peak_mag": ("peak_mag", "peak_mag"),
}


def is_there(rows: Select[Any]) -> Condition:
    """The condition that there are rows.

    As a value, not as EXISTS, which could become a join in another order.
    """
    return rows.limit(1).scalar_subquery().is_not(None)


def between(column: Any, bounds: Range) -> list[Condition]:
    """The conditions that a number is within bounds, both included."""
    low, high = bounds
    found = [] if low is None else [column >= low]
    return found if high is None else [*found, column <= high]


class _AsciiLower(FunctionElement[str]):
    """A text with its ASCII letters in lower case, which PostgreSQL does in half the time."""

    type = Text()
    inherit_cache = True


@compiles(_AsciiLower)
def _lower(element: _AsciiLower, compiler: SQLCompiler, **options: Any) -> str:
    return f"lower({compiler.process(element.clauses, **options)})"


@compiles(_AsciiLower, "postgresql")
def _lower_of_bytes(element: _AsciiLower, compiler: SQLCompiler, **options: Any) -> str:
    return f'lower({compiler.process(element.clauses, **options)} COLLATE "C")'


def named(name: str) -> Condition:
    """The condition that a part of the name, or of another name, is so; in any case."""
    pattern = f"%{escaped(name.lower())}%"
    lower: Any = _AsciiLower if name.isascii() else func.lower
    others = lower(cast(OBJECT.aliases, Text)).like(pattern, escape="\\")
    return or_(lower(OBJECT.name).like(pattern, escape="\\"), others)


def _one_of(column: ColumnElement[int], numbers: Collection[int]) -> Condition:
    """The condition that a column has one of some numbers.

    They are written into the statement, for drivers take long over hundreds of parameters.
    """
    some: BindParameter[Any] = bindparam(
        None, sorted(numbers), unique=True, expanding=True, literal_execute=True
    )
    return column.in_(some)


def _around(cone: tuple[float, float, float]) -> list[Condition]:
    """Conditions that every place in a cone fulfils, and few others; quickly tested."""
    ra, dec, radius = cone
    ra_of, dec_of = opaque(OBJECT.ra), opaque(OBJECT.dec)
    low, high = dec - radius - _RIM_DEG, dec + radius + _RIM_DEG
    found: list[Condition] = [dec_of >= low, dec_of <= high]
    if max(-low, high) >= 90.0:
        return found
    # The meridians that touch the cone.
    reach = math.degrees(math.asin(math.sin(math.radians(radius)) / math.cos(math.radians(dec))))
    first, last = (ra - reach - _RIM_DEG) % 360.0, (ra + reach + _RIM_DEG) % 360.0
    between_them = and_ if first <= last else or_
    return [*found, between_them(ra_of >= first, ra_of <= last)]


def _in_cone(cone: tuple[float, float, float], hpx: Any) -> list[Condition]:
    ranges = cone_ranges(*cone, max_ranges=_MOST_RANGES)
    return [and_(hpx >= first, hpx < stop) for first, stop in ranges]
