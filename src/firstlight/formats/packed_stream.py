"""A file's bytes, unpacked as they are read; the packing is told by its bytes, not its name."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from firstlight.formats.file_errors import CorruptStream, UnreadableFile, UnsupportedCompression

__all__ = ["MAX_UNPACKED", "compression_of", "open_unpacked", "unpack_to_disk"]

# A few kilobytes can unpack to a full disk; no single exposure is this large.
MAX_UNPACKED = 4 << 30

_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz"}
_UNREAD = {
    b"PK\x03\x04": "zip",
    b"\x1f\x9d": "compress (.Z)",
    b"\x28\xb5\x2f\xfd": "zstandard",
    b"7z\xbc\xaf": "7-zip",
    b"Rar!": "rar",
}
_OPENERS: dict[str, Callable[..., Any]] = {
    "": open,
    "gzip": gzip.open,
    "bzip2": bz2.open,
    "xz": lzma.open,
}
_DAMAGE = (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError)
_CHUNK = 1 << 20


def compression_of(path: Path) -> str:
    """Return ``gzip``, ``bzip2``, ``xz`` or ``""``; raise for packings that are not read."""
    try:
        with path.open("rb") as stream:
            start = stream.read(8)
    except OSError as error:
        raise UnreadableFile(subject=path, found=error.strerror) from error
    for magic, name in _UNREAD.items():
        if start.startswith(magic):
            raise UnsupportedCompression(
                subject=path, found=name, expected="none, gzip, bzip2, xz or FITS tiles (.fz)"
            )
    return next((name for magic, name in _MAGIC.items() if start.startswith(magic)), "")


@contextmanager
def open_unpacked(path: Path) -> Iterator[tuple[BinaryIO, int | None]]:
    """Open a file for reading forwards.

    Yields
    ------
    stream, size
        `size` is the number of bytes where it is known beforehand (a file that is not
        packed), else ``None``. Damage met inside the block raises `CorruptStream`.
    """
    kind = compression_of(path)
    with _OPENERS[kind](path, "rb") as opened:
        stream = cast(BinaryIO, opened)
        try:
            yield stream, (None if kind else path.stat().st_size)
        except _DAMAGE as error:
            raise CorruptStream(subject=path, field=kind, found=str(error)) from error
        except OSError as error:
            # bz2 reports damage as a plain OSError; a real one carries an errno.
            if error.errno is None and not hasattr(error, "code"):
                raise CorruptStream(subject=path, field=kind, found=str(error)) from error
            raise


def unpack_to_disk(path: Path) -> BinaryIO:
    """Unpack a compressed file into an unnamed temporary file, so that it can be sought in.

    The memory used does not grow with the file. The caller closes the stream, and the
    temporary file is then gone.
    """
    spool = cast(BinaryIO, tempfile.TemporaryFile(prefix="firstlight-"))  # noqa: SIM115, the caller closes it
    try:
        _pour(path, spool)
    except BaseException:
        spool.close()
        raise
    spool.seek(0, io.SEEK_SET)
    return spool


def _pour(path: Path, spool: BinaryIO) -> None:
    with open_unpacked(path) as (stream, _):
        while piece := stream.read(_CHUNK):
            spool.write(piece)
            if spool.tell() > MAX_UNPACKED:
                raise CorruptStream(
                    subject=path, found=f"more than {MAX_UNPACKED} bytes when unpacked"
                )
