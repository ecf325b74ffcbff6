"""Pictures (TIFF, PNG, JPEG) as images of the sky, for the plate solver and the curious."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError

from firstlight.errors import BadFile
from firstlight.formats.file_errors import check_is_readable_file

__all__ = ["BadPicture", "PictureTooLarge", "is_picture", "read_picture"]

MAX_PIXELS = 1 << 29
_FORMATS = ("TIFF", "PNG", "JPEG")
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
# ITU-R BT.601, as every tool makes grey of colour.
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


class BadPicture(BadFile):
    """The file is not a TIFF, PNG or JPEG that can be read."""

    code = "picture.bad"


class PictureTooLarge(BadFile):
    """The picture declares more pixels than any camera has."""

    code = "picture.too_large"


def is_picture(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as a TIFF, PNG or JPEG does."""
    with check_is_readable_file(path).open("rb") as stream:
        return stream.read(8).startswith(_MAGIC)


def read_picture(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read a picture as a grey image in the orientation of FITS.

    Parameters
    ----------
    path
        Grey or colour, 8, 16 or 32 bits. Of several pages the first is read.

    Returns
    -------
    array
        Shape ``(ny, nx)``; row 0 is the *bottom* row of the picture, as FITS viewers draw it,
        so that a solved picture has the parity of the sky. uint8 and 16-bit pictures come as
        uint16, others as float32; colour becomes its luminance, transparency is ignored.
    """
    path = check_is_readable_file(path)
    if not is_picture(path):
        raise BadPicture(subject=path, found="other bytes", expected="TIFF, PNG or JPEG")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd tags of TIFF do not matter here
            with PillowImage.open(path, formats=_FORMATS) as opened:
                if opened.width * opened.height > MAX_PIXELS:
                    raise PictureTooLarge(subject=path, found=f"{opened.width} x {opened.height}")
                pixels = _grey(opened)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, TypeError) as error:
        raise BadPicture(subject=path, found=f"{type(error).__name__}: {error}") from error
    except PillowImage.DecompressionBombError as error:
        raise PictureTooLarge(subject=path, found=str(error)) from error
    return np.ascontiguousarray(pixels[::-1])


def _grey(opened: PillowImage.Image) -> NDArray[Any]:
    if opened.mode.startswith("I;16"):
        return np.array(opened).astype(np.uint16)
    if opened.mode in ("I", "F"):
        pixels = np.array(opened)
        fits_in_16 = opened.mode == "I" and pixels.min() >= 0 and pixels.max() <= 65535
        return pixels.astype(np.uint16 if fits_in_16 else np.float32)
    if opened.mode in ("1", "L", "LA", "La"):
        return np.array(opened.convert("L")).astype(np.uint16)
    colours = np.asarray(opened.convert("RGB"), dtype=np.float32)
    return np.asarray(colours @ _LUMA, dtype=np.float32)
