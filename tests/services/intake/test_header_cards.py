from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstlight.services.intake.header_cards import BadCards, checked_cards


def test_both_shapes_become_one() -> None:
    expected = (("EXPTIME", 30.0, ""), ("FILTER", "V", ""))
    assert checked_cards({"exptime": 30.0, "FILTER": "V"}) == expected
    assert checked_cards([["exptime", 30.0], ["FILTER", "V", None]]) == expected
    assert checked_cards([("OBJECT", "M 1", "the crab")]) == (("OBJECT", "M 1", "the crab"),)


def test_every_kind_of_value() -> None:
    values = {"A": 1, "B": -1.5, "C": True, "D": None, "E": "é", "": "", "HIERARCH ESO X": 2}
    assert {card[0]: card[1] for card in checked_cards(values)} == values


def test_history_may_be_repeated() -> None:
    cards = [["HISTORY", "one"], ["HISTORY", "two"]]
    assert [card[1] for card in checked_cards(cards)] == ["one", "two"]


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ([1], "0"),
        ([["A"]], "0"),
        ([["A", 1, "", "x"]], "0"),
        ([["A", 1], "BC"], "1"),
        ({"A=B": 1}, "0"),
        ({"É": 1}, "0"),
        ({"K" * 68: 1}, "0"),
        ([[7, 1]], "0"),
        ({"A": float("nan")}, "A"),
        ({"A": float("inf")}, "A"),
        ({"A": 1 << 63}, "A"),
        ({"A": [1]}, "A"),
        ({"a": {}}, "A"),
        ({"A": "nul\0"}, "A"),
        ({"A": "line\nbreak"}, "A"),
        ({"A": "\ud800"}, "A"),
        ({"A": "x" * 4097}, "A"),
        ([["A", 1, 5]], "A"),
        ([["A", 1]] * 4001, None),
    ],
)
def test_what_cannot_be_kept_is_refused(metadata: object, field: str | None) -> None:
    with pytest.raises(BadCards) as caught:
        checked_cards(metadata)  # type: ignore[arg-type]  # wrong on purpose
    assert caught.value.code == "upload.metadata"
    assert caught.value.field == field
    assert str(caught.value).isascii()


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@given(
    st.dictionaries(st.text(max_size=9), values, max_size=4)
    | st.lists(st.lists(values), max_size=4)
)
def test_what_is_kept_is_json_that_any_database_holds(metadata: object) -> None:
    try:
        cards = checked_cards(metadata)  # type: ignore[arg-type]  # anything that JSON can bring
    except BadCards:
        return
    text = json.dumps(cards, allow_nan=False, ensure_ascii=False).encode()
    assert b"\\u0000" not in text
