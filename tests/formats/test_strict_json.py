"""JSON of strangers is read as JSON, or refused with a reason."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstlight.errors import FirstlightError
from firstlight.formats.result_errors import ResultMalformed, ResultTooLarge
from firstlight.formats.strict_json import StrictJson

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES)
def test_json_comes_back(value):
    reading = StrictJson()
    assert reading.read(json.dumps(value), "body") == value
    assert reading.read(json.dumps(value).encode(), "body") == value
    assert reading.not_finite == 0


def test_a_mark_of_byte_order_is_no_fault():
    assert StrictJson().read(b'\xef\xbb\xbf{"a": 1}', "body") == {"a": 1}


def test_numbers_that_json_has_not_are_null_and_counted():
    reading = StrictJson()
    assert reading.read('[NaN, Infinity, -Infinity, 1.5, "NaN"]', "body") == [
        None, None, None, 1.5, "NaN",
    ]  # fmt: skip
    assert reading.not_finite == 3
    assert math.isinf(reading.read("1e999", "body"))


@pytest.mark.parametrize(
    "text",
    ['{"a": 1, "b": {"key": 1, "key": 2}}', '{"key": 1, "key": 1}', '[{"key":0,"x":1,"key":{}}]'],
)
def test_a_key_that_comes_twice_is_refused_by_name(text):
    with pytest.raises(ResultMalformed, match="twice") as told:
        StrictJson().read(text, "body")
    assert told.value.found == "'key'"
    assert told.value.field == "body"


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "nothing", '{"a": 1} x', "{'a': 1}", '{"a": 1,}', "9" * 5000,
        b"\xff\xfe{\x00}\x00", '{"a": 1}'.encode("utf-16"), b'"\xff"', "\x00",
    ],
)  # fmt: skip
def test_other_text_is_malformed(text):
    with pytest.raises(ResultMalformed) as told:
        StrictJson().read(text, "body")
    assert told.value.code == "analysis.result_malformed"


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[" * 5000 + "]" * 5000])
def test_deep_nesting_is_too_large(text):
    with pytest.raises(ResultTooLarge):
        StrictJson().read(text, "body")


@given(st.text(alphabet='{}[]:,"\\ ueE+-.0123456789nulltruefalseNaI') | st.binary())
def test_any_text_is_read_or_refused(text):
    try:
        StrictJson().read(text, "body")
    except FirstlightError as fault:
        assert fault.field == "body"  # noqa: PT017, a value is right as well
