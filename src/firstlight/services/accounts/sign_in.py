"""Signing in: sessions of browsers, and how often one may fail to sign in."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import bindparam, delete, select

from firstlight.errors import UserError
from firstlight.models.account import LoginSession, User
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.services.access import TokenInvalid, Viewer
from firstlight.services.accounts.account_viewers import viewer_of_account
from firstlight.services.accounts.attempts import AttemptLimiter
from firstlight.services.accounts.authority import check_whole, found_user
from firstlight.services.accounts.membership import active
from firstlight.services.accounts.passwords import Passwords
from firstlight.services.accounts.settings import AccountSettings
from firstlight.services.accounts.tokens import AccessService, hashed

__all__ = ["SESSION_PREFIX", "SignInFailed", "SignInService", "SignedIn"]

SESSION_PREFIX = "fs_"
"""What the secret of a session begins with, unlike a token."""
# Built once: it is asked with every request.
_OWNER = (
    select(User, LoginSession.expires_at)
    .join(LoginSession, LoginSession.user_id == User.id)
    .where(LoginSession.token_hash == bindparam("secret"))
)


class SignInFailed(UserError):
    """The username or the password is wrong."""

    code = "access.sign_in_failed"


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A browser's new session: what its cookie holds, and until when."""

    secret: str
    user_id: int
    expires_at: datetime


class SignInService:
    """Opens and closes sessions, and tells who comes with one.

    Parameters
    ----------
    database
        Where sessions are kept, as hashes.
    access
        Knows the tokens.
    passwords
        Compares them.
    settings
        Times and limits.
    clock
        Returns the present, aware.
    """

    def __init__(
        self,
        *,
        database: Database,
        access: AccessService,
        passwords: Passwords,
        settings: AccountSettings,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._access = access
        self._passwords = passwords
        self._lifetime = timedelta(days=settings.session_days)
        self._clock = clock
        window = settings.attempts_window_s
        per_name, per_address = settings.attempts_per_username, settings.attempts_per_address
        self._names = AttemptLimiter(database, "username", per_name, window, clock)
        self._addresses = AttemptLimiter(database, "address", per_address, window, clock)

    def sign_in(self, username: str, password: str, address: str) -> SignedIn:
        """Open a session.

        Parameters
        ----------
        address
            Where the request comes from.

        Raises
        ------
        SignInFailed
            The username or the password is wrong; it is not told which.
        TooManyAttempts
            There were too many failures with this username, or from this address.
        """
        name = username.strip().lower()[:200]
        self._addresses.check(address)
        self._names.check(name)
        with self._database.reading() as session:
            user = session.scalar(select(User).where(User.username == name.replace("\0", " ")))
        known = user.password_hash if user is not None and active(user, self._clock()) else None
        # It counts as a failure until it has succeeded, so that many at once do not slip through.
        self._names.fail(name)
        self._addresses.fail(address)
        matches = self._passwords.matches(password, known)
        if user is None or not matches:
            raise SignInFailed
        self._names.forget(name)
        self._addresses.forgive(address)
        return self.open(user.id)

    def open(self, user_id: int) -> SignedIn:
        """Open a session of an account, for somebody who has been found to own it."""
        secret = SESSION_PREFIX + secrets.token_urlsafe(32)
        now = self._clock()
        until = now + self._lifetime
        with self._database.begin() as session:
            session.execute(delete(LoginSession).where(LoginSession.expires_at <= now))
            session.add(LoginSession(token_hash=hashed(secret), user_id=user_id, expires_at=until))
        return SignedIn(secret, user_id, until)

    def identify_session(self, secret: str) -> Viewer:
        """Tell whose session this is.

        Raises
        ------
        TokenInvalid
            There is no such session any more, or its account is closed.
        """
        now = self._clock()
        with self._database.together(), self._database.reading() as session:
            found = session.execute(_OWNER, {"secret": hashed(secret)}).one_or_none()
            if found is None or found.expires_at <= now:
                raise TokenInvalid("this session has ended")
            return viewer_of_account(session, found.User, now, public=self._access.public_sites)

    def identify_token(self, token: str, address: str) -> Viewer:
        """Tell whose token this is, and count those that are none.

        Raises
        ------
        TokenInvalid
            It is unknown, expired or revoked.
        TooManyAttempts
            And so were too many others from this address.
        """
        try:
            return self._access.identify(token)
        except TokenInvalid:
            self.count_failure(address)
            raise

    def count_failure(self, address: str) -> None:
        """Count a secret that was none.

        Raises
        ------
        TooManyAttempts
            There were too many from this address.
        """
        self._addresses.check(address)
        self._addresses.fail(address)

    def close(self, secret: str) -> None:
        """Close a session; one that is none is passed over."""
        with self._database.begin() as session:
            session.execute(delete(LoginSession).where(LoginSession.token_hash == hashed(secret)))

    def close_all(self, viewer: Viewer, user_id: int | None = None) -> int:
        """Close all sessions of one's own account, or of any for who may do everything.

        Returns
        -------
        int
            How many there were.

        Raises
        ------
        NotSignedIn, Forbidden
            The viewer may not.
        """
        chosen = viewer.require_user() if user_id is None else user_id
        if chosen != viewer.user_id:
            viewer.require("admin")
        with self._database.begin() as session:
            user = found_user(session, chosen)
            if chosen == viewer.user_id:
                check_whole(viewer, user)
            gone = session.scalars(
                delete(LoginSession)
                .where(LoginSession.user_id == user.id)
                .returning(LoginSession.token_hash)
            )
            return len(gone.all())
