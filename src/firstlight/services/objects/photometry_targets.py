"""What a request of photometry names: its objects, its instruments, and who shall see it."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from firstlight.errors import InvalidInput
from firstlight.models.account import Group, Membership
from firstlight.models.audience import audience_of, widened
from firstlight.models.instrument_record import InstrumentRecord
from firstlight.models.object import Object
from firstlight.services.access import Viewer
from firstlight.services.accounts.membership import sitewide_group
from firstlight.services.objects.photometry_columns import Columns
from firstlight.services.objects.saved_objects import existing_groups
from firstlight.services.visibility import seen_by

__all__ = ["Targets", "find_targets", "named_groups", "own_group"]

_BATCH = 5_000


@dataclass(frozen=True)
class Targets:
    """What there is of that which a request names.

    Attributes
    ----------
    objects
        By name.
    instruments
        By number the filters that each lists.
    """

    objects: Mapping[str, Object]
    instruments: Mapping[int, list[str]]

    @property
    def ids(self) -> dict[str, uuid.UUID]:
        """Of the objects, by name."""
        return {name: row.id for name, row in self.objects.items()}

    def audiences(self, session: Session, groups: Collection[int]) -> dict[str, int]:
        """Who sees the points of each object: the groups, or without any whoever sees the object.

        The groups see the objects from then on. Does not commit.
        """
        if not groups:
            return {name: row.audience_id for name, row in self.objects.items()}
        for row in self.objects.values():
            wider = widened(session, row.audience_id, groups=groups)
            if wider != row.audience_id:
                row.audience_id = wider
        return dict.fromkeys(self.objects, audience_of(session, groups=groups))


def find_targets(session: Session, viewer: Viewer, columns: Columns) -> Targets:
    """Look up objects and instruments.

    Instruments that there are not are left out: `read_table` tells which row names one.

    Raises
    ------
    BadValue
        There is no such object, or none that the viewer may see.
    """
    names = columns.texts("obj_id")
    wanted = list(dict.fromkeys(names))
    objects: dict[str, Object] = {}
    for start in range(0, len(wanted), _BATCH):
        some = wanted[start : start + _BATCH]
        rows = session.scalars(
            select(Object).where(Object.name.in_(some), seen_by(viewer, Object.audience_id))
        )
        objects |= {row.name: row for row in rows}
    missing = next((name for name in wanted if name not in objects), None)
    if missing is not None:
        raise columns.bad(names.index(missing), "obj_id", "the name of an object that there is")
    numbers = sorted(set(columns.ids("instrument_id")))
    found = session.execute(
        select(InstrumentRecord.id, InstrumentRecord.filters).where(
            InstrumentRecord.id.in_(numbers[:_BATCH])
        )
    )
    return Targets(objects, {number: list(filters or ()) for number, filters in found})


def named_groups(session: Session, viewer: Viewer, group_ids: object) -> set[int]:
    """The groups with which photometry is shared. Does not commit.

    Parameters
    ----------
    group_ids
        Numbers of groups of the viewer, or ``"all"`` for the group of all accounts; None or
        an empty list for none.

    Raises
    ------
    InvalidInput
        There is no such group, or the viewer is not in it.
    """
    if group_ids is None:
        return set()
    if group_ids == "all":
        return {sitewide_group(session)}
    whole = isinstance(group_ids, list) and all(
        isinstance(each, int) and not isinstance(each, bool) for each in group_ids
    )
    if not whole:
        raise InvalidInput(
            field="group_ids", found=repr(group_ids)[:100], expected="a list of numbers, or 'all'"
        )
    assert isinstance(group_ids, list)  # noqa: S101, as was just seen
    return set(existing_groups(session, group_ids, "group_ids", viewer=viewer))


def own_group(session: Session, user_id: int | None) -> set[int]:
    """The group of one account alone; none for what belongs to no account."""
    if user_id is None:
        return set()
    return set(
        session.scalars(
            select(Group.id)
            .join(Membership, Membership.group_id == Group.id)
            .where(Membership.user_id == user_id, Group.single_user_group)
        )
    )
