"""Many points at once into the table of photometry, each in place of an older one of its key.

One statement writes them all. A statement for each costs three times as much: SQLite opens a
journal for each that may change a row to which others refer, and a server answers each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from sqlalchemy import String, Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from firstlight.models.database import MAX_VARIABLES
from firstlight.models.photometry import Photometry

__all__ = ["Column", "upsert_points"]

Column = Sequence[float | None] | Sequence[int] | Sequence[str]
"""Numbers, none of which is NaN; or ids, as 32 hexadecimal digits."""

# In what a point is not changed when it is written again.
_KEPT = frozenset({"key", "created_at"})
_TABLE: Table = Photometry.__table__  # type: ignore[assignment]  # a mapped class has a Table


def upsert_points(
    session: Session, shared: Mapping[str, Any], columns: Mapping[str, Column]
) -> None:
    """Write points; one that is there is changed in place, so that what was said of it stays.

    Parameters
    ----------
    shared
        Values that all points have, by columns of `Photometry`.
    columns
        The others, in which the points have the same order. No two have the same ``key``.
    """
    at_once = (MAX_VARIABLES - len(shared)) // len(columns)
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    statement = _values_statement if is_sqlite else _arrays_statement
    same = _translated(session, shared)
    for start in range(0, len(columns["key"]), at_once):
        some = {name: values[start : start + at_once] for name, values in columns.items()}
        text, values = statement(tuple(shared), some)
        session.connection().exec_driver_sql(text, (*same, *values))


def _translated(session: Session, values: Mapping[str, Any]) -> list[Any]:
    """Values as the driver takes them."""
    dialect = session.get_bind().dialect
    told = []
    for name, value in values.items():
        translate = _TABLE.c[name].type.dialect_impl(dialect).bind_processor(dialect)
        told.append(value if translate is None else translate(value))
    return told


def _values_statement(shared: Sequence[str], columns: Mapping[str, Column]) -> tuple[str, Any]:
    """For SQLite: a row of marks for each point."""
    rows = list(zip(*columns.values(), strict=True))
    marks = ", ".join(["(" + ", ".join(["?"] * len(columns)) + ")"] * len(rows))
    same = ", ".join(["?"] * len(shared))
    source = f"SELECT {same}, * FROM (VALUES {marks})"  # noqa: S608, marks alone
    return _upsert((*shared, *columns), source), chain.from_iterable(rows)


def _arrays_statement(shared: Sequence[str], columns: Mapping[str, Column]) -> tuple[str, Any]:
    """For PostgreSQL: an array for each column, as text, which it is quickest to make and send."""
    same = ", ".join(f"CAST(%s AS {_sql_type(name)})" for name in shared)
    arrays = ", ".join(f"CAST(%s AS {_sql_type(name)}[])" for name in columns)
    source = f"SELECT {same}, points.* FROM unnest({arrays}) AS points"  # noqa: S608, our own types
    values = ["{" + ",".join(map(_in_array, values)) + "}" for values in columns.values()]
    return _upsert((*shared, *columns), source), values


def _in_array(value: float | int | str | None) -> str:
    return "NULL" if value is None else str(value)


def _sql_type(name: str) -> str:
    kind = _TABLE.c[name].type
    # A cast to a length would cut silently what the table refuses.
    kind = String() if isinstance(kind, String) else kind
    return kind.compile(postgresql.dialect())  # type: ignore[no-untyped-call]  # so in SQLAlchemy


def _upsert(names: Sequence[str], source: str) -> str:
    changed = ", ".join(f"{name} = excluded.{name}" for name in names if name not in _KEPT)
    return (
        f"INSERT INTO {_TABLE.name} ({', '.join(names)}) {source} WHERE true "
        f"ON CONFLICT (key) DO UPDATE SET {changed}"
    )
