"""Where everything is in a FITS file: its headers and sizes, read without its pixels.

The headers are scanned here rather than by astropy, because a scanner that knows what it
expects can say what it found instead, and because it never believes a declared size before it
has seen that the file is that long.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, BinaryIO

from astropy.io.fits import Header

from firstlight.formats import fits_errors as bad
from firstlight.formats.fits_cards import CARD, clean_header

__all__ = ["BLOCK", "MAX_CARDS", "MAX_PIXELS", "Hdu", "scan"]

BLOCK = 2880
MAX_CARDS = 200_000
MAX_PIXELS = 1 << 29  # 2 GiB as float32; the largest detector sections have a fifth of it
_BITPIX = (8, 16, 32, 64, -32, -64)
_INTEGER = re.compile(rb"^[ ]*([+-]?\d+)\.?[ ]*(/.*)?$", re.DOTALL)
_TEXT = bytes(range(0x20, 0x7F))
_CHUNK = 1 << 20
_PICTURES = {
    b"\xff\xd8\xff": "a JPEG picture",
    b"\x89PNG": "a PNG picture",
    b"II*\0": "a TIFF picture",
    b"MM\0*": "a TIFF picture",
}


@dataclass(frozen=True)
class Hdu:
    """One header and its data unit.

    Attributes
    ----------
    index
        Place in the file, the primary HDU is 0.
    name
        EXTNAME in capitals, or ``""``.
    kind
        ``image``, ``tiles`` (a compressed image), ``table``, ``empty`` or ``other``.
    shape
        Axes as numpy orders them, slowest first; for ``tiles`` those of the unpacked image.
    bitpix
        Of the (unpacked) image.
    start, size
        First byte and number of bytes of the data unit, without its padding.
    raw
        The bytes of the header, without END.
    """

    index: int
    name: str
    kind: str
    shape: tuple[int, ...]
    bitpix: int
    start: int
    size: int
    raw: bytes = field(repr=False)

    @cached_property
    def _parsed(self) -> tuple[Header, tuple[str, ...]]:
        return clean_header(self.raw)

    @property
    def header(self) -> Header:
        """The cards; safe to use, see `clean_header`."""
        return self._parsed[0].copy()

    def cards(self, *keywords: str) -> Header:
        """These cards alone, where they are there: much quicker than the whole header."""
        wanted = {keyword.encode() for keyword in keywords}
        lines = (self.raw[at : at + CARD] for at in range(0, len(self.raw), CARD))
        return clean_header(b"".join(line for line in lines if line[:8].rstrip() in wanted))[0]

    @property
    def notes(self) -> tuple[str, ...]:
        """What had to be repaired in the header."""
        return self._parsed[1]

    @property
    def label(self) -> str:
        """How messages call this HDU."""
        return f"HDU {self.index}" + (f" ({self.name})" if self.name else "")

    @property
    def is_image(self) -> bool:
        """Whether it holds pixels, of any number of axes."""
        return self.kind in ("image", "tiles")

    def plane_shape(self, subject: object) -> tuple[int, int]:
        """Return ``(ny, nx)`` of a single plane, or raise what is wrong with the axes."""
        where: dict[str, Any] = {
            "subject": subject,
            "field": self.label,
            "found": f"axes {self.shape[::-1]}",
        }
        if 0 in self.shape:
            raise bad.EmptyImage(**where)
        if len(self.shape) < 2 or 1 in self.shape[-2:]:
            raise bad.NotTwoDimensional(expected="two axes longer than one pixel", **where)
        if math.prod(self.shape[:-2]) != 1:
            raise bad.Cube(
                expected="NAXIS = 2, or further axes of length 1",
                hint="split the planes into separate files",
                **where,
            )
        return self.shape[-2], self.shape[-1]


def scan(stream: BinaryIO, subject: object, size: int | None = None) -> Iterator[Hdu]:
    """Walk through the HDUs of a FITS stream, one at a time, skipping the pixels.

    Parameters
    ----------
    stream
        Readable, at its start.
    subject
        What errors call the file.
    size
        Number of bytes of a stream that can seek; without it pixels are read to skip them.

    Yields
    ------
    Hdu
        Each is checked when it is reached, so the first header of a long file is quick. Bytes
        after the last HDU that are not a header are ignored, as the standard asks.
    """
    index = 0
    while True:
        raw = _read_header(stream, index, subject)
        if raw is None:
            return
        start = stream.tell()
        hdu = _describe(raw, index, start, subject)
        yield hdu
        _skip(stream, hdu, subject, size)
        index += 1


def _read_header(stream: BinaryIO, index: int, subject: object) -> bytes | None:
    """Return the cards before END; None where the file has properly ended."""
    first = stream.read(BLOCK)
    if index == 0:
        _check_is_fits(first, subject)
    elif not first.startswith(b"XTENSION"):
        return None
    pieces, cards = [], 0
    block = first
    while True:
        end = _find_end(block)
        if end is not None:
            pieces.append(block[:end])
            return b"".join(pieces)
        if len(block) < BLOCK:
            _no_end(b"".join([*pieces, block]), index, subject)
        if cards and _looks_like_data(block):
            raise bad.NoEndCard(subject=subject, field=f"HDU {index}")
        pieces.append(block)
        cards += BLOCK // CARD
        if cards > MAX_CARDS:
            raise bad.HeaderTooLarge(
                subject=subject, field=f"HDU {index}", expected=f"at most {MAX_CARDS} cards"
            )
        block = stream.read(BLOCK)


def _check_is_fits(first: bytes, subject: object) -> None:
    start = first[:CARD].decode("latin-1").rstrip()
    if not first.startswith(b"SIMPLE"):
        known = (what for begin, what in _PICTURES.items() if first.startswith(begin))
        found = next(known, repr(start[:30]))
        raise bad.NotFits(subject=subject, found=found, expected="'SIMPLE  ='")
    if len(first) < CARD:
        raise bad.TruncatedHeader(subject=subject, found=f"{len(first)} bytes")
    if first[8:CARD].split(b"/")[0].replace(b"=", b"").strip() != b"T":
        raise bad.NotFits(subject=subject, field="SIMPLE", found=start[8:30].strip(), expected="T")


def _find_end(block: bytes) -> int | None:
    for at in range(0, len(block) - 2, CARD):
        if block[at : at + 3] == b"END" and not block[at + 3 : at + CARD].strip(b" \0"):
            return at
    return None


def _no_end(raw: bytes, index: int, subject: object) -> None:
    """Tell a header that was cut from one that never ended."""
    whole_cards = len(raw) % CARD == 0 and len(raw) % BLOCK == 0
    error = bad.NoEndCard if whole_cards else bad.TruncatedHeader
    raise error(
        subject=subject, field=f"HDU {index}", found=f"{len(raw)} bytes of header without END"
    )


def _looks_like_data(block: bytes) -> bool:
    """Whether most of a block is not text: the pixels, reached because END is missing."""
    return len(block.translate(None, _TEXT)) > 0.4 * len(block)


def _integer(cards: dict[bytes, bytes], keyword: str, where: dict[str, Any]) -> int:
    raw = cards.get(keyword.encode())
    if raw is None:
        raise bad.BadStructureCard(f"The card {keyword} is missing.", field=keyword, **where)
    match = _INTEGER.match(raw)
    if not match:
        raise bad.BadStructureCard(
            field=keyword, found=raw.decode("latin-1").strip(), expected="a whole number", **where
        )
    return int(match[1])


def _structure(raw: bytes, where: dict[str, Any]) -> dict[bytes, bytes]:
    """Collect the cards with a value; the first of two equal names counts, as in astropy."""
    cards: dict[bytes, bytes] = {}
    for at in range(0, len(raw), CARD):
        card = raw[at : at + CARD]
        if card[8:9] != b"=":
            continue
        keyword, value = card[:8].strip(), card[9:]
        if keyword in cards and re.match(rb"^(BITPIX|NAXIS\d*|PCOUNT|GCOUNT)$", keyword):
            _same_twice(keyword, cards[keyword], value, where)
        cards.setdefault(keyword, value)
    return cards


def _same_twice(keyword: bytes, one: bytes, two: bytes, where: dict[str, Any]) -> None:
    if one.split(b"/")[0].strip() != two.split(b"/")[0].strip():
        raise bad.BadStructureCard(
            f"The card {keyword.decode()} appears twice with different values.",
            field=keyword.decode(),
            found=" and ".join(v.split(b"/")[0].decode("latin-1").strip() for v in (one, two)),
            **where,
        )


def _axes(cards: dict[bytes, bytes], prefix: str, where: dict[str, Any]) -> tuple[int, ...]:
    """Return the axes, slowest first."""
    naxis = _integer(cards, f"{prefix}NAXIS", where)
    if not 0 <= naxis <= 999:
        raise bad.BadStructureCard(
            field=f"{prefix}NAXIS", found=naxis, expected="0 to 999", **where
        )
    lengths = [_integer(cards, f"{prefix}NAXIS{n}", where) for n in range(1, naxis + 1)]
    surplus = f"{prefix}NAXIS{naxis + 1}"
    if surplus.encode() in cards and naxis:
        raise bad.BadStructureCard(
            f"{prefix}NAXIS = {naxis}, yet there is a card {surplus}.", field=surplus, **where
        )
    for number, length in enumerate(lengths, start=1):
        if length < 0:
            raise bad.BadStructureCard(
                field=f"{prefix}NAXIS{number}", found=length, expected="0 or more", **where
            )
    return tuple(reversed(lengths))


def _bitpix(cards: dict[bytes, bytes], keyword: str, where: dict[str, Any]) -> int:
    bitpix = _integer(cards, keyword, where)
    if bitpix not in _BITPIX:
        raise bad.BadBitpix(field=keyword, found=bitpix, expected=f"one of {_BITPIX}", **where)
    return bitpix


def _text(cards: dict[bytes, bytes], keyword: bytes) -> str:
    match = re.match(rb"^\s*'((?:[^']|'')*)'", cards.get(keyword, b""))
    return match[1].decode("latin-1").strip() if match else ""


def _is_true(cards: dict[bytes, bytes], keyword: bytes) -> bool:
    return cards.get(keyword, b"").split(b"/")[0].strip() == b"T"


def _describe(raw: bytes, index: int, start: int, subject: object) -> Hdu:
    where: dict[str, Any] = {"subject": subject}
    cards = _structure(raw, where)
    bitpix = _bitpix(cards, "BITPIX", where)
    shape = _axes(cards, "", where)
    extension = _text(cards, b"XTENSION")
    pcount = _integer(cards, "PCOUNT", where) if b"PCOUNT" in cards else 0
    gcount = _integer(cards, "GCOUNT", where) if b"GCOUNT" in cards else 1
    if pcount < 0 or gcount < 1:
        raise bad.BadStructureCard(
            field="PCOUNT" if pcount < 0 else "GCOUNT",
            found=pcount if pcount < 0 else gcount,
            expected="PCOUNT >= 0 and GCOUNT >= 1",
            **where,
        )
    grouped = index == 0 and _is_true(cards, b"GROUPS") and shape[-1:] == (0,)
    elements = math.prod(shape[:-1] if grouped else shape) if shape else 0
    size = abs(bitpix) // 8 * gcount * (pcount + elements)
    kind = _kind(index, extension, shape, grouped)
    if kind == "table" and _is_true(cards, b"ZIMAGE"):
        kind, rows = "tiles", shape[0]
        bitpix = _bitpix(cards, "ZBITPIX", where)
        shape = _axes(cards, "Z", where)
        _check_tiles(cards, shape, rows, where)
    if kind in ("image", "tiles") and math.prod(shape) > MAX_PIXELS:
        raise bad.AbsurdSize(
            field="NAXISn",
            found=" x ".join(str(n) for n in reversed(shape)),
            expected=f"at most {MAX_PIXELS} pixels",
            **where,
        )
    name = _text(cards, b"EXTNAME").upper()
    return Hdu(index, name, kind, shape, bitpix, start, size, raw)


def _kind(index: int, extension: str, shape: tuple[int, ...], grouped: bool) -> str:
    if index == 0 or extension in ("IMAGE", "IUEIMAGE"):
        if grouped:
            return "other"
        return "image" if shape else "empty"
    return "table" if extension in ("BINTABLE", "A3DTABLE", "TABLE") else "other"


def _check_tiles(
    cards: dict[bytes, bytes], shape: tuple[int, ...], rows: int, where: dict[str, Any]
) -> None:
    """The declared image must be as large as the tiles that are there."""
    tiles = 1
    for number, length in enumerate(reversed(shape), start=1):
        keyword = f"ZTILE{number}"
        default = length if number == 1 else 1
        tile = _integer(cards, keyword, where) if keyword.encode() in cards else default
        if tile < 1:
            raise bad.BadTiles(field=keyword, found=tile, expected="1 or more", **where)
        tiles *= -(-length // tile)
    if tiles != rows:
        raise bad.BadTiles(
            "The number of tiles does not match the size of the image.",
            field="ZNAXISn",
            found=f"{rows} tiles for axes {shape[::-1]}",
            expected=f"{tiles} tiles",
            **where,
        )


def _skip(stream: BinaryIO, hdu: Hdu, subject: object, size: int | None) -> None:
    """Go to the next header; be sure that all declared data are there."""
    end = hdu.start + hdu.size
    reached = _advance(stream, end, size)
    if reached < end:
        raise bad.TruncatedData(
            subject=subject,
            field=hdu.label,
            found=f"{max(0, reached - hdu.start)} bytes of data",
            expected=f"{hdu.size} bytes",
            hint="the file was cut short; transfer it again",
        )
    _advance(stream, hdu.start + -(-hdu.size // BLOCK) * BLOCK, size)


def _advance(stream: BinaryIO, target: int, size: int | None) -> int:
    """Move to a byte, at most to the end of the stream; return the place reached."""
    if size is not None:
        return stream.seek(min(target, size))
    place = stream.tell()
    while place < target:
        piece = stream.read(min(_CHUNK, target - place))
        if not piece:
            break
        place += len(piece)
    return place
