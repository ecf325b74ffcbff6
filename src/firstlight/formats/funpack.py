"""Plain FITS from packed FITS: tiles (``.fz``), gzip, bzip2 and xz."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from astropy.io import fits
from astropy.io.fits import Card, Header

from firstlight.formats import fits_errors as bad
from firstlight.formats.file_errors import check_is_readable_file
from firstlight.formats.fits_cards import CARD, writable_cards
from firstlight.formats.fits_layout import BLOCK, Hdu, scan
from firstlight.formats.packed_stream import compression_of, unpack_to_disk

__all__ = ["funpack"]

_CHUNK = 1 << 20
# Cards that speak of the packed table.
_OF_PACKING = ("FZALGOR", "FZTILE")
_NAME_OF_PACKER = "COMPRESSED_IMAGE"
_STORED = {8: "u1", 16: "i2", 32: "i4", 64: "i8", -32: "f4", -64: "f8"}


def funpack(path: Path, target: BinaryIO) -> None:
    """Write the plain FITS file that a packed one stands for.

    What is not packed is copied byte for byte. An image that was packed out of the primary HDU
    goes back there, pixels are kept as stored (BZERO and BSCALE are not applied), and images
    of any number of axes are unpacked.

    Parameters
    ----------
    path
        A FITS file, packed or not.
    target
        Written forwards. After an error it holds the beginning.

    Raises
    ------
    BadFile
        Its kinds say what is wrong: not a FITS file, cut short, tiles that are corrupt.
    """
    path = check_is_readable_file(path)
    with unpack_to_disk(path) if compression_of(path) else path.open("rb") as stream:
        size = stream.seek(0, io.SEEK_END)
        stream.seek(0)
        hdus = list(scan(stream, path, size))
        begin = 0
        for hdu, after in zip(hdus, [*hdus[1:], None], strict=True):
            end = hdu.start + -(-hdu.size // BLOCK) * BLOCK
            first_image_follows = after is not None and _was_primary(after)
            if hdu.kind == "tiles":
                _unpack(stream, hdu, path, target)
            elif not (hdu.index == 0 and hdu.kind == "empty" and first_image_follows):
                _copy(stream, begin, end, target)
            begin = end


def _was_primary(hdu: Hdu) -> bool:
    return hdu.kind == "tiles" and hdu.index == 1 and "ZSIMPLE" in hdu.cards("ZSIMPLE")


def _copy(stream: BinaryIO, begin: int, end: int, target: BinaryIO) -> None:
    stream.seek(begin)
    left = end - begin
    while left and (piece := stream.read(min(_CHUNK, left))):
        target.write(piece)
        left -= len(piece)
    target.write(b"\0" * left)  # the padding of the last HDU, which some writers leave out


def _unpack(stream: BinaryIO, hdu: Hdu, path: Path, target: BinaryIO) -> None:
    """Let astropy unpack the tiles, from a small file in memory with this HDU alone."""
    stream.seek(hdu.start)
    data = stream.read(-(-hdu.size // BLOCK) * BLOCK)
    head = (hdu.raw + b"END".ljust(CARD)).ljust(-(-(len(hdu.raw) + CARD) // BLOCK) * BLOCK)
    primary = fits.PrimaryHDU().header.tostring().encode()
    alone = b"".join((primary, head, data.ljust(-(-len(data) // BLOCK) * BLOCK, b"\0")))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd cards, which are kept as they are
            with fits.open(io.BytesIO(alone), memmap=False, do_not_scale_image_data=True) as opened:
                pixels = np.asarray(opened[1].data)
    except Exception as error:
        raise bad.CorruptTiles(
            subject=path, field=hdu.label, found=f"{type(error).__name__}: {error}"
        ) from error
    if pixels.shape != hdu.shape or pixels.dtype.str[1:] != _STORED[hdu.bitpix]:
        raise bad.CorruptTiles(
            subject=path,
            field=hdu.label,
            found=f"{pixels.dtype} {pixels.shape}",
            expected=f"{_STORED[hdu.bitpix]} {hdu.shape}",
        )
    target.write(_header(hdu))
    target.write(np.ascontiguousarray(pixels, dtype=f">{_STORED[hdu.bitpix]}").data)
    target.write(b"\0" * (-pixels.nbytes % BLOCK))


def _header(hdu: Hdu) -> bytes:
    """The header of the unpacked image: its own cards, in their order, and its layout."""
    first = _was_primary(hdu)
    layout = [
        Card("SIMPLE", True) if first else Card("XTENSION", "IMAGE"),
        Card("BITPIX", hdu.bitpix),
        Card("NAXIS", len(hdu.shape)),
        *(Card(f"NAXIS{n}", axis) for n, axis in enumerate(reversed(hdu.shape), start=1)),
        *([Card("EXTEND", True)] if first else [Card("PCOUNT", 0), Card("GCOUNT", 1)]),
        *hdu.cards("BSCALE", "BZERO", "BLANK").cards,
        *([Card("EXTNAME", hdu.name)] if hdu.name and hdu.name != _NAME_OF_PACKER else []),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # comments that do not fit are cut, on purpose
        kept = [card for card in writable_cards(hdu.header) if card.keyword not in _OF_PACKING]
        text: str = Header([*layout, *kept]).tostring(padding=True)
    return text.encode("ascii")
