"""Tokens of accounts: each allows what its account may do, or less."""

from __future__ import annotations

import builtins
import uuid
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from firstlight.errors import InvalidInput
from firstlight.models.account import User
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.models.token import SCOPES, Token
from firstlight.services.access import Forbidden, Viewer
from firstlight.services.accounts.account_viewers import NAME_PREFIX, viewer_of_account
from firstlight.services.accounts.authority import UserMissing, found_user, require_person
from firstlight.services.accounts.facts import user_facts, wire_time
from firstlight.services.accounts.permissions import acls_of, implied
from firstlight.services.accounts.tokens import (
    NewToken,
    TokenExists,
    TokenMissing,
    check_token_name,
    hashed,
    new_token,
)
from firstlight.services.transaction_locks import lock_names

__all__ = ["UserTokenService"]

_LONGEST_NAME = 100
_MOST_TOKENS = 100


class UserTokenService:
    """Keeps the tokens of accounts. One's own; all, for who may do everything.

    Parameters
    ----------
    database
        Where they are, as hashes.
    clock
        Returns the present, aware.
    """

    def __init__(self, *, database: Database, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._clock = clock

    def list(self, viewer: Viewer, *, user_id: int | None = None) -> builtins.list[dict[str, Any]]:
        """Tokens of an account, by default one's own, the oldest first.

        Raises
        ------
        NotSignedIn, Forbidden, UserMissing
            The viewer may not know of them.
        """
        chosen = _whose(viewer, user_id)
        with self._database.reading() as session:
            user = found_user(session, chosen)
            rows = session.scalars(
                select(Token)
                .where(Token.user_id == user.id, Token.revoked_at.is_(None))
                .order_by(Token.created_at, Token.name)
            )
            return [_facts(row, user) for row in rows]

    def one(self, viewer: Viewer, token_id: str) -> dict[str, Any]:
        """One token, by its number or by itself.

        Raises
        ------
        NotSignedIn, Forbidden, TokenMissing
            There is none that the viewer may know of.
        """
        require_person(viewer)
        with self._database.reading() as session:
            row = _found(session, viewer, token_id)
            return _facts(row, found_user(session, row.user_id or 0))

    def make(
        self,
        viewer: Viewer,
        name: str,
        scopes: Collection[str],
        *,
        user_id: int | None = None,
        sites: Collection[str] | None = None,
        expires_at: datetime | None = None,
    ) -> NewToken:
        """Make a token of an account, by default one's own. It is shown this once.

        Parameters
        ----------
        scopes
            What it allows; it always allows to read what its account may read.
        sites
            Sites at which it holds; None for all of its account, or of the token that makes it.

        Raises
        ------
        NotSignedIn, Forbidden
            The viewer may not, or the account or the viewer has not got such a scope or site.
        TokenExists
            The account has a token of this name.
        InvalidInput, UserMissing
            Something in it makes no sense.
        """
        chosen = _whose(viewer, user_id)
        check_token_name(name, _LONGEST_NAME)
        now = self._clock()
        if expires_at is not None and expires_at <= now:
            raise InvalidInput(field="expires_at", found=expires_at, expected="a time to come")
        with self._database.begin() as session:
            user = found_user(session, chosen)
            lock_names(session, f"tokens/{user.id}")
            _check_scopes(session, viewer, user, scopes, now)
            count = select(func.count()).where(Token.user_id == user.id)
            if (session.scalar(count) or 0) >= _MOST_TOKENS:
                raise Forbidden("the account has too many tokens", expected=_MOST_TOKENS)
            kept = _kept_name(user, name)
            _check_free(session, kept)
            token, row = new_token(
                kept,
                scopes,
                now=now,
                sites=_bounds(session, viewer, user, sites, now),
                expires_at=expires_at,
                user_id=user.id,
            )
            session.add(row)
            session.flush()
            return NewToken(token, _facts(row, user))

    def change(
        self,
        viewer: Viewer,
        token_id: str,
        *,
        name: str | None = None,
        scopes: Collection[str] | None = None,
    ) -> None:
        """Change a token's name or what it allows.

        Raises
        ------
        NotSignedIn, Forbidden, TokenMissing, TokenExists, InvalidInput
            See `make`, `one`.
        """
        require_person(viewer)
        with self._database.begin() as session:
            row = _found(session, viewer, token_id)
            user = found_user(session, row.user_id or 0)
            if name is not None and _kept_name(user, name) != row.name:
                check_token_name(name, _LONGEST_NAME)
                _check_free(session, _kept_name(user, name))
                row.name = _kept_name(user, name)
            if scopes is not None:
                _check_scopes(session, viewer, user, scopes, self._clock())
                row.scopes = [scope for scope in SCOPES if scope in scopes]

    def remove(self, viewer: Viewer, token_id: str) -> None:
        """Make a token worthless, for good.

        Raises
        ------
        NotSignedIn, Forbidden, TokenMissing
            There is none that the viewer may know of.
        """
        require_person(viewer)
        with self._database.begin() as session:
            session.delete(_found(session, viewer, token_id))


def _whose(viewer: Viewer, user_id: int | None) -> int:
    require_person(viewer)
    if user_id is None:
        return viewer.require_user()
    if user_id != viewer.user_id and not viewer.sees_all:
        raise UserMissing("there are no tokens of this account for you", subject=user_id)
    return user_id


def _found(session: Session, viewer: Viewer, token_id: str) -> Token:
    which: ColumnElement[bool] = Token.token_hash == hashed(token_id)
    with suppress(ValueError):
        which = or_(which, Token.id == uuid.UUID(token_id))
    row = session.scalar(select(Token).where(which, Token.revoked_at.is_(None)))
    if row is None or row.user_id is None:
        raise TokenMissing
    if row.user_id != viewer.user_id and not viewer.sees_all:
        raise TokenMissing
    return row


def _check_scopes(
    session: Session, viewer: Viewer, user: User, scopes: Collection[str], now: datetime
) -> None:
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown:
        raise InvalidInput(
            field="scopes", found=", ".join(unknown)[:200], expected="some of " + ", ".join(SCOPES)
        )
    owner = viewer_of_account(session, user, now, public=frozenset())
    more = implied(scopes) - (owner.scopes & viewer.scopes)
    if more:
        raise Forbidden(
            "a token cannot allow what its account may not do",
            subject=user.username,
            found=", ".join(sorted(more)).replace("_", " "),
        )


def _bounds(
    session: Session,
    viewer: Viewer,
    user: User,
    sites: Collection[str] | None,
    now: datetime,
) -> list[str] | None:
    """Sites at which a new token holds: never more than those of the token that makes it."""
    owner = viewer_of_account(session, user, now, public=frozenset())
    if viewer.user_id != user.id or viewer.token_sites == owner.token_sites:
        allowed = None
    else:
        allowed = viewer.token_sites
    if sites is None:
        return None if allowed is None else sorted(allowed)
    if not sites or not all(sites):
        raise InvalidInput(field="sites", found=list(sites), expected="names, or none for all")
    if allowed is not None and not set(sites) <= allowed:
        raise Forbidden("this token does not hold at these sites", found=", ".join(sites)[:200])
    return sorted(set(sites))


def _kept_name(user: User, name: str) -> str:
    # Names are unique in the table; with the account before them they are its own.
    return f"{NAME_PREFIX}{user.id}/{name}"


def _check_free(session: Session, kept: str) -> None:
    if session.scalar(select(Token.id).where(Token.name == kept)) is not None:
        raise TokenExists(subject=kept.split("/", 2)[2])


def _facts(row: Token, user: User) -> dict[str, Any]:
    made = wire_time(row.created_at)
    return {
        "id": str(row.id),
        "created_at": made,
        "modified": made,
        "created_by_id": user.id,
        "created_by": user_facts(user),
        "name": row.name.split("/", 2)[2],
        "acls": [
            {"id": name, "created_at": made, "modified": made} for name in acls_of(row.scopes)
        ],
    }
