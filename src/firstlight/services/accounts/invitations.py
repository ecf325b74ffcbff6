"""Invitations: leave to make an account, by a link that works once."""

from __future__ import annotations

import builtins
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from firstlight.errors import InvalidInput, MissingError
from firstlight.models.account import Group, Invitation, User
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.services.access import Forbidden, Viewer
from firstlight.services.accounts.account_viewers import viewer_of_account
from firstlight.services.accounts.authority import check_grant, is_number, managed_group
from firstlight.services.accounts.facts import checked_text, group_facts, user_facts, wire_time
from firstlight.services.accounts.membership import SITEWIDE, active, admit, new_account
from firstlight.services.accounts.passwords import Passwords
from firstlight.services.accounts.permissions import FULL_USER, ROLES, checked_roles
from firstlight.services.accounts.settings import AccountSettings
from firstlight.services.accounts.tokens import hashed
from firstlight.services.accounts.users import check_free_username, checked_username

__all__ = [
    "Admission",
    "InvitationInvalid",
    "InvitationMissing",
    "InvitationQuery",
    "InvitationService",
    "NewInvitation",
]

_MOST_GROUPS = 100


class InvitationMissing(MissingError):
    """There is no such invitation."""

    code = "account.invitation_missing"


class InvitationInvalid(MissingError):
    """The invitation is not known, was used, or has expired."""

    code = "account.invitation_invalid"


@dataclass(frozen=True, slots=True)
class NewInvitation:
    """An invitation: its number, and the secret of its link, shown this once."""

    number: int
    secret: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Admission:
    """A group that the invited account becomes a member of."""

    group_id: int
    admin: bool = False
    can_save: bool = True
    can_share_photometry: bool = False

    def as_dict(self) -> dict[str, Any]:
        """As it is kept."""
        return {
            "id": self.group_id,
            "admin": self.admin,
            "can_save": self.can_save,
            "can_share_photometry": self.can_share_photometry,
        }


@dataclass(frozen=True, slots=True)
class InvitationQuery:
    """Conditions on invitations; `email` and `invited_by` are parts of what is looked for."""

    include_used: bool = False
    email: str | None = None
    group: str | None = None
    invited_by: str | None = None
    page: int = 1
    per_page: int = 25


