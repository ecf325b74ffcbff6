"""Many points at once into the table of photometry, each in place of an older one of its key.

One statement writes them all. A statement for each costs three times as much: SQLite opens a
journal for each that may change a row to which others refer, and a server answers each. PostgreSQL
copies them where none is there yet, as is so whenever a section is measured for the first time.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from sqlalchemy import String, Table, literal, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from firstlight.models.database import MAX_VARIABLES
from firstlight.models.exposure_streams import is_postgres
from firstlight.models.photometry import Photometry
from firstlight.services.transients.point_copying import copy_rows

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
    is_postgresql = is_postgres(session)
    if is_postgresql and _are_new(session, columns["key"]):
        copy_rows(session, _TABLE, shared, columns)
        return
    at_once = (MAX_VARIABLES - len(shared)) // len(columns)
    statement = _arrays_statement if is_postgresql else _values_statement
    same = _translated(session, shared)
    for start in range(0, len(columns["key"]), at_once):
        some = {name: values[start : start + at_once] for name, values in columns.items()}
        text, values = statement(tuple(shared), some)
        session.connection().exec_driver_sql(text, (*same, *values))


def _are_new(session: Session, keys: Column) -> bool:
    """Whether there is no point between the first and the last of some keys; nor is one made now.

    Keys of one section lie side by side, and whoever writes to it has locked it. Were one made all
    the same, it would be refused, with all points of the transaction.
    """
    digits = sorted(map(str, keys))
    if not digits:
        return False
    ends = uuid.UUID(digits[0]), uuid.UUID(digits[-1])
    query = select(literal(1)).where(_TABLE.c.key.between(*ends)).limit(1)
    return session.connection().execute(query).first() is None


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
    return _upsert((*shared, *columns), source), [_array(each) for each in columns.values()]


def _array(values: Column) -> str:
    if isinstance(values[0], str):
        return "{" + ",".join(map(str, values)) + "}"
    # A list writes its numbers in half the time that it takes to write them one by one.
    return "{" + str(list(values))[1:-1].replace("None", "NULL") + "}"


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
