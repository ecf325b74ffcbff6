"""VOTable documents (IVOA VOTable 1.4, TABLEDATA), written while their rows are being read."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from firstlight.formats.table_stream import StreamColumn, in_pieces, time_text

__all__ = ["MEDIA_TYPE", "stream_votable"]

MEDIA_TYPE = "application/x-votable+xml"

_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">
<RESOURCE type="results">
<INFO name="QUERY_STATUS" value="OK"/>
"""
_FRAME = '<COOSYS ID="icrs" system="ICRS"/>\n'
# Text may hold any letter, which the plain characters of VOTable 1.4 may not.
_DATATYPE = {
    "text": 'datatype="unicodeChar" arraysize="*"',
    "time": 'datatype="char" arraysize="*" xtype="timestamp"',
    "int": 'datatype="long"',
    "float": 'datatype="double"',
    "bool": 'datatype="boolean"',
}
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def stream_votable(
    columns: Sequence[StreamColumn],
    rows: Iterable[Sequence[Any]],
    *,
    name: str = "results",
    description: str = "",
    infos: Mapping[str, str] | None = None,
    overflow: Iterable[bool] = (),
) -> Iterator[bytes]:
    """Write a table as VOTable.

    Parameters
    ----------
    columns
        Columns whose UCD begins with ``pos.eq`` refer to ICRS.
    rows
        Values in the order of the columns; None and NaN are null. Letters that XML cannot
        hold are written as U+FFFD.
    name, description
        Of the table.
    infos
        Further INFO elements, such as the query, by name.
    overflow
        Asked after the last row; whether there were more rows than were given, which the
        IVOA's services tell after the table (DALI 1.1, section 4.4).

    Yields
    ------
    bytes
        Pieces of about 64 KiB of UTF-8. After an error in `rows` the document has no end, so
        no reader takes it for whole.
    """

    def texts() -> Iterator[str]:
        yield _HEAD
        for key, value in (infos or {}).items():
            yield f"<INFO name={_attribute(key)} value={_attribute(value)}/>\n"
        if any(column.ucd.startswith("pos.eq") for column in columns):
            yield _FRAME
        yield f"<TABLE name={_attribute(name)}>\n"
        if description:
            yield f"<DESCRIPTION>{_text(description)}</DESCRIPTION>\n"
        for column in columns:
            yield _field(column)
        yield "<DATA><TABLEDATA>\n"
        kinds = [column.kind for column in columns]
        for row in rows:
            cells = (_cell(value, kind) for value, kind in zip(row, kinds, strict=True))
            yield f"<TR>{''.join(cells)}</TR>\n"
        yield "</TABLEDATA></DATA>\n</TABLE>\n"
        if any(overflow):
            yield '<INFO name="QUERY_STATUS" value="OVERFLOW"/>\n'
        yield "</RESOURCE>\n</VOTABLE>\n"

    return in_pieces(texts())


def _field(column: StreamColumn) -> str:
    parts = [f"<FIELD name={_attribute(column.name)}", _DATATYPE[column.kind]]
    if column.unit:
        parts.append(f"unit={_attribute(column.unit)}")
    if column.ucd:
        parts.append(f"ucd={_attribute(column.ucd)}")
    if column.ucd.startswith("pos.eq"):
        parts.append('ref="icrs"')
    start = " ".join(parts)
    if not column.description:
        return f"{start}/>\n"
    return f"{start}><DESCRIPTION>{_text(column.description)}</DESCRIPTION></FIELD>\n"


def _cell(value: Any, kind: str) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "<TD/>"
    if kind == "float":
        number = float(value)
        return f"<TD>{number!r}</TD>" if math.isfinite(number) else _infinite(number)
    if kind == "bool":
        return "<TD>true</TD>" if value else "<TD>false</TD>"
    return f"<TD>{_text(time_text(value) if kind == 'time' else str(value))}</TD>"


def _infinite(number: float) -> str:
    return "<TD>+Inf</TD>" if number > 0 else "<TD>-Inf</TD>"


def _text(text: str) -> str:
    # A return is written as a reference: readers turn a plain one into a line feed.
    return escape(_NOT_XML.sub("\ufffd", text), {"\r": "&#13;"})


def _attribute(text: str) -> str:
    return quoteattr(_NOT_XML.sub("\ufffd", text))
