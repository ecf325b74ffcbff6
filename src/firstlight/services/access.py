"""Who may do what: tokens, the sites they hold for, and what the public may read."""

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
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.models.token import SCOPES, Token
from firstlight.services.web_settings import WebSettings

__all__ = [
    "AccessService",
    "Forbidden",
    "NewToken",
    "NotSignedIn",
    "TokenExists",
    "TokenInvalid",
    "TokenMissing",
    "Viewer",
    "operator",
]

_PREFIX = "fl_"
_THIS_MACHINE = "this machine"
_OPERATOR = "the operator"
_OURS = (_THIS_MACHINE, _OPERATOR)
_PREFIX_SHOWN = 10
# What a scope brings with it. To read is not to watch: a reader polls, a watcher is told.
_IMPLIED = {"admin": frozenset(SCOPES), "operate": frozenset({"read", "watch", "upload"})}
_PUBLIC_SCOPES = frozenset({"read", "watch"})


class NotSignedIn(UserError):
    """A token is needed for this."""

    code = "access.not_signed_in"


class TokenInvalid(UserError):
    """The token is not valid."""

    code = "access.token_invalid"


class Forbidden(UserError):
    """The token does not allow this."""

    code = "access.forbidden"


class TokenExists(ConflictError):
    """There is a token of this name already."""

    code = "access.token_exists"


class TokenMissing(MissingError):
    """There is no such token."""

    code = "access.token_missing"


@dataclass(frozen=True, slots=True)
class Viewer:
    """Whoever asks, and what they may do.

    Attributes
    ----------
    name
        Of the token; empty for one who has none.
    scopes
        What the token allows, with what that implies.
    token_sites
        Where it does; ``None`` for all sites.
    public_sites
        What anyone may read and watch; ``None`` for all sites.
    user_id
        Whose account it is; ``None`` for a stranger or a token of the workspace.
    groups
        Whose rows they see.
    sees_all
        Whether they see every row, whatever its audience.
    """

    name: str = ""
    scopes: frozenset[str] = frozenset()
    token_sites: frozenset[str] | None = None
    public_sites: frozenset[str] | None = frozenset()
    user_id: int | None = None
    groups: frozenset[int] = frozenset()
    sees_all: bool = False

    def may(self, scope: str, site: str | None = None) -> bool:
        """Whether `scope` holds at `site`; without a site, whether it holds at all sites."""
        places = self._places(scope)
        return places is None or (site is not None and site in places)

    def require(self, scope: str, site: str | None = None) -> None:
        """Raise unless `may`.

        Raises
        ------
        NotSignedIn
            A token could help.
        Forbidden
            This token does not.
        """
        if not self.may(scope, site):
            raise self._refusal(scope, site)

    def sites(self, scope: str = "read") -> frozenset[str] | None:
        """Sites to which a query must be limited; ``None`` for no limit.

        Raises
        ------
        NotSignedIn, Forbidden
            There is no site at which `scope` holds.
        """
        places = self._places(scope)
        if places is not None and not places:
            raise self._refusal(scope, None)
        return places

    def readable_sites(self) -> frozenset[str] | None:
        """Sites whose rows may be read: ``None`` for all, and an empty set for none."""
        return self._places("read")

    def _places(self, scope: str) -> frozenset[str] | None:
        granted = self.token_sites if scope in self.scopes else frozenset()
        public = self.public_sites if scope in _PUBLIC_SCOPES else frozenset()
        return None if granted is None or public is None else granted | public

    def _refusal(self, scope: str, site: str | None) -> UserError:
        where = f" at site {site}" if site else ""
        if not self.name:
            return NotSignedIn(
                f"a token is needed to {scope}{where}",
                hint="send it in a header: Authorization: token ...",
            )
        return Forbidden(f"this token does not allow to {scope}{where}", subject=self.name)


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token as it is shown, once, to the person who made it."""

    token: str
    facts: dict[str, Any]


def operator() -> Viewer:
    """Whoever may open the files of the workspace: everything is allowed."""
    return Viewer(_OPERATOR, frozenset(SCOPES), None, sees_all=True)


class AccessService:
    """Makes tokens and tells what they allow.

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
        self._public = None if public == "*" else frozenset(public)
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
        self._check(name, scopes, sites, expires_at)
        token = _PREFIX + secrets.token_urlsafe(32)
        row = Token(
            id=uuid.uuid4(),
            name=name,
            prefix=token[:_PREFIX_SHOWN],
            token_hash=_hash(token),
            scopes=[scope for scope in SCOPES if scope in scopes],
            sites=None if sites is None else sorted(set(sites)),
            expires_at=expires_at,
            created_at=self._clock(),
        )
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
            Whether the request surely comes from a person at this machine.

        Raises
        ------
        TokenInvalid
            It is unknown, expired or revoked.
        """
        if token is not None:
            return self._holder(Token.token_hash == _hash(token))
        if from_loopback and self._open_on_loopback:
            return Viewer(_THIS_MACHINE, frozenset(SCOPES), None, self._public, sees_all=True)
        return Viewer(public_sites=self._public)

    def sites_of(self, name: str) -> frozenset[str] | None:
        """Sites that the owner of a token may watch now, by its name.

        Returns
        -------
        frozenset or None
            ``None`` for all sites; none at all for one whose token was revoked or has expired.
        """
        if name == _OPERATOR:
            return None
        if name == _THIS_MACHINE:
            return None if self._open_on_loopback else frozenset()
        try:
            return self._holder(Token.name == name).sites("watch")
        except UserError:
            return frozenset()

    def _holder(self, which: ColumnElement[bool]) -> Viewer:
        with self._database.reading() as session:
            row = session.scalar(select(Token).where(which))
        if row is None:
            raise TokenInvalid("this token is not known")
        if row.revoked_at is not None:
            raise TokenInvalid("this token was revoked", subject=row.name)
        if row.expires_at is not None and row.expires_at <= self._clock():
            raise TokenInvalid("this token has expired", subject=row.name)
        scopes = frozenset(row.scopes).union(*(_IMPLIED.get(scope, ()) for scope in row.scopes))
        sites = None if row.sites is None else frozenset(row.sites)
        return Viewer(row.name, scopes, sites, self._public)

    def _check(
        self,
        name: str,
        scopes: Collection[str],
        sites: Collection[str] | None,
        expires_at: datetime | None,
    ) -> None:
        if not name.strip() or len(name) > 128 or not name.isprintable() or name in _OURS:
            raise InvalidInput(
                field="name", found=name[:200], expected="1 to 128 characters, and not taken by us"
            )
        unknown = sorted(set(scopes) - set(SCOPES))
        if unknown or not scopes:
            raise InvalidInput(
                field="scopes",
                found=", ".join(unknown) or "none",
                expected="some of " + ", ".join(SCOPES),
            )
        if sites is not None and (not sites or not all(sites)):
            raise InvalidInput(field="sites", found=list(sites), expected="names, or null for all")
        if expires_at is not None and expires_at <= self._clock():
            raise InvalidInput(field="expires_at", found=expires_at, expected="a time to come")


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


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