class InvitationService:
    """Makes invitations, and accounts of those who follow them.

    Parameters
    ----------
    database
        Where they are, as hashes.
    passwords
        Hashes those of the new accounts.
    settings
        How long an invitation is good.
    clock
        Returns the present, aware.
    """

    def __init__(
        self,
        *,
        database: Database,
        passwords: Passwords,
        settings: AccountSettings,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._lifetime = timedelta(days=settings.invitation_days)
        self._clock = clock

    def invite(
        self,
        viewer: Viewer,
        email: str,
        *,
        role: str = FULL_USER,
        groups: Sequence[Admission] = (),
        user_expires_at: datetime | None = None,
    ) -> NewInvitation:
        """Make an invitation. Nothing is sent: the link is given to whoever made it.

        Raises
        ------
        NotSignedIn, Forbidden
            The viewer may not, or would give what they have not got.
        GroupMissing, InvalidInput
            There is no such group or role, or the address is none.
        """
        viewer.require("manage_users")
        address = checked_text(email, "userEmail", 254)
        if address is None or "@" not in address:
            raise InvalidInput(field="userEmail", found=email[:200], expected="an address of mail")
        check_grant(viewer, checked_roles([role]), ())
        secret = secrets.token_urlsafe(32)
        until = self._clock() + self._lifetime
        with self._database.begin() as session:
            row = Invitation(
                token_hash=hashed(secret),
                user_email=address,
                role=role,
                groups=_checked(session, viewer, groups),
                invited_by_id=viewer.user_id,
                user_expires_at=user_expires_at,
                expires_at=until,
            )
            session.add(row)
            session.flush()
            return NewInvitation(row.id, secret, until)

    def list(
        self, viewer: Viewer, query: InvitationQuery | None = None
    ) -> tuple[builtins.list[dict[str, Any]], int]:
        """One page of invitations, the oldest first, and how many there are.

        Those that the viewer has made; all, for who may do everything.

        Raises
        ------
        NotSignedIn, Forbidden
            The viewer may not invite.
        """
        viewer.require("manage_users")
        asked = query or InvitationQuery()
        with self._database.reading() as session:
            rows = session.scalars(
                select(Invitation).where(*_conditions(viewer, asked)).order_by(Invitation.id)
            ).all()
            names = _group_names(session, rows) if asked.group else {}
            chosen = [
                row
                for row in rows
                if not asked.group
                or any(names.get(each["id"]) == asked.group for each in row.groups)
            ]
            start = (asked.page - 1) * asked.per_page
            shown = chosen[start : start + asked.per_page]
            return [_facts(session, row) for row in shown], len(chosen)

    def change(
        self,
        viewer: Viewer,
        number: int,
        *,
        role: str | None = None,
        group_ids: Sequence[int] | None = None,
        user_expires_at: datetime | None = None,
    ) -> None:
        """Change an invitation that was not used yet.

        Raises
        ------
        NotSignedIn, Forbidden, GroupMissing, InvalidInput
            See `invite`.
        InvitationMissing
            There is none that the viewer may change.
        """
        viewer.require("manage_users")
        with self._database.begin() as session:
            row = _found(session, viewer, number)
            if row.used_at is not None:
                raise InvalidInput("this invitation was used", subject=number)
            if role is not None:
                check_grant(viewer, checked_roles([role]), ())
                row.role = role
            if group_ids is not None:
                kept = {each["id"]: Admission(each["id"], *_rights(each)) for each in row.groups}
                chosen = [kept.get(each, Admission(each)) for each in group_ids]
                row.groups = _checked(session, viewer, chosen)
            if user_expires_at is not None:
                row.user_expires_at = user_expires_at

    def withdraw(self, viewer: Viewer, number: int) -> None:
        """Take an invitation back.

        Raises
        ------
        NotSignedIn, Forbidden, InvitationMissing
            There is none that the viewer may change.
        """
        viewer.require("manage_users")
        with self._database.begin() as session:
            session.delete(_found(session, viewer, number))

    def look(self, secret: str) -> dict[str, Any]:
        """Whom an invitation is for, for the page on which it is accepted.

        Raises
        ------
        InvitationInvalid
            It cannot be accepted.
        """
        with self._database.reading() as session:
            row = self._open(session, secret)
            return {"email": row.user_email, "role": row.role}

    def accept(
        self, secret: str, username: str, password: str, names: Mapping[str, str] | None = None
    ) -> int:
        """Make the account that an invitation is for, once; returns the account's number.

        Parameters
        ----------
        names
            Of ``first_name``, ``last_name``.

        Raises
        ------
        InvitationInvalid
            It is not known, was used or has expired, or who made it may not invite any more.
        UsernameTaken, InvalidInput
            Choose another name or password; the invitation is still good.
        """
        self.look(secret)
        given = names or {}
        user = User(
            username=checked_username(username),
            password_hash=self._passwords.hash(password),
            first_name=checked_text(given.get("first_name"), "first_name", 128),
            last_name=checked_text(given.get("last_name"), "last_name", 128),
            affiliations=[],
            acls=[],
        )
        with self._database.begin() as session:
            row = self._open(session, secret, lock=True)
            self._check_inviter(session, row)
            check_free_username(session, user)
            user.roles = [row.role]
            user.contact_email = row.user_email
            user.expires_at = row.user_expires_at
            user_id = new_account(session, user)
            for each in row.groups:
                if session.get(Group, each["id"]) is not None:
                    admin, can_save, can_share = _rights(each)
                    admit(
                        session,
                        each["id"],
                        user_id,
                        admin=admin,
                        can_save=can_save,
                        can_share_photometry=can_share,
                    )
            row.used_at = self._clock()
            return user_id

    def _open(self, session: Session, secret: str, *, lock: bool = False) -> Invitation:
        query = select(Invitation).where(Invitation.token_hash == hashed(secret))
        row = session.scalar(query.with_for_update() if lock else query)
        if row is None or row.used_at is not None or row.expires_at <= self._clock():
            raise InvitationInvalid
        return row

    def _check_inviter(self, session: Session, row: Invitation) -> None:
        """What was given is given only as long as its giver has it."""
        if row.invited_by_id is None:
            return
        inviter, now = session.get(User, row.invited_by_id), self._clock()
        if inviter is None or not active(inviter, now):
            raise InvitationInvalid
        viewer = viewer_of_account(session, inviter, now, public=frozenset())
        try:
            viewer.require("manage_users")
            check_grant(viewer, [row.role], ())
        except Forbidden as fault:
            raise InvitationInvalid from fault


def _checked(
    session: Session, viewer: Viewer, groups: Sequence[Admission]
) -> builtins.list[dict[str, Any]]:
    if len(groups) > _MOST_GROUPS:
        raise InvalidInput(field="groupIDs", found=len(groups), expected=_MOST_GROUPS)
    kept = []
    for each in groups:
        group = session.get(Group, each.group_id) if is_number(each.group_id) else None
        if group is not None and group.name == SITEWIDE:
            continue  # all are in it
        managed_group(session, viewer, each.group_id)
        kept.append(each.as_dict())
    return kept


def _rights(kept: Mapping[str, Any]) -> tuple[bool, bool, bool]:
    return kept["admin"], kept["can_save"], kept["can_share_photometry"]


def _found(session: Session, viewer: Viewer, number: int) -> Invitation:
    row = session.get(Invitation, number) if is_number(number) else None
    if row is None or not (viewer.sees_all or row.invited_by_id == viewer.user_id):
        raise InvitationMissing(subject=number)
    return row


def _conditions(viewer: Viewer, query: InvitationQuery) -> builtins.list[ColumnElement[bool]]:
    conditions: builtins.list[ColumnElement[bool]] = []
    if not viewer.sees_all:
        conditions.append(Invitation.invited_by_id == (viewer.user_id or 0))
    if not query.include_used:
        conditions.append(Invitation.used_at.is_(None))
    email = checked_text(query.email, "email", 254)
    if email is not None:
        conditions.append(Invitation.user_email.icontains(email, autoescape=True))
    inviter = checked_text(query.invited_by, "invitedBy", 128)
    if inviter is not None:
        named = select(User.id).where(
            func.lower(User.username).contains(inviter.lower(), autoescape=True)
        )
        conditions.append(Invitation.invited_by_id.in_(named))
    return conditions


def _group_names(session: Session, rows: Sequence[Invitation]) -> dict[int, str]:
    numbers = {each["id"] for row in rows for each in row.groups}
    found = session.execute(select(Group.id, Group.name).where(Group.id.in_(numbers)))
    return {row.id: row.name for row in found}


def _facts(session: Session, row: Invitation) -> dict[str, Any]:
    numbers = [each["id"] for each in row.groups]
    groups = {
        group.id: group for group in session.scalars(select(Group).where(Group.id.in_(numbers)))
    }
    kept = [each for each in row.groups if each["id"] in groups]
    inviter = None if row.invited_by_id is None else session.get(User, row.invited_by_id)
    return {
        "id": row.id,
        "created_at": wire_time(row.created_at),
        "modified": wire_time(row.modified_at),
        "token": None,
        "user_email": row.user_email,
        "role_id": row.role,
        "role": {"id": row.role, "acls": sorted(ROLES.get(row.role, ()))},
        "admin_for_groups": [each["admin"] for each in kept],
        "can_save_to_groups": [each["can_save"] for each in kept],
        "can_share_photometry_for_groups": [each["can_share_photometry"] for each in kept],
        "used": row.used_at is not None,
        "user_expiration_date": wire_time(row.user_expires_at),
        "groups": [group_facts(groups[each["id"]]) for each in kept],
        "streams": [],
        "invited_by": None if inviter is None else user_facts(inviter),
    }
