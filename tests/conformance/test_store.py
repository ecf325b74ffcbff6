"""What every store promises, run on every store."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from firstlight.errors import BadFile, InvalidInput
from firstlight.storage import (
    BadKey,
    ChecksumMismatch,
    KeyMissing,
    KeyTaken,
    StorageSettings,
    Store,
    StoredFile,
    build_key,
    check_key,
    open_store,
)
from fixtures_s3 import S3Server

pytestmark = pytest.mark.filterwarnings("error")

_KINDS = [
    "folder",
    pytest.param("s3", marks=pytest.mark.s3),
    pytest.param("cached", marks=pytest.mark.s3),
]
_LARGE = 9 << 20  # beyond what S3Store holds in memory
_RELAXED = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(params=_KINDS)
def where(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Fields of StorageSettings for an empty store of each kind."""
    if request.param == "folder":
        return {
            "root": str(tmp_path / "store"),
            "link_base_url": "https://portal.example/api",
            "link_secret": "0123456789abcdef",
        }
    server: S3Server = request.getfixturevalue("s3_server")
    bucket = request.getfixturevalue("s3_bucket")
    cache = tmp_path / "cache" if request.param == "cached" else None
    return server.settings(
        bucket, uuid.uuid4().hex, cache_folder=None if cache is None else str(cache)
    )


@pytest.fixture
def store(where: dict[str, Any]) -> Store:
    return open_store(StorageSettings(**where))


def _start(where: dict[str, Any], code: str) -> subprocess.Popen[str]:
    """Run code in another process, where `store` is the same store."""
    head = (
        "import io, json, os, sys, time\n"
        "from pathlib import Path\n"
        "from firstlight.errors import FirstlightError\n"
        "from firstlight.storage import StorageSettings, open_store\n"
        "store = open_store(StorageSettings(**json.loads(sys.argv[1])))\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", head + code, json.dumps(where)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _keys(store: Store, prefix: str = "") -> list[str]:
    return [entry.key for entry in store.list(prefix)]


def _facts(key: str, data: bytes) -> StoredFile:
    return StoredFile(
        key,
        len(data),
        hashlib.sha256(data).hexdigest(),
        hashlib.md5(data, usedforsecurity=False).hexdigest(),
    )


# --- putting and reading -----------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 70_000, _LARGE])
def test_what_is_put_comes_back(store: Store, size: int) -> None:
    data = os.urandom(size)
    assert store.put("night/a.fits", data) == _facts("night/a.fits", data)
    assert store.read("night/a.fits") == data
    assert store.stat("night/a.fits").size == size
    assert store.checksum("night/a.fits") == _facts("night/a.fits", data)
    with store.local_path("night/a.fits") as path:
        assert path.read_bytes() == data
        assert path.suffix == ".fits"


def test_bytes_files_and_streams_are_the_same(store: Store, tmp_path: Path) -> None:
    data = os.urandom(300_000)
    (tmp_path / "source").write_bytes(data)
    stream = io.BytesIO(b"head" + data)
    stream.seek(4)
    results = [
        store.put("a", data),
        store.put("b", tmp_path / "source"),
        store.put("c", stream),
    ]
    assert [store.read(key) for key in "abc"] == [data] * 3
    assert {stored.sha256 for stored in results} == {hashlib.sha256(data).hexdigest()}
    assert not stream.closed


def test_streams_seek_like_files(store: Store) -> None:
    data = os.urandom(_LARGE)
    store.put("a", data)
    with store.open("a") as stream:
        assert stream.seekable()
        assert stream.seek(-10, io.SEEK_END) == len(data) - 10
        assert stream.read() == data[-10:]
        assert stream.read(1) == b""
        stream.seek(5_000_000)
        assert stream.read(3) == data[5_000_000:5_000_003]
        assert stream.tell() == 5_000_003
        stream.seek(-3, io.SEEK_CUR)
        assert stream.read(3) == data[5_000_000:5_000_003]
        stream.seek(0)
        assert hashlib.sha256(stream.read()).digest() == hashlib.sha256(data).digest()


@_RELAXED
@given(start=st.integers(0, 12), length=st.integers(0, 12))
def test_ranges_are_slices(store: Store, start: int, length: int) -> None:
    store.put("a", b"0123456789")
    assert store.read_range("a", start, start + length) == b"0123456789"[start : start + length]


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (3, 2)])
def test_impossible_ranges_are_refused(store: Store, start: int, stop: int) -> None:
    store.put("a", b"0123456789")
    with pytest.raises(InvalidInput):
        store.read_range("a", start, stop)


