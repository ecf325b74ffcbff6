"""Local copies of remote files, within a limit, shared by all processes of a machine."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from firstlight.storage.disk import disk_errors, remove_older, sync_file
from firstlight.storage.locks import (
    exclusive,
    is_current,
    lock_exclusive,
    lock_shared,
    try_lock_exclusive,
)
from firstlight.storage.s3 import S3Store
from firstlight.storage.store import (
    STALE,
    ChecksumMismatch,
    Content,
    LinkMethod,
    StorageUnreachable,
    StoredEntry,
    StoredFile,
    check_range,
)

__all__ = ["CachedStore", "FileCache"]

_TRIES = 20


class FileCache:
    """A folder of copies that is kept below a size by dropping what was used longest ago.

    Whoever uses a copy holds a shared lock on it, so that no process drops it meanwhile; the
    lock ends with its process. One process at a time fetches a copy while others that want the
    same wait for it. The limit is passed only while the copies in use need more than it, and
    by copies that other processes are fetching at the moment.

    Parameters
    ----------
    folder
        Made if it does not exist. It must be on a local disk.
    limit
        Bytes.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder.absolute()
        self.limit = limit
        self._copies = self.folder / "copies"
        self._parts = self.folder / "parts"
        with disk_errors(self.folder):
            self._copies.mkdir(parents=True, exist_ok=True)
            self._parts.mkdir(exist_ok=True)

    @contextmanager
    def lease(self, name: str, size: int, fetch: Callable[[BinaryIO], object]) -> Iterator[Path]:
        """Give the path of a copy that stays while the context lasts, fetching it if needed.

        Parameters
        ----------
        name
            A file name that stands for one version of one file.
        size
            The size the copy must have; one that differs is fetched again.
        fetch
            Writes the bytes to a stream.

        Raises
        ------
        ChecksumMismatch
            What was fetched has another size.
        """
        path = self._copies / name
        fits = True
        for _ in range(_TRIES):
            held = self._hold(path, size)
            if held is not None:
                break
            fits = self._fetch(name, size, fetch)
        else:
            raise StorageUnreachable("the cache cannot keep the file", subject=name)
        with held:
            os.utime(path)  # access times are often switched off, so use is noted here
            yield path
        if not fits:
            self._make_room(0)

    @contextmanager
    def lease_if_here(self, name: str, size: int) -> Iterator[Path | None]:
        """Give the path of a copy if there is one, else None."""
        path = self._copies / name
        held = self._hold(path, size)
        if held is None:
            yield None
            return
        with held:
            os.utime(path)
            yield path

    def used(self) -> int:
        """Bytes of all copies, the unfinished among them."""
        return sum(facts.st_size for _, facts in [*_files(self._copies), *_files(self._parts)])

    def sweep(self, older_than: timedelta = STALE) -> int:
        """Remove unfinished copies of killed processes, and whatever is over the limit."""
        with disk_errors(self.folder):
            removed = remove_older(self._parts, time.time() - older_than.total_seconds())
        self._make_room(0)
        return removed

    def _hold(self, path: Path, size: int) -> BinaryIO | None:
        """Open and lock a copy, or return None where there is no good one."""
        with disk_errors(path):
            try:
                stream = path.open("rb")
            except FileNotFoundError:
                return None
            lock_shared(stream)
            if is_current(stream, path):
                if os.fstat(stream.fileno()).st_size == size:
                    return stream
                path.unlink(missing_ok=True)  # damaged: cut or written to by someone
            stream.close()
            return None

    def _fetch(self, name: str, size: int, fetch: Callable[[BinaryIO], object]) -> bool:
        """Fetch a copy unless another process does; return whether it fits the limit."""
        part, path = self._parts / name, self._copies / name
        with disk_errors(part), part.open("ab") as stream:
            lock_exclusive(stream)
            if not is_current(stream, part):
                return True  # the one we waited for has finished, or failed: look again
            if path.exists():
                part.unlink()
                return True
            stream.truncate(0)
            fits = self._make_room(size)
            try:
                fetch(stream)
                sync_file(stream)
                _require_size(name, os.fstat(stream.fileno()).st_size, size)
                part.chmod(0o444)
                part.replace(path)
            except BaseException:  # also when interrupted: leave no part behind
                part.unlink(missing_ok=True)
                raise
            return fits

    def _make_room(self, incoming: int) -> bool:
        """Drop the copies used longest ago until `incoming` bytes fit; tell whether they do."""
        with disk_errors(self.folder), exclusive(self.folder / "lock"):
            excess = self.used() + incoming - self.limit
            if excess <= 0:
                return True
            for path, facts in sorted(_files(self._copies), key=lambda file: file[1].st_mtime_ns):
                if excess > 0 and _drop(path):
                    excess -= facts.st_size
            return excess <= 0


