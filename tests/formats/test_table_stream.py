"""CSV and VOTable as they are streamed, read back by other programs' readers."""

import csv
import io
import math
import warnings
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta, timezone

import pytest
from astropy.io.votable import parse_single_table, validate
from hypothesis import given, settings
from hypothesis import strategies as st

from firstlight.formats.table_stream import StreamColumn, stream_csv
from firstlight.formats.votable import stream_votable

COLUMNS = (
    StreamColumn("name", "text", description="what <it> is called & more"),
    StreamColumn("ra", "float", unit="deg", ucd="pos.eq.ra;meta.main"),
    StreamColumn("count", "int", ucd="meta.number"),
    StreamColumn("good", "bool"),
    StreamColumn("when", "time", ucd="time.epoch"),
)
WHEN = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=timezone(timedelta(hours=2)))
ROWS = [
    ("plain", 1.5, 2, True, WHEN),
    ('quote " comma , line\nend', -0.1, -(2**40), False, WHEN),
    (None, math.nan, None, None, None),
    ("<&>]]> é 星", math.inf, 0, True, WHEN.astimezone(UTC)),
]
_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
_ROWS = st.lists(
    st.tuples(
        st.one_of(st.none(), _TEXT),
        st.one_of(st.none(), st.floats(allow_nan=False)),
        st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
        st.booleans(),
        st.just(WHEN),
    ),
    max_size=6,
)


def _csv(rows, **more):
    text = b"".join(stream_csv(COLUMNS, rows, **more)).decode()
    return list(csv.reader(io.StringIO(text, newline="")))


def _votable(rows, **more):
    return b"".join(stream_votable(COLUMNS, rows, **more))


def test_csv_reads_back():
    head, *lines = _csv(ROWS)
    assert head == ["name", "ra", "count", "good", "when"]
    assert lines[0] == ["plain", "1.5", "2", "true", "2026-01-02T01:04:05.678Z"]
    assert lines[1][0] == 'quote " comma , line\nend'
    assert lines[2] == ["", "", "", "", ""]
    assert lines[3][:2] == ["<&>]]> é 星", "inf"]


@given(_ROWS)
def test_every_text_and_number_survives_csv(rows):
    _, *lines = _csv(rows)
    assert [line[0] for line in lines] == [row[0] or "" for row in rows]
    assert [float(line[1]) if line[1] else None for line in lines] == [row[1] for row in rows]
    assert [int(line[2]) if line[2] else None for line in lines] == [row[2] for row in rows]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_formulas_are_kept_unless_the_file_is_for_spreadsheets(text):
    rows = [(text, -1.0, -1, True, WHEN)]
    assert _csv(rows)[1][0] == text
    guarded = _csv(rows, for_spreadsheets=True)[1]
    assert guarded[0] == f"'{text}"
    assert guarded[1:3] == ["-1.0", "-1"]


def test_a_votable_is_valid_and_says_what_its_columns_are():
    document = _votable(ROWS, name="exposures", description="a < b", infos={"query": 'site="x"'})
    report = io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert validate(io.BytesIO(document), output=report), report.getvalue()
    table = parse_single_table(io.BytesIO(document))
    fields = {field.name: field for field in table.fields}
    assert str(fields["ra"].unit) == "deg"
    assert fields["ra"].ucd == "pos.eq.ra;meta.main"
    assert fields["ra"].ref == "icrs"
    assert fields["count"].datatype == "long"
    assert fields["name"].description == "what <it> is called & more"
    back = table.to_table()
    assert list(back["name"]) == [row[0] or "" for row in ROWS]
    assert list(back["count"][:2]) == [2, -(2**40)]
    assert back["count"].mask.tolist() == [False, False, True, False]
    assert back["ra"][3] == math.inf
    assert list(back["good"][:2]) == [True, False]
    assert back["when"][0] == "2026-01-02T01:04:05.678Z"


@settings(max_examples=50)
@given(_ROWS)
def test_every_text_and_number_survives_votable(rows):
    root = ET.fromstring(_votable(rows))  # noqa: S314, our own document
    found = [
        [cell.text for cell in line]
        for line in root.iter("{http://www.ivoa.net/xml/VOTable/v1.3}TR")
    ]
    readable = [_readable(row[0]) for row in rows]
    assert [line[0] or "" for line in found] == readable
    numbers = [None if line[1] is None else float(line[1]) for line in found]
    assert numbers == [row[1] for row in rows]


def _readable(text):
    """What XML can hold of a text."""
    return "".join(
        letter
        if letter in "\t\n\r" or (letter >= " " and letter not in "\ufffe\uffff")
        else "\ufffd"
        for letter in text or ""
    )


def test_an_overflow_is_told_after_the_rows():
    told = _votable(ROWS, overflow=[True]).decode()
    assert told.index("OVERFLOW") > told.index("</TABLE>")
    assert "OVERFLOW" not in _votable(ROWS, overflow=[False]).decode()


@pytest.mark.parametrize("stream", [stream_csv, stream_votable])
def test_rows_are_sent_as_they_come(stream):
    asked = 0

    def endless():
        nonlocal asked
        while True:
            asked += 1
            yield ROWS[0]

    pieces = stream(COLUMNS, endless())
    for _ in range(3):
        assert len(next(pieces)) < 200_000
    assert asked < 10_000


def test_a_failure_leaves_a_document_without_an_end():
    def failing():
        yield ROWS[0]
        raise RuntimeError("the database went away")

    pieces = []
    with pytest.raises(RuntimeError):
        pieces.extend(stream_votable(COLUMNS, failing()))
    assert b"</VOTABLE>" not in b"".join(pieces)