def test_ranges_are_the_same_once_the_file_was_read_whole(store: Store) -> None:
    store.put("a", b"0123456789")
    before = store.read_range("a", 2, 5)
    assert store.read("a") == b"0123456789"
    assert store.read_range("a", 2, 5) == before == b"234"


def test_what_is_missing_is_called_missing(store: Store) -> None:
    store.put("folder/file", b"1")
    uses: list[Callable[[str], object]] = [
        store.open,
        store.read,
        store.stat,
        store.checksum,
        lambda key: store.read_range(key, 0, 1),
        lambda key: store.local_path(key).__enter__(),
    ]
    for key in ("nothing", "folder", "folder/file/below"):
        assert not store.exists(key)
        for use in uses:
            with pytest.raises(KeyMissing) as caught:
                use(key)
            assert caught.value.subject == key


def test_deleting_twice_is_no_error(store: Store) -> None:
    store.put("a/b/c", b"1")
    store.delete("a/b/c")
    store.delete("a/b/c")
    assert not store.exists("a/b/c")
    assert _keys(store) == []
    store.put("a/b/c", b"another")
    assert store.read("a/b/c") == b"another"


def test_times_are_aware_and_recent(store: Store) -> None:
    store.put("a", b"1")
    entry = store.stat("a")
    assert entry.modified.tzinfo is not None
    assert abs(entry.modified - datetime.now(UTC)) < timedelta(minutes=5)
    assert list(store.list()) == [entry]


def test_a_usable_store_passes_its_check(store: Store) -> None:
    store.check()
    assert _keys(store) == []


# --- what is there stays -----------------------------------------------------------------


@pytest.mark.parametrize("size", [100, _LARGE])
def test_the_same_bytes_again_change_nothing(store: Store, size: int) -> None:
    data = os.urandom(size)
    first = store.put("a", data)
    before = store.stat("a")
    assert store.put("a", io.BytesIO(data)) == first
    assert store.stat("a") == before


@pytest.mark.parametrize("size", [100, _LARGE])
def test_other_bytes_are_refused_and_the_old_stay(store: Store, size: int) -> None:
    old = os.urandom(size)
    store.put("a", old)
    for new in (os.urandom(size), old + b"1", b""):
        with pytest.raises(KeyTaken) as caught:
            store.put("a", new)
        assert caught.value.subject == "a"
    assert store.read("a") == old
    assert _keys(store) == ["a"]


def test_overwriting_replaces_and_is_seen_at_once(store: Store) -> None:
    store.put("a", b"old!")
    assert store.read("a") == b"old!"
    before = store.stat("a")
    assert store.put("a", b"new!", overwrite=True) == _facts("a", b"new!")
    assert store.read("a") == b"new!"
    assert store.read_range("a", 0, 3) == b"new"
    assert store.stat("a").version != before.version
    store.put("b", b"fresh", overwrite=True)
    assert store.read("b") == b"fresh"


def test_expected_checksums_are_checked_before_anything_is_stored(store: Store) -> None:
    right = hashlib.sha256(b"data").hexdigest()
    with pytest.raises(ChecksumMismatch) as caught:
        store.put("a", b"data cut on its w", sha256=right)
    assert caught.value.expected == right
    assert _keys(store) == []
    store.put("a", b"data", sha256=right.upper())
    with pytest.raises(ChecksumMismatch):
        store.put("a", b"other", sha256=right, overwrite=True)
    assert store.read("a") == b"data"


