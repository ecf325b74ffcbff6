"""Exif data of raw photographs that are built as TIFF: CR2, NEF, DNG, ARW, PEF, ORF, RW2.

Files come from anywhere, so each count and place is checked against the file before it is used.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["ExifTags", "read_exif"]

MOST_FOLDERS = 32
MOST_ENTRIES = 1024
LONGEST_VALUE = 1 << 16
_MAGIC = {b"II": "<", b"MM": ">"}
_KINDS = (42, 0x4F52, 0x5352, 0x55)  # TIFF itself, Olympus (two), Panasonic
# Type: letter of struct, and how many of them make one value.
_TYPES = {
    1: ("B", 1), 2: ("s", 1), 3: ("H", 1), 4: ("I", 1), 5: ("I", 2), 6: ("b", 1), 7: ("B", 1),
    8: ("h", 1), 9: ("i", 1), 10: ("i", 2), 11: ("f", 1), 12: ("d", 1),
}  # fmt: skip
_SUB_FOLDERS, _EXIF_FOLDER, _MAKER_NOTE = 330, 34665, 37500
# Where the pixels are, and how many bytes: in strips, in tiles, and of a preview.
_PLACES = ((273, 279), (324, 325), (513, 514))
_NAMES = {
    271: "Make", 272: "Model", 33434: "ExposureTime", 33437: "FNumber", 34855: "ISO",
    36867: "DateTimeOriginal", 36881: "OffsetTimeOriginal", 37386: "FocalLength",
    37521: "SubSecTimeOriginal", 42033: "BodySerialNumber",
}  # fmt: skip
_CANON_SHOT_INFO, _CANON_SERIAL, _CANON_INTERNAL_SERIAL = 0x0004, 0x000C, 0x0096


@dataclass(frozen=True)
class ExifTags:
    """What was found.

    Attributes
    ----------
    values
        By the names of the Exif standard: text, or a number. Of a Canon also
        ``CameraTemperature`` (Celsius), ``MeasuredEV``, ``MeasuredEV2``, ``SerialNumber`` and
        ``InternalSerialNumber``.
    end
        Byte behind the last one of all pixels that the file promises; 0 where it says nothing.
    """

    values: dict[str, float | str] = field(default_factory=dict)
    end: int = 0


def read_exif(path: str | os.PathLike[str]) -> ExifTags:
    """Read the tags of one file; nothing where it is not built as TIFF or is damaged there."""
    with Path(path).open("rb") as stream:
        reader = _Reader(stream)
        try:
            return reader.read()
        except (struct.error, OverflowError, ValueError):
            return ExifTags()


@dataclass(frozen=True)
class _Entry:
    """One tag: its values, and where in the file they begin."""

    values: tuple[Any, ...]
    start: int

    def number(self) -> float | None:
        first = self.values[0] if self.values else None
        return float(first) if isinstance(first, int | float) else None

    def text(self) -> str:
        joined = b"".join(value for value in self.values if isinstance(value, bytes))
        return joined.split(b"\0")[0].decode("utf-8", "replace").strip()


class _Reader:
    """Walks through the folders of one file, each once."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._size = stream.seek(0, os.SEEK_END)
        self._order = "<"
        self._seen: set[int] = set()
        self._values: dict[str, float | str] = {}
        self._end = 0

    def read(self) -> ExifTags:
        head = self._bytes(0, 8)
        order = _MAGIC.get(head[:2])
        if order is None or len(head) < 8:
            return ExifTags()
        self._order = order
        kind, start = struct.unpack(f"{order}HI", head[2:8])
        if kind not in _KINDS:
            return ExifTags()
        self._walk(start)
        return ExifTags(self._values, self._end)

    def _bytes(self, start: int, count: int) -> bytes:
        if start < 0 or start + count > self._size:
            return b""
        self._stream.seek(start)
        return self._stream.read(count)

    def _walk(self, start: int) -> None:
        """Read a folder, those behind it and those in it."""
        waiting = [start]
        while waiting and len(self._seen) < MOST_FOLDERS:
            place = waiting.pop(0)
            if place == 0 or place in self._seen:
                continue
            self._seen.add(place)
            entries, following = self._folder(place)
            waiting.append(following)
            for tag in (_SUB_FOLDERS, _EXIF_FOLDER):
                if tag in entries:
                    waiting += [int(v) for v in entries[tag].values if isinstance(v, int)]
            self._keep(entries)

    def _folder(self, start: int) -> tuple[dict[int, _Entry], int]:
        """Entries by tag, and where the following folder is."""
        head = self._bytes(start, 2)
        if len(head) < 2:
            return {}, 0
        count = struct.unpack(f"{self._order}H", head)[0]
        table = self._bytes(start + 2, 12 * count + 4)
        if count > MOST_ENTRIES or not table:
            return {}, 0
        entries: dict[int, _Entry] = {}
        for number in range(count):
            tag, kind, length = struct.unpack_from(f"{self._order}HHI", table, 12 * number)
            entry = self._entry(kind, length, start + 2 + 12 * number + 8)
            if entry is not None:
                entries.setdefault(tag, entry)
        return entries, struct.unpack_from(f"{self._order}I", table, 12 * count)[0]

    def _entry(self, kind: int, length: int, place: int) -> _Entry | None:
        if kind not in _TYPES:
            return None
        letter, parts = _TYPES[kind]
        size = struct.calcsize(f"={letter}") * parts * length
        if size > 4:
            place = struct.unpack(f"{self._order}I", self._bytes(place, 4))[0]
        if size > LONGEST_VALUE or place + size > self._size:
            return _Entry((), place)  # a long one: only its place may be of use
        raw = self._bytes(place, size)
        if letter == "s":
            return _Entry((raw,), place)
        found = struct.unpack(f"{self._order}{length * parts}{letter}", raw)
        if parts == 2:
            pairs = zip(found[::2], found[1::2], strict=True)
            found = tuple(above / below for above, below in pairs if below)
        return _Entry(found, place)

    def _keep(self, entries: dict[int, _Entry]) -> None:
        for tag, name in _NAMES.items():
            if tag in entries:
                self._set(name, entries[tag].number() or entries[tag].text())
        for places, counts in _PLACES:
            if places in entries and counts in entries:
                pairs = zip(entries[places].values, entries[counts].values, strict=False)
                self._end = max([self._end, *(int(start + count) for start, count in pairs)])
        made_by = str(self._values.get("Make", ""))
        if _MAKER_NOTE in entries and made_by.lower().startswith("canon"):
            notes, _ = self._folder(entries[_MAKER_NOTE].start)
            self._keep_canon(notes)

    def _keep_canon(self, notes: dict[int, _Entry]) -> None:
        info = notes[_CANON_SHOT_INFO].values if _CANON_SHOT_INFO in notes else ()
        if len(info) > 23:
            if info[12]:
                self._set("CameraTemperature", float(info[12] - 128))
            signed = info[3] - (1 << 16 if info[3] >= 1 << 15 else 0)
            self._set("MeasuredEV", signed / 32 + 5)
            if info[23]:
                self._set("MeasuredEV2", info[23] / 8 - 6)
        if _CANON_SERIAL in notes:
            number = notes[_CANON_SERIAL].number()
            self._set("SerialNumber", "" if number is None else f"{int(number):012d}")
        if _CANON_INTERNAL_SERIAL in notes:
            self._set("InternalSerialNumber", notes[_CANON_INTERNAL_SERIAL].text())

    def _set(self, name: str, value: float | str) -> None:
        """The first folder that tells something counts."""
        if value != "":
            self._values.setdefault(name, value)
