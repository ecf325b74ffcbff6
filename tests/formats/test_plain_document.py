"""Nested values become bounded plain JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstlight.formats.plain_document import PlainDocument, clean_text, json_bytes
from firstlight.formats.result_errors import ResultMalformed, ResultTooLarge


def test_numbers_beyond_json_are_null_and_told():
    document = PlainDocument()
    made = document.plain({"a": [1.5, float("nan"), float("-inf"), 10**400, 2**64]}, "results")
    assert made == {"a": [1.5, None, None, None, float(2**64)]}
    assert document.notes("results") == ["results: 3 numbers were not finite and are null"]


def test_lists_of_numbers_with_one_that_is_not_finite():
    numbers = [0.5] * 1000
    document = PlainDocument()
    assert document.plain(numbers, "results") == numbers
    assert document.plain([*numbers, float("nan")], "results") == [*numbers, None]
    assert document.not_finite == 1


def test_keys_that_become_the_same_are_told():
    document = PlainDocument()
    assert document.plain({1: "a", "1": "b"}, "results") == {"1": "b"}
    assert "1 keys" in document.notes("results")[0]


@pytest.mark.parametrize(
    ("value", "limits"),
    [
        ([1] * 100, {"most_values": 50}),
        ([0.5] * 100, {"most_values": 50}),
        ([[[[1]]]], {"deepest": 2}),
        (["x" * 60] * 2, {"most_characters": 100}),
        ({"x" * 101: 1}, {"most_characters": 100}),
    ],
)
def test_too_much_is_refused(value, limits):
    with pytest.raises(ResultTooLarge):
        PlainDocument(**limits).plain(value, "results")


def test_what_has_no_plain_form_is_named_with_its_place():
    with pytest.raises(ResultMalformed) as told:
        PlainDocument().plain({"a": {"b": object()}}, "results")
    assert (told.value.field, told.value.found) == ("results.a.b", "object")


@given(st.text())
def test_clean_texts_can_be_stored_everywhere(text):
    cleaned = clean_text(text + "\x00\ud800")
    assert "\x00" not in cleaned
    cleaned.encode()
    if text.isprintable():
        assert cleaned == text + "\ufffd"


def test_files_of_json_are_json():
    assert json.loads(json_bytes({"a": ["Å", 1.5, None]})) == {"a": ["Å", 1.5, None]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_bytes([float("nan")])
