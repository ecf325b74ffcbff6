"""Locks between processes, which the operating system drops when their holder is killed.

On Windows there is no `flock`; an open file cannot be removed there, which is what the cache
needs the shared lock for. The exclusive lock is refused, never pretended.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from firstlight.storage.store import StorageUnreachable

if sys.platform != "win32":
    import fcntl

__all__ = ["exclusive", "is_current", "lock_exclusive", "lock_shared", "try_lock_exclusive"]


def lock_shared(stream: IO[bytes]) -> None:
    """Wait until nobody holds the file alone, and hold it with others until it is closed."""
    if sys.platform != "win32":
        fcntl.flock(stream, fcntl.LOCK_SH)


def lock_exclusive(stream: IO[bytes]) -> None:
    """Wait until the file can be held alone; closing it lets go."""
    if sys.platform == "win32":
        raise StorageUnreachable("this needs file locks, which Windows lacks")
    fcntl.flock(stream, fcntl.LOCK_EX)


def try_lock_exclusive(stream: IO[bytes]) -> bool:
    """Hold the file alone if nobody else holds it."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_current(stream: IO[bytes], path: Path) -> bool:
    """Tell whether the open file still has its name: it may have lost it before the lock."""
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a lock file alone while the context lasts."""
    with path.open("ab") as stream:
        lock_exclusive(stream)
        yield
