"""Small pictures that others send: decoded, and written anew, so that nothing else is kept."""

from __future__ import annotations

import io
import struct
import warnings
import zlib

import numpy as np
from PIL import Image

from firstlight.errors import BadFile

__all__ = ["LARGEST_SIDE", "SMALLEST_SIDE", "BadPicture", "rewritten_png"]

SMALLEST_SIDE, LARGEST_SIDE = 16, 500
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Warning)
_GREY = frozenset({"1", "L", "I", "I;16", "F"})


class BadPicture(BadFile):
    """The picture cannot be used."""

    code = "picture.unreadable"


def rewritten_png(content: bytes) -> tuple[bytes, bool]:
    """Decode a PNG and encode its pixels again, without whatever came along.

    Returns
    -------
    tuple
        The new file, and whether it is grey. Sixteen bits are scaled to eight.

    Raises
    ------
    BadPicture
        It is no PNG, is damaged, or a side has fewer than 16 or more than 500 pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
                _check_size(picture.size)
                clean = _plain(picture)
    except (*_UNREADABLE, Image.DecompressionBombError) as fault:
        raise BadPicture(found=str(fault)[:100], expected="a PNG") from fault
    out = io.BytesIO()
    clean.save(out, "PNG", optimize=True)
    pixels = np.asarray(clean)
    is_grey = pixels.ndim == 2 or bool((np.ptp(pixels[..., :3], axis=-1) == 0).all())
    return out.getvalue(), is_grey


def _plain(picture: Image.Image) -> Image.Image:
    """The first frame, 8 bits a channel, without anything attached."""
    if picture.mode in {"I", "I;16", "F"}:
        values = np.asarray(picture, dtype=np.float64)
        return Image.fromarray(np.clip(values / 257.0, 0, 255).astype(np.uint8))
    has_alpha = "A" in picture.getbands() or "transparency" in picture.info
    mode = "L" if picture.mode in _GREY and not has_alpha else "RGBA" if has_alpha else "RGB"
    return Image.fromarray(np.array(picture.convert(mode)))


def _check_size(size: tuple[int, int]) -> None:
    if not all(SMALLEST_SIDE <= side <= LARGEST_SIDE for side in size):
        raise BadPicture(
            "the picture is too small or too large",
            found=f"{size[0]} x {size[1]} pixels",
            expected=f"{SMALLEST_SIDE} to {LARGEST_SIDE} on each side",
        )
