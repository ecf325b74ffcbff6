"""Rows of JSON as a table for a person."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

__all__ = ["table_of"]


def table_of(rows: Iterable[Mapping[str, Any]], columns: Sequence[tuple[str, str]]) -> Table:
    """Make a table.

    Parameters
    ----------
    columns
        Title of each, and the name of its value in the rows. Numbers stand at the right.
    """
    table = Table(box=None, pad_edge=False, collapse_padding=False, header_style="bold")
    shown = [[row.get(name) for _, name in columns] for row in rows]
    for place, (title, _) in enumerate(columns):
        values = [row[place] for row in shown]
        numbers = any(_is_number(value) for value in values)
        table.add_column(title, justify="right" if numbers else "left", overflow="fold")
    for row in shown:
        table.add_row(*(_text(value) for value in row))
    return table


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.5f}".rstrip("0").rstrip(".")
    if isinstance(value, list | tuple):
        return escape(", ".join(map(str, value)))
    return escape(str(value))
