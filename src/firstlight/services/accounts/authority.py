"""Who may manage whom: nobody gives, or takes, what they have not got themselves."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from firstlight.errors import ConflictError, InvalidInput, MissingError
from firstlight.models.account import Group, Membership, User
from firstlight.services.access import Forbidden, NotSignedIn, Viewer
from firstlight.services.accounts.membership import OPERATOR_USERNAME, SITEWIDE, active
from firstlight.services.accounts.permissions import SUPER_ADMIN, permissions, scopes_of
from firstlight.services.transaction_locks import lock_names

__all__ = [
    "GroupMissing",
    "LastAdmin",
    "UserMissing",
    "administers",
    "check_grant",
    "check_whole",
    "found_group",
    "found_user",
    "is_number",
    "keep_an_admin",
    "managed_group",
    "managed_user",
    "require_person",
]


_NUMBERS_END = 2**31


class UserMissing(MissingError):
    """There is no such user."""

    code = "account.user_missing"


class GroupMissing(MissingError):
    """There is no such group."""

    code = "account.group_missing"


class LastAdmin(ConflictError):
    """Somebody must remain who may do everything."""

    code = "account.last_admin"


def is_number(value: int) -> bool:
    """Whether this can be the number of a row at all; databases refuse to look for others."""
    return 0 < value < _NUMBERS_END


def require_person(viewer: Viewer) -> None:
    """Raise unless the viewer has an account, or a token that manages accounts or groups.

    Raises
    ------
    NotSignedIn, Forbidden
        See `Viewer.require`.
    """
    if viewer.user_id is not None or viewer.scopes & {"manage_users", "manage_groups"}:
        return
    if not viewer.name:
        raise NotSignedIn("sign in for this")
    raise Forbidden("this token belongs to no account", subject=viewer.name)


def found_user(session: Session, user_id: int) -> User:
    """Return an account.

    Raises
    ------
    UserMissing
        There is none of this number.
    """
    user = session.get(User, user_id) if is_number(user_id) else None
    if user is None:
        raise UserMissing(subject=user_id)
    return user


def managed_user(session: Session, viewer: Viewer, user_id: int) -> User:
    """Return an account that the viewer may change: none that may do more than the viewer.

    Raises
    ------
    NotSignedIn, Forbidden
        The viewer may not manage accounts, or not this one.
    UserMissing
        There is none of this number.
    InvalidInput
        It is the workspace's own.
    """
    viewer.require("manage_users")
    user = found_user(session, user_id)
    if user.username == OPERATOR_USERNAME:
        raise InvalidInput("this account is the workspace's own", subject=user.username)
    if not scopes_of(permissions(user.roles, user.acls)) <= viewer.scopes:
        raise Forbidden("this account may do more than you may", subject=user.username)
    return user


def check_grant(viewer: Viewer, roles: Iterable[str], acls: Iterable[str]) -> None:
    """Raise where these roles and permissions bring what the viewer has not got.

    Raises
    ------
    Forbidden
        They do.
    """
    more = scopes_of(permissions(roles, acls)) - viewer.scopes
    if more:
        raise Forbidden(
            "nobody can give what they have not got",
            found=", ".join(sorted(more)).replace("_", " "),
        )


def check_whole(viewer: Viewer, user: User) -> None:
    """Raise unless the viewer may do all that the account may: it comes with no narrower token.

    Raises
    ------
    Forbidden
        The token allows less than its account.
    """
    if not scopes_of(permissions(user.roles, user.acls)) <= viewer.scopes:
        raise Forbidden("this token does not allow to change its account", subject=user.username)


def keep_an_admin(session: Session, leaving: User, now: datetime) -> None:
    """Raise where nobody else would remain with the role of a Super admin.

    Raises
    ------
    LastAdmin
        With what to do first.
    """
    if SUPER_ADMIN not in leaving.roles or not active(leaving, now):
        return
    lock_names(session, "account/super-admins")
    others = session.scalars(
        select(User).where(User.id != leaving.id, User.username != OPERATOR_USERNAME)
    )
    if not any(SUPER_ADMIN in other.roles and active(other, now) for other in others):
        raise LastAdmin(
            subject=leaving.username, hint="give another account the role of a Super admin first"
        )


def administers(session: Session, viewer: Viewer, group: Group) -> bool:
    """Whether the viewer may change a group and its members."""
    if viewer.sees_all:
        return True
    if group.single_user_group:
        return False
    if "manage_groups" in viewer.scopes:
        return True
    if viewer.user_id is None or not viewer.may("upload"):
        return False
    own = select(Membership.admin).where(
        Membership.group_id == group.id, Membership.user_id == viewer.user_id
    )
    return bool(session.scalar(own))


def found_group(session: Session, viewer: Viewer, group_id: int) -> Group:
    """Return a group of which the viewer may know.

    Raises
    ------
    GroupMissing
        There is none of this number, or it is private, or another's own.
    """
    group = session.get(Group, group_id) if is_number(group_id) else None
    if group is not None:
        hidden = group.private or group.single_user_group
        if not hidden or group.id in viewer.groups or administers(session, viewer, group):
            return group
    raise GroupMissing(subject=group_id)


def managed_group(session: Session, viewer: Viewer, group_id: int) -> Group:
    """Return a group that the viewer may change.

    Raises
    ------
    GroupMissing
        See `found_group`.
    NotSignedIn, Forbidden
        The viewer does not administer it.
    InvalidInput
        It is the group of all, or the own group of one account.
    """
    require_person(viewer)
    group = found_group(session, viewer, group_id)
    if not administers(session, viewer, group):
        raise Forbidden("this group is administered by others", subject=group.name)
    if group.single_user_group or group.name == SITEWIDE:
        raise InvalidInput("this group is kept as it is", subject=group.name)
    return group
