"""The planes of a calibrated image, in one FITS file or one for each plane.

What is written depends on the planes and the header alone, byte for byte, so that equal
products have equal checksums.
"""

from __future__ import annotations

import io
import os
import tempfile
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from astropy.io import fits
from astropy.io.fits import Card, Header
from numpy.typing import NDArray

from firstlight.errors import InvalidInput
from firstlight.formats import fits_errors as bad
from firstlight.formats.fits_cards import STRUCTURAL, is_blank, writable_cards
from firstlight.formats.fits_file import FitsFile
from firstlight.formats.fits_layout import BLOCK, scan

__all__ = [
    "PLANE_EXTENSIONS",
    "Planes",
    "encode_planes",
    "encode_sections",
    "read_planes",
    "write_planes",
]

PLANE_EXTENSIONS = (".image.fits", ".weight.fits", ".flags.fits")
_NAMES = ("DATA", "WEIGHT", "FLAGS")
# BITPIX and BZERO of the types of numpy that FITS can hold as they are.
_STORED = {
    "u1": (8, 0),
    "i2": (16, 0),
    "u2": (16, 1 << 15),
    "i4": (32, 0),
    "u4": (32, 1 << 31),
    "f4": (-32, 0),
}
_STRIP = 1 << 20  # bytes that are swapped and written at a time: they stay in the cache


@dataclass
class Planes:
    """The arrays of an image, each of shape ``(ny, nx)``, and its header.

    Attributes
    ----------
    data
        float32, electrons.
    weight
        float32, inverse variance; zero where there is no value.
    flags
        uint16, see `algorithms.flags`.
    header
        Cards without those that describe the file's layout.
    extras
        Further float32 planes by name, such as ``score`` or ``psf``; of any 2-D shape.
    """

    data: NDArray[np.float32]
    weight: NDArray[np.float32]
    flags: NDArray[np.uint16]
    header: dict[str, Any] = field(default_factory=dict)
    extras: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.data = np.asarray(self.data, dtype=np.float32)
        self.weight = np.asarray(self.weight, dtype=np.float32)
        self.flags = np.asarray(self.flags, dtype=np.uint16)
        if self.data.ndim != 2 or not self.data.shape == self.weight.shape == self.flags.shape:
            raise InvalidInput(
                "The planes of an image must have one shape.",
                found=f"data {self.data.shape}, weight {self.weight.shape}, "
                f"flags {self.flags.shape}",
            )


def encode_planes(
    planes: Planes, *, single_file: bool = True, packed: bool = False
) -> dict[str, bytes]:
    """Encode the planes of an image.

    Parameters
    ----------
    single_file
        One file, the image first and WEIGHT, FLAGS and the extras as extensions, or a file
        for each plane (the extras go with the image). The header is the same in all.
    packed
        Tile-compress with RICE: lossless for the flags, quantised to a sixteenth of the noise
        for the rest.

    Returns
    -------
    dict
        The bytes of each file under the end of its name: ``.fits`` (``.fits.fz`` where
        packed) for a single file, else `PLANE_EXTENSIONS`.
    """
    end = ".fz" if packed else ""
    files = {}
    for extension, arrays in _files(planes, single_file=single_file).items():
        stream = io.BytesIO()
        _write(stream, writable_cards(planes.header), arrays, packed=packed)
        files[extension + end] = stream.getvalue()
    return files


def write_planes(
    path: str | os.PathLike[str],
    planes: Planes,
    *,
    single_file: bool = True,
    packed: bool = False,
) -> list[Path]:
    """Write the planes of an image to disk, with little memory; see `encode_planes`.

    Parameters
    ----------
    path
        The file; with ``single_file=False`` its beginning, which `PLANE_EXTENSIONS` complete.

    Returns
    -------
    list of Path
        Each file appears whole or not at all: it is written beside its place and renamed.
    """
    base = os.fspath(path)
    written = []
    for extension, arrays in _files(planes, single_file=single_file).items():
        target = Path(base if single_file else base + extension)
        with written_whole(target) as stream:
            _write(stream, writable_cards(planes.header), arrays, packed=packed)
        written.append(target)
    return written


