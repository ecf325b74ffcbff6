from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

import pytest

from firstlight.storage.cache import FileCache
from firstlight.storage.store import ChecksumMismatch, StorageFull


@pytest.fixture
def cache(tmp_path: Path) -> FileCache:
    return FileCache(tmp_path / "cache", 1000)


class Source:
    """Bytes to fetch, counting how often that was done."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.fetched = 0

    def __call__(self, stream: BinaryIO) -> None:
        self.fetched += 1
        stream.write(bytes(self.size))


def _use(cache: FileCache, name: str, source: Source) -> None:
    with cache.lease(name, source.size, source) as path:
        assert path.stat().st_size == source.size


def _here(cache: FileCache, name: str, size: int) -> bool:
    with cache.lease_if_here(name, size) as path:
        return path is not None


def test_a_file_is_fetched_once(cache: FileCache) -> None:
    source = Source(100)
    for _ in range(3):
        _use(cache, "a", source)
    assert source.fetched == 1
    assert cache.used() == 100


def test_what_was_used_longest_ago_goes_first(cache: FileCache) -> None:
    sources = {name: Source(400) for name in "abc"}
    for name in "aba":
        _use(cache, name, sources[name])
        time.sleep(0.02)  # the order of use is kept in file times
    _use(cache, "c", sources["c"])
    assert cache.used() == 800
    kept = [name for name in "abc" if (cache.folder / "copies" / name).exists()]
    assert kept == ["a", "c"]


def test_a_copy_in_use_is_never_dropped(cache: FileCache) -> None:
    first, second = Source(700), Source(700)
    with cache.lease("a", 700, first) as path:
        _use(cache, "b", second)
        assert path.read_bytes() == bytes(700)
        assert not _here(cache, "b", 700)  # the other went, as soon as it was free
    assert cache.used() == 700


def test_a_file_larger_than_the_cache_is_served_and_dropped(cache: FileCache) -> None:
    _use(cache, "large", Source(5000))
    assert cache.used() == 0


def test_a_damaged_copy_is_fetched_again(cache: FileCache) -> None:
    source = Source(100)
    _use(cache, "a", source)
    copy = cache.folder / "copies" / "a"
    copy.chmod(0o644)
    copy.write_bytes(b"cut")
    _use(cache, "a", source)
    assert source.fetched == 2


def test_a_short_fetch_is_refused_and_leaves_nothing(cache: FileCache) -> None:
    with pytest.raises(ChecksumMismatch), cache.lease("a", 101, Source(100)):
        pass
    assert cache.used() == 0
    _use(cache, "a", Source(101))


def test_a_failing_fetch_leaves_nothing(cache: FileCache) -> None:
    def full(stream: BinaryIO) -> None:
        stream.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(StorageFull), cache.lease("a", 100, full):
        pass
    assert cache.used() == 0
    assert list((cache.folder / "parts").iterdir()) == []


def test_many_who_want_one_file_fetch_it_once(cache: FileCache) -> None:
    source = Source(100)

    def slow(stream: BinaryIO) -> None:
        time.sleep(0.05)
        source(stream)

    failures: list[Exception] = []

    def use() -> None:
        try:
            with cache.lease("a", 100, slow) as path:
                assert path.read_bytes() == bytes(100)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test must see it
            failures.append(error)

    _all_at_once([use] * 6)
    assert failures == []
    assert source.fetched == 1


def test_under_pressure_every_reader_gets_its_bytes(cache: FileCache) -> None:
    failures: list[Exception] = []

    def churn(seed: int) -> None:
        try:
            for turn in range(40):
                number = (seed * 7 + turn * 3) % 9
                fetch = _writer(bytes([number]) * 400)
                with cache.lease(f"f{number}", 400, fetch) as path:
                    assert path.read_bytes() == bytes([number]) * 400
        except Exception as error:  # noqa: BLE001 - whatever it is, the test must see it
            failures.append(error)

    _all_at_once([lambda seed=seed: churn(seed) for seed in range(4)])  # type: ignore[misc]  # a default argument
    assert failures == []
    assert cache.sweep() == 0
    assert cache.used() <= 1000


def _writer(data: bytes) -> Callable[[BinaryIO], object]:
    return lambda stream: stream.write(data)


def _all_at_once(jobs: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


_HOLD = """
import sys, time
from pathlib import Path
from firstlight.storage.cache import FileCache
cache = FileCache(Path(sys.argv[1]), 1000)
def fetch(stream):
    stream.write(bytes(350))
    stream.flush()
    if sys.argv[2] == "fetching":
        print("fetching", flush=True)
        time.sleep(600)
    stream.write(bytes(350))
with cache.lease("a", 700, fetch) as path:
    print("holding", flush=True)
    time.sleep(600)
"""


def _child(cache: FileCache, state: str) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(cache.folder), state], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == state + "\n"
    return child


def test_a_copy_in_use_by_another_process_stays_until_that_dies(cache: FileCache) -> None:
    child = _child(cache, "holding")
    try:
        _use(cache, "b", Source(700))
        assert _here(cache, "a", 700)
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()
    _use(cache, "b", Source(700))
    assert not (cache.folder / "copies" / "a").exists()
    assert _here(cache, "b", 700)


def test_what_a_killed_process_was_fetching_is_fetched_anew(cache: FileCache) -> None:
    child = _child(cache, "fetching")
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert [part.name for part in (cache.folder / "parts").iterdir()] == ["a"]
    assert cache.sweep(timedelta(hours=1)) == 0
    _use(cache, "a", Source(700))
    assert list((cache.folder / "parts").iterdir()) == []

    child = _child(FileCache(cache.folder.parent / "other", 1000), "fetching")
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert FileCache(cache.folder.parent / "other", 1000).sweep(timedelta(0)) == 1
