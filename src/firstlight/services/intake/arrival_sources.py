"""Opening what an arrival points at: a file, an object of a bucket, a key of our own store."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import unquote_to_bytes, urlsplit

from firstlight.errors import InvalidInput, MissingError, RemoteError
from firstlight.formats.file_errors import EmptyFile, MissingFile, check_is_readable_file
from firstlight.storage import KeyMissing, Store

__all__ = [
    "LocalFile",
    "Offered",
    "SourceChanged",
    "SourceGone",
    "SourceOpener",
    "SourceUnreachable",
    "Sources",
    "StoredObject",
    "source_of_path",
    "version_of_path",
]

STORE_SCHEME = "store:"
_FILE_SCHEME = "file://"
# The disk or the network is at fault, not the file: worth another try.
_PASSING = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.ENOTCONN, errno.EMFILE}


class SourceGone(MissingError):
    """The file that was announced is no longer there."""

    code = "archive.source_gone"


class SourceChanged(RemoteError):
    """The file was changed while it was read; it is tried again."""

    code = "archive.source_changed"


class SourceUnreachable(RemoteError):
    """The disk or server that holds the file does not answer."""

    code = "archive.source_unreachable"


class Offered(Protocol):
    """Bytes that can be read. All methods raise `SourceGone` where they are no longer there."""

    def size(self) -> int:
        """Bytes."""
        ...

    def read(self) -> bytes:
        """Return all bytes."""
        ...

    def local_path(self) -> AbstractContextManager[Path]:
        """A path that holds the bytes while the context lasts; not to be written to."""
        ...

    def stream(self) -> AbstractContextManager[BinaryIO]:
        """A stream that fails at its end where the bytes were changed since it was asked for."""
        ...


class SourceOpener(Protocol):
    """Finds what a source names."""

    def open(self, source: str) -> Offered:
        """Return the bytes that an `Announcement.source` names; nothing is read yet."""
        ...


class LocalFile:
    """A file on this machine or a network mount."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: os.stat_result | None = None

    def size(self) -> int:
        """Bytes; refuses what is not a readable regular file that has any."""
        self._check()
        assert self._seen is not None  # noqa: S101, the check has set it
        return self._seen.st_size

    def read(self) -> bytes:
        """Return all bytes."""
        with self.stream() as stream, self._failing():
            return stream.read()

    def local_path(self) -> AbstractContextManager[Path]:
        """The path itself."""
        self._check()
        return nullcontext(self._path)

    @contextmanager
    def stream(self) -> Iterator[BinaryIO]:
        """Read forwards; at the end the file must be the one that was checked."""
        self._check()
        assert self._seen is not None  # noqa: S101, the check has set it
        with self._failing():
            opened = _Watched(self._path, self._seen)
        with opened:
            yield opened  # type: ignore[misc]  # the store only calls read()

    def _check(self) -> None:
        if self._seen is not None:
            return
        try:
            check_is_readable_file(self._path)
            self._seen = self._path.stat()
        except MissingFile as fault:
            raise SourceGone(subject=self._path, hint=fault.hint) from fault
        except OSError as fault:
            raise _explained(self._path, fault) from fault
        except Exception as fault:
            cause = fault.__cause__
            if isinstance(cause, OSError) and cause.errno in _PASSING:
                raise SourceUnreachable(subject=self._path, found=cause) from fault
            raise

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except OSError as fault:
            raise _explained(self._path, fault) from fault


class _Watched:
    """A file that refuses to end well where it is not what it was at the beginning."""

    def __init__(self, path: Path, seen: os.stat_result) -> None:
        self._path = path
        self._seen = seen
        self._stream = path.open("rb")

    def read(self, size: int = -1) -> bytes:
        try:
            piece = self._stream.read(size)
            if piece and size >= 0:
                return piece
            here, there = os.fstat(self._stream.fileno()), self._path.stat()
        except OSError as fault:
            raise _explained(self._path, fault) from fault
        else:
            if not _same(here, self._seen) or not _same(there, self._seen):
                raise SourceChanged(subject=self._path)
        return piece

    def __enter__(self) -> _Watched:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()


class StoredObject:
    """An object under a key, which nobody changes while it is read."""

    def __init__(self, store: Store, key: str, source: str) -> None:
        self._store = store
        self._key = key
        self._source = source

    def size(self) -> int:
        """Bytes."""
        with self._finding():
            found = self._store.stat(self._key).size
        if not found:
            raise EmptyFile(subject=self._source, found="0 bytes")
        return found

    def read(self) -> bytes:
        """Return all bytes."""
        with self._finding():
            return self._store.read(self._key)

    @contextmanager
    def local_path(self) -> Iterator[Path]:
        """A copy, or the store's own file."""
        with self._finding(), self._store.local_path(self._key) as path:
            yield path

    @contextmanager
    def stream(self) -> Iterator[BinaryIO]:
        """Read forwards."""
        with self._finding(), self._store.open(self._key) as stream:
            yield stream

    @contextmanager
    def _finding(self) -> Iterator[None]:
        try:
            yield
        except KeyMissing as fault:
            raise SourceGone(subject=self._source) from fault


class Sources:
    """Opens paths, ``file://`` URLs, ``s3://bucket/key`` and ``store:key``.

    Parameters
    ----------
    store
        The archive's own store.
    bucket
        Opens a bucket by its name; None where no buckets are watched.
    """

    def __init__(self, store: Store, bucket: Callable[[str], Store] | None = None) -> None:
        self._store = store
        self._bucket = bucket
        self._opened: dict[str, Store] = {}

    def open(self, source: str) -> Offered:
        """Return the bytes that a source names."""
        if source.startswith(STORE_SCHEME):
            return StoredObject(self._store, source.removeprefix(STORE_SCHEME), source)
        if source.startswith(_FILE_SCHEME):
            return LocalFile(Path(os.fsdecode(unquote_to_bytes(urlsplit(source).path))))
        if not source.startswith("s3://"):
            return LocalFile(Path(source))
        name, _, key = source.removeprefix("s3://").partition("/")
        if self._bucket is None:
            raise InvalidInput(
                "no buckets are set up here", subject=source, hint="see the settings of sources"
            )
        if name not in self._opened:
            self._opened[name] = self._bucket(name)
        return StoredObject(self._opened[name], key, source)


def source_of_path(path: Path) -> str:
    """Name a file so that any database can hold the name and `Sources` finds it again."""
    full = path.absolute()
    try:
        str(full).encode()
    except UnicodeEncodeError:
        return full.as_uri()  # the bytes of a name that is not UTF-8, written as %FF
    return str(full).replace("\0", "%00")


def version_of_path(path: Path) -> str:
    """Size and time of a file; empty where it cannot be had."""
    try:
        facts = path.stat()
    except (OSError, ValueError):
        return ""
    if not stat.S_ISREG(facts.st_mode):
        return ""
    return f"{facts.st_size}:{facts.st_mtime_ns}"


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_ino, one.st_size, one.st_mtime_ns) == (
        other.st_ino,
        other.st_size,
        other.st_mtime_ns,
    )


def _explained(path: Path, fault: OSError) -> Exception:
    if isinstance(fault, FileNotFoundError):
        return SourceGone(subject=path)
    return SourceUnreachable(subject=path, found=fault)
