"""What an account may do and see, as the viewer that every service is given."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy.orm import Session

from firstlight.models.account import User
from firstlight.services.access import TokenInvalid, Viewer
from firstlight.services.accounts.membership import active, groups_and_sites
from firstlight.services.accounts.permissions import implied, permissions, scopes_of

__all__ = ["NAME_PREFIX", "viewer_of_account"]

NAME_PREFIX = "user/"
"""Names that begin so are of accounts and their tokens: ``user/7``, ``user/7/camera``."""


def viewer_of_account(
    session: Session,
    user: User,
    now: datetime,
    *,
    public: frozenset[str] | None,
    token_name: str | None = None,
    token_scopes: Collection[str] | None = None,
    token_sites: Collection[str] | None = None,
) -> Viewer:
    """Return the viewer that an account, or a token of it, is.

    Parameters
    ----------
    public
        Sites that anyone may read; None for all.
    token_name, token_scopes, token_sites
        Of the token, which narrows what the account may do and never widens it. None where the
        person has signed in, and for a token that holds at all sites of its account.

    Raises
    ------
    TokenInvalid
        The account is disabled, or has expired.
    """
    if not active(user, now):
        raise TokenInvalid("this account was closed or has expired", subject=user.username)
    allowed = scopes_of(permissions(user.roles, user.acls))
    scopes = allowed
    if token_scopes is not None:
        scopes = allowed & (implied(token_scopes) | {"read", "watch"})
    groups, theirs = groups_and_sites(session, user.id)
    sites = None if "admin" in allowed else theirs
    if token_sites is not None:
        sites = frozenset(token_sites) if sites is None else sites & frozenset(token_sites)
    return Viewer(
        name=token_name or f"{NAME_PREFIX}{user.id}",
        scopes=scopes,
        token_sites=sites,
        public_sites=public,
        user_id=user.id,
        groups=groups,
        sees_all="admin" in scopes and sites is None,
        username=user.username,
    )
