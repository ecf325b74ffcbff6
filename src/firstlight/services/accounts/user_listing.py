"""Which accounts are listed, and in which order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, false, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from firstlight.errors import InvalidInput
from firstlight.models.account import Group, Membership, User
from firstlight.services.access import Viewer
from firstlight.services.accounts.facts import account_facts, checked_text, group_facts, user_facts
from firstlight.services.accounts.permissions import permissions

__all__ = ["UserQuery", "listed_users"]

_ORDERS: Mapping[str, InstrumentedAttribute[Any]] = {
    "username": User.username,
    "createdAt": User.created_at,
    "firstName": User.first_name,
    "lastName": User.last_name,
    "contactEmail": User.contact_email,
}


@dataclass(frozen=True, slots=True)
class UserQuery:
    """Conditions on accounts; texts are parts of what is looked for, whatever the case.

    Attributes
    ----------
    role, acl
        Exact names; `acl` also where a role brings it.
    group
        Exact name.
    include_expired
        Also accounts that let nobody in.
    page, per_page
        From 1; all on one page where `per_page` is None.
    """

    first_name: str | None = None
    last_name: str | None = None
    username: str | None = None
    email: str | None = None
    role: str | None = None
    acl: str | None = None
    group: str | None = None
    include_expired: bool = False
    sort_by: str = "username"
    descending: bool = False
    page: int = 1
    per_page: int | None = None


def listed_users(
    session: Session, viewer: Viewer, query: UserQuery, now: datetime
) -> tuple[list[dict[str, Any]], int]:
    """One page of accounts as clients get them, and how many there are.

    What concerns the person alone is shown to whoever manages accounts; groups are those that
    the viewer may know of.
    """
    manages = viewer.may("manage_users")
    order = _ORDERS.get(query.sort_by)
    if order is None:
        raise InvalidInput(
            "Invalid sortBy value", field="sortBy", found=query.sort_by, expected=list(_ORDERS)
        )
    if order is User.contact_email and not manages:
        order = User.username
    column: Any = order if order is User.created_at else func.lower(order)
    rows = session.scalars(
        select(User)
        .where(*_conditions(query, manages, now))
        .order_by(column.desc() if query.descending else column.asc(), User.id)
    ).all()
    # Roles are lists in the rows; accounts are few.
    chosen = [user for user in rows if _has(user, query)]
    shown = chosen
    if query.per_page is not None:
        start = (query.page - 1) * query.per_page
        shown = chosen[start : start + query.per_page]
    groups = _groups(session, viewer, [user.id for user in shown])
    facts = [
        {
            **(account_facts(user) if manages or user.id == viewer.user_id else user_facts(user)),
            "gravatar_url": None,
            "groups": groups.get(user.id, []),
            "streams": [],
        }
        for user in shown
    ]
    return facts, len(chosen)


def _conditions(query: UserQuery, manages: bool, now: datetime) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    for column, text, field in (
        (User.first_name, query.first_name, "firstName"),
        (User.last_name, query.last_name, "lastName"),
        (User.username, query.username, "username"),
        (User.contact_email, query.email, "email"),
    ):
        part = checked_text(text, field, 254)
        if part is not None:
            seen = manages or column is not User.contact_email
            conditions.append(column.icontains(part, autoescape=True) if seen else false())
    group = checked_text(query.group, "group", 128)
    if group is not None:
        members = select(Membership.user_id).join(Group, Group.id == Membership.group_id)
        conditions.append(User.id.in_(members.where(Group.name == group)) if manages else false())
    if not query.include_expired:
        conditions += [
            User.disabled_at.is_(None),
            or_(User.expires_at.is_(None), User.expires_at > now),
        ]
    return conditions


def _has(user: User, query: UserQuery) -> bool:
    return (not query.role or query.role in user.roles) and (
        not query.acl or query.acl in permissions(user.roles, user.acls)
    )


def _groups(
    session: Session, viewer: Viewer, user_ids: list[int]
) -> dict[int, list[dict[str, Any]]]:
    query = (
        select(Membership.user_id, Group)
        .join(Group, Group.id == Membership.group_id)
        .where(Membership.user_id.in_(user_ids))
        .order_by(func.lower(Group.name))
    )
    if not viewer.sees_all:
        query = query.where(Group.id.in_(viewer.groups))
    found: dict[int, list[dict[str, Any]]] = {}
    for user_id, group in session.execute(query):
        found.setdefault(user_id, []).append(group_facts(group))
    return found
