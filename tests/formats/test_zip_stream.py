"""Zip archives made while they are sent, unpacked by Python and by Info-ZIP."""

import hashlib
import io
import random
import shutil
import subprocess
import tracemalloc
import zipfile
from datetime import UTC, datetime
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firstlight.formats.zip_stream import MemberChanged, ZipMember, safe_member_name, stream_zip


def _member(name, content, size=True):
    return ZipMember(name, lambda: io.BytesIO(content), len(content) if size else None)


def _read(pieces):
    return zipfile.ZipFile(io.BytesIO(b"".join(pieces)))


def test_members_come_back_and_packed_ones_are_stored():
    noise = random.Random(1).randbytes(700_000)
    files = {"a/x.fits.fz": noise, "a/x.txt": b"SIMPLE " * 9000, "empty.jpg": b"", "b.fits": noise}
    archive = _read(stream_zip(_member(name, data) for name, data in files.items()))
    assert archive.testzip() is None
    assert archive.namelist() == list(files)
    for name, data in files.items():
        assert archive.read(name) == data
    kinds = {info.filename: info.compress_type for info in archive.infolist()}
    assert kinds["a/x.fits.fz"] == kinds["empty.jpg"] == zipfile.ZIP_STORED
    assert kinds["a/x.txt"] == kinds["b.fits"] == zipfile.ZIP_DEFLATED
    assert archive.getinfo("a/x.txt").compress_size < 1000


@pytest.mark.skipif(shutil.which("unzip") is None, reason="Info-ZIP's unzip is not installed")
@pytest.mark.parametrize("size", [True, False])
def test_another_program_unpacks_it(tmp_path, size):
    path = tmp_path / "some.zip"
    members = [_member("a/b.fits.fz", b"\1" * 70_000, size), _member("c.txt", b"c" * 99, size)]
    path.write_bytes(b"".join(stream_zip(members)))
    done = subprocess.run(["unzip", "-tq", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_same_members_give_the_same_bytes():
    when = datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC)

    def once():
        return b"".join(stream_zip([ZipMember("a.txt", lambda: io.BytesIO(b"abc"), 3, when)]))

    assert once() == once()
    assert _read([once()]).getinfo("a.txt").date_time == (2026, 1, 2, 3, 4, 6)


def test_a_file_that_is_not_as_long_as_said_ends_the_archive():
    for said in (2, 4):
        member = ZipMember("a.fits.fz", lambda: io.BytesIO(b"abc"), said)
        pieces = []
        with pytest.raises(MemberChanged):
            pieces.extend(stream_zip([_member("whole", b"1"), member]))
        with pytest.raises(zipfile.BadZipFile):
            _read(pieces)


class _Long(io.RawIOBase):
    """Zeros, made while they are read."""

    def __init__(self, size):
        self.left = size

    def read(self, size=-1):
        piece = bytes(min(size, self.left))
        self.left -= len(piece)
        return piece


def test_memory_does_not_grow_with_the_archive():
    def peak(megabytes):
        size = megabytes << 20
        tracemalloc.start()
        for _ in stream_zip([ZipMember("a.fz", lambda: _Long(size), size)]):
            pass
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(64) < peak(8) + (1 << 20) < 8 << 20


def test_members_beyond_4_gib_use_zip64():
    size = (4 << 30) + 10
    digest, tail = hashlib.sha256(), b""
    for piece in stream_zip([ZipMember("large.fz", lambda: _Long(size), size)]):
        tail = (tail + piece)[-400:]
        digest.update(piece[:1])
    assert b"PK\x06\x06" in tail  # the ZIP64 end of the directory
    assert size.to_bytes(8, "little") in tail


def test_members_are_opened_one_at_a_time_and_closed_when_the_reader_leaves():
    opened = []

    def open_one():
        opened.append(io.BytesIO(bytes(1 << 20)))
        return opened[-1]

    pieces = stream_zip(ZipMember(f"{n}.fz", open_one, 1 << 20) for n in range(3))
    next(pieces)
    assert len(opened) == 1
    pieces.close()
    assert opened[0].closed
    assert len(opened) == 1


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("data/sro-kb001ms-20220629-00010442-EX01.fits.fz",) * 2,
        ("../../etc/passwd", "etc/passwd"),
        ("/abs/x", "abs/x"),
        ("a\\..\\b", "a/b"),
        ("C:/x", "C_/x"),
        ("aux.txt", "_aux.txt"),
        ("..", "_"),
        ("", "_"),
        ("new\nline", "new_line"),
        ("trailing. ", "trailing"),
    ],
)
def test_names_are_made_safe(name, safe):
    assert safe_member_name(name) == safe


@given(st.text(max_size=30))
def test_no_name_leaves_its_folder(name):
    safe = safe_member_name(name)
    path = PurePosixPath(safe)
    assert not path.is_absolute()
    assert ".." not in path.parts
    assert "\\" not in safe
    assert safe_member_name(safe) == safe
    safe.encode()


def test_two_members_of_one_name_are_both_kept():
    pieces = list(stream_zip([_member("a/x.fits.fz", b"1"), _member("a/X.fits.fz", b"2")]))
    assert _read(pieces).namelist() == ["a/x.fits.fz", "a/X-2.fits.fz"]
