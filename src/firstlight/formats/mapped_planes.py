"""Planes of a stored image of which only some pixels are wanted: mapped, not loaded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.formats import fits_errors as bad
from firstlight.formats.fits_file import FitsFile
from firstlight.formats.fits_layout import Hdu
from firstlight.formats.packed_stream import compression_of

__all__ = ["MappedPlane", "map_planes"]

_HALF = 1 << 15


class MappedPlane:
    """A plane of a file; an index reads the pixels it names.

    Parameters
    ----------
    pixels
        As they are stored.
    is_shifted
        Whether they are unsigned integers of 16 bits, which FITS stores less half their range.

    Attributes
    ----------
    shape
        ``(ny, nx)``.
    """

    def __init__(self, pixels: NDArray[Any], *, is_shifted: bool = False) -> None:
        self._pixels = pixels
        self._is_shifted = is_shifted
        self.shape: tuple[int, int] = pixels.shape[0], pixels.shape[1]

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Pixels in the machine's own order of bytes."""
        stored = np.asarray(self._pixels[index])
        native = stored.astype(stored.dtype.newbyteorder("="), copy=False)
        return (native.view(np.uint16) ^ np.uint16(_HALF)) if self._is_shifted else native


def map_planes(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], names: Sequence[str]
) -> dict[str, MappedPlane]:
    """Open planes of what `fits_image.write_planes` wrote.

    Planes of packed files are unpacked into memory.

    Parameters
    ----------
    path
        One file, or all files of one image.
    names
        Such as ``SCORE``, in capitals.

    Raises
    ------
    NoSuchImage
        A plane is missing.
    """
    paths = [path] if isinstance(path, str | os.PathLike) else list(path)
    found: dict[str, MappedPlane] = {}
    for each in paths:
        with FitsFile(each) as opened:
            for hdu in opened.images:
                if hdu.name in names:
                    found[hdu.name] = _mapped(opened, hdu)
    missing = [name for name in names if name not in found]
    if missing:
        raise bad.NoSuchImage(subject=paths[0], expected=f"a plane {missing[0]}")
    return found


def _mapped(opened: FitsFile, hdu: Hdu) -> MappedPlane:
    zero = hdu.cards("BZERO").get("BZERO", 0)
    is_shifted = hdu.bitpix == 16 and zero == _HALF
    is_plain = hdu.bitpix == -32 and zero == 0
    if hdu.kind != "image" or compression_of(opened.path) or not (is_shifted or is_plain):
        return MappedPlane(opened.image(hdu.index))
    stored = np.memmap(
        opened.path,
        dtype=">i2" if is_shifted else ">f4",
        mode="r",
        offset=hdu.start,
        shape=hdu.plane_shape(opened.path),
    )
    return MappedPlane(stored, is_shifted=is_shifted)
