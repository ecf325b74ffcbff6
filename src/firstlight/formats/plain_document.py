"""Nested values as bounded plain JSON, whatever they hold.

Values from outside can refer to one part many times, so that a kilobyte unfolds to terabytes, or
hold themselves. So what is made is counted while it is made.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from firstlight.formats.result_errors import ResultMalformed, ResultTooLarge

__all__ = ["PlainDocument", "clean_text", "json_bytes"]

_LARGEST_WHOLE = 2**63
_NOT_TEXT = {0: None, **dict.fromkeys(range(0xD800, 0xE000), "\ufffd")}
_FLOATS = {float}
_MOST_NOTES = 20


@dataclass
class PlainDocument:
    """Turns values into plain JSON, and counts.

    Attributes
    ----------
    most_values
        Numbers, texts, lists and objects that may be made in all.
    most_characters
        Of all texts together.
    deepest
        Lists in lists.
    most_of_array
        Values of one array; of a longer one only shape and type are told.
    """

    most_values: int = 1_000_000
    most_characters: int = 32_000_000
    deepest: int = 64
    most_of_array: int = 100_000
    values: int = 0
    characters: int = 0
    not_finite: int = 0
    long_arrays: int = 0
    renamed: int = 0

    def plain(self, value: Any, where: str, depth: int = 0) -> Any:
        """`value` as JSON knows it.

        Numbers that are not finite become None; bytes text, if they are ASCII, else base64.

        Raises
        ------
        ResultTooLarge
            It is more than allowed, or deeper.
        ResultMalformed
            It holds something that has no plain form.
        """
        self.values += 1
        if self.values > self.most_values:
            raise ResultTooLarge(field=where, expected=f"at most {self.most_values} values")
        if depth > self.deepest:
            raise ResultTooLarge(
                "lists and objects are nested too deep", field=where, expected=str(self.deepest)
            )
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str | bytes | bytearray):
            return self._text(value, where)
        if isinstance(value, int | float | complex):
            return self._number(value)
        if isinstance(value, Mapping):
            return self._object(value, where, depth)
        if isinstance(value, list | tuple | set | frozenset):
            return self._list(value, where, depth)
        return self._other(value, where, depth)

    def notes(self, where: str) -> list[str]:
        """What was changed on the way."""
        told = []
        if self.not_finite:
            told.append(f"{where}: {self.not_finite} numbers were not finite and are null")
        if self.long_arrays:
            told.append(
                f"{where}: {self.long_arrays} arrays have more than {self.most_of_array} values "
                "and are not shown"
            )
        if self.renamed:
            told.append(f"{where}: {self.renamed} keys became the same text; the last one holds")
        return told[:_MOST_NOTES]

    def _number(self, value: float | complex) -> Any:
        if isinstance(value, complex):
            return {"real": self._number(value.real), "imag": self._number(value.imag)}
        if isinstance(value, int):
            if -_LARGEST_WHOLE <= value < _LARGEST_WHOLE:
                return int(value)
            try:
                return float(value)
            except OverflowError:
                self.not_finite += 1
                return None
        if math.isfinite(value):
            return float(value)
        self.not_finite += 1
        return None

    def _text(self, value: str | bytes | bytearray, where: str) -> str:
        if isinstance(value, bytes | bytearray):
            is_text = value.isascii() and b"\x00" not in value
            value = value.decode("ascii") if is_text else base64.b64encode(value).decode("ascii")
        self.characters += len(value)
        if self.characters > self.most_characters:
            raise ResultTooLarge(
                "the texts are too long",
                field=where,
                expected=f"at most {self.most_characters} characters",
            )
        return clean_text(value)

    def _object(self, value: Mapping[Any, Any], where: str, depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, each in value.items():
            name = self._text(key if isinstance(key, str | bytes) else str(key), where)
            self.renamed += name in made
            made[name] = self.plain(each, f"{where}.{name[:40]}"[:200], depth + 1)
        return made

    def _list(self, value: Collection[Any], where: str, depth: int) -> list[Any]:
        if set(map(type, value)) == _FLOATS and all(map(math.isfinite, value)):
            self.values += len(value)  # the usual case of very many values
            if self.values <= self.most_values:
                return list(value)
        return [self.plain(each, where, depth + 1) for each in value]

    def _other(self, value: Any, where: str, depth: int) -> Any:
        if hasattr(value, "dtype") and hasattr(value, "tolist"):
            return self._of_array(value, where, depth)
        if isinstance(value, datetime | date | time):
            return value.isoformat()
        if isinstance(value, timedelta):
            return value.total_seconds()
        raise ResultMalformed("a value has no plain form", field=where, found=type(value).__name__)

    def _of_array(self, value: Any, where: str, depth: int) -> Any:
        if not value.size:
            return []  # whatever its shape: a thousand million empty rows are empty
        if value.size > self.most_of_array:
            self.long_arrays += 1
            return {"shape": list(value.shape), "dtype": str(value.dtype), "values": None}
        if value.dtype.names:
            columns = {name: value[name] for name in value.dtype.names}
            return self.plain(columns, where, depth + 1)
        if value.dtype.kind in "Mm":
            value = value.astype(str)
        elif value.dtype.kind in "fc":  # numbers of more digits than Python's own stay numpy's
            value = value.astype("f8" if value.dtype.kind == "f" else "c16")
        return self.plain(value.tolist(), where, depth)


def clean_text(text: str) -> str:
    """Without what no database keeps: NUL, and halves of surrogate pairs."""
    return text if text.isascii() and "\x00" not in text else text.translate(_NOT_TEXT)


def json_bytes(value: Any) -> bytes:
    """Plain values as a file of JSON."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
