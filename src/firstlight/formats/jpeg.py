"""JPEG pictures as cameras send them: checked to the last byte, and made small."""

from __future__ import annotations

import io
import warnings

from PIL import Image as PillowImage
from PIL import UnidentifiedImageError

from firstlight.formats.picture import MAX_PIXELS, BadPicture, PictureTooLarge

__all__ = ["check_jpeg", "shrink_jpeg"]

_QUALITY = 85
_CHECKED_HEIGHT = 64  # the decoder reads every byte whatever the size it makes


def check_jpeg(content: bytes, *, subject: object = None) -> tuple[int, int]:
    """Decode a whole picture, quickly.

    Returns
    -------
    tuple
        Width and height.

    Raises
    ------
    BadPicture
        It is no JPEG, or damaged, or cut.
    PictureTooLarge
        It declares more pixels than any camera has.
    """
    return _decode(content, _CHECKED_HEIGHT, subject)[1]


def shrink_jpeg(content: bytes, height: int, *, subject: object = None) -> bytes:
    """Check a picture and make a small one of it.

    Parameters
    ----------
    height
        Pixels; the width follows. A picture that is lower already keeps its size.

    Returns
    -------
    bytes
        A JPEG; the same input gives the same bytes. Raises as `check_jpeg` does.
    """
    picture, (width, tall) = _decode(content, height, subject)
    if tall > height:
        picture = picture.resize(
            (max(1, width * height // tall), height), PillowImage.Resampling.BICUBIC, reducing_gap=2
        )
    sink = io.BytesIO()
    picture.save(sink, "JPEG", quality=_QUALITY)
    return sink.getvalue()


def _decode(
    content: bytes, height: int, subject: object
) -> tuple[PillowImage.Image, tuple[int, int]]:
    """Decode at the least size (a power of two smaller) that is still twice as high."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large pictures, which have a limit here
            with PillowImage.open(io.BytesIO(content), formats=("JPEG",)) as opened:
                size = opened.size
                if size[0] * size[1] > MAX_PIXELS:
                    raise PictureTooLarge(subject=subject, found=f"{size[0]} x {size[1]}")
                opened.draft(opened.mode, (1, 2 * height))
                opened.load()
                return opened.copy(), size
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, TypeError) as error:
        raise BadPicture(subject=subject, found=f"{type(error).__name__}: {error}") from error
    except PillowImage.DecompressionBombError as error:
        raise PictureTooLarge(subject=subject, found=str(error)) from error
