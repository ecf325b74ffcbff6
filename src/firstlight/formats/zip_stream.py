"""Zip archives of any size, made while they are sent: no copy on disk, little memory.

The same members give the same bytes (with the same version of zlib).
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO

from firstlight.errors import BadFile

__all__ = ["MemberChanged", "ZipMember", "safe_member_name", "stream_zip"]

_PIECE = 256 << 10
# Zip has no times before 1980; without one a member has this.
_NO_TIME = (1980, 1, 1, 0, 0, 0)
_PACKED = (".fz", ".gz", ".bz2", ".xz", ".zst", ".zip", ".jpg", ".jpeg", ".png", ".mp4", ".cr2")
_UNSAFE = re.compile(r'[\x00-\x1f\x7f\\:*?"<>|\ud800-\udfff]')
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


class MemberChanged(BadFile):
    """A file was not as long as it was said to be; the archive was ended there."""

    code = "zip.member_changed"


@dataclass(frozen=True)
class ZipMember:
    """One file of an archive.

    Attributes
    ----------
    name
        Its path in the archive; made safe by `safe_member_name`.
    open
        Called when its turn comes; the stream is read once and closed.
    size
        Bytes, where they are known: checked, and members below 4 GiB then need no ZIP64.
    modified
        Aware; the archive keeps it in UTC to two seconds.
    """

    name: str
    open: Callable[[], BinaryIO]
    size: int | None = None
    modified: datetime | None = None


def stream_zip(members: Iterable[ZipMember]) -> Iterator[bytes]:
    """Pack files into a zip archive, piece by piece.

    Parameters
    ----------
    members
        In the order they shall have. Of two with one name the second becomes ``name-2``.

    Yields
    ------
    bytes
        The archive. Members packed already (by their suffix) are stored, others deflated.
        An error of a member's stream is passed on: what was sent then has no directory, so no
        program takes it for a whole archive. Closing the generator closes the open member.
    """
    sink = _Sink()
    taken: set[str] = set()
    # Not a `with`: after an error the directory must not be written.
    archive = zipfile.ZipFile(sink, "w", allowZip64=True)
    for member in members:
        info = _info(member, taken)
        with member.open() as stream:
            yield from _pack(archive, sink, info, stream, member.size)
    archive.close()
    yield sink.take()


def _pack(
    archive: zipfile.ZipFile,
    sink: _Sink,
    info: zipfile.ZipInfo,
    stream: BinaryIO,
    expected: int | None,
) -> Iterator[bytes]:
    size = 0
    with archive.open(info, "w", force_zip64=expected is None) as target:
        while piece := stream.read(_PIECE):
            size += len(piece)
            if expected is not None and size > expected:
                break  # before a member can outgrow a header that has no room for its size
            target.write(piece)
            if packed := sink.take():
                yield packed
    if expected is not None and size != expected:
        raise MemberChanged(subject=info.filename, found=f"{size} bytes", expected=expected)
    yield sink.take()


def _info(member: ZipMember, taken: set[str]) -> zipfile.ZipInfo:
    name = _free_name(safe_member_name(member.name), taken)
    info = zipfile.ZipInfo(name, _zip_time(member.modified))
    packed = name.lower().endswith(_PACKED)
    info.compress_type = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
    info.create_system = 3  # Unix, wherever this runs
    info.external_attr = 0o100644 << 16
    info.file_size = member.size or 0
    return info


def _free_name(name: str, taken: set[str]) -> str:
    """A name no other member has, also where upper and lower case are one."""
    folder, slash, last = name.rpartition("/")
    stem, dot, suffixes = last.partition(".")
    free, number = name, 1
    while free.casefold() in taken:
        number += 1
        free = f"{folder}{slash}{stem}-{number}{dot}{suffixes}"
    taken.add(free.casefold())
    return free


def safe_member_name(name: str) -> str:
    """Make a path that unpacks below the folder it is unpacked in, on every system.

    Absolute paths, ``..``, empty parts, control characters, letters that Windows refuses and
    its device names are replaced; a plain relative path comes back unchanged.
    """
    parts = [_UNSAFE.sub("_", part).rstrip(". ") for part in name.replace("\\", "/").split("/")]
    kept = [f"_{part}" if _DEVICES.fullmatch(part) else part for part in parts if part]
    return "/".join(kept) or "_"


def _zip_time(when: datetime | None) -> tuple[int, int, int, int, int, int]:
    if when is None:
        return _NO_TIME
    utc = when.astimezone(UTC)
    if not 1980 <= utc.year <= 2107:
        return _NO_TIME
    return (utc.year, utc.month, utc.day, utc.hour, utc.minute, utc.second)


class _Sink(io.RawIOBase):
    """Where the archive is written to: gives back what has come since it was last asked."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(data)  # type: ignore[call-overload]  # any buffer, as of every raw stream
        self._pieces.append(piece)
        return len(piece)

    def take(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken
