"""The two forms in which rows are sent: SkyPortal's CSV, and plain columns of JSON."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from firstlight.services.analyses.analysis_inputs_table import InputTable

__all__ = ["as_columns", "as_csv"]

_END = "\r\n"


class _Lines:
    """Keeps what a writer of CSV writes, a line at a time, without the ends of the lines."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    def write(self, line: str) -> None:
        """One whole line, as the writer hands it over."""
        self._lines.append(line.removesuffix(_END))


def as_csv(table: InputTable) -> str:
    """The rows as ``pandas.DataFrame.to_csv(index=False)`` writes them, which SkyPortal sends.

    An empty cell where there is nothing; lists and dictionaries as Python spells them; times
    are UTC without saying so.
    """
    lines: list[str] = []
    # With this end of a line a bare carriage return in a cell is quoted, as it must be.
    writer = csv.writer(_Lines(lines), lineterminator=_END)
    writer.writerow(table.columns)
    writer.writerows(zip(*map(_cells, table.columns.values()), strict=True))
    return "\n".join([*lines, ""])


def as_columns(table: InputTable) -> dict[str, Any]:
    """``{"columns": {name: [values]}, "units": {name: unit}}``; null where there is nothing."""
    columns = {**table.columns, **table.more}
    return {
        "columns": {name: _plain(values) for name, values in columns.items()},
        "units": {name: unit for name, unit in table.units.items() if name in columns},
    }


def _cells(values: Sequence[Any]) -> Iterable[Any]:
    first = next((each for each in values if each is not None), None)
    if isinstance(first, datetime):
        return _times(values)
    if isinstance(first, list | dict):
        return [None if each is None else str(each) for each in values]
    return values


def _times(values: Sequence[datetime | None]) -> list[str | None]:
    """All in one precision, the least that holds them; the date alone where all are midnights."""
    naive = [None if each is None else each.astimezone(UTC).replace(tzinfo=None) for each in values]
    known = [each for each in naive if each is not None]
    if all(each == each.replace(hour=0, minute=0, second=0, microsecond=0) for each in known):
        return [None if each is None else f"{each:%Y-%m-%d}" for each in naive]
    if not any(each.microsecond for each in known):
        precision = "seconds"
    elif not any(each.microsecond % 1000 for each in known):
        precision = "milliseconds"
    else:
        precision = "microseconds"
    return [None if each is None else each.isoformat(" ", precision) for each in naive]


def _plain(values: Sequence[Any]) -> list[Any]:
    first = next((each for each in values if each is not None), None)
    if isinstance(first, datetime):
        return [None if each is None else _utc(each).isoformat() for each in values]
    if isinstance(first, list):
        return [None if each is None else [_finite(value) for value in each] for each in values]
    return list(values)


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
