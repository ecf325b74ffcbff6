"""Lists of objects: page by page for people, by number of page for SkyPortal's clients."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from firstlight.errors import InvalidInput
from firstlight.models.account import Group
from firstlight.models.database import Database, among
from firstlight.models.notes import Classification, ObjectTag, Tag
from firstlight.models.object import Object, SavedObject
from firstlight.models.spectrum import Spectrum
from firstlight.services.access import Viewer
from firstlight.services.objects.object_facts import object_facts
from firstlight.services.objects.object_parts import (
    Include,
    parts_of,
    summaries_of,
    with_rows,
)
from firstlight.services.objects.object_query import (
    Mark,
    ObjectQuery,
    Order,
    read_mark,
    write_mark,
)
from firstlight.services.objects.object_search import ObjectSearch
from firstlight.services.objects.saved_objects import SavedWhen
from firstlight.services.objects.sharing import readable
from firstlight.services.visibility import seen_by

__all__ = ["ObjectList", "ObjectPage", "ObjectRow"]

LONGEST_PAGE = 500
_LAST_PAGE = 1_000_000


@dataclass(frozen=True, slots=True)
class ObjectRow:
    """An object in a list, with what the viewer may know of it.

    Attributes
    ----------
    numbers
        Statistics of its light curve: ``n_points``, ``last_detected_mag`` and so on, see
        `object_summary.merged_numbers`; None without any.
    classes
        Name and probability of its classifications, the most probable first.
    tags
        Name and color.
    groups
        Number and name of the groups that have saved it.
    """

    id: uuid.UUID
    name: str
    ra: float
    dec: float
    redshift: float | None
    origin: str
    created_at: datetime
    numbers: dict[str, Any] | None
    classes: tuple[tuple[str, float | None], ...] = ()
    tags: tuple[tuple[str, str | None], ...] = ()
    groups: tuple[tuple[int, str], ...] = ()
    has_spectrum: bool = False


@dataclass(frozen=True, slots=True)
class ObjectPage:
    """Some objects of a list.

    Attributes
    ----------
    next_cursor
        Of the page after this; None on the last.
    total
        How many there are in all, counted no further than was asked; None where it was not.
    """

    rows: tuple[ObjectRow, ...] = field(default=())
    next_cursor: str | None = None
    total: int | None = None


class ObjectList:
    """Finds objects.

    Parameters
    ----------
    database
        The tables.
    """

    def __init__(self, *, database: Database) -> None:
        self._database = database

    def search(
        self,
        viewer: Viewer,
        query: ObjectQuery = ObjectQuery(),  # noqa: B008, it is frozen
        order: Order = Order(),  # noqa: B008, it is frozen
        *,
        cursor: str | None = None,
        limit: int = 50,
        count_to: int | None = None,
    ) -> ObjectPage:
        """One page of a list. What is added meanwhile changes nothing on the pages after it.

        Parameters
        ----------
        cursor
            `next_cursor` of the page before.
        limit
            At most 500. A page has fewer rows only where there are no more.
        count_to
            How far all objects are counted; None for not at all.

        Raises
        ------
        BadObjectCursor
            The cursor is not one of this order.
        """
        if not 1 <= limit <= LONGEST_PAGE:
            raise InvalidInput(field="limit", found=limit, expected=f"1 to {LONGEST_PAGE}")
        after = None if cursor is None else read_mark(order, cursor)
        with self._database.reading(apart=True) as session:
            search = ObjectSearch.begin(session, viewer, query)
            marks = search.marks(order, limit + 1, after=after)
            more = len(marks) > limit
            if count_to is None:
                total = None
            elif after is None and not more:
                total = min(len(marks), count_to)  # all of them are on this page
            else:
                total = search.count(count_to)
            rows = _rows(search, viewer, _load(search, marks[:limit]))
        return ObjectPage(rows, write_mark(order, marks[limit - 1]) if more else None, total)

    def count(self, viewer: Viewer, query: ObjectQuery, at_most: int = 1_000) -> int:
        """How many objects there are, counted no further than `at_most`."""
        with self._database.reading(apart=True) as session:
            search = ObjectSearch.begin(session, viewer, query)
            return search.count(at_most)

    def page(
        self,
        viewer: Viewer,
        query: ObjectQuery,
        order: Order,
        include: Include,
        *,
        page: int,
        per_page: int,
    ) -> tuple[list[dict[str, Any]], int]:
        """A page by its number, as SkyPortal tells of sources; and how many there are in all.

        Raises
        ------
        InvalidInput
            Pages begin with 1 and have up to 500 sources.
        """
        if not 1 <= page <= _LAST_PAGE:
            raise InvalidInput(field="pageNumber", found=page, expected=f"1 to {_LAST_PAGE}")
        if not 1 <= per_page <= LONGEST_PAGE:
            raise InvalidInput(field="numPerPage", found=per_page, expected=f"1 to {LONGEST_PAGE}")
        offset = (page - 1) * per_page
        with self._database.reading(apart=True) as session:
            search = ObjectSearch.begin(session, viewer, query)
            total = search.count()
            marks = search.marks(order, per_page, offset=offset) if offset < total else []
            rows = _load(search, marks)
            named = {row.id: row.name for row in rows}
            parts = parts_of(session, viewer, named, include)
            facts = object_facts(rows)
        return [{**one, **parts[row.id]} for one, row in zip(facts, rows, strict=True)], total


def _load(search: ObjectSearch, marks: Sequence[Mark]) -> list[Object]:
    """The objects of some places in a list, without any that the viewer may not see."""
    if not marks:
        return []
    search.let_sort()
    wanted = [mark.ident for mark in marks]
    found = search.session.scalars(select(Object).where(among(search.session, Object.id, wanted)))
    mine = search.audiences
    rows = {row.id: row for row in found if mine is None or row.audience_id in mine}
    return [rows[ident] for ident in wanted if ident in rows]


def _rows(search: ObjectSearch, viewer: Viewer, objects: Sequence[Object]) -> tuple[ObjectRow, ...]:
    idents = [row.id for row in objects]
    if not idents:
        return ()
    session = search.session
    seen = summaries_of(session, viewer, idents, search.audiences)
    tags, groups, classes = _notes(session, viewer, idents)
    spectra = with_rows(session, Spectrum, idents, seen_by(viewer, Spectrum.audience_id))
    return tuple(
        ObjectRow(
            id=row.id,
            name=row.name,
            ra=row.ra,
            dec=row.dec,
            redshift=row.redshift,
            origin=row.origin,
            created_at=row.created_at,
            numbers=seen[row.id][1] if row.id in seen else None,
            classes=tuple(sorted(classes[row.id], key=lambda one: -(one[1] or 0.0))),
            tags=tuple(tags[row.id]),
            groups=tuple(groups[row.id]),
            has_spectrum=row.id in spectra,
        )
        for row in objects
    )


def _notes(
    session: Session, viewer: Viewer, idents: Sequence[uuid.UUID]
) -> list[dict[uuid.UUID, list[Any]]]:
    """Tags, groups and classifications of objects, as `ObjectRow` tells of them."""
    tags = (
        select(ObjectTag.object_id, Tag.name, Tag.color)
        .join(Tag, Tag.id == ObjectTag.tag_id)
        .where(among(session, ObjectTag.object_id, idents), seen_by(viewer, ObjectTag.audience_id))
        .order_by(ObjectTag.id)
    )
    groups = (
        select(SavedObject.object_id, Group.id, Group.name)
        .join(Group, Group.id == SavedObject.group_id)
        .where(among(session, SavedObject.object_id, idents), SavedWhen().condition(viewer))
        .order_by(SavedObject.group_id)
    )
    classes = (
        select(Classification.object_id, Classification.classification, Classification.probability)
        .where(among(session, Classification.object_id, idents), readable(viewer, Classification))
        .order_by(Classification.id)
    )
    found: list[dict[uuid.UUID, list[Any]]] = []
    for query in (tags, groups, classes):
        found.append(by_object := defaultdict(list))
        for ident, *told in session.execute(query):
            by_object[ident].append(tuple(told))
    return found
