"""Objects in the lists of groups: saved, asked for, taken off."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, false, func, or_, select, true, tuple_
from sqlalchemy.orm import Session, aliased

from firstlight.errors import InvalidInput, UserError
from firstlight.models.account import Group, Membership
from firstlight.models.audience import widened
from firstlight.models.base import utc_now
from firstlight.models.database import Database, among
from firstlight.models.exposure_streams import opaque
from firstlight.models.object import Object, SavedObject
from firstlight.services.access import Forbidden, Viewer
from firstlight.services.accounts.facts import group_facts
from firstlight.services.objects.object_reactions import NO_REACTIONS, ObjectReactions
from firstlight.services.objects.sharing import tell
from firstlight.services.objects.visible_objects import visible_object
from firstlight.services.objects.wire_values import LARGEST_ID, authors, wire_time
from firstlight.services.transaction_locks import lock_names
from firstlight.services.visibility import seen_by

__all__ = [
    "ENTRY",
    "NotSaved",
    "SavedObjectService",
    "SavedWhen",
    "existing_groups",
    "own_groups",
    "saved_groups",
    "saving",
]

_MOST_GROUPS = 1_000
_FEW = 10_000
# Aliases take milliseconds to make.
ENTRY = aliased(SavedObject)
"""An entry in a list, beside `SavedObject` itself."""
_LATER = aliased(SavedObject)


class NotSaved(UserError):
    """No such source is saved in the group."""

    code = "object.not_saved"


@dataclass(frozen=True)
class SavedWhen:
    """Which entries in the lists of groups count.

    Attributes
    ----------
    groups
        Only of these; none for all of the viewer's.
    before, after
        Aware; when they were saved.
    saved_by
        Number of the user.
    with_requested
        Also those that a group was only asked to save.
    requested_only
        These alone.
    """

    groups: tuple[int, ...] = field(default=())
    before: datetime | None = None
    after: datetime | None = None
    saved_by: int | None = None
    with_requested: bool = False
    requested_only: bool = False

    def condition(
        self, viewer: Viewer, entry: type[SavedObject] = SavedObject, *, hidden: bool = False
    ) -> ColumnElement[bool]:
        """The condition on rows of `SavedObject` that the viewer may know of.

        Parameters
        ----------
        entry
            `SavedObject`, or an alias of it.
        hidden
            Whether no index is to be led to by the groups.
        """
        group, active = entry.group_id.expression, entry.active.expression
        if hidden:
            group, active = opaque(group), opaque(active)
        found: list[ColumnElement[bool]] = [_readable(viewer, group)]
        if self.groups:
            found.append(group.in_(self.groups))
        if self.before is not None:
            found.append(entry.saved_at <= self.before)
        if self.after is not None:
            found.append(entry.saved_at >= self.after)
        if self.saved_by is not None:
            found.append(entry.saved_by_id == self.saved_by)
        if self.requested_only:
            found.append(entry.requested.is_(True))
        elif self.with_requested:
            found.append(or_(active, entry.requested))
        else:
            found.append(active.is_(True))
        return and_(*found)

    def latest(self, viewer: Viewer, entry: type[SavedObject]) -> ColumnElement[bool]:
        """The condition on entries of which there is no later one of the same object."""
        mine = self.condition(viewer, entry, hidden=True)
        if self.has_each_once(viewer):
            return mine
        later = tuple_(_LATER.saved_at, _LATER.group_id)
        there = select(_LATER.id).where(
            _LATER.object_id == entry.object_id,
            self.condition(viewer, _LATER, hidden=True),
            later > tuple_(entry.saved_at, entry.group_id),
        )
        # As a value, which is never made into a join.
        return and_(mine, there.correlate(entry).limit(1).scalar_subquery().is_(None))

    def count_objects(self, session: Session, viewer: Viewer, at_most: int | None = None) -> int:
        """How many objects are in these lists, counted no further than `at_most`."""
        entries = select(SavedObject.object_id).where(self.condition(viewer))
        if not self.has_each_once(viewer):
            some = entries.limit(_FEW).subquery()
            if session.scalar(select(func.count()).select_from(some)) == _FEW:
                # Then all entries in the order of objects, from an index that has all columns.
                entries = select(SavedObject.object_id).where(self.condition(viewer, hidden=True))
            entries = entries.distinct()
        if at_most is not None:
            entries = entries.limit(at_most)
        return session.scalar(select(func.count()).select_from(entries.subquery())) or 0

    def has_each_once(self, viewer: Viewer) -> bool:
        """Whether an object is there once at most: one group has it once."""
        return len(self._only(viewer)) == 1

    def _only(self, viewer: Viewer) -> frozenset[int]:
        """The groups that can count; none for any."""
        if viewer.sees_all:
            return frozenset(self.groups)
        return viewer.groups & frozenset(self.groups) if self.groups else viewer.groups


class SavedObjectService:
    """Puts objects into the lists of groups, and takes them off.

    Parameters
    ----------
    database
        The tables.
    reactions
        What begins by itself.
    """

    def __init__(self, *, database: Database, reactions: ObjectReactions = NO_REACTIONS) -> None:
        self._database = database
        self._reactions = reactions

    def groups(self, viewer: Viewer, name: str) -> list[dict[str, Any]]:
        """Groups of the viewer that have the object in their list."""
        with self._database.reading() as session:
            row = visible_object(session, viewer, name)
            return saved_groups(session, viewer, [row.id]).get(row.id, [])

    def change(
        self, viewer: Viewer, name: str, *, invite: Sequence[int] = (), unsave: Sequence[int] = ()
    ) -> None:
        """Save an object to some groups and take it off the lists of others.

        A group that the viewer is not in is asked: one of its members decides.
        """
        viewer.require("upload")
        with self._database.begin() as session:
            row = visible_object(session, viewer, name)
            lock_names(session, f"object {row.name}")
            session.refresh(row)
            existing_groups(session, invite, "inviteGroupIds")
            own = own_groups(session, viewer, unsave, "unsaveGroupIds")
            added = []
            for group in sorted(set(invite)):
                theirs = viewer.sees_all or group in viewer.groups
                if theirs:
                    own_groups(session, viewer, [group], "inviteGroupIds")
                if _put(session, viewer, row, group, active=theirs):
                    added.append(group)
            row.audience_id = widened(session, row.audience_id, groups=invite)
            for group in own:
                _take_off(session, viewer, row, group)
            self._reactions.saved(session, row, set(added) - set(own))
            tell(session, row.name, "saved", row.audience_id, {})

    def decide(
        self, viewer: Viewer, name: str, group_id: int, *, active: bool, requested: bool
    ) -> None:
        """Set whether an object is in the list of a group, and whether it is asked for.

        Raises
        ------
        NotSaved
            The group has never had it, nor been asked.
        """
        viewer.require("upload")
        with self._database.begin() as session:
            row = visible_object(session, viewer, name)
            own_groups(session, viewer, [group_id], "groupID")
            saved = _saved(session, row, group_id)
            if saved is None:
                raise NotSaved(subject=row.name, found=f"group {group_id}")
            comes = active and not saved.active
            if comes:
                saved.saved_at, saved.saved_by_id = utc_now(), viewer.user_id
                row.audience_id = widened(session, row.audience_id, groups=[group_id])
            saved.active, saved.requested = active, requested
            if comes:
                self._reactions.saved(session, row, [group_id])
            tell(session, row.name, "saved", row.audience_id, {})

    def take_off(self, viewer: Viewer, name: str, group_id: int) -> None:
        """Take an object off the list of a group. Whoever could see it still can.

        Raises
        ------
        NotSaved
            It is not on the list.
        """
        viewer.require("manage_sources")
        with self._database.begin() as session:
            row = visible_object(session, viewer, name)
            own_groups(session, viewer, [group_id], "group_id")
            if not _take_off(session, viewer, row, group_id):
                raise NotSaved(
                    f"No such source {row.name} in group {group_id}.",
                    field="group_id",
                    found=group_id,
                )
            tell(session, row.name, "unsaved", row.audience_id, {})

    def page(
        self, viewer: Viewer, when: SavedWhen, page: int, per_page: int
    ) -> tuple[list[dict[str, Any]], int]:
        """Entries of lists in the order in which they were made, and how many there are."""
        with self._database.reading() as session:
            query = (
                select(SavedObject, Object.name)
                .join(Object, Object.id == SavedObject.object_id)
                .where(when.condition(viewer), seen_by(viewer, Object.audience_id))
            )
            total = session.scalar(query.with_only_columns(func.count(SavedObject.id))) or 0
            rows = session.execute(
                query.order_by(SavedObject.id).offset((page - 1) * per_page).limit(per_page)
            ).all()
        return [_entry(saved, name) for saved, name in rows], total


def own_groups(
    session: Session, viewer: Viewer, group_ids: Collection[int], field: str
) -> list[int]:
    """Numbers of groups, into whose lists the viewer may put objects.

    Raises
    ------
    InvalidInput
        There is no such group, or none of the viewer's.
    Forbidden
        The viewer is a member who may not save.
    """
    wanted = existing_groups(session, group_ids, field, viewer=viewer)
    if viewer.sees_all or not wanted:
        return wanted
    refused = session.scalars(
        select(Membership.group_id).where(
            Membership.user_id == viewer.user_id,
            Membership.group_id.in_(wanted),
            ~Membership.can_save,
        )
    ).all()
    if refused:
        raise Forbidden(
            "you may not save objects to this group", subject=viewer.name, found=min(refused)
        )
    return wanted


def existing_groups(
    session: Session, group_ids: Collection[int], field: str, *, viewer: Viewer | None = None
) -> list[int]:
    """Numbers of groups, sorted, once each; with a viewer, all theirs.

    Raises
    ------
    InvalidInput
        There is no such group, or none of theirs: the two are not told apart.
    """
    wanted = sorted(set(group_ids))
    if len(wanted) > _MOST_GROUPS or any(not 0 < each <= LARGEST_ID for each in wanted):
        raise InvalidInput(field=field, expected="numbers of groups")
    known = set(session.scalars(select(Group.id).where(Group.id.in_(wanted))))
    if viewer is not None and not viewer.sees_all:
        known &= viewer.groups
    unknown = [each for each in wanted if each not in known]
    if unknown:
        raise InvalidInput(
            "there are no such groups, or you are not in them",
            field=field,
            found=", ".join(map(str, unknown[:20])),
        )
    return wanted


def saving(
    session: Session,
    viewer: Viewer,
    row: Object,
    groups: Iterable[int],
    savers: Mapping[int, int] | None = None,
) -> list[int]:
    """Put an object into the lists of groups and let their members see it. Does not commit.

    Parameters
    ----------
    groups
        Checked by `own_groups`.
    savers
        Who is said to have saved it, by group, where it is not the viewer.

    Returns
    -------
    list of int
        Those groups that did not have it before.
    """
    chosen, added = list(groups), []
    for group in chosen:
        saver = (savers or {}).get(group, viewer.user_id)
        if _put(session, viewer, row, group, active=True, saver=saver):
            added.append(group)
    row.audience_id = widened(session, row.audience_id, groups=chosen)
    return added


# Columns are read in a third of the time that whole rows of the model take.
_SHOWN = (
    SavedObject.object_id, SavedObject.group_id, SavedObject.active, SavedObject.requested,
    SavedObject.saved_at, SavedObject.saved_by_id,
)  # fmt: skip


def saved_groups(
    session: Session,
    viewer: Viewer,
    objects: Collection[uuid.UUID],
    when: SavedWhen = SavedWhen(),
) -> dict[uuid.UUID, list[dict[str, Any]]]:
    """Groups of the viewer that have each object in their list, as SkyPortal tells of them."""
    rows = session.execute(
        select(*_SHOWN)
        .where(among(session, SavedObject.object_id, objects), when.condition(viewer))
        .order_by(SavedObject.group_id)
    ).all()
    people = authors(session, {saved.saved_by_id for saved in rows})
    groups = _groups(session, {saved.group_id for saved in rows})
    found: dict[uuid.UUID, list[dict[str, Any]]] = {}
    for saved in rows:
        shown = {
            **groups[saved.group_id],
            "active": saved.active,
            "requested": saved.requested,
            "saved_at": wire_time(saved.saved_at),
            "saved_by": None if saved.saved_by_id is None else people.get(saved.saved_by_id),
        }
        found.setdefault(saved.object_id, []).append(shown)
    return found


def _groups(session: Session, wanted: Collection[int]) -> dict[int, dict[str, Any]]:
    if not wanted:
        return {}
    rows = session.scalars(select(Group).where(Group.id.in_(wanted)))
    return {group.id: group_facts(group) for group in rows}


def _readable(viewer: Viewer, group: ColumnElement[int]) -> ColumnElement[bool]:
    if viewer.sees_all:
        return true()
    return group.in_(sorted(viewer.groups)) if viewer.groups else false()


def _saved(session: Session, row: Object, group: int) -> SavedObject | None:
    return session.scalar(
        select(SavedObject).where(SavedObject.object_id == row.id, SavedObject.group_id == group)
    )


def _put(
    session: Session,
    viewer: Viewer,
    row: Object,
    group: int,
    *,
    active: bool,
    saver: int | None = None,
) -> bool:
    """Save an object to a group, or ask the group to; what is saved already stays as it is.

    Returns
    -------
    bool
        Whether it has come into the group's list by this.
    """
    saved = _saved(session, row, group)
    if saved is None:
        saved = SavedObject(object_id=row.id, group_id=group, active=False, requested=False)
        session.add(saved)
    elif saved.active:
        return False
    saved.active, saved.requested = active, not active
    saved.saved_at = utc_now()
    saved.saved_by_id = viewer.user_id if saver is None else saver
    saved.unsaved_at = saved.unsaved_by_id = None
    return active


def _take_off(session: Session, viewer: Viewer, row: Object, group: int) -> bool:
    saved = _saved(session, row, group)
    if saved is None or not (saved.active or saved.requested):
        return False
    saved.active = saved.requested = False
    saved.unsaved_at, saved.unsaved_by_id = utc_now(), viewer.user_id
    return True


def _entry(saved: SavedObject, name: str) -> dict[str, Any]:
    return {
        "id": saved.id,
        "created_at": wire_time(saved.created_at),
        "modified": wire_time(saved.modified_at),
        "obj_id": name,
        "group_id": saved.group_id,
        "saved_by_id": saved.saved_by_id,
        "saved_at": wire_time(saved.saved_at),
        "active": saved.active,
        "requested": saved.requested,
        "unsaved_by_id": saved.unsaved_by_id,
        "unsaved_at": wire_time(saved.unsaved_at),
    }
