"""What a user is told in the portal: a short list, and how much of it is new."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select, update

from firstlight.models.account import UserNotification
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.services.access import NotSignedIn, Viewer

__all__ = ["InboxService"]

_SHOWN = 100


class InboxService:
    """Reads notifications of users.

    Parameters
    ----------
    database
        The tables.
    """

    def __init__(self, *, database: Database) -> None:
        self._database = database

    def unread(self, viewer: Viewer) -> int:
        """How many notifications the viewer has not seen; none for one without an account."""
        if viewer.user_id is None:
            return 0
        query = select(func.count(UserNotification.id)).where(
            UserNotification.user_id == viewer.user_id, UserNotification.viewed_at.is_(None)
        )
        with self._database.reading() as session:
            return session.scalar(query) or 0

    def latest(self, viewer: Viewer, limit: int = _SHOWN) -> list[dict[str, Any]]:
        """The viewer's notifications, the newest first.

        Raises
        ------
        NotSignedIn
            The viewer has no account.
        """
        owner = _account(viewer)
        query = (
            select(UserNotification)
            .where(UserNotification.user_id == owner)
            .order_by(UserNotification.id.desc())
            .limit(limit)
        )
        with self._database.reading() as session:
            return [
                {
                    "id": row.id,
                    "kind": row.kind,
                    "text": row.text,
                    "url": row.url,
                    "created_at": row.created_at.isoformat(),
                    "seen": row.viewed_at is not None,
                }
                for row in session.scalars(query)
            ]

    def mark_seen(self, viewer: Viewer, up_to: int) -> None:
        """Take note that the viewer has seen all notifications up to a number."""
        owner = _account(viewer)
        with self._database.begin() as session:
            session.execute(
                update(UserNotification)
                .where(
                    UserNotification.user_id == owner,
                    UserNotification.id <= up_to,
                    UserNotification.viewed_at.is_(None),
                )
                .values(viewed_at=utc_now())
            )


def _account(viewer: Viewer) -> int:
    if viewer.user_id is None:
        raise NotSignedIn("notifications are for those who have an account")
    return viewer.user_id