def encode_sections(header: Mapping[str, Any], sections: Mapping[str, NDArray[Any]]) -> bytes:
    """Encode raw sections as a camera would write them.

    Parameters
    ----------
    header
        The global cards.
    sections
        Arrays ``(ny, nx)`` by section id. A single one becomes the primary image; several
        become extensions named by their ids, and the primary HDU has the cards alone.

    Returns
    -------
    bytes
        Integers of 8, 16 and 32 bits are kept; everything else is written as float32.
    """
    cards = writable_cards(header)
    stream = io.BytesIO()
    if len(sections) == 1:
        (array,) = sections.values()
        _write_hdu(stream, cards, _storable(array), "", first=True)
        return stream.getvalue()
    _write_header(stream, [Card("SIMPLE", True), Card("BITPIX", 8), Card("NAXIS", 0)], cards)
    for name, array in sections.items():
        _write_hdu(stream, [], _storable(array), name, first=False)
    return stream.getvalue()


def _files(planes: Planes, *, single_file: bool) -> dict[str, dict[str, NDArray[Any]]]:
    """Which planes go to which file."""
    arrays: tuple[NDArray[Any], ...] = (planes.data, planes.weight, planes.flags)
    extras = {name.upper(): np.asarray(a, np.float32) for name, a in planes.extras.items()}
    if single_file:
        named: dict[str, NDArray[Any]] = dict(zip(_NAMES, arrays, strict=True))
        return {".fits": named | extras}
    files = {
        extension: {name: array}
        for extension, name, array in zip(PLANE_EXTENSIONS, _NAMES, arrays, strict=True)
    }
    files[PLANE_EXTENSIONS[0]] |= extras
    return files


def _write(
    stream: BinaryIO, cards: Sequence[Card], arrays: Mapping[str, NDArray[Any]], *, packed: bool
) -> None:
    if packed:
        _write_packed(stream, cards, arrays)
        return
    for number, (name, array) in enumerate(arrays.items()):
        _write_hdu(stream, cards, array, name, first=number == 0)


