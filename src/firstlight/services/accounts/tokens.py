"""Tokens of the workspace, and who it is that comes with a token."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, select

from firstlight.errors import ConflictError, InvalidInput, MissingError, UserError
from firstlight.models.account import Membership, User
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.models.token import SCOPES, Token
from firstlight.services.access import OPERATOR, THIS_MACHINE, TokenInvalid, Viewer
from firstlight.services.accounts.account_viewers import NAME_PREFIX, viewer_of_account
from firstlight.services.accounts.membership import (
    OPERATOR_USERNAME,
    groups_of,
    operators_account,
)
from firstlight.services.accounts.permissions import implied
from firstlight.services.web_settings import WebSettings

__all__ = [
    "AccessService",
    "NewToken",
    "TokenExists",
    "TokenMissing",
    "check_token_name",
    "hashed",
    "new_token",
]

_PREFIX = "fl_"
_PREFIX_SHOWN = 10
_LONGEST_NAME = 128
_OPERATOR = (
    select(User.id, Membership.group_id)
    .join(Membership, Membership.user_id == User.id, isouter=True)
    .where(User.username == OPERATOR_USERNAME)
)
_HOLDER = select(Token, User).join(User, User.id == Token.user_id, isouter=True)


class TokenExists(ConflictError):
    """There is a token of this name already."""

    code = "access.token_exists"


class TokenMissing(MissingError):
    """There is no such token."""

    code = "access.token_missing"


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token as it is shown, once, to the person who made it."""

    token: str
    facts: dict[str, Any]


