"""Acting as an account, for whoever may open the files of the workspace."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sqlalchemy import select

from firstlight.models.account import User
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.services.access import Viewer
from firstlight.services.accounts.account_viewers import viewer_of_account
from firstlight.services.accounts.authority import UserMissing
from firstlight.services.accounts.membership import operators_account

__all__ = ["acting_as"]


def acting_as(
    database: Database,
    username: str | None = None,
    *,
    public_sites: frozenset[str] | None = frozenset(),
    clock: Callable[[], datetime] = utc_now,
) -> Viewer:
    """The viewer that an account is; without a name the workspace's own, which may do everything.

    Raises
    ------
    UserMissing
        There is no such account.
    TokenInvalid
        It was closed, or has expired.
    """
    with database.begin() as session:
        if username is None:
            user = session.get_one(User, operators_account(session))
        else:
            found = session.scalar(select(User).where(User.username == username.lower()))
            if found is None:
                raise UserMissing(subject=username[:128], hint="firstlight user list")
            user = found
        return viewer_of_account(session, user, clock(), public=public_sites)
