"""Triples against `clean_header`, which reads the same cards by astropy."""

import pytest
from astropy.io.fits.card import Undefined
from hypothesis import given, settings
from hypothesis import strategies as st

from firstlight.formats.card_triples import read_triples
from firstlight.formats.fits_cards import clean_header
from firstlight.formats.header_text import parse_cards_text, parse_header_text


def _by_astropy(raw: bytes):
    return [
        (
            card.keyword,
            None if isinstance(card.value, Undefined) else card.value,
            card.comment or "",
        )
        for card in clean_header(raw)[0].cards
    ]


def _card(text: str) -> bytes:
    return text.encode("latin-1")[:80].ljust(80)


KEYWORDS = st.sampled_from(
    ["EXPTIME", "A", "DATE-OBS", "NAXIS1", "SMART_ST", "lower", "HIERARCH", "END", "COMMENT", "12"]
)
NUMBERS = st.one_of(
    st.integers(-(10**20), 10**20).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(
        ["1.5D+03", "-.5", "7.", "1e999", "1.0E400", "007", "+3", "(1, 2)", "T", "F", "X"]
    ),
)
QUOTED = st.text(st.characters(codec="ascii", categories=["L", "N", "P", "Zs"]), max_size=30).map(
    lambda text: "'" + text.replace("'", "''") + "'"
)
VALUES = st.one_of(NUMBERS, QUOTED, st.just(""), st.just("'open"), st.text(max_size=20))
COMMENTS = st.one_of(
    st.just(""), st.text(st.characters(codec="latin-1"), max_size=20).map("/ {}".format)
)
LINES = st.one_of(
    st.builds(
        lambda key, gap, value, pad, comment: f"{key:<8}={gap}{value}{pad}{comment}",
        KEYWORDS,
        st.sampled_from([" ", "", "  ", "            "]),
        VALUES,
        st.sampled_from(["", " ", "   "]),
        COMMENTS,
    ),
    st.sampled_from(
        [
            "CONTINUE  'and more'",
            "COMMENT = 'not a value'",
            "HISTORY  a line",
            "        blank keyword",
            "DP1     = 'NAXIS: 2'",
            "LONG    = 'begins &'",
            "HIERARCH ESO DET = 5 / x",
            "NOVALUE",
        ]
    ),
    st.text(st.characters(codec="latin-1"), max_size=80),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(LINES, max_size=6))
def test_the_same_cards_are_read(lines):
    raw = b"".join(_card(line.encode("latin-1", "replace").decode("latin-1")) for line in lines)
    expected, found = _by_astropy(raw), read_triples(raw)
    assert found == expected
    assert [type(value) for _, value, _ in found] == [type(value) for _, value, _ in expected]


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("EXPTIME =                 30.5 / [s]", 30.5),
        ("NAXIS1  =                  384", 384),
        ("SIMPLE  =                    T / conforms", True),
        ("OBJECT  = 'Barnard''s star'    / name", "Barnard's star"),
        ("NONE    =                      / unknown", None),
        ("BIG     =              1.5D+03", 1500.0),
    ],
)
def test_ordinary_cards(line, value):
    assert read_triples(_card(line))[0][1] == value


def test_a_header_text_gives_the_same_both_ways():
    text = "OBJECT  = 'M 29'\nEXPTIME = 10.0 / [s]\nCOMMENT hello\nEND\nGAIN = 1\n"
    header = parse_header_text(text)
    assert parse_cards_text(text) == [
        (card.keyword, card.value, card.comment or "") for card in header.cards
    ]
    assert len(header) == 3
