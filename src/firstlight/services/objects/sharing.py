"""With whom rows are shared: groups as they are named, audiences as they are stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from firstlight.errors import FirstlightError, InvalidInput, UserError
from firstlight.models.account import Group
from firstlight.models.audience import Audience, AudienceGroup, AudienceSite, audience_of
from firstlight.models.event import Event, record_events
from firstlight.services.access import Forbidden, Viewer
from firstlight.services.objects.wire_values import LARGEST_ID, wire_time
from firstlight.services.visibility import seen_by

__all__ = [
    "AccountNeeded",
    "account_of",
    "chosen_audience",
    "common_audience",
    "groups_by_audience",
    "may_change",
    "readable",
    "refusing_twins",
    "tell",
]

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
    groups = [
        set(
            session.scalars(
                select(AudienceGroup.group_id).where(AudienceGroup.audience_id == audience)
            )
        )
        for audience in (one, other)
    ]
    sites = [
        set(session.scalars(select(AudienceSite.site).where(AudienceSite.audience_id == audience)))
        for audience in (one, other)
    ]
    return audience_of(session, groups=groups[0] & groups[1], sites=sites[0] & sites[1])


def groups_by_audience(
    session: Session, viewer: Viewer, audience_ids: Iterable[int]
) -> dict[int, list[dict[str, Any]]]:
    """The groups of each audience, as SkyPortal shows them.

    Private groups and those of one user alone are named to their members only.
    """
    wanted = set(audience_ids)
    if not wanted:
        return {}
    rows = session.execute(
        select(AudienceGroup.audience_id, Group)
        .join(Group, Group.id == AudienceGroup.group_id)
        .where(AudienceGroup.audience_id.in_(wanted))
        .order_by(AudienceGroup.audience_id, Group.id)
    )
    found: dict[int, list[dict[str, Any]]] = {each: [] for each in wanted}
    for audience, group in rows:
        is_hidden = group.private or group.single_user_group
        if not is_hidden or viewer.sees_all or group.id in viewer.groups:
            found[audience].append(_group(group))
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


def _group(group: Group) -> dict[str, Any]:
    return {
        "id": group.id,
        "created_at": wire_time(group.created_at),
        "modified": wire_time(group.modified_at),
        "name": group.name,
        "nickname": group.nickname,
        "description": group.description,
        "private": group.private,
        "auto_accept_requests": group.auto_accept_requests,
        "single_user_group": group.single_user_group,
    }
