"""Accounts: made, changed, closed; their roles, permissions and passwords."""

from __future__ import annotations

import builtins
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from firstlight.errors import ConflictError, InvalidInput
from firstlight.models.account import Group, Invitation, LoginSession, Membership, User
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.models.token import Token
from firstlight.services.access import Forbidden, Viewer
from firstlight.services.accounts.attempts import AttemptLimiter
from firstlight.services.accounts.authority import (
    UserMissing,
    check_grant,
    check_whole,
    found_user,
    is_number,
    keep_an_admin,
    managed_group,
    managed_user,
    require_person,
)
from firstlight.services.accounts.facts import account_facts, checked_text, user_facts
from firstlight.services.accounts.membership import (
    OPERATOR_USERNAME,
    SITEWIDE,
    admit,
    new_account,
)
from firstlight.services.accounts.passwords import Passwords
from firstlight.services.accounts.permissions import (
    FULL_USER,
    SUPER_ADMIN,
    checked_acls,
    checked_roles,
)
from firstlight.services.accounts.user_listing import UserQuery, listed_users
from firstlight.services.transaction_locks import lock_names

__all__ = [
    "NewUser",
    "UserService",
    "UsernameTaken",
    "check_free_username",
    "checked_username",
]

_USERNAME = re.compile(r"[^\W_][\w.@+-]{0,127}")
_LENGTHS = {
    "first_name": 128,
    "last_name": 128,
    "contact_email": 254,
    "contact_phone": 32,
    "oauth_uid": 254,
    "bio": 1000,
}
_MOST_AFFILIATIONS = 20
_GUESSES, _GUESSES_S = 5, 900.0  # of the current password, of one account


class UsernameTaken(ConflictError):
    """There is an account of this name already."""

    code = "account.username_taken"


@dataclass(frozen=True, slots=True)
class NewUser:
    """An account to be made.

    Attributes
    ----------
    profile
        Of ``first_name``, ``last_name``, ``affiliations``, ``contact_email``,
        ``contact_phone``, ``oauth_uid``, ``bio``, ``is_bot``.
    roles
        Names; none given makes a Full user.
    groups
        Numbers of groups, and whether the account administers each.
    """

    username: str
    profile: Mapping[str, Any] | None = None
    roles: Collection[str] | None = None
    groups: Sequence[tuple[int, bool]] = ()
    password: str | None = None
    expires_at: datetime | None = None