@contextmanager
def written_whole(target: Path) -> Iterator[BinaryIO]:
    """Open a file that appears under its name only when it is complete."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with part.open("xb") as stream:
            yield stream
        part.replace(target)
    except BaseException:
        with suppress(FileNotFoundError):
            part.unlink()
        raise


def _storable(array: NDArray[Any]) -> NDArray[Any]:
    return array if array.dtype.str[1:] in _STORED else array.astype(np.float32)


def _write_header(stream: BinaryIO, own: Sequence[Card], cards: Sequence[Card]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # comments that do not fit are cut, on purpose
        stream.write(Header([*own, *cards]).tostring(padding=True).encode("ascii"))


def _write_hdu(
    stream: BinaryIO, cards: Sequence[Card], array: NDArray[Any], name: str, *, first: bool
) -> None:
    bitpix, zero = _STORED[array.dtype.str[1:]]
    own = [
        Card("SIMPLE", True) if first else Card("XTENSION", "IMAGE"),
        Card("BITPIX", bitpix),
        Card("NAXIS", 2),
        Card("NAXIS1", array.shape[1]),
        Card("NAXIS2", array.shape[0]),
        *([Card("EXTEND", True)] if first else [Card("PCOUNT", 0), Card("GCOUNT", 1)]),
        *([Card("BSCALE", 1), Card("BZERO", zero)] if zero else []),
        *([Card("EXTNAME", name)] if name else []),
    ]
    _write_header(stream, own, cards)
    rows = max(1, _STRIP // max(array.nbytes // max(array.shape[0], 1), 1))
    swapped = np.empty((min(rows, array.shape[0]), array.shape[1]), array.dtype.newbyteorder(">"))
    for start in range(0, array.shape[0], rows):
        strip = array[start : start + rows]
        if zero:
            # Subtracting half the range flips the highest bit of a two's complement integer.
            strip = strip ^ array.dtype.type(zero)
        piece = swapped[: len(strip)]
        piece[...] = strip
        stream.write(piece.data)
    stream.write(b"\0" * (-array.nbytes % BLOCK))


def _write_packed(
    stream: BinaryIO, cards: Sequence[Card], arrays: Mapping[str, NDArray[Any]]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as above
        hdus = fits.HDUList([fits.PrimaryHDU()])
        for name, array in arrays.items():
            quantised = (
                {}
                if array.dtype == np.uint16
                else {
                    "quantize_level": 16.0,
                    "quantize_method": 2,  # dithered, and exact zeros stay zero
                    "dither_seed": 1,  # the same bytes at every run
                }
            )
            hdus.append(
                fits.CompImageHDU(
                    array, Header(list(cards)), name, compression_type="RICE_1", **quantised
                )
            )
        # Written through a file of astropy's own, which wants to seek.
        with tempfile.TemporaryFile() as spool:
            hdus.writeto(spool)
            _stop_the_clock(spool)
            spool.seek(0)
            while piece := spool.read(1 << 20):
                stream.write(piece)


def _stop_the_clock(stream: BinaryIO) -> None:
    """Set the times in gzip headers to zero, or equal planes would differ in their bytes.

    Tiles of one value cannot be quantised and are packed by gzip, which notes the time.
    """
    stream.seek(0)
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    for hdu in list(scan(stream, "packed planes", size)):
        if hdu.kind != "tiles" or hdu.header.get("TTYPE2") != "GZIP_COMPRESSED_DATA":
            continue
        width, rows = hdu.header["NAXIS1"], hdu.header["NAXIS2"]
        stream.seek(hdu.start)
        table = np.frombuffer(stream.read(width * rows), np.uint8).reshape(rows, width)
        # Each of the first two columns is a pair: number of bytes, place in the heap.
        places = np.ascontiguousarray(table[:, 8:16]).view(">i4")
        for count, place in places.tolist():
            if count > 10:
                stream.seek(hdu.start + width * rows + place + 4)
                stream.write(b"\0\0\0\0")


def read_planes(path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> Planes:
    """Read what `write_planes` wrote: one file, or all files of one image.

    Raises
    ------
    NoSuchImage
        Where a plane is missing.
    """
    paths = [path] if isinstance(path, str | os.PathLike) else list(path)
    arrays: dict[str, NDArray[Any]] = {}
    header: dict[str, Any] = {}
    for each in paths:
        with FitsFile(each) as opened:
            for hdu in opened.images:
                arrays[hdu.name or "DATA"] = opened.image(hdu.index)
                header = header or _plain_header(hdu.header)
    missing = [name for name in _NAMES if name not in arrays]
    if missing:
        raise bad.NoSuchImage(
            subject=paths[0], found=", ".join(arrays), expected=f"a plane {missing[0]}"
        )
    extras = {name.lower(): array for name, array in arrays.items() if name not in _NAMES}
    return Planes(arrays["DATA"], arrays["WEIGHT"], arrays["FLAGS"], header, extras)


def _plain_header(header: Header) -> dict[str, Any]:
    """Cards as a dictionary; the lines of a commentary become one text."""
    plain: dict[str, Any] = {}
    for card in header.cards:
        if not card.keyword or STRUCTURAL.match(card.keyword):
            continue
        if card.keyword in ("COMMENT", "HISTORY"):
            earlier = plain.get(card.keyword)
            plain[card.keyword] = card.value if earlier is None else f"{earlier}\n{card.value}"
        else:
            plain.setdefault(card.keyword, None if is_blank(card.value) else card.value)
    return plain
