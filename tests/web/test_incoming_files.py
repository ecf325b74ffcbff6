"""A form of several files, however the network cuts it into pieces."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstlight.web.incoming import BadForm, UploadReader
from firstlight.web.incoming_files import FormParts

BOUNDARY = b"xYz"


class Pieces:
    """What the network brings, piece by piece."""

    def __init__(self, pieces):
        self.left = list(pieces)


@pytest.fixture(autouse=True)
def _without_a_network():
    def next_piece(reader):
        return reader._pieces.left.pop(0) if reader._pieces.left else None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(UploadReader, "_next", next_piece)
        yield


def form(parts):
    body = b""
    for name, filename, data in parts:
        file = f'; filename="{filename}"' if filename is not None else ""
        head = f'Content-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        body += b"--" + BOUNDARY + b"\r\n" + head.encode() + data + b"\r\n"
    return body + b"--" + BOUNDARY + b"--\r\n"


def read(pieces, size=1000):
    found = []
    for part in FormParts(Pieces(pieces), BOUNDARY).parts():
        data = b""
        while piece := part.read(size):
            assert len(piece) <= size
            data += piece
        found.append((part.name, part.filename, data))
    return found


def cut(body, places):
    edges = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[a:b] for a, b in pairwise(edges) if a < b]


@given(
    parts=st.lists(
        st.tuples(
            st.sampled_from(["file", "gain", "parameters"]),
            st.sampled_from([None, "a.fits", "b.fits.fz", ""]),
            st.binary(max_size=300),
        ),
        max_size=5,
    ),
    places=st.lists(st.integers(0, 10_000), max_size=12),
    size=st.integers(1, 400),
)
def test_pieces_make_no_difference(parts, places, size):
    assert read(cut(form(parts), places), size) == parts


@given(st.binary(max_size=200), st.lists(st.integers(0, 10_000), max_size=6))
def test_anything_else_is_a_bad_form(body, places):
    with pytest.raises(BadForm):
        read(cut(body, places))


@given(st.integers(1, 150))
def test_a_form_that_breaks_off_is_told(length):
    whole = form([("file", "a.fits", b"x" * 200)])
    with pytest.raises(BadForm):
        read([whole[:length]])


def test_a_part_that_nobody_reads_is_passed_over():
    body = form([("file", "a.fits", b"1" * 5000), ("gain", None, b"1.7")])
    names = [
        part.name for part in FormParts(Pieces(cut(body, range(0, 5000, 97))), BOUNDARY).parts()
    ]
    assert names == ["file", "gain"]


def test_only_one_piece_is_held():
    """A file of many pieces is read as it comes: the buffer never holds two of them."""
    body = form([("file", "a.fits", b"1" * 1_000_000)])
    parts = FormParts(Pieces(cut(body, range(0, 1_000_000, 10_000))), BOUNDARY)
    part = next(parts.parts())
    most = 0
    while part.read(4096):
        most = max(most, len(part._buffer))
    assert most <= 10_000


def test_fields_and_parts_are_bounded():
    with pytest.raises(BadForm):
        read([form([("gain", None, b"1" * 70_000)])])
    with pytest.raises(BadForm):
        read([form([("file", "a", b"")] * 300)])
