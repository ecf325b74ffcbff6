"""With whom rows are shared: groups as they are named, audiences as they are stored."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from sqlalchemy import ColumnElement, bindparam, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from firstlight.errors import FirstlightError, InvalidInput, UserError
from firstlight.models.account import Group
from firstlight.models.audience import Audience, AudienceGroup, audience_of, members_of
from firstlight.models.database import each_once
from firstlight.models.event import Event, record_events
from firstlight.services.access import Forbidden, Viewer
from firstlight.services.accounts.facts import group_facts
from firstlight.services.objects.wire_values import LARGEST_ID
from firstlight.services.visibility import seen_by

__all__ = [
    "AccountNeeded",
    "account_of",
    "by_object",
    "chosen_audience",
    "common_audience",
    "groups_by_audience",
    "may_change",
    "readable",
    "refusing_twins",
    "tell",
    "tell_of_row",
]

T = TypeVar("T")

# Built once: pages ask for it again and again.
_GROUPS_OF_AUDIENCES = (
    select(AudienceGroup.audience_id, Group)
    .join(Group, Group.id == AudienceGroup.group_id)
    .where(AudienceGroup.audience_id.in_(bindparam("audiences", expanding=True)))
    .order_by(AudienceGroup.audience_id, Group.id)
)
_MOST_GROUPS = 200  # of one row; the key of an audience names each


class AccountNeeded(UserError):
    """What is written here has an author, and the token belongs to no user."""

    code = "account.needed"


def account_of(viewer: Viewer) -> int:
    """The number of the viewer's account.

    Raises
    ------
    AccountNeeded
        They have none: a token of the workspace, or nobody at all.
    """
    if viewer.user_id is None:
        raise AccountNeeded(
            subject=viewer.name or None, hint="use a token of a user: firstlight user, then token"
        )
    return viewer.user_id


def readable(viewer: Viewer, table: type[Any], author: str = "author_id") -> ColumnElement[bool]:
    """The condition that a query must have: shared with the viewer, or their own.

    Parameters
    ----------
    table
        One with ``audience_id`` and the column of its author.
    """
    if viewer.user_id is None:
        return seen_by(viewer, table.audience_id)
    return or_(seen_by(viewer, table.audience_id), getattr(table, author) == viewer.user_id)


def may_change(viewer: Viewer, author_id: int | None, what: str) -> None:
    """Raise unless the viewer wrote it, or may do everything.

    Raises
    ------
    Forbidden
        It is somebody else's.
    """
    if viewer.may("admin") or (author_id is not None and author_id == viewer.user_id):
        return
    raise Forbidden(f"the {what} is somebody else's", subject=viewer.name or None)


def chosen_audience(
    session: Session, viewer: Viewer, group_ids: object, *, default: int | None
) -> int:
    """The audience of the groups that somebody shares a row with. Does not commit.

    Parameters
    ----------
    group_ids
        Numbers of groups, or ``"all"`` for all of the viewer's, if there are any; None or none
        for the default.
    default
        An audience; None for all groups of the viewer.

    Raises
    ------
    InvalidInput
        A group does not exist or is not the viewer's; or there is none at all.
    """
    if group_ids is None or group_ids == []:
        if default is not None:
            return default
        group_ids = "all"
    if group_ids == "all":
        wanted = set(viewer.groups)
        if not wanted and default is not None:
            return default
        if not wanted:
            raise InvalidInput("you belong to no group", field="group_ids", expected="some groups")
        return audience_of(session, groups=wanted)
    wanted = _numbers(group_ids)
    known = set(session.scalars(select(Group.id).where(Group.id.in_(wanted))))
    refused = sorted(wanted - (known if viewer.sees_all else known & viewer.groups))
    if refused:
        raise InvalidInput(
            "there are no such groups, or you are not in them",
            field="group_ids",
            found=", ".join(map(str, refused[:20])),
        )
    return audience_of(session, groups=wanted)


def common_audience(session: Session, one: int, other: int) -> int:
    """The audience of those groups and sites that belong to both. Does not commit."""
    if one == other:
        return one
    for given, instead in ((one, other), (other, one)):
        if session.get_one(Audience, given).is_public:
            return instead
    groups, sites = members_of(session, one)
    other_groups, other_sites = members_of(session, other)
    return audience_of(session, groups=groups & other_groups, sites=sites & other_sites)


def groups_by_audience(
    session: Session, viewer: Viewer, audience_ids: Iterable[int]
) -> dict[int, list[dict[str, Any]]]:
    """The groups of each audience, as SkyPortal shows them.

    Private groups and those of one user alone are named to their members only.
    """

    def find(wanted: set[int]) -> dict[int, list[dict[str, Any]]]:
        return _groups_by_audience(session, viewer, wanted)

    return each_once(session, ("groups by audience", viewer), audience_ids, find)


def _groups_by_audience(
    session: Session, viewer: Viewer, wanted: set[int]
) -> dict[int, list[dict[str, Any]]]:
    rows = session.execute(_GROUPS_OF_AUDIENCES, {"audiences": list(wanted)}).all()
    shown = {
        group: group_facts(group)
        for group in {group for _, group in rows}
        if viewer.sees_all
        or group.id in viewer.groups
        or not (group.private or group.single_user_group)
    }
    found: dict[int, list[dict[str, Any]]] = {each: [] for each in wanted}
    for audience, group in rows:
        if group in shown:
            found[audience].append(shown[group])
    return found


@contextmanager
def refusing_twins(session: Session, fault: FirstlightError) -> Iterator[None]:
    """Write what was changed within; what another one did at the same moment is a fault.

    Looking first whether something is taken or used makes for the usual answer; the database's
    own constraint decides between two that looked at once.
    """
    try:
        yield
        session.flush()
    except IntegrityError as broken:
        raise fault from broken


def tell(
    session: Session, name: str, what: str, audience_id: int, facts: Mapping[str, Any]
) -> None:
    """Record that something about an object has changed: the last thing before the commit."""
    data = {"object": name, "what": what, **facts}
    record_events(session, [Event(topic="object", site=None, audience_id=audience_id, data=data)])


class Named(Protocol):
    """An object, or another thing that has one's name, and who may see it."""

    @property
    def name(self) -> str:
        """Of the object."""
        ...

    @property
    def audience_id(self) -> int:
        """Who may see it."""
        ...


def tell_of_row(session: Session, thing: Named, what: str, row: Any, change: str) -> None:
    """As `tell`, of a row with an audience of its own.

    Whoever may not see the object is not told of it, with whomever the row is shared.
    """
    audience = common_audience(session, thing.audience_id, row.audience_id)
    tell(session, thing.name, what, audience, {"id": row.id, "change": change})


def by_object(rows: Iterable[Any], shown: Iterable[T]) -> dict[uuid.UUID, list[T]]:
    """What is shown of each row, by the object that the row is about, in the same order."""
    found: dict[uuid.UUID, list[T]] = {}
    for row, each in zip(rows, shown, strict=True):
        found.setdefault(row.object_id, []).append(each)
    return found


def _numbers(value: object) -> set[int]:
    if isinstance(value, list | tuple) and len(value) <= _MOST_GROUPS:
        whole = [each for each in value if isinstance(each, int) and not isinstance(each, bool)]
        if len(whole) == len(value) and all(0 < each <= LARGEST_ID for each in whole):
            return set(whole)
    raise InvalidInput(
        field="group_ids",
        found=repr(value)[:100],
        expected=f"a list of at most {_MOST_GROUPS} numbers, or 'all'",
    )
