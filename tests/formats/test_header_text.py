"""Headers that come as text."""

import pytest
from bad_inputs import fits_bytes
from hypothesis import given, settings
from hypothesis import strategies as st

from firstlight.errors import FirstlightError
from firstlight.formats.fits_file import read_header
from firstlight.formats.header_text import (
    BadHeaderText,
    header_as_dict,
    header_to_text,
    parse_header_text,
    read_header_text,
)

LINES = "SIMPLE  =                    T\nEXPTIME = 12.5 / s\nOBJECT  = 'O''Neil/1'\nEND\nrest = 1"


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_lines_of_any_length(newline):
    header = parse_header_text(LINES.replace("\n", newline))
    assert header["EXPTIME"] == 12.5
    assert header["OBJECT"] == "O'Neil/1"
    assert "REST" not in header


def test_fixed_cards_without_newlines():
    text = "".join(line.ljust(80) for line in LINES.splitlines())
    assert header_as_dict(parse_header_text(text)) == header_as_dict(parse_header_text(LINES))


def test_round_trip(tmp_path):
    path = tmp_path / "a.fits"
    path.write_bytes(fits_bytes(LONGTEXT="word " * 40))
    header = read_header(path)
    (tmp_path / "a.txt").write_text(header_to_text(header))
    assert header_as_dict(read_header_text(tmp_path / "a.txt")) == header_as_dict(header)


def test_as_dict_holds_what_json_can():
    header = parse_header_text("COMMENT one\nCOMMENT two\nEMPTY   =\nA       = 1\nA       = 2")
    assert header_as_dict(header) == {"COMMENT": "one\ntwo", "EMPTY": None, "A": 1}


@pytest.mark.parametrize("text", ["", "hello", '{"json": 1}', "END", "\0" * 200])
def test_other_text_is_refused(text):
    with pytest.raises(BadHeaderText, match="telescope"):
        parse_header_text(text, subject="telescope.txt")


def test_a_huge_text_is_refused():
    with pytest.raises(BadHeaderText, match="bytes"):
        parse_header_text(b"A       = 1\n" * 2_000_000)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=400))
def test_any_text_reads_or_is_refused(text):
    try:
        header_as_dict(parse_header_text(text))
    except FirstlightError as error:
        assert error.code == "header_text.bad"  # noqa: PT017, reading it is right, too
