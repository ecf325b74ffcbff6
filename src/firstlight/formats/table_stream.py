"""Tables that are written while their rows are still being read: columns, and CSV.

A table of any length takes the memory of a few rows. An error while rows are read ends the
stream, so what was sent is cut short rather than wrong.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

__all__ = ["ColumnKind", "StreamColumn", "in_pieces", "stream_csv", "time_text"]

ColumnKind: TypeAlias = Literal["text", "int", "float", "bool", "time"]

_PIECE = 64 << 10
# What spreadsheet programs take for the beginning of a formula (OWASP, CSV injection).
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class StreamColumn:
    """One column of a streamed table.

    Attributes
    ----------
    name
        As it is in the rows.
    kind
        ``time`` values are aware datetimes; ``text`` takes anything that has a `str`.
    unit
        As astropy and the IVOA write it, ``deg``, ``s``; "" for none.
    ucd
        IVOA UCD1+ word of what it is.
    description
        One sentence.
    """

    name: str
    kind: ColumnKind = "text"
    unit: str = ""
    ucd: str = ""
    description: str = ""


def stream_csv(
    columns: Sequence[StreamColumn],
    rows: Iterable[Sequence[Any]],
    *,
    for_spreadsheets: bool = False,
) -> Iterator[bytes]:
    """Write a table as CSV (RFC 4180, UTF-8, one line of names first).

    Parameters
    ----------
    columns
        Names and kinds.
    rows
        Values in the order of the columns.
    for_spreadsheets
        Put an apostrophe before text that a spreadsheet program would take for a formula (it
        begins with ``= + - @``, a tab or a return). Text comes from headers that others
        wrote, so do it for files that people open by a click; it is off by default because
        it changes what is said, and programs have no use for it.

    Yields
    ------
    bytes
        Pieces of about 64 KiB. No value, and a float that is NaN, is an empty field; floats
        are written so that they read back exactly, times in UTC as ISO 8601 with a Z,
        booleans as ``true`` and ``false``.
    """

    def lines() -> Iterator[str]:
        sink = io.StringIO()
        writer = csv.writer(sink, lineterminator="\r\n")
        writer.writerow([column.name for column in columns])
        kinds = [column.kind for column in columns]
        for row in rows:
            written = [_field(value, kind) for value, kind in zip(row, kinds, strict=True)]
            if for_spreadsheets:
                written = [
                    f"'{text}" if kind == "text" and text.startswith(_FORMULA) else text
                    for text, kind in zip(written, kinds, strict=True)
                ]
            writer.writerow(written)
            yield sink.getvalue()
            sink.seek(0)
            sink.truncate()
        yield sink.getvalue()

    return in_pieces(lines())


def _field(value: Any, kind: ColumnKind) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if kind == "bool":
        return "true" if value else "false"
    if kind == "time":
        return time_text(value)
    if kind == "float":
        return repr(float(value))
    # A field cannot hold NUL: most readers stop there.
    return str(value).replace("\0", "")


def time_text(when: datetime) -> str:
    """ISO 8601 in UTC to the millisecond, with a Z."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def in_pieces(texts: Iterable[str]) -> Iterator[bytes]:
    """Join small texts into UTF-8 pieces of about 64 KiB."""
    kept: list[str] = []
    size = 0
    for text in texts:
        kept.append(text)
        size += len(text)
        if size >= _PIECE:
            yield _utf8(kept)
            kept, size = [], 0
    if kept:
        yield _utf8(kept)


def _utf8(texts: Sequence[str]) -> bytes:
    # Lone surrogates (names of files that are not Unicode) have no UTF-8.
    return "".join(texts).encode("utf-8", "replace")
