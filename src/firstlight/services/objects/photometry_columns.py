"""Photometry as it is sent: columns of one length, single values standing for whole columns."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.errors import InvalidInput, UserError
from firstlight.services.objects.wire_values import LARGEST_ID, plain_json, storable

__all__ = ["BadColumns", "BadValue", "Columns", "TooManyRows"]

Floats = NDArray[np.float64]

_LONGEST_ALTDATA = 10_000  # characters of JSON, of one row


class BadColumns(UserError):
    """The columns do not make rows."""

    code = "photometry.columns"


class BadValue(UserError):
    """A value cannot be used."""

    code = "photometry.value"


class TooManyRows(UserError):
    """There are more rows than one request may have."""

    code = "photometry.too_many_rows"


class Columns:
    """The rows of a request.

    Parameters
    ----------
    sent
        By column name a value, or a list with a value a row. A list of one value and a value
        alone stand for all rows. ``None`` is a column that was not sent.
    known
        Names of columns that there are, each with whether it must be sent.
    most
        Rows.

    Raises
    ------
    BadColumns
        A column is unknown or missing, or two have different lengths.
    TooManyRows
        With how many there may be.
    """

    def __init__(self, sent: Mapping[str, Any], known: Mapping[str, bool], most: int) -> None:
        self._sent = {name: value for name, value in sent.items() if value is not None}
        unknown = sorted(set(map(str, self._sent)) - set(known))
        if unknown:
            raise BadColumns(
                "there is no such column", field=unknown[0][:100], expected=", ".join(sorted(known))
            )
        missing = [name for name, needed in known.items() if needed and name not in self._sent]
        if missing:
            raise BadColumns("a column is missing", field=missing[0])
        self.n = self._length()
        if self.n > most:
            raise TooManyRows(found=self.n, expected=f"at most {most}", hint="send it in parts")

    def __contains__(self, name: object) -> bool:
        return name in self._sent

    def __len__(self) -> int:
        return self.n

    def numbers(self, name: str, default: float = math.nan) -> Floats:
        """A column of numbers, ``(n,)``: NaN where there is none, `default` if none was sent."""
        if name not in self._sent:
            return np.full(self.n, default)
        values = self._listed(name)
        wrong = next((i for i, each in enumerate(values) if not _is_number(each)), None)
        if wrong is not None:
            raise self.bad(wrong, name, "a number or null")
        try:
            column = np.array([math.nan if each is None else each for each in values], np.float64)
        except OverflowError:
            wrong = next(i for i, each in enumerate(values) if abs(each or 0) > 1e308)
            raise self.bad(wrong, name, "a finite number") from None
        endless = np.isinf(column)
        if endless.any():
            raise self.bad(int(np.argmax(endless)), name, "a finite number")
        return self._spread(column)

    def texts(self, name: str, default: str | None = None, *, longest: int = 128) -> list[Any]:
        """A column of texts; `default` where there is none.

        Raises
        ------
        BadValue
            One is no text, too long, or holds what no database keeps; or there is none and no
            default.
        """

        def checked(value: Any) -> str | None:
            if value is None:
                return default
            text = str(value) if isinstance(value, int) and name == "obj_id" else value
            if isinstance(text, str) and len(text) <= longest and storable(text):
                return text
            return None

        expected = f"a text of at most {longest} characters"
        found = self._checked(name, checked, expected, needed=default is None)
        return [default if each is None else each for each in found]

    def ids(self, name: str) -> list[int]:
        """A column of numbers of rows elsewhere."""

        def checked(value: Any) -> int | None:
            if isinstance(value, float) and value.is_integer():
                value = int(value)
            whole = isinstance(value, int) and not isinstance(value, bool)
            return value if whole and 0 < value <= LARGEST_ID else None

        return self._checked(name, checked, "the number of one", needed=True)

    def flags(self, name: str) -> list[bool]:
        """Truths, of which null is none."""
        if name not in self._sent:
            return [False]
        values = self._listed(name)
        wrong = next(
            (i for i, each in enumerate(values) if not isinstance(each, bool | None)), None
        )
        if wrong is not None:
            raise self.bad(wrong, name, "true or false")
        return [bool(each) for each in values]

    def altdata(self) -> list[dict[str, Any] | None]:
        """What else was sent of each row: a dictionary for all, one of columns, or one a row."""
        given = self._sent.get("altdata")
        if given is None:
            return [None] * self.n
        rows = self._altdata_rows(given)
        shown: list[dict[str, Any] | None] = []
        for index, row in enumerate(rows):
            try:
                kept = plain_json(row, "altdata")
            except InvalidInput as fault:
                raise self.bad(index, "altdata", fault.expected or fault.message) from fault
            kept = {key: each for key, each in kept.items() if each not in (None, "")}
            if kept and len(json.dumps(kept)) > _LONGEST_ALTDATA:
                raise self.bad(index, "altdata", f"at most {_LONGEST_ALTDATA} characters of JSON")
            shown.append(kept or None)
        return shown * self.n if len(shown) == 1 else shown

    def originals(self, names: Collection[str]) -> list[dict[str, Any]]:
        """Each row as it was sent, of these columns."""
        kept = [name for name in names if name in self._sent and name != "altdata"]
        columns = [self._spread_list([_finite(each) for each in self._listed(n)]) for n in kept]
        rows = zip(*columns, strict=True)
        return [
            {name: each for name, each in zip(kept, row, strict=True) if each is not None}
            for row in rows
        ]

    def bad(self, index: int, name: str, expected: str, hint: str | None = None) -> BadValue:
        """The error for a value, which names its row and column."""
        value = self._sent.get(name)
        if isinstance(value, list):
            value = value[index if len(value) > 1 else 0]
        return BadValue(
            subject=f"row {index}",
            field=name,
            found=repr(value)[:100],
            expected=expected,
            hint=hint,
        )

    def require(
        self, holds: NDArray[np.bool_], name: str, expected: str, hint: str | None = None
    ) -> None:
        """Raise unless a condition, ``(n,)``, holds in every row; names the first where not."""
        if not holds.all():
            raise self.bad(int(np.argmin(holds)), name, expected, hint)

    def _length(self) -> int:
        lengths = {
            name: len(value)
            for name, value in self._sent.items()
            if isinstance(value, list) and name not in {"group_ids", "stream_ids"}
        }
        given = self._sent.get("altdata")
        if isinstance(given, Mapping):
            lengths |= {f"altdata.{k}": len(v) for k, v in given.items() if isinstance(v, list)}
        empty = next((name for name, length in lengths.items() if length == 0), None)
        if empty is not None:
            raise BadColumns("a column has no rows", field=empty[:100])
        n = max(lengths.values(), default=1)
        for name, length in lengths.items():
            if length not in {1, n}:
                raise BadColumns(
                    "two columns have different lengths",
                    field=name[:100],
                    found=f"{length} rows",
                    expected=f"{n} rows, as {max(lengths, key=lambda each: lengths[each])[:100]}",
                )
        return n

    def _listed(self, name: str) -> list[Any]:
        value = self._sent[name]
        return value if isinstance(value, list) else [value]

    def _checked(
        self, name: str, checked: Callable[[Any], Any], expected: str, *, needed: bool
    ) -> list[Any]:
        if name not in self._sent:
            return [None] * self.n
        values = self._listed(name)
        # Few distinct values stand in many rows.
        kept: dict[Any, Any] = {}
        found = []
        for index, value in enumerate(values):
            if isinstance(value, list | dict):
                raise self.bad(index, name, expected)
            key = (type(value), value)
            if key not in kept:
                kept[key] = checked(value)
            if kept[key] is None and (needed or value is not None):
                raise self.bad(index, name, expected)
            found.append(kept[key])
        return self._spread_list(found)

    def _altdata_rows(self, given: Any) -> list[dict[str, Any]]:
        if isinstance(given, Mapping):
            lists = {key for key, value in given.items() if isinstance(value, list)}
            if not lists:
                return [dict(given)]
            return [
                {
                    key: (value[row if len(value) > 1 else 0] if key in lists else value)
                    for key, value in given.items()
                }
                for row in range(self.n)
            ]
        rows = given if isinstance(given, list) else [given]
        wrong = next((i for i, each in enumerate(rows) if not isinstance(each, dict | None)), None)
        if wrong is not None:
            raise self.bad(wrong, "altdata", "a dictionary, or one of lists, or a list of them")
        return [each or {} for each in rows]

    def _spread(self, column: Floats) -> Floats:
        return np.repeat(column, self.n) if len(column) == 1 else column

    def _spread_list(self, column: list[Any]) -> list[Any]:
        return column * self.n if len(column) == 1 else column


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
