"""How often somebody may fail: failures are counted in the database, for all web processes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import delete, select

from firstlight.errors import UserError
from firstlight.models.account import FailedAttempt
from firstlight.models.base import utc_now
from firstlight.models.database import Database

__all__ = ["AttemptLimiter", "TooManyAttempts"]


class TooManyAttempts(UserError):
    """There were too many failed attempts; wait, and try again."""

    code = "access.too_many_attempts"


class AttemptLimiter:
    """Counts the failures of each key in a sliding window.

    Parameters
    ----------
    database
        The tables.
    purpose
        What is tried: the same key of another purpose is another one.
    limit
        Failures until a key is refused.
    window_s
        Seconds after which a failure is forgotten.
    clock
        Returns the present, aware.
    """

    def __init__(
        self,
        database: Database,
        purpose: str,
        limit: int,
        window_s: float,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._purpose = purpose
        self._limit = limit
        self._window = timedelta(seconds=window_s)
        self._clock = clock

    def check(self, key: str) -> None:
        """Refuse a key that has failed too often.

        Raises
        ------
        TooManyAttempts
            With the seconds to wait in `expected`.
        """
        now = self._clock()
        latest = (
            select(FailedAttempt.forgotten_at)
            .where(FailedAttempt.key == self._hashed(key), FailedAttempt.forgotten_at > now)
            .order_by(FailedAttempt.forgotten_at.desc())
            .offset(self._limit - 1)
            .limit(1)
        )
        with self._database.reading() as session:
            until = session.scalar(latest)
        if until is not None:
            wait = max(1, round((until - now).total_seconds()))
            raise TooManyAttempts(expected=f"a pause of {wait} s")

    def fail(self, key: str) -> None:
        """Count a failure; those that have been forgotten, of any key, are taken away."""
        now = self._clock()
        with self._database.begin() as session:
            session.execute(delete(FailedAttempt).where(FailedAttempt.forgotten_at <= now))
            session.add(FailedAttempt(key=self._hashed(key), forgotten_at=now + self._window))

    def forget(self, key: str) -> None:
        """Begin anew for a key that has succeeded."""
        with self._database.begin() as session:
            session.execute(delete(FailedAttempt).where(FailedAttempt.key == self._hashed(key)))

    def forgive(self, key: str) -> None:
        """Take the last failure back."""
        last = (
            select(FailedAttempt.id)
            .where(FailedAttempt.key == self._hashed(key))
            .order_by(FailedAttempt.forgotten_at.desc(), FailedAttempt.id.desc())
            .limit(1)
        )
        with self._database.begin() as session:
            session.execute(delete(FailedAttempt).where(FailedAttempt.id == last.scalar_subquery()))

    def _hashed(self, key: str) -> str:
        """What is written down: who fails may have typed a password for a name."""
        return hashlib.sha256(f"{self._purpose} {key}".encode("utf-8", "replace")).hexdigest()
