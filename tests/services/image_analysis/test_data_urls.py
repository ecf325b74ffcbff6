"""Images in base64 within a URL: decoded piece by piece, damage told."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstlight.services.image_analysis.data_url import BadDataUrl, decoded_data_url


@given(st.binary(max_size=400), st.sampled_from([-1, 1, 2, 3, 7, 64, 1000]))
def test_what_was_put_in_comes_out(content, size):
    text = "data:image/fits;name=a%20b.fits;base64," + base64.b64encode(content).decode()
    name, stream, length = decoded_data_url(text)
    assert (name, length) == ("a b.fits", len(content))
    pieces = list(iter(lambda: stream.read(size), b""))
    assert b"".join(pieces) == content
    assert all(len(piece) <= max(size, 3) for piece in pieces) or size < 0


@given(st.text(alphabet="AZaz09+/=#é\n ", max_size=30))
def test_damage_is_told_where_a_decoder_finds_it(body):
    try:
        expected = base64.b64decode(body, validate=True)
    except ValueError:
        expected = None
    try:
        found = decoded_data_url("data:;base64," + body)[1].read()
    except BadDataUrl:
        found = None
    assert found == expected


def test_without_a_name_it_gets_one():
    assert decoded_data_url("data:;base64,AAAA")[0] == "image.fits"


@pytest.mark.parametrize("text", ["", "data:;base64", "data:x,AAAA", "http:;base64,AAAA"])
def test_what_is_no_data_url(text):
    with pytest.raises(BadDataUrl):
        decoded_data_url(text)


def test_a_head_without_end_is_not_searched():
    with pytest.raises(BadDataUrl) as fault:
        decoded_data_url("data:" + "x" * 5000 + ";base64,AAAA")
    assert len(fault.value.found) <= 100
