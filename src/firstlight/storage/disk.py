"""Disk errors in the words of a store, and writes that survive a power cut."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from firstlight.storage.store import StorageFull, StorageRefused, StorageUnreachable

__all__ = ["disk_errors", "remove_older", "sync_file", "sync_folder"]

# A file too large for its file system is, to whoever stores it, no room either.
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_ACCESS = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def disk_errors(subject: object) -> Iterator[None]:
    """Turn errors of the operating system into those of a store."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise StorageFull(
                subject=subject, found=error, hint="free some space and try again"
            ) from error
        if error.errno in _NO_ACCESS:
            raise StorageRefused(subject=subject, found=error) from error
        hint = None
        if error.errno == errno.EXDEV:
            hint = "part of this store is on another file system; make that a store of its own"
        raise StorageUnreachable(subject=subject, found=error, hint=hint) from error


def sync_file(stream: BinaryIO) -> None:
    """Return when the bytes of a file are on the disk, not in memory."""
    stream.flush()
    os.fsync(stream.fileno())


def sync_folder(folder: Path) -> None:
    """Return when the names in a folder are on the disk.

    One that another process has just removed holds no names any more.
    """
    if os.name != "posix":  # Windows can neither open a folder nor needs to
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_older(folder: Path, than: float) -> int:
    """Remove the files of a folder last touched before `than` (Unix time); return how many."""
    removed = 0
    for path in folder.iterdir():
        try:
            if path.stat().st_mtime < than:
                path.unlink()
                removed += 1
        except FileNotFoundError:
            continue  # its writer has just finished
    return removed
