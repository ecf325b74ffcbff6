"""Accounts and groups as rows: the account of a person, its own group, the group of all."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import bindparam, or_, select
from sqlalchemy.orm import Session

from firstlight.models.account import Group, GroupSite, Membership, User
from firstlight.models.database import bulk_insert
from firstlight.services.accounts.permissions import SUPER_ADMIN

__all__ = [
    "OPERATOR_USERNAME",
    "SITEWIDE",
    "active",
    "admit",
    "groups_and_sites",
    "groups_of",
    "new_account",
    "operators_account",
    "sitewide_group",
]

SITEWIDE = "Sitewide Group"
"""Name of the group of all accounts."""
OPERATOR_USERNAME = "operator"
"""Of the account of the workspace itself, which nobody can sign in to."""
# Built once: it is asked with every request.
_GROUPS_AND_SITES = (
    select(Membership.group_id, GroupSite.site)
    .join(GroupSite, GroupSite.group_id == Membership.group_id, isouter=True)
    .where(Membership.user_id == bindparam("user"))
)


def sitewide_group(session: Session) -> int:
    """The number of the group of all accounts, which is written where it is missing."""
    query = select(Group.id).where(Group.name == SITEWIDE)
    found = session.scalar(query)
    if found is None:
        bulk_insert(session, Group, [{"name": SITEWIDE}])
        found = session.scalars(query).one()
    return found


def operators_account(session: Session) -> int:
    """The number of the workspace's own account, which is written where it is missing."""
    query = select(User.id).where(User.username == OPERATOR_USERNAME)
    found = session.scalar(query)
    if found is None:
        user = User(username=OPERATOR_USERNAME, roles=[SUPER_ADMIN], affiliations=[], acls=[])
        found = new_account(session, user)
    return found


def new_account(session: Session, user: User) -> int:
    """Write an account, with the group of its own, as a member of the group of all."""
    everyone = sitewide_group(session)  # the first of all groups, as in SkyPortal
    session.add(user)
    session.flush()
    own = Group(name=_free_name(session, user.username), single_user_group=True)
    session.add(own)
    session.flush()
    admit(session, own.id, user.id, admin=False)
    admit(session, everyone, user.id, can_share_photometry=False)
    return user.id


def admit(
    session: Session,
    group_id: int,
    user_id: int,
    *,
    admin: bool = False,
    can_save: bool = True,
    can_share_photometry: bool = True,
) -> None:
    """Make an account a member of a group; one that is a member stays as it is."""
    row = {
        "group_id": group_id,
        "user_id": user_id,
        "admin": admin,
        "can_save": can_save,
        "can_share_photometry": can_share_photometry,
    }
    bulk_insert(session, Membership, [row])


def groups_of(session: Session, user_id: int) -> frozenset[int]:
    """Numbers of the groups of an account."""
    query = select(Membership.group_id).where(Membership.user_id == user_id)
    return frozenset(session.scalars(query))


def groups_and_sites(session: Session, user_id: int) -> tuple[frozenset[int], frozenset[str]]:
    """Numbers of the groups of an account, and the sites whose archives these may read."""
    rows = session.execute(_GROUPS_AND_SITES, {"user": user_id}).all()
    groups = frozenset(row.group_id for row in rows)
    return groups, frozenset(row.site for row in rows if row.site is not None)


def active(user: User, now: datetime) -> bool:
    """Whether an account lets its owner in."""
    return user.disabled_at is None and (user.expires_at is None or user.expires_at > now)


def _free_name(session: Session, username: str) -> str:
    taken = set(
        session.scalars(
            select(Group.name).where(or_(Group.name == username, Group.name.like(username + " (%")))
        )
    )
    number, name = 1, username
    while name in taken:
        number += 1
        name = f"{username} ({number})"
    return name
