"""A file within a data URL, as browsers and SkyPortal's former form send it."""

from __future__ import annotations

import binascii
import re
from typing import BinaryIO, cast
from urllib.parse import unquote

from firstlight.errors import UserError

__all__ = ["BadDataUrl", "decoded_data_url"]

_LONGEST_HEAD = 2000
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/]")


class BadDataUrl(UserError):
    """The image is not in a data URL."""

    code = "image_upload.data_url"


def decoded_data_url(text: str) -> tuple[str, BinaryIO, int]:
    """Name, bytes and their number of ``data:TYPE;name=NAME;base64,...``.

    Returns
    -------
    tuple
        The stream decodes piece by piece what is read of it; damage is an error of the reading.

    Raises
    ------
    BadDataUrl
        It is none.
    """
    comma = text.find(",", 0, _LONGEST_HEAD)
    kind, *options = text[: max(comma, 0)].split(";")
    if comma < 0 or not kind.startswith("data:") or "base64" not in options:
        raise BadDataUrl(
            field="image_data", found=text[:100], expected="data:image/fits;name=NAME;base64,..."
        )
    names = [option.removeprefix("name=") for option in options if option.startswith("name=")]
    stream = _Decoded(text, comma + 1)
    name = unquote(names[0]) if names else "image.fits"
    return name, cast("BinaryIO", stream), stream.size


class _Decoded:
    """Bytes of a text in base64, a piece at a time.

    Parameters
    ----------
    text
        It begins at `start`.
    """

    def __init__(self, text: str, start: int) -> None:
        self._text = text
        self._at = start
        padding = 2 if text.endswith("==") else 1 if text.endswith("=") else 0
        self._end = len(text) - padding
        self.size = (self._end - start) * 3 // 4
        if (len(text) - start) % 4:
            raise _damaged("its length is no multiple of four")

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes; three, where fewer are asked for and there are so many."""
        fours = (self._end - self._at + 3) // 4
        if size >= 0:
            fours = min(fours, max(size // 3, 1))
        piece = self._text[self._at : min(self._at + 4 * fours, self._end)]
        wrong = _NOT_BASE64.search(piece)
        if wrong is not None:
            raise _damaged(f"{wrong[0]!r} at {self._at + wrong.start()}")
        self._at += len(piece)
        return binascii.a2b_base64(piece + "=" * (-len(piece) % 4))


def _damaged(found: str) -> BadDataUrl:
    return BadDataUrl(field="image_data", found=found, expected="base64")
