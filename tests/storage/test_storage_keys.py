from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstlight.storage.keys import (
    MAX_KEY_BYTES,
    MAX_SEGMENT_BYTES,
    BadKey,
    build_key,
    check_key,
    check_prefix,
    safe_segment,
)

_BAD = [
    "",
    "/",
    "/etc/passwd",
    "a/",
    "a//b",
    "..",
    "a/../b",
    "a/./b",
    "a/..",
    ".firstlight/incoming/x",
    ".FirstLight/x",
    "a\\b",
    "a\0b",
    "a\nb",
    "a\x7fb",
    "a\x85b",
    "a\ud800",
    "a\uffff",
    "e\u0301",
    "x" * (MAX_SEGMENT_BYTES + 1),
    "é" * 128,
    "/".join(["x" * 100] * 9) + "xx",
]


@pytest.mark.parametrize("key", _BAD)
def test_bad_keys_are_refused_with_their_fault(key: str) -> None:
    with pytest.raises(BadKey) as caught:
        check_key(key)
    assert caught.value.code == "storage.bad_key"
    assert caught.value.subject == repr(key)


@pytest.mark.parametrize(
    "key", ["a", "a/.hidden", "a..b", "...".join("ab"), "é/日本", "x" * MAX_SEGMENT_BYTES, "a b"]
)
def test_good_keys_come_back_unchanged(key: str) -> None:
    assert check_key(key) == key


def test_the_longest_key_is_good() -> None:
    key = "/".join(["x" * 99] * 9)
    assert len(key) == MAX_KEY_BYTES - 1
    assert check_key(key + "x") == key + "x"


def test_building_composes_and_refuses_to_climb() -> None:
    assert build_key("night", "e\u0301.fits") == "night/\u00e9.fits"
    for segments in (("a", "../b"), ("a", ".."), ("a/b",), ("a", "")):
        with pytest.raises(BadKey):
            build_key(*segments)


def test_prefixes_may_end_with_a_slash() -> None:
    assert check_prefix("a/b/") == check_prefix("a/b") == "a/b"
    assert check_prefix("") == check_prefix("/") == ""
    with pytest.raises(BadKey):
        check_prefix("../a")


@given(st.text(max_size=400))
def test_any_name_can_be_made_a_segment(name: str) -> None:
    segment = safe_segment(name)
    assert check_key(segment) == segment
    assert "/" not in segment
    assert safe_segment(segment) == segment


@given(
    st.text(
        st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="/\\."),
        min_size=1,
        max_size=50,
    )
)
def test_good_names_are_kept(name: str) -> None:
    assert safe_segment(name) == unicodedata.normalize("NFC", name)


def test_long_names_keep_their_suffixes() -> None:
    segment = safe_segment("星" * 200 + ".fits.fz")
    assert segment.endswith("星.fits.fz")
    assert len(segment.encode()) <= MAX_SEGMENT_BYTES
