"""A colour mosaic as three images of half its size, and where their pixels are in it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from firstlight.errors import InvalidInput

__all__ = ["CHANNELS", "channel_image", "channel_origin", "flipped_rows"]

CHANNELS = ("R", "G", "B")
_PATTERNS = ("RGGB", "BGGR", "GRBG", "GBRG")


def channel_image(
    mosaic: NDArray[Any], pattern: str, channel: str, *, saturation: float | None = None
) -> NDArray[Any]:
    """Take one colour out of a mosaic.

    Parameters
    ----------
    mosaic
        Shape ``(ny, nx)``. A last row or column without a partner is left out.
    pattern
        ``RGGB``, ``BGGR``, ``GRBG`` or ``GBRG``, from pixel (0, 0), row by row.
    channel
        ``R``, ``G`` or ``B``.
    saturation
        From this value on a pixel says nothing; used for green only.

    Returns
    -------
    array
        Shape ``(ny // 2, nx // 2)``. Red and blue are the mosaic's own pixels. Green is the mean
        of the two green pixels of each block, float32; where one of them is saturated it is
        the greater of the two, so that the mean cannot hide it.
    """
    places = _places(pattern, channel)
    ny, nx = (side // 2 * 2 for side in mosaic.shape)
    parts = [mosaic[y:ny:2, x:nx:2] for y, x in places]
    if len(parts) == 1:
        return np.ascontiguousarray(parts[0])
    first, second = (part.astype(np.float32) for part in parts)
    mean = (first + second) / 2
    if saturation is None:
        return mean
    greater = np.maximum(first, second)
    return np.where(greater >= saturation, greater, mean)


def channel_origin(pattern: str, channel: str) -> tuple[float, float]:
    """Return where the centre of a channel's pixel (0, 0) is in the mosaic.

    Returns
    -------
    x, y
        Pixels of the mosaic, 0-based, centres at integers. Pixel ``(i, j)`` of the channel
        is at ``(x + 2 i, y + 2 j)``; green is in the middle of its block.
    """
    places = _places(pattern, channel)
    return (
        float(np.mean([x for _, x in places])),
        float(np.mean([y for y, _ in places])),
    )


def flipped_rows(pattern: str, rows: int) -> str:
    """Return the pattern of a mosaic of so many rows whose rows are put in reverse order."""
    _places(pattern, "G")
    return pattern if rows % 2 else pattern[2:] + pattern[:2]


def _places(pattern: str, channel: str) -> list[tuple[int, int]]:
    """Row and column of each pixel of a colour in a block of 2 x 2."""
    if pattern not in _PATTERNS:
        raise InvalidInput(field="pattern", found=pattern, expected="RGGB, BGGR, GRBG or GBRG")
    if channel not in CHANNELS:
        raise InvalidInput(field="channel", found=channel, expected="R, G or B")
    return [divmod(number, 2) for number, letter in enumerate(pattern) if letter == channel]
