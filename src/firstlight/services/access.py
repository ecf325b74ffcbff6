"""Whoever asks, and what they may do."""

from __future__ import annotations

from dataclasses import dataclass

from firstlight.errors import UserError
from firstlight.models.token import SCOPES

__all__ = [
    "OPERATOR",
    "THIS_MACHINE",
    "Forbidden",
    "NotSignedIn",
    "TokenInvalid",
    "Viewer",
    "operator",
]

OPERATOR = "the operator"
"""Name of whoever may open the files of the workspace."""
THIS_MACHINE = "this machine"
"""Name of the person at this machine who needs no token."""

_PUBLIC_SCOPES = frozenset({"read", "watch"})
# These hold at sites. The others concern objects, accounts and the like, which have no site.
_AT_SITES = frozenset({"read", "watch", "upload", "operate", "admin"})


class NotSignedIn(UserError):
    """A token is needed for this."""

    code = "access.not_signed_in"


class TokenInvalid(UserError):
    """The token is not valid."""

    code = "access.token_invalid"


class Forbidden(UserError):
    """The token does not allow this."""

    code = "access.forbidden"


@dataclass(frozen=True, slots=True)
class Viewer:
    """Whoever asks, and what they may do.

    Attributes
    ----------
    name
        Of the token, or of the account that has signed in; empty for a stranger.
    scopes
        What is allowed, with what that implies.
    token_sites
        Where it is: sites that the token is bound to, or that the account's groups may read;
        ``None`` for all sites.
    public_sites
        What anyone may read and watch; ``None`` for all sites.
    user_id
        Whose account it is; ``None`` for a stranger or a token of the workspace.
    groups
        Whose rows they see.
    sees_all
        Whether they see every row, whatever its audience.
    username
        Of the account; empty where there is none.
    """

    name: str = ""
    scopes: frozenset[str] = frozenset()
    token_sites: frozenset[str] | None = None
    public_sites: frozenset[str] | None = frozenset()
    user_id: int | None = None
    groups: frozenset[int] = frozenset()
    sees_all: bool = False
    username: str = ""

    def may(self, scope: str, site: str | None = None) -> bool:
        """Whether `scope` holds at `site`; without a site, whether it holds at all sites.

        What concerns no site, as to comment, holds wherever it is allowed. So does `upload` for
        an account: its objects and points are of no site. The files of a site's cameras are
        another matter: see `require_delivery`.
        """
        if scope not in _AT_SITES or (scope == "upload" and self.user_id is not None):
            return scope in self.scopes
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

    def require_delivery(self, site: str | None = None) -> None:
        """Raise unless files may be put into the archive of a site; without one, of all sites.

        A token that may `upload` is for this; an account must be an operator's.

        Raises
        ------
        NotSignedIn, Forbidden
            See `require`.
        """
        self.require("upload" if self.user_id is None else "operate", site)

    def require_named(self) -> None:
        """Raise for a stranger.

        Raises
        ------
        NotSignedIn
            No token was sent, and nobody has signed in.
        """
        if not self.name:
            raise NotSignedIn("sign in for this", hint="or send a token: Authorization: token ...")

    def require_user(self) -> int:
        """The number of the account, for what needs an author.

        Raises
        ------
        NotSignedIn
            Nobody has signed in.
        Forbidden
            The token belongs to the workspace and to no account.
        """
        if self.user_id is not None:
            return self.user_id
        self.require_named()
        raise Forbidden(
            "this needs an account, and this token belongs to none",
            subject=self.name,
            hint="firstlight token create NAME --user USERNAME",
        )

    def sites(self, scope: str = "read") -> frozenset[str] | None:
        """Sites to which a query must be limited; ``None`` for no limit.

        An account whose groups may read no site gets an empty set: it has signed in, and there
        is nothing for it to see.

        Raises
        ------
        NotSignedIn, Forbidden
            There is no site at which `scope` holds.
        """
        places = self._places(scope)
        if places is not None and not places and not (self.user_id and scope in self.scopes):
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
        what = scope.replace("_", " ")
        where = f" at site {site}" if site else ""
        if not self.name:
            return NotSignedIn(
                f"a token is needed to {what}{where}",
                hint="send it in a header: Authorization: token ...",
            )
        whose = "this account" if self.user_id is not None else "this token"
        return Forbidden(
            f"{whose} does not allow to {what}{where}", subject=self.username or self.name
        )


def operator() -> Viewer:
    """Whoever may open the files of the workspace: everything is allowed."""
    return Viewer(OPERATOR, frozenset(SCOPES), None, sees_all=True)
