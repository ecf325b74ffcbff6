"""Raw photographs made here: an uncompressed DNG with an Exif folder, for the tests."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, SRATIONAL = 1, 2, 3, 4, 5, 7, 10
_SIZES = {UNDEFINED: 1, BYTE: 1, ASCII: 1, SHORT: 2, LONG: 4, RATIONAL: 8, SRATIONAL: 8}
_LETTERS = {"R": 0, "G": 1, "B": 2}
EXIF_FOLDER = 34665

EXIF: dict[int, tuple[int, Any]] = {
    33434: (RATIONAL, [(1204, 10)]),  # ExposureTime
    34855: (SHORT, [100]),  # ISO
    36867: (ASCII, "2016:09:09 08:12:26"),  # DateTimeOriginal
}


def write_dng(
    path: Path,
    mosaic: np.ndarray,
    *,
    pattern: str = "RGGB",
    black: int = 2048,
    white: int = 13_583,
    exif: dict[int, tuple[int, Any]] | None = None,
    tail: bool = False,
    **changed: Any,
) -> Path:
    """Write a mosaic ``(ny, nx)``, top row first, as a DNG.

    With `tail` the pixels come last, as in the files of cameras; `changed` are other main tags.
    """
    ny, nx = mosaic.shape
    pixels = mosaic.astype("<u2").tobytes()
    tags: dict[int, tuple[int, Any]] = {
        254: (LONG, [0]),
        256: (LONG, [nx]),
        257: (LONG, [ny]),
        258: (SHORT, [16]),
        259: (SHORT, [1]),
        262: (SHORT, [32803]),  # a colour filter array
        271: (ASCII, "Firstlight"),
        272: (ASCII, "Test Camera"),
        273: (LONG, [8]),  # the pixels come right behind the head
        274: (SHORT, [1]),
        277: (SHORT, [1]),
        278: (LONG, [ny]),
        279: (LONG, [len(pixels)]),
        284: (SHORT, [1]),
        33421: (SHORT, [2, 2]),
        33422: (BYTE, [_LETTERS[letter] for letter in pattern]),
        50706: (BYTE, [1, 4, 0, 0]),  # DNGVersion
        50707: (BYTE, [1, 1, 0, 0]),
        50708: (ASCII, "Firstlight Test Camera"),
        50710: (BYTE, [0, 1, 2]),
        50711: (SHORT, [1]),
        50714: (LONG, [black]),
        50717: (LONG, [white]),
        50721: (SRATIONAL, [(int(a == b), 1) for a in range(3) for b in range(3)]),
        50728: (RATIONAL, [(1, 2), (1, 1), (2, 3)]),  # AsShotNeutral
        50778: (SHORT, [21]),
    }
    tags |= {int(name.removeprefix("tag_")): value for name, value in changed.items()}
    exif_at = 8 if tail else 8 + len(pixels)
    exif_bytes = _folder(EXIF if exif is None else exif, exif_at)
    tags[EXIF_FOLDER] = (LONG, [exif_at])
    first_at = exif_at + len(exif_bytes)
    head = b"II*\0" + struct.pack("<I", first_at)
    if tail:
        tags[273] = (LONG, [first_at + len(_folder(tags, first_at))])
        path.write_bytes(head + exif_bytes + _folder(tags, first_at) + pixels)
    else:
        path.write_bytes(head + pixels + exif_bytes + _folder(tags, first_at))
    return path


def canon_notes(start: int) -> bytes:
    """What a Canon notes of itself: 11 C in its shot info, and its serial numbers."""
    shot_info = [0] * 34
    shot_info[0], shot_info[12] = 68, 128 + 11
    shot_info[3], shot_info[23] = 65_536 - 276, 19  # both an exposure value of -3.625
    tags = {
        0x0004: (SHORT, shot_info),
        0x000C: (LONG, [2_070_048_413]),
        0x0096: (ASCII, "HA0028608"),
    }
    return _folder(tags, start)


def _folder(tags: dict[int, tuple[int, Any]], start: int) -> bytes:
    """One image file directory with its values behind it."""
    entries, behind = b"", b""
    values_at = start + 2 + 12 * len(tags) + 4
    for tag, (kind, value) in sorted(tags.items()):
        # A folder within a folder holds places in the file, so it must know its own.
        data = value(values_at + len(behind)) if callable(value) else _encoded(kind, value)
        count = len(data) // _SIZES[kind]
        if len(data) <= 4:
            place = data.ljust(4, b"\0")
        else:
            place = struct.pack("<I", values_at + len(behind))
            behind += data + b"\0" * (len(data) % 2)
        entries += struct.pack("<HHI", tag, kind, count) + place
    return struct.pack("<H", len(tags)) + entries + b"\0\0\0\0" + behind


def _encoded(kind: int, value: Any) -> bytes:
    if kind == ASCII:
        return value.encode() + b"\0"
    if kind in (RATIONAL, SRATIONAL):
        return b"".join(struct.pack("<ii", *pair) for pair in value)
    return b"".join(struct.pack({BYTE: "<B", SHORT: "<H", LONG: "<I"}[kind], v) for v in value)