class CachedStore:
    """A remote store whose files are read through a local cache.

    Each use asks the store for the version of the key first, so that a file replaced or
    deleted elsewhere is never served from the cache.

    Parameters
    ----------
    inner
        The remote store.
    cache
        May be shared with other stores.
    """

    def __init__(self, inner: S3Store, cache: FileCache) -> None:
        self.inner = inner
        self.cache = cache

    def put(
        self, key: str, data: Content, *, overwrite: bool = False, sha256: str | None = None
    ) -> StoredFile:
        """Store bytes remotely; nothing enters the cache before it is read."""
        return self.inner.put(key, data, overwrite=overwrite, sha256=sha256)

    def open(self, key: str) -> BinaryIO:
        """Return a stream on the local copy."""
        with self.local_path(key) as path, disk_errors(key):
            # An open file outlives its name, so dropping the copy does not disturb the reader.
            return path.open("rb")

    def read(self, key: str) -> bytes:
        """Return all bytes."""
        with self.open(key) as stream, disk_errors(key):
            return stream.read()

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        """Return bytes from the copy if there is one; else only these are fetched."""
        check_range(key, start, stop)
        entry = self.inner.stat(key)
        with self.cache.lease_if_here(self._name(entry), entry.size) as path:
            if path is None:
                return self.inner.read_range(key, start, stop)
            with disk_errors(key), path.open("rb") as stream:
                stream.seek(start)
                return stream.read(stop - start)

    def exists(self, key: str) -> bool:
        """Tell whether the remote key holds a file."""
        return self.inner.exists(key)

    def stat(self, key: str) -> StoredEntry:
        """Return size and time of the remote key."""
        return self.inner.stat(key)

    def checksum(self, key: str) -> StoredFile:
        """Read the remote bytes again, never the copy."""
        return self.inner.checksum(key)

    def delete(self, key: str) -> None:
        """Remove the remote key; a copy ages out of the cache."""
        self.inner.delete(key)

    def list(self, prefix: str = "") -> Iterator[StoredEntry]:
        """Yield the remote keys below a folder."""
        return self.inner.list(prefix)

    def signed_link(self, key: str, expires: timedelta, method: LinkMethod = "GET") -> str:
        """Return an address of the remote store."""
        return self.inner.signed_link(key, expires, method)

    @contextmanager
    def local_path(self, key: str) -> Iterator[Path]:
        """Give the local copy, which stays in the cache at least while the context lasts."""
        entry = self.inner.stat(key)

        def fetch(stream: BinaryIO) -> None:
            self.inner.fetch(entry, stream)

        with self.cache.lease(self._name(entry), entry.size, fetch) as path:
            yield path

    def check(self) -> None:
        """Check the remote store."""
        self.inner.check()

    def sweep(self, older_than: timedelta = STALE) -> int:
        """Remove what killed processes left in the store and in the cache."""
        return self.inner.sweep(older_than) + self.cache.sweep(older_than)

    def _name(self, entry: StoredEntry) -> str:
        """Name the copy for store, key and version, keeping the suffixes of the key."""
        identity = f"{self.inner.identity}\0{entry.key}\0{entry.version}"
        suffix = "".join(PurePosixPath(entry.key).suffixes[-2:])
        if not suffix.isascii() or len(suffix) > 32:
            suffix = ""
        return hashlib.sha256(identity.encode()).hexdigest() + suffix


def _files(folder: Path) -> list[tuple[Path, os.stat_result]]:
    """Files of a folder with their facts, without those that vanish meanwhile."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                found.append((Path(entry.path), entry.stat()))
            except FileNotFoundError:
                continue  # finished or dropped by another process
    return found


def _drop(path: Path) -> bool:
    """Remove a copy that nobody uses; tell whether it is gone."""
    try:
        with path.open("rb") as stream:
            if not try_lock_exclusive(stream):
                return False
            path.unlink(missing_ok=True)
            return True
    except FileNotFoundError:
        return True


def _require_size(name: str, found: int, expected: int) -> None:
    if found != expected:
        raise ChecksumMismatch(subject=name, field="size", found=found, expected=expected)
