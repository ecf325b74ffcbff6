"""Results as ``joblib.dump`` or ``pickle.dump`` write them, read as plain data.

Nothing that they name is imported or called: see `firstlight.formats.pickle_reader`.
"""

from __future__ import annotations

import bz2
import io
import lzma
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from firstlight.formats.pickle_reader import PickleReader
from firstlight.formats.pickle_values import Being, DtypeBeing, Name
from firstlight.formats.plain_document import PlainDocument
from firstlight.formats.result_errors import ResultMalformed, ResultTooLarge

__all__ = ["read_joblib", "unpacked"]

_WHERE = "analysis.results.data"
_PIECE = 1 << 20
_LZMA_MEMORY = 128 << 20  # of its dictionary; the strongest preset needs 65 MB
_FAULTS = (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError)


@dataclass
class PickledDocument(PlainDocument):
    """Values of a pickle as plain JSON."""

    def plain(self, value: Any, where: str, depth: int = 0) -> Any:
        """See `PlainDocument.plain`; arrays are taken out of what they were made in."""
        if isinstance(value, DtypeBeing):
            value = value.code if value.holds_objects else str(value.ready())
        elif isinstance(value, Being):
            value = value.value
        if isinstance(value, Name):
            value = value.text.replace(" ", ".")
        return super().plain(value, where, depth)


def read_joblib(
    data: bytes, *, most_bytes: int, document: PlainDocument | None = None
) -> tuple[Any, list[str]]:
    """Return plain JSON values, and what was changed to get them.

    Parameters
    ----------
    data
        What ``joblib.dump`` has written, with any of its compressions but lz4.
    most_bytes
        That it may unfold to.
    document
        Limits of what it may hold.

    Raises
    ------
    ResultRefused
        It holds something else than numbers, text, lists, dictionaries, dates, numpy arrays.
    ResultMalformed
        It is damaged, or something follows it.
    ResultTooLarge
        It unfolds to more than allowed.
    """
    stream = io.BytesIO(unpacked(data, most_bytes))
    document = document or PickledDocument()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of types and escapes that are old, not wrong
        value = PickleReader(stream).read()
        if stream.read(1):
            raise ResultMalformed("something follows the pickle", field=_WHERE)
        return document.plain(value, _WHERE), document.notes(_WHERE)


def unpacked(data: bytes, most_bytes: int) -> bytes:
    """Decompress what joblib has compressed; anything else comes back as it is.

    Raises
    ------
    ResultMalformed
        The compressed data are damaged, end early, or are of a kind that is not known here.
    ResultTooLarge
        There is more in them than allowed.
    """
    if data.startswith((b"\x04\x22\x4d\x18", b"ZF0x")):
        raise ResultMalformed(
            "this compression is not read here",
            field=_WHERE,
            found="lz4" if data[:1] == b"\x04" else "joblib before 0.10",
            hint="joblib.dump(..., compress=3)",
        )
    for start, decompressor in _COMPRESSIONS:
        if data.startswith(start):
            try:
                return _inflated(data, decompressor, most_bytes)
            except MemoryError as fault:
                raise ResultTooLarge(field=_WHERE) from fault
            except _FAULTS as fault:
                raise ResultMalformed(
                    "the compressed data are damaged", field=_WHERE, found=str(fault)[:200]
                ) from fault
    return data


def _inflated(data: bytes, decompressor: Callable[[], Any], most_bytes: int) -> bytes:
    made = bytearray()
    left: bytes = data
    while left:
        unpacking = decompressor()
        while not unpacking.eof:
            piece = unpacking.decompress(left, _PIECE)
            # zlib keeps what it did not get to; the others keep it to themselves.
            left = getattr(unpacking, "unconsumed_tail", b"")
            made += piece
            if len(made) > most_bytes:
                raise ResultTooLarge(field=_WHERE, expected=f"at most {most_bytes} bytes unpacked")
            if not piece and not left and not unpacking.eof:
                raise EOFError("the compressed data end early")
        left = unpacking.unused_data
    return bytes(made)


def _lzma(kind: int) -> Callable[[], Any]:
    return lambda: lzma.LZMADecompressor(kind, memlimit=_LZMA_MEMORY)


_COMPRESSIONS: tuple[tuple[bytes, Callable[[], Any]], ...] = (
    (b"\x1f\x8b", lambda: zlib.decompressobj(31)),
    (b"x", zlib.decompressobj),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\xfd7zXZ", _lzma(lzma.FORMAT_XZ)),
    (b"\x5d\x00", _lzma(lzma.FORMAT_ALONE)),
)
