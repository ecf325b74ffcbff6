"""Photometry in a CSV file: a line of column names, then a line a point."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

from firstlight.services.objects.photometry_columns import BadColumns, BadValue

__all__ = ["columns_of_csv", "in_parts"]

_TEXTS = frozenset({"obj_id", "filter", "magsys", "origin"})
_WHOLE = frozenset({"instrument_id", "assignment_id"})
_ALTDATA = "altdata."
_ABSENT = frozenset({"", "nan", "null", "none", "--"})


def columns_of_csv(text: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a file, as `PhotometryService.post` takes them.

    Parameters
    ----------
    text
        Names are those of the columns, ``altdata.NAME`` for others; lines that begin with ``#``
        are passed over. An empty cell, ``nan``, ``null``, ``none`` and ``--`` are no value.
    given
        Values for all rows, of columns that the file has not.

    Raises
    ------
    BadColumns
        There is no line of names, two are the same, or a line is longer or shorter than that.
    BadValue
        A cell should be a number: the row is counted from 0, as in all errors of photometry.
    """
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    rows = list(csv.reader(io.StringIO("\n".join(lines)), skipinitialspace=True))
    if len(rows) < 2:
        raise BadColumns("there are no rows", expected="a line of names, then a line a point")
    names = [name.strip() for name in rows[0]]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise BadColumns("a column is there twice", field=twice[:100])
    for index, row in enumerate(rows[1:]):
        if len(row) != len(names):
            raise BadColumns(
                "a line has another number of cells than there are names",
                subject=f"row {index}",
                found=len(row),
                expected=len(names),
            )
    columns: dict[str, Any] = {name: each for name, each in given.items() if each is not None}
    altdata: dict[str, list[Any]] = {}
    for name, cells in zip(names, zip(*rows[1:], strict=True), strict=True):
        if name.startswith(_ALTDATA):
            altdata[name.removeprefix(_ALTDATA)] = [_cell(cell) for cell in cells]
        else:
            columns[name] = [_value(name, index, cell) for index, cell in enumerate(cells)]
    if altdata:
        columns["altdata"] = altdata
    return columns


def in_parts(columns: Mapping[str, Any], most: int) -> Iterator[dict[str, Any]]:
    """The same columns, at most so many rows at a time."""
    lists = {name for name, each in columns.items() if _is_column(name, each)}
    rows = max((len(columns[name]) for name in lists), default=1)
    for start in range(0, rows, most):
        part = {
            name: each[start : start + most] if name in lists else each
            for name, each in columns.items()
        }
        if isinstance(part.get("altdata"), dict):
            part["altdata"] = {k: v[start : start + most] for k, v in part["altdata"].items()}
        yield part


def _is_column(name: str, value: object) -> bool:
    return isinstance(value, list) and name != "group_ids"


def _value(name: str, index: int, cell: str) -> Any:
    plain = cell.strip()
    if plain.lower() in _ABSENT:
        return None
    if name in _TEXTS:
        return plain
    try:
        return int(plain) if name in _WHOLE else float(plain)
    except ValueError as fault:
        raise BadValue(
            subject=f"row {index}", field=name[:100], found=repr(plain[:100]), expected="a number"
        ) from fault


def _cell(cell: str) -> Any:
    """Of a column that is not ours: a number where it is one."""
    plain = cell.strip()
    if plain.lower() in _ABSENT:
        return None
    try:
        return float(plain)
    except ValueError:
        return plain
