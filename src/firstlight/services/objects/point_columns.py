"""Columns of many rows, read without a Python object a row."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select
from sqlalchemy.orm import Session

__all__ = ["read_columns"]

# A thousand rows live at a time: tens of thousands would be walked by the garbage collector
# again and again, which takes longer than to read them.
_AT_ONCE = 1_000


def read_columns(session: Session, query: Select[Any]) -> list[list[Any]]:
    """The columns of a query as lists of one length, in the order of the query.

    Two to three times as fast as reading rows and turning them round.
    """
    result = session.connection().execute(query)
    columns: list[list[Any]] = [[] for _ in result.keys()]  # noqa: SIM118, not a dictionary
    for part in result.partitions(_AT_ONCE):
        for column, values in zip(columns, zip(*part, strict=True), strict=True):
            column.extend(values)
    return columns