class AccessService:
    """Makes tokens of the workspace, and tells what any token allows.

    Parameters
    ----------
    database
        Where tokens are kept, as hashes.
    settings
        What the public may read, and whether this machine's own user needs a token.
    clock
        Returns the present, aware.
    """

    def __init__(
        self,
        *,
        database: Database,
        settings: WebSettings,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._open_on_loopback = settings.open_on_loopback
        public = settings.public_sites
        self.public_sites = None if public == "*" else frozenset(public)
        self._clock = clock

    def make(
        self,
        name: str,
        scopes: Collection[str],
        *,
        sites: Collection[str] | None = None,
        expires_at: datetime | None = None,
    ) -> NewToken:
        """Make a token. It is not kept: what is lost has to be made again.

        Raises
        ------
        InvalidInput
            A scope is not known, none is given, or the name or the list of sites is empty.
        TokenExists
            The name is taken, maybe by a token that was revoked.
        """
        check_token_name(name)
        if name.startswith(NAME_PREFIX) or name in {THIS_MACHINE, OPERATOR}:
            raise InvalidInput(field="name", found=name, expected="a name not taken by us")
        _check(scopes, sites, expires_at, self._clock())
        token, row = new_token(name, scopes, sites=sites, expires_at=expires_at, now=self._clock())
        with self._database.begin() as session:
            if session.scalar(select(Token.id).where(Token.name == name)) is not None:
                raise TokenExists(subject=name)
            session.add(row)
        return NewToken(token, _facts(row))

    def list(self) -> list[dict[str, Any]]:
        """Facts of all tokens, by name; never the tokens themselves."""
        with self._database.reading() as session:
            return [_facts(row) for row in session.scalars(select(Token).order_by(Token.name))]

    def revoke(self, name: str) -> dict[str, Any]:
        """Make a token worthless, for good. Revoking it again changes nothing.

        Raises
        ------
        TokenMissing
            There is no token of this name.
        """
        with self._database.begin() as session:
            row = session.scalar(select(Token).where(Token.name == name))
            if row is None:
                raise TokenMissing(subject=name)
            row.revoked_at = row.revoked_at or self._clock()
        return _facts(row)

    def identify(self, token: str | None, *, from_loopback: bool = False) -> Viewer:
        """Tell who asks.

        Parameters
        ----------
        token
            As sent; ``None`` for a request without one.
        from_loopback
            Whether the request surely comes from a person at this machine. It then has the
            account of the workspace itself, which is made when it is first needed.

        Raises
        ------
        TokenInvalid
            It is unknown, expired or revoked.
        """
        if token is not None:
            return self._holder(Token.token_hash == hashed(token))
        if from_loopback and self._open_on_loopback:
            return self._at_this_machine()
        return Viewer(public_sites=self.public_sites)

    def sites_of(self, name: str) -> frozenset[str] | None:
        """Sites that the owner of a token, or an account, may watch now, by its name.

        Returns
        -------
        frozenset or None
            ``None`` for all sites; none at all for one whose token was revoked or has expired.
        """
        if name == OPERATOR:
            return None
        if name == THIS_MACHINE:
            return None if self._open_on_loopback else frozenset()
        number = name.removeprefix(NAME_PREFIX)
        try:
            if number != name and number.isascii() and number.isdigit():
                return self._account(int(number)).sites("watch")
            return self._holder(Token.name == name).sites("watch")
        except UserError:
            return frozenset()

    def _holder(self, which: ColumnElement[bool]) -> Viewer:
        now = self._clock()
        with self._database.together(), self._database.reading() as session:
            found = session.execute(_HOLDER.where(which)).one_or_none()
            if found is None:
                raise TokenInvalid("this token is not known")
            row, user = found
            if row.revoked_at is not None:
                raise TokenInvalid("this token was revoked", subject=row.name)
            if row.expires_at is not None and row.expires_at <= now:
                raise TokenInvalid("this token has expired", subject=row.name)
            if row.user_id is not None:
                if user is None:
                    raise TokenInvalid("this token is not known")
                return viewer_of_account(
                    session,
                    user,
                    now,
                    public=self.public_sites,
                    token_name=row.name,
                    token_scopes=row.scopes,
                    token_sites=row.sites,
                )
        scopes = implied(row.scopes)
        sites = None if row.sites is None else frozenset(row.sites)
        return Viewer(
            row.name,
            scopes,
            sites,
            self.public_sites,
            sees_all="admin" in scopes and sites is None,
        )

    def _account(self, user_id: int) -> Viewer:
        with self._database.reading() as session:
            user = session.get(User, user_id)
            if user is None:
                raise TokenInvalid("there is no such account")
            return viewer_of_account(session, user, self._clock(), public=self.public_sites)

    def _at_this_machine(self) -> Viewer:
        with self._database.together(), self._database.reading() as session:
            found = session.execute(_OPERATOR).all()
        groups = frozenset(row.group_id for row in found if row.group_id is not None)
        user_id = found[0].id if found else None
        if user_id is None:
            with self._database.begin() as session:
                user_id = operators_account(session)
                groups = groups_of(session, user_id)
        return Viewer(
            THIS_MACHINE,
            frozenset(SCOPES),
            None,
            self.public_sites,
            user_id=user_id,
            groups=groups,
            sees_all=True,
            username=OPERATOR_USERNAME,
        )


def new_token(
    name: str,
    scopes: Collection[str],
    *,
    now: datetime,
    sites: Collection[str] | None = None,
    expires_at: datetime | None = None,
    user_id: int | None = None,
) -> tuple[str, Token]:
    """Make a secret, and the row in which its hash is kept."""
    token = _PREFIX + secrets.token_urlsafe(32)
    row = Token(
        id=uuid.uuid4(),
        name=name,
        user_id=user_id,
        prefix=token[:_PREFIX_SHOWN],
        token_hash=hashed(token),
        scopes=[scope for scope in SCOPES if scope in scopes],
        sites=None if sites is None else sorted(set(sites)),
        expires_at=expires_at,
        created_at=now,
    )
    return token, row


def check_token_name(name: str, longest: int = _LONGEST_NAME) -> None:
    """Refuse what cannot be the name of a token.

    Raises
    ------
    InvalidInput
        It is empty, too long, or cannot be printed.
    """
    if not name.strip() or len(name) > longest or not name.isprintable():
        raise InvalidInput(
            field="name", found=name[:200], expected=f"1 to {longest} characters that print"
        )


def hashed(token: str) -> str:
    """The hash by which a secret is found."""
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def _check(
    scopes: Collection[str],
    sites: Collection[str] | None,
    expires_at: datetime | None,
    now: datetime,
) -> None:
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        raise InvalidInput(
            field="scopes",
            found=", ".join(unknown) or "none",
            expected="some of " + ", ".join(SCOPES),
        )
    if sites is not None and (not sites or not all(sites)):
        raise InvalidInput(field="sites", found=list(sites), expected="names, or null for all")
    if expires_at is not None and expires_at <= now:
        raise InvalidInput(field="expires_at", found=expires_at, expected="a time to come")


def _facts(row: Token) -> dict[str, Any]:
    def moment(value: datetime | None) -> str | None:
        return None if value is None else value.isoformat()

    sites: Sequence[str] | None = row.sites
    return {
        "id": str(row.id),
        "name": row.name,
        "prefix": row.prefix,
        "scopes": row.scopes,
        "sites": sites,
        "created_at": moment(row.created_at),
        "expires_at": moment(row.expires_at),
        "revoked_at": moment(row.revoked_at),
    }
