"""Rows of JSON as a table for a person."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.markup import escape
from rich.table import Table

from firstlight.cli.console import room_for_tables

__all__ = ["table_of"]

LONGEST_PHRASE = 20  # a longer one is broken between its words
LONGEST_WORD = 24  # a longer one in a sentence is broken where space is short


def table_of(
    rows: Iterable[Mapping[str, Any]],
    columns: Sequence[tuple[str, str]],
    spare: Sequence[str] = (),
) -> Table:
    """Make a table; numbers and names are never broken over two lines, sentences are.

    Parameters
    ----------
    columns
        Title of each, and the name of its value in the rows. Numbers stand at the right.
    spare
        Titles that are left out, the first one first, while the terminal is too narrow; columns
        without any value go before them.
    """
    shown = [[row.get(name) for _, name in columns] for row in rows]
    made = [
        _Column(title, [row[place] for row in shown]) for place, (title, _) in enumerate(columns)
    ]
    room = room_for_tables()
    for left_out in [each for each in made if each.is_empty] + [
        each for title in spare for each in made if each.title == title
    ]:
        if _width(made) > room:
            made = [each for each in made if each is not left_out]
    table = Table(
        box=None, pad_edge=False, collapse_padding=_width(made, gap=2) > room, header_style="bold",
        show_header=any(each.title for each in made),
    )  # fmt: skip
    for each in made:
        table.add_column(
            each.title, justify="right" if each.is_numeric else "left", overflow="fold",
            no_wrap=not each.may_break, min_width=each.width,
        )  # fmt: skip
    for row in zip(*(each.texts for each in made), strict=True):
        table.add_row(*map(escape, row))
    return table


class _Column:
    """Values as they are printed, and the least width that they need."""

    def __init__(self, title: str, values: Sequence[Any]) -> None:
        self.title = title
        self.texts = _texts(values)
        self.is_empty = not any(self.texts)
        there = [value for value in values if value is not None]
        self.is_numeric = bool(there) and all(_is_number(value) for value in there)
        self.may_break = any(" " in text and len(text) > LONGEST_PHRASE for text in self.texts)
        pieces = [title, *self.texts]
        if self.may_break:
            pieces = [word for text in pieces for word in text.split()]
        self.width = max(map(cell_len, pieces), default=0)
        if self.may_break:
            self.width = min(max(self.width, LONGEST_PHRASE), LONGEST_WORD)


def _width(columns: Sequence[_Column], *, gap: int = 1) -> int:
    return sum(each.width for each in columns) + gap * (len(columns) - 1)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _texts(values: Sequence[Any]) -> list[str]:
    """As they are printed: fractions under one another with as many digits as one of them has."""
    texts = [_text(value) for value in values]
    if not all(value is None or isinstance(value, float) for value in values):
        return texts
    places = max((len(text.partition(".")[2]) for text in texts), default=0)
    return ["" if value is None else f"{value:.{places}f}" for value in values]


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.5f}".rstrip("0").rstrip(".")
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)