def test_a_source_that_fails_stores_nothing(store: Store, tmp_path: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() >= 3 << 20:
                raise ConnectionResetError("the camera went away")
            return super().read(size)

    with pytest.raises(ConnectionResetError, match="camera"):
        store.put("a", Broken(bytes(4 << 20)))
    with pytest.raises(BadFile):
        store.put("a", tmp_path / "no such file")
    assert _keys(store) == []


# --- several processes, and killed ones --------------------------------------------------

_PUT_ON_ORDER = """
for line in sys.stdin:
    key, fill, size = json.loads(line)
    try:
        store.put(key, bytes([fill]) * size)
        print("won", flush=True)
    except FirstlightError as error:
        print(error.code, flush=True)
"""


def test_of_two_writers_exactly_one_wins(where: dict[str, Any], store: Store) -> None:
    writers = [_start(where, _PUT_ON_ORDER) for _ in range(2)]
    for number, size in enumerate([1000] * 15 + [_LARGE] * 3):
        key = f"race/{number:03}"
        for fill, writer in enumerate(writers):
            assert writer.stdin is not None
            writer.stdin.write(json.dumps([key, fill, size]) + "\n")
            writer.stdin.flush()
        results = [writer.stdout.readline().strip() for writer in writers if writer.stdout]
        assert sorted(results) == ["storage.key_taken", "won"], key
        assert store.read(key) == bytes([results.index("won")]) * size
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0


def test_of_many_threads_all_agree_on_the_same_bytes(store: Store) -> None:
    results: list[StoredFile] = []
    threads = [
        threading.Thread(target=lambda: results.append(store.put("same/key", b"same bytes")))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [_facts("same/key", b"same bytes")] * 6


_PUT_AND_HANG = """
class Hanging(io.BytesIO):
    def read(self, size=-1):
        if self.tell() >= 12 << 20:
            print("half way", flush=True)
            time.sleep(600)
        return super().read(size)
store.put("a/b", Hanging(bytes(20 << 20)))
"""


def test_a_writer_killed_half_way_leaves_nothing(where: dict[str, Any], store: Store) -> None:
    writer = _start(where, _PUT_AND_HANG)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "half way\n"
    assert not store.exists("a/b")
    assert _keys(store) == []
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    assert not store.exists("a/b")
    assert _keys(store) == []
    assert store.sweep(timedelta(hours=1)) == 0  # it might still be alive
    store.sweep(timedelta(0))
    store.put("a/b", b"the retry")
    assert store.read("a/b") == b"the retry"


_PUT_LARGE = """
print("now", flush=True)
store.put("a/b", bytes(24 << 20))
print("done", flush=True)
"""


@pytest.mark.parametrize("delay", [0.05, 0.15, 0.3])
def test_a_writer_killed_at_any_time_leaves_all_or_nothing(
    where: dict[str, Any], store: Store, delay: float
) -> None:
    writer = _start(where, _PUT_LARGE)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "now\n"
    time.sleep(delay)
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    assert _keys(store) in ([], ["a/b"])
    whole = bytes(24 << 20)
    assert store.put("a/b", whole) == _facts("a/b", whole)
    assert store.checksum("a/b") == _facts("a/b", whole)


_PUT_WITHOUT_ROOM = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    store.put("a/b", bytes(9 << 20))
except FirstlightError as error:
    print(error.code)
"""


def test_a_full_disk_is_said_and_stores_nothing(where: dict[str, Any], store: Store) -> None:
    writer = _start(where, _PUT_WITHOUT_ROOM)
    out, _ = writer.communicate()
    assert out.strip() == "storage.full"
    assert _keys(store) == []
    assert store.sweep(timedelta(0)) == 0
    store.put("a/b", bytes(9 << 20))


_STREAM_WITHOUT_MEMORY = """
import hashlib, resource
status = dict(line.split(":") for line in open("/proc/self/status") if line.startswith("Vm"))
now = int(status["VmData"].split()[0]) << 10
resource.setrlimit(resource.RLIMIT_DATA, (now + (100 << 20), now + (100 << 20)))
stored = store.put("big", Path(sys.stdin.readline().strip()))
count = hashlib.sha256()
with store.open("big") as stream:
    while piece := stream.read(1 << 20):
        count.update(piece)
with store.local_path("big") as path:
    print(json.dumps([stored.sha256, count.hexdigest(), path.stat().st_size]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the memory limit is Linux's")
def test_large_files_do_not_pass_through_memory(where: dict[str, Any], tmp_path: Path) -> None:
    source = tmp_path / "sparse"
    with source.open("wb") as stream:
        stream.truncate(200_000_000)
    writer = _start(where, _STREAM_WITHOUT_MEMORY)
    out, _ = writer.communicate(f"{source}\n")
    expected = hashlib.sha256(bytes(200_000_000)).hexdigest()
    assert json.loads(out) == [expected, expected, 200_000_000]


# --- keys and listings -------------------------------------------------------------------

_AWKWARD = [
    "a-b",
    "a",
    "a.d/e",
    "a0",
    "ab/c",
    "b c#d%20e*f?g~h[i]{j}|k^l",
    "quote\"'<>&`$",
    "x+y=z&w@v:u;t,s!r(q)",
    "ünï/cödé é.fits",
    "日本/星.fits",
    "🔭/first light",
    "Z/upper",
]


def test_awkward_keys_are_kept_and_listed_in_order(store: Store) -> None:
    for key in _AWKWARD:
        store.put(key, key.encode())
    assert _keys(store) == sorted(_AWKWARD)
    assert [store.read(key).decode() for key in _AWKWARD] == _AWKWARD


def test_a_listing_is_in_the_order_of_whole_keys(store: Store) -> None:
    keys = ["n/a b", "n/a", "n/a!/1", "n/a-b/1", "n/a.b", "n/a0/1", "n/aa"]
    for key in [*keys, "n/b/2", "n/b/1", "n/b-/1"]:
        store.put(key, b"1")
    assert _keys(store, "n") == sorted([*keys, "n/b/2", "n/b/1", "n/b-/1"])


def test_a_prefix_names_whole_segments(store: Store) -> None:
    for key in ("n/1/a", "n/1/b/c", "n/10/a", "n/2", "n1"):
        store.put(key, b"1")
    assert _keys(store, "n/1") == _keys(store, "n/1/") == ["n/1/a", "n/1/b/c"]
    assert _keys(store, "n") == ["n/1/a", "n/1/b/c", "n/10/a", "n/2"]
    assert _keys(store, "n/2") == []
    assert _keys(store, "nowhere") == []


_SEGMENT = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)


@_RELAXED
@given(segments=st.lists(_SEGMENT, min_size=1, max_size=3))
def test_every_valid_key_works(store: Store, segments: list[str]) -> None:
    # A folder of its own for each example, so that no key is a folder of another.
    folder = f"every/{uuid.uuid4().hex}"
    try:
        key = f"{folder}/{build_key(*segments)}"
    except BadKey:
        assume(False)
    store.put(key, b"some bytes")
    assert store.exists(key)
    assert store.read(key) == b"some bytes"
    assert _keys(store, folder) == [key]
    store.delete(key)
    assert not store.exists(key)


@given(text=st.one_of(st.text(max_size=20), st.sampled_from(["../a", "/a", "a//b", ".x", "a/"])))
@_RELAXED
def test_every_invalid_key_is_refused_everywhere(store: Store, text: str) -> None:
    try:
        check_key(text)
    except BadKey:
        pass
    else:
        assume(False)
    uses: list[Callable[[str], object]] = [
        lambda key: store.put(key, b"1"),
        store.open,
        store.read,
        store.exists,
        store.stat,
        store.checksum,
        store.delete,
        lambda key: store.read_range(key, 0, 1),
        lambda key: store.signed_link(key, timedelta(minutes=1)),
        lambda key: store.local_path(key).__enter__(),
    ]
    for use in uses:
        with pytest.raises(BadKey):
            use(text)


# --- links -------------------------------------------------------------------------------


def _get(link: str) -> bytes:
    with urllib.request.urlopen(link, timeout=60) as answer:  # noqa: S310 - our own server
        return bytes(answer.read())


def test_a_signed_link_opens_one_key(store: Store, where: dict[str, Any]) -> None:
    store.put("ünï/a b#c.fits", b"linked")
    store.put("other", b"secret")
    link = store.signed_link("ünï/a b#c.fits", timedelta(minutes=5))
    if not where["root"].startswith("s3://"):
        assert link.startswith("https://portal.example/api/files/")
        assert store.verify_link(link.rpartition("/")[2]) == "ünï/a b#c.fits"  # type: ignore[attr-defined]  # folders only
        return
    assert _get(link) == b"linked"
    changed = link.replace("%C3%BCn%C3%AF/a%20b%23c.fits", "other")
    assert changed != link
    with pytest.raises(urllib.error.HTTPError, match="403"):
        _get(changed)


@pytest.mark.parametrize("expires", [timedelta(0), timedelta(days=8)])
def test_links_that_live_too_short_or_long_are_refused(store: Store, expires: timedelta) -> None:
    with pytest.raises(InvalidInput):
        store.signed_link("a", expires)
