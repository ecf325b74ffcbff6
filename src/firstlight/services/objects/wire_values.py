"""Values as programs send and get them: checked on the way in, plain on the way out."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, bindparam, select
from sqlalchemy.orm import Session

from firstlight.errors import InvalidInput
from firstlight.models.account import User
from firstlight.models.database import each_once
from firstlight.services.accounts.facts import wire_time

__all__ = [
    "LARGEST_ID",
    "authors",
    "finite",
    "moment",
    "optional_text",
    "plain_json",
    "plain_text",
    "storable",
    "wire_time",
]

LARGEST_ID = 2**31 - 1
"""Of a row that counts from one; PostgreSQL compares no larger ones with its column."""
# Built once: pages ask for it again and again.
_AUTHORS = select(User.id, User.username, User.first_name, User.last_name, User.is_bot).where(
    User.id.in_(bindparam("ids", expanding=True))
)
_DEEPEST = 32
_LARGEST_WHOLE = 2**63


def storable(text: str) -> bool:
    """Whether every database can hold a text: no NUL, no half of a surrogate pair."""
    return "\x00" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def plain_text(value: object, field: str, *, longest: int) -> str:
    """Return a text that is not blank and can be stored.

    Raises
    ------
    InvalidInput
        It is something else, too long, or holds what no database keeps.
    """
    if not isinstance(value, str) or not value.strip() or len(value) > longest:
        shown = f"{len(value)} characters" if isinstance(value, str) else type(value).__name__
        raise InvalidInput(field=field, found=shown, expected=f"1 to {longest} characters")
    if not storable(value):
        raise InvalidInput(
            "the text holds characters that cannot be stored",
            field=field,
            expected="no NUL and no half of a surrogate pair",
        )
    return value


def optional_text(value: object, field: str, *, longest: int) -> str | None:
    """As `plain_text`; None and a blank text are None."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    return plain_text(value, field, longest=longest)


def finite(value: object, field: str) -> float:
    """Return a number that is neither infinite nor none.

    Raises
    ------
    InvalidInput
        It is something else.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise InvalidInput(field=field, found=repr(value)[:100], expected="a finite number")


def moment(value: object, field: str) -> datetime:
    """Return a time, aware. One without a time zone is UTC.

    Raises
    ------
    InvalidInput
        It is no time in the form of ISO 8601.
    """
    try:
        found = datetime.fromisoformat(str(value).strip())
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError) as fault:
        raise InvalidInput(
            field=field, found=repr(value)[:100], expected="a time, as 2026-08-20T03:04:05"
        ) from fault


def plain_json(value: Any, field: str, depth: int = 0) -> Any:
    """Return what came as JSON so that every database can hold it; NaN becomes None.

    Raises
    ------
    InvalidInput
        It is nested too deeply, or holds a text or number that cannot be stored.
    """
    if depth > _DEEPEST:
        raise InvalidInput("this is nested too deeply", field=field, expected=f"{_DEEPEST} levels")
    if isinstance(value, dict):
        return {
            plain_json(str(key), field): plain_json(each, field, depth + 1)
            for key, each in value.items()
        }
    if isinstance(value, list):
        return [plain_json(each, field, depth + 1) for each in value]
    if isinstance(value, str) and not storable(value):
        raise InvalidInput("a text in it cannot be stored", field=field, expected="no NUL")
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, int) and abs(value) > _LARGEST_WHOLE:
        raise InvalidInput("a number in it is too large", field=field, expected="64 bits")
    return value


def authors(session: Session, ids: Iterable[int | None]) -> dict[int, dict[str, Any]]:
    """Who wrote something, by number: what everybody may know of a user."""

    def find(wanted: set[int]) -> dict[int, dict[str, Any]]:
        rows = session.execute(_AUTHORS, {"ids": list(wanted)})
        return {row.id: _author(row) for row in rows}

    return each_once(session, "authors", (each for each in ids if each is not None), find)


def _author(row: Row[*tuple[Any, ...]]) -> dict[str, Any]:
    return {
        "id": row.id,
        "username": row.username,
        "first_name": row.first_name,
        "last_name": row.last_name,
        "is_bot": row.is_bot,
    }
