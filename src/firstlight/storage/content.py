"""Content read once, in pieces, with its checksums counted on the way."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from firstlight.errors import BadFile
from firstlight.storage.store import ChecksumMismatch, Content, StoredFile

__all__ = ["PIECE", "Counted", "counted", "pieces_of"]

PIECE = 1 << 20
"""Bytes handled at a time: large enough to be fast, small enough to stay in the CPU's cache."""


class Counted:
    """Size and checksums of what has passed so far."""

    def __init__(self) -> None:
        self.size = 0
        self._sha256 = hashlib.sha256()
        # md5 is kept for old clients that compare it, not for safety.
        self._md5 = hashlib.md5(usedforsecurity=False)

    def add(self, piece: bytes) -> None:
        """Count one more piece."""
        self.size += len(piece)
        self._sha256.update(piece)
        self._md5.update(piece)

    def stored_as(self, key: str, expected_sha256: str | None = None) -> StoredFile:
        """Return the facts of everything that passed.

        Raises
        ------
        ChecksumMismatch
            When a checksum is expected and differs.
        """
        found = self._sha256.hexdigest()
        if expected_sha256 is not None and not hmac.compare_digest(
            found.encode(), expected_sha256.lower().encode()
        ):
            raise ChecksumMismatch(
                subject=key,
                field="sha256",
                found=found,
                expected=expected_sha256,
                hint="the file was cut or changed on its way; send it again",
            )
        return StoredFile(key, self.size, found, self._md5.hexdigest())


def counted(key: str, pieces: Iterable[bytes]) -> StoredFile:
    """Return the facts of a stream that is read to its end and dropped."""
    count = Counted()
    for piece in pieces:
        count.add(piece)
    return count.stored_as(key)


def pieces_of(data: Content) -> Iterator[bytes]:
    """Yield the content in pieces of at most `PIECE` bytes; close only what was opened here.

    Raises
    ------
    BadFile
        When a path cannot be read. Errors of a stream pass through as they are.
    """
    if isinstance(data, Path):
        yield from _pieces_of_file(data)
    elif isinstance(data, bytes | bytearray | memoryview):
        whole = memoryview(data)
        for start in range(0, len(whole), PIECE):
            yield bytes(whole[start : start + PIECE])
    else:
        yield from pieces_of_stream(data)


def pieces_of_stream(stream: BinaryIO) -> Iterator[bytes]:
    """Yield what is left of an open stream."""
    while piece := stream.read(PIECE):
        yield piece


def _pieces_of_file(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as stream:
            yield from pieces_of_stream(stream)
    except OSError as error:
        raise BadFile("the file to store cannot be read", subject=path, found=error) from error
