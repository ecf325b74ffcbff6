"""16-bit TIFF pictures of images, for programs that know no FITS."""

from __future__ import annotations

import io
import json
import math
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from firstlight.algorithms.pictures.display import arcsinh_limits
from firstlight.errors import InvalidInput

__all__ = ["TIFF_STRETCHES", "TiffStretch", "encode_tiff"]

TiffStretch: TypeAlias = Literal["arcsinh", "linear"]
TIFF_STRETCHES: tuple[TiffStretch, ...] = ("arcsinh", "linear")

TOP = 65535
_DESCRIPTION = 270
_ROWS = 512  # a strip of rows is stretched at a time, to bound the memory
# Beyond this float32 arithmetic overflows.
_WIDEST = 1e30


def encode_tiff(image: NDArray[Any], *, stretch: TiffStretch = "arcsinh") -> bytes:
    """Write an image as a grey TIFF of 16 bits, the right way up, in full size.

    Parameters
    ----------
    image
        Shape ``(ny, nx)``, row 0 at the bottom as FITS has it. NaN becomes 0.
    stretch
        ``linear``: values are kept as they are where all of them are whole numbers that 16
        bits hold, as raw counts are; otherwise the lowest finite value becomes 0 and the
        highest 65535. ``arcsinh``: likewise from lowest to highest, with
        ``arcsinh((value - zero) / softening)`` between, linear within the noise of the sky
        and logarithmic in the stars.

    Returns
    -------
    bytes
        Uncompressed. Nothing is cut away, and the tag ImageDescription tells in JSON
        (``stretch, low, high, zero, softening``) how to get the values back. The same input
        gives the same bytes.

    Raises
    ------
    InvalidInput
        The image is not a plane or empty, or there is no such stretch.
    """
    if image.ndim != 2 or image.size == 0:
        raise InvalidInput(field="image", found=f"shape {image.shape}", expected="(ny, nx)")
    if stretch not in TIFF_STRETCHES:
        raise InvalidInput(
            field="stretch", found=stretch, expected=f"one of {', '.join(TIFF_STRETCHES)}"
        )
    facts = _scale(image, stretch)
    levels = np.empty(image.shape, dtype=np.uint16)
    for start in range(0, image.shape[0], _ROWS):
        strip = image[start : start + _ROWS]
        stop = image.shape[0] - start
        levels[stop - strip.shape[0] : stop] = _levels(strip, facts)[::-1]
    tags = ImageFileDirectory_v2()
    tags[_DESCRIPTION] = json.dumps(facts)
    sink = io.BytesIO()
    Picture.fromarray(levels).save(sink, "TIFF", tiffinfo=tags)
    return sink.getvalue()


def _scale(image: NDArray[Any], stretch: TiffStretch) -> dict[str, Any]:
    """How values become levels; also what the file says about it."""
    low, high = _extremes(image)
    if stretch == "linear":
        whole = image.dtype.kind in "iub" and low >= 0 and high <= TOP
        low, high = (0.0, float(TOP)) if whole else (low, high)
        return {"stretch": stretch, "low": low, "high": high}
    bottom, top, softening = arcsinh_limits(image)
    return {
        "stretch": stretch,
        "low": low,
        "high": high,
        "zero": bottom + 2.0 / 3.0 * softening * (top - bottom),
        "softening": max(softening * (top - bottom), 1e-6 * (high - low), 1e-30),
    }


def _extremes(image: NDArray[Any]) -> tuple[float, float]:
    """Lowest and highest finite value; (0, 0) where there is none."""
    low, high = math.inf, -math.inf
    for start in range(0, image.shape[0], _ROWS):
        strip = image[start : start + _ROWS]
        finite = strip[np.isfinite(strip)]
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    if low > high:
        return 0.0, 0.0
    return max(low, -_WIDEST), min(high, _WIDEST)


def _levels(strip: NDArray[Any], facts: dict[str, Any]) -> NDArray[np.uint16]:
    low, high = facts["low"], facts["high"]
    if (low, high) == (0.0, float(TOP)) and strip.dtype.kind in "iub":
        return strip.astype(np.uint16)
    values = np.clip(strip.astype(np.float64), low, high)
    if facts["stretch"] == "arcsinh":
        zero, softening = facts["zero"], facts["softening"]
        values = np.arcsinh((values - zero) / softening)
        low, high = np.arcsinh((np.array([low, high]) - zero) / softening)
    values = (values - low) * (TOP / (high - low) if high > low else 0.0)
    rounded = np.nan_to_num(np.rint(values), nan=0.0).clip(0, TOP)
    return np.asarray(rounded, dtype=np.uint16)
