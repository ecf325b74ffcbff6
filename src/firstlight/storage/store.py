"""The interface of a store, what it returns and what it raises.

A store keeps bytes under keys. A key is written once: giving it the same bytes again changes
nothing, giving it other bytes is refused, however many processes try at the same moment. What
is being written is visible to no one until it is complete and checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Literal, Protocol, TypeAlias

from firstlight.errors import ConflictError, InvalidInput, MissingError, RemoteError, UserError

__all__ = [
    "STALE",
    "ChecksumMismatch",
    "Content",
    "KeyChanged",
    "KeyMissing",
    "KeyTaken",
    "LinkExpired",
    "LinkForged",
    "LinkMethod",
    "LinksUnavailable",
    "StorageFull",
    "StorageRefused",
    "StorageUnreachable",
    "Store",
    "StoredEntry",
    "StoredFile",
]

Content: TypeAlias = bytes | Path | BinaryIO
"""What can be put: bytes, a file on disk, or a stream read from where it stands to its end."""

LinkMethod: TypeAlias = Literal["GET", "HEAD", "PUT"]

STALE = timedelta(hours=1)
"""Untouched for this long, a temporary file belongs to a writer that died."""


class KeyTaken(ConflictError):
    """The key already holds other bytes."""

    code = "storage.key_taken"


class KeyChanged(ConflictError):
    """The bytes under the key were replaced while they were being read."""

    code = "storage.key_changed"


class KeyMissing(MissingError):
    """There is nothing under the key."""

    code = "storage.key_missing"


class ChecksumMismatch(ConflictError):
    """The bytes are not the ones that were announced."""

    code = "storage.checksum"


class StorageFull(RemoteError):
    """The storage has no room left."""

    code = "storage.full"


class StorageRefused(RemoteError):
    """The storage refused access."""

    code = "storage.refused"


class StorageUnreachable(RemoteError):
    """The storage did not do its part."""

    code = "storage.unreachable"


class LinksUnavailable(UserError):
    """The store cannot make links as it is set up."""

    code = "storage.no_links"


class LinkExpired(UserError):
    """The link is no longer valid."""

    code = "storage.link_expired"


class LinkForged(UserError):
    """The link was not made by this system, or was changed."""

    code = "storage.link_forged"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """What was stored: its key, size in bytes, and checksums as lower-case hexadecimal."""

    key: str
    size: int
    sha256: str
    md5: str


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """What a store knows of a key without reading its bytes.

    `modified` is aware and in UTC, to the second on S3. `version` is opaque and changes when
    the bytes are replaced.
    """

    key: str
    size: int
    modified: datetime
    version: str


class Store(Protocol):
    """Bytes under keys.

    Every method that takes a key raises `BadKey` for one that is not valid, and
    `StorageUnreachable` or `StorageRefused` when the disk or server fails; those that read
    raise `KeyMissing` where there is nothing.
    """

    def put(
        self, key: str, data: Content, *, overwrite: bool = False, sha256: str | None = None
    ) -> StoredFile:
        """Store `data` under `key`, all of it or nothing.

        It is read once, in pieces, while its checksums are computed. Without `overwrite` a key
        that holds the same bytes is left as it is and its facts returned.

        Parameters
        ----------
        sha256
            The expected checksum in hexadecimal.

        Raises
        ------
        KeyTaken
            The key holds other bytes, which stay; or it is a folder of other keys.
        ChecksumMismatch
            `data` does not have the expected checksum. Nothing was stored.
        StorageFull
            There is no room. Nothing was stored.
        BadFile
            `data` is a path that cannot be read. Nothing was stored.
        """
        ...

    def open(self, key: str) -> BinaryIO:
        """Return a seekable stream for reading. The caller closes it."""
        ...

    def read(self, key: str) -> bytes:
        """Return all bytes."""
        ...

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        """Return the bytes ``[start, stop)``, cut at the end of the file as slices are."""
        ...

    def exists(self, key: str) -> bool:
        """Tell whether the key holds a file."""
        ...

    def stat(self, key: str) -> StoredEntry:
        """Return size and time without reading the bytes."""
        ...

    def checksum(self, key: str) -> StoredFile:
        """Read the stored bytes again and return their true size and checksums."""
        ...

    def delete(self, key: str) -> None:
        """Remove the key. One that does not exist is no error."""
        ...

    def list(self, prefix: str = "") -> Iterator[StoredEntry]:
        """Yield what lies below a folder, by key in the order of code points.

        `prefix` names whole segments: ``night/1`` finds ``night/1/a``, neither ``night/1``
        nor ``night/10/a``. Files in the making are never among them.
        """
        ...

    def signed_link(self, key: str, expires: timedelta, method: LinkMethod = "GET") -> str:
        """Return an address under which anyone may use one method on one key for a while.

        The key need not exist.

        Raises
        ------
        LinksUnavailable
            The store was opened without what links need.
        """
        ...

    def local_path(self, key: str) -> AbstractContextManager[Path]:
        """Give a path on this machine that holds the bytes while the context lasts.

        The file is the store's own: read it, never write to it.
        """
        ...

    def check(self) -> None:
        """Raise `StorageUnreachable` or `StorageRefused` where the store cannot be used."""
        ...

    def sweep(self, older_than: timedelta = STALE) -> int:
        """Remove what killed writers left behind; return how many files that were."""
        ...


def check_range(key: str, start: int, stop: int) -> None:
    """Refuse ranges that no file can have."""
    if start < 0 or stop < start:
        raise InvalidInput(
            "a byte range must not be negative",
            subject=key,
            found=f"[{start}, {stop})",
            expected="0 <= start <= stop",
        )
