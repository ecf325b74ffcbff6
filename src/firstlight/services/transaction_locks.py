"""Locks by name that last to the end of a transaction."""

from __future__ import annotations

import hashlib

from sqlalchemy import text
from sqlalchemy.orm import Session

__all__ = ["lock_names"]

_LOCK = text(
    "SELECT pg_advisory_xact_lock(number) FROM "
    "(SELECT unnest(CAST(:numbers AS bigint[])) AS number ORDER BY 1) AS sorted"
)


def lock_names(session: Session, *names: str) -> None:
    """Wait until no other transaction holds any of these names, and hold them to the end.

    For what has no row yet that could be locked. They are taken in one order, so that two
    callers that name the same things do not wait for each other. SQLite has one writer at a
    time, so there is nothing to do.
    """
    if session.get_bind().dialect.name != "postgresql":
        return
    numbers = [
        int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big", signed=True)
        for name in set(names)
    ]
    if numbers:
        session.execute(_LOCK, {"numbers": numbers})