class UserService:
    """Keeps accounts.

    Parameters
    ----------
    database
        Where they are.
    passwords
        Hashes them.
    clock
        Returns the present, aware.

    Attributes
    ----------
    shortest_password
        Characters of a password, at least.
    """

    def __init__(
        self,
        *,
        database: Database,
        passwords: Passwords,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self.shortest_password = passwords.shortest
        self._clock = clock
        self._guesses = AttemptLimiter(database, "own password", _GUESSES, _GUESSES_S, clock)

    def list(
        self, viewer: Viewer, query: UserQuery | None = None
    ) -> tuple[builtins.list[dict[str, Any]], int]:
        """One page of accounts, and how many there are.

        Raises
        ------
        NotSignedIn, Forbidden
            The viewer has no account.
        """
        require_person(viewer)
        with self._database.reading() as session:
            return listed_users(session, viewer, query or UserQuery(), self._clock())

    def one(self, viewer: Viewer, user_id: int) -> dict[str, Any]:
        """One account; all about it for the person and whoever manages accounts.

        Raises
        ------
        NotSignedIn, Forbidden, UserMissing
            See `list`.
        """
        require_person(viewer)
        with self._database.reading() as session:
            user = found_user(session, user_id)
            if user.id == viewer.user_id or viewer.may("manage_users"):
                return account_facts(user)
            return user_facts(user)

    def profile(self, viewer: Viewer) -> dict[str, Any]:
        """All about one's own account, with its preferences.

        Raises
        ------
        NotSignedIn, Forbidden
            The viewer has no account.
        """
        with self._database.reading() as session:
            user = found_user(session, viewer.require_user())
            return {**account_facts(user), "preferences": user.preferences}

    def number_of(self, viewer: Viewer, username: str) -> int:
        """The number of an account, by its name.

        Raises
        ------
        UserMissing
            There is none.
        """
        require_person(viewer)
        with self._database.reading() as session:
            found = session.scalar(select(User.id).where(User.username == username.lower()))
        if found is None:
            raise UserMissing(subject=username[:200])
        return found

    def create(self, viewer: Viewer, new: NewUser) -> int:
        """Make an account, with a group of its own; returns its number.

        Raises
        ------
        NotSignedIn, Forbidden
            The viewer may not, or would give what they have not got.
        UsernameTaken
            Another account, maybe a closed one, has this name.
        InvalidInput, GroupMissing
            Something in it makes no sense.
        """
        viewer.require("manage_users")
        roles = checked_roles([FULL_USER] if new.roles is None else new.roles)
        check_grant(viewer, roles, ())
        user = User(username=checked_username(new.username), roles=roles, acls=[], affiliations=[])
        _apply(user, new.profile or {})
        user.expires_at = self._to_come(new.expires_at)
        if new.password is not None:
            user.password_hash = self._passwords.hash(new.password)
        with self._database.begin() as session:
            for group_id, _ in new.groups:
                _check_may_admit(session, viewer, group_id)
            check_free_username(session, user)
            user_id = new_account(session, user)
            for group_id, admin in new.groups:
                admit(session, group_id, user_id, admin=admin)
            return user_id

    def set_expiry(self, viewer: Viewer, user_id: int, expires_at: datetime | None) -> None:
        """Set when an account ends; None for never.

        Raises
        ------
        NotSignedIn, Forbidden, UserMissing, LastAdmin
            The viewer may not change this account, or nobody would remain.
        """
        with self._database.begin() as session:
            user = managed_user(session, viewer, user_id)
            if expires_at is not None:
                keep_an_admin(session, user, self._clock())
            user.expires_at = expires_at

    def set_disabled(self, viewer: Viewer, user_id: int, disabled: bool) -> None:
        """Close an account, which signs it out everywhere, or open it again.

        Raises
        ------
        NotSignedIn, Forbidden, UserMissing, LastAdmin
            See `set_expiry`.
        """
        with self._database.begin() as session:
            user = managed_user(session, viewer, user_id)
            if disabled:
                keep_an_admin(session, user, self._clock())
                session.execute(delete(LoginSession).where(LoginSession.user_id == user.id))
                user.disabled_at = user.disabled_at or self._clock()
            else:
                user.disabled_at = None

    def remove(self, viewer: Viewer, user_id: int) -> bool:
        """Remove an account with its own group, tokens and sessions.

        What it has written stays. An account that others' rows name as their author is closed
        and emptied instead.

        Returns
        -------
        bool
            Whether nothing remains of it.

        Raises
        ------
        NotSignedIn, Forbidden, UserMissing, LastAdmin
            See `set_expiry`.
        """
        with self._database.begin() as session:
            user = managed_user(session, viewer, user_id)
            keep_an_admin(session, user, self._clock())
            session.execute(delete(Invitation).where(Invitation.invited_by_id == user.id))
            own = select(Membership.group_id).where(Membership.user_id == user.id)
            session.execute(delete(Group).where(Group.single_user_group, Group.id.in_(own)))
            try:
                with session.begin_nested():
                    session.execute(delete(User).where(User.id == user.id))
            except IntegrityError:
                self._empty(session, user)
                return False
            return True

    def grant(
        self,
        viewer: Viewer,
        user_id: int,
        *,
        roles: Collection[str] = (),
        acls: Collection[str] = (),
    ) -> None:
        """Give roles and permissions to an account.

        Raises
        ------
        InvalidInput
            There is no such role or permission.
        NotSignedIn, Forbidden, UserMissing
            The viewer may not, or would give what they have not got.
        """
        roles, acls = checked_roles(roles), checked_acls(acls)
        with self._database.begin() as session:
            user = managed_user(session, viewer, user_id)
            check_grant(viewer, roles, acls)
            user.roles = sorted({*user.roles, *roles})
            user.acls = sorted({*user.acls, *acls})

    def withdraw(
        self,
        viewer: Viewer,
        user_id: int,
        *,
        roles: Collection[str] = (),
        acls: Collection[str] = (),
    ) -> None:
        """Take roles and permissions from an account; those it has not got are passed over.

        Raises
        ------
        InvalidInput, NotSignedIn, Forbidden, UserMissing, LastAdmin
            See `grant`, `set_expiry`.
        """
        roles, acls = checked_roles(roles), checked_acls(acls)
        with self._database.begin() as session:
            user = managed_user(session, viewer, user_id)
            if SUPER_ADMIN in roles:
                keep_an_admin(session, user, self._clock())
            user.roles = [role for role in user.roles if role not in roles]
            user.acls = [acl for acl in user.acls if acl not in acls]

    def set_password(
        self, viewer: Viewer, user_id: int, password: str, *, current: str | None = None
    ) -> None:
        """Set the password of one's own account, or of any for who may do everything.

        All browsers of the account are signed out.

        Parameters
        ----------
        current
            The old one; needed for one's own account where it has one.

        Raises
        ------
        Forbidden
            The old password is not this, the token is narrower than the account, or the
            account is another's: whoever could set its password could see what it sees.
        TooManyAttempts
            The old password was guessed at too often.
        InvalidInput
            The password is too short, or the account is the workspace's own.
        """
        with self._database.reading() as session:
            user = self._own_or_any(session, viewer, user_id)
        # Slow by intent, so outside of any transaction.
        hashed = self._passwords.hash(password)
        known = user.password_hash if user.id == viewer.user_id else None
        if known is not None and not self._matches(user, current or "", known):
            raise Forbidden("the current password is not this", subject=user.username)
        with self._database.begin() as session:
            found_user(session, user_id).password_hash = hashed
            session.execute(delete(LoginSession).where(LoginSession.user_id == user_id))

    def change_profile(self, viewer: Viewer, user_id: int, changes: Mapping[str, Any]) -> None:
        """Change the names, addresses and preferences of an account.

        Parameters
        ----------
        changes
            Of the fields of `NewUser.profile`, and ``username``, ``preferences``. Preferences
            are merged with those there are; one that is None is forgotten.

        Raises
        ------
        NotSignedIn, Forbidden, UserMissing, UsernameTaken, InvalidInput
            The viewer may not change this account, or the change makes no sense.
        """
        with self._database.begin() as session:
            if user_id == viewer.user_id:
                user = found_user(session, user_id)
            else:
                user = managed_user(session, viewer, user_id)
            if "username" in changes and user.username != str(changes["username"]).lower():
                check_whole(viewer, user)
                if user.username == OPERATOR_USERNAME:
                    raise InvalidInput("this account keeps its name", subject=user.username)
                user.username = checked_username(changes["username"])
            if preferences := changes.get("preferences"):
                merged = {**user.preferences, **preferences}
                user.preferences = {k: v for k, v in merged.items() if v is not None}
            _apply(user, changes)
            with session.no_autoflush:
                check_free_username(session, user)

    def _matches(self, user: User, password: str, known: str) -> bool:
        # Whoever has found a browser signed in must not find the password out.
        key = str(user.id)
        self._guesses.check(key)
        self._guesses.fail(key)
        if not self._passwords.matches(password, known):
            return False
        self._guesses.forget(key)
        return True

    def _own_or_any(self, session: Session, viewer: Viewer, user_id: int) -> User:
        require_person(viewer)
        user = found_user(session, user_id)
        if user.username == OPERATOR_USERNAME:
            raise InvalidInput("nobody signs in to this account", subject=user.username)
        if user_id != viewer.user_id and not viewer.sees_all:
            raise Forbidden("the password of another cannot be set", subject=user.username)
        check_whole(viewer, user)
        return user

    def _empty(self, session: Session, user: User) -> None:
        for table in (LoginSession, Token, Membership):
            session.execute(delete(table).where(table.user_id == user.id))
        user.disabled_at = user.disabled_at or self._clock()
        user.password_hash = user.oauth_uid = user.contact_email = user.contact_phone = None
        user.roles, user.acls, user.preferences = [], [], {}

    def _to_come(self, moment: datetime | None) -> datetime | None:
        if moment is not None and moment <= self._clock():
            raise InvalidInput(field="expires_at", found=moment, expected="a time to come")
        return moment


def checked_username(username: str) -> str:
    """A username as it is kept: in lower case.

    Raises
    ------
    InvalidInput
        It cannot be one.
    """
    plain = username.strip().lower()
    if not _USERNAME.fullmatch(plain) or plain == OPERATOR_USERNAME:
        raise InvalidInput(
            field="username",
            found=username[:200],
            expected="1 to 128 letters, digits and . _ @ + - that begin with a letter or digit",
        )
    return plain


def _apply(user: User, changes: Mapping[str, Any]) -> None:
    for field, longest in _LENGTHS.items():
        if field in changes:
            text = checked_text(changes[field], field, longest, lines=field == "bio")
            setattr(user, field, text)
    if changes.get("is_bot") is not None:
        user.is_bot = bool(changes["is_bot"])
    affiliations = changes.get("affiliations")
    if affiliations is not None:
        if len(affiliations) > _MOST_AFFILIATIONS:
            raise InvalidInput(
                field="affiliations", found=len(affiliations), expected=_MOST_AFFILIATIONS
            )
        texts = [checked_text(each, "affiliations", 254) for each in affiliations]
        user.affiliations = [text for text in texts if text]


def check_free_username(session: Session, user: User) -> None:
    """Raise where another account has the username or identity of this one.

    Raises
    ------
    UsernameTaken
        One has.
    """
    lock_names(session, "account/usernames")
    taken = select(User.id).where(func.lower(User.username) == user.username)
    if user.id is not None:
        taken = taken.where(User.id != user.id)
    if session.scalar(taken) is not None:
        raise UsernameTaken(subject=user.username)
    if user.oauth_uid is None:
        return
    taken = select(User.id).where(User.oauth_uid == user.oauth_uid)
    if user.id is not None:
        taken = taken.where(User.id != user.id)
    if session.scalar(taken) is not None:
        raise UsernameTaken("another account has this identity", field="oauth_uid")


def _check_may_admit(session: Session, viewer: Viewer, group_id: int) -> None:
    """All are in the group of all anyway; others are admitted by those who administer it."""
    group = session.get(Group, group_id) if is_number(group_id) else None
    if group is None or group.name != SITEWIDE:
        managed_group(session, viewer, group_id)
