"""PNG and JPEG pictures of images, the right way up."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw

from firstlight.algorithms.pictures.display import Stretch, arcsinh_limits, to_levels, zscale_limits
from firstlight.errors import InvalidInput

__all__ = ["Circle", "encode_levels", "encode_preview"]

Format = Literal["png", "jpeg"]

LARGEST_SIDE = 16384  # a picture beyond this is a mistake, and JPEG ends at 65535


@dataclass(frozen=True)
class Circle:
    """A ring around a source.

    Attributes
    ----------
    x, y, radius
        Pixels of the image, 0-based, centres at integers.
    colour
        Any name or ``#rrggbb``.
    """

    x: float
    y: float
    radius: float
    colour: str = "#40ff40"


def encode_preview(
    image: NDArray[Any],
    *,
    file_format: Format = "png",
    stretch: Stretch = "arcsinh",
    limits: tuple[float, float] | None = None,
    largest_side: int | None = 1024,
    circles: Sequence[Circle] = (),
    quality: int = 85,
) -> bytes:
    """Draw an image of the sky as a picture.

    Parameters
    ----------
    image
        Shape ``(ny, nx)``, any numbers; NaN is black.
    limits
        Values shown as black and white. By default those of `arcsinh_limits` or, for the linear
        stretch, of `zscale_limits`.
    file_format, largest_side, circles, quality
        See `encode_levels`.

    Returns
    -------
    bytes
        The file. The same input gives the same bytes.
    """
    if image.ndim != 2:
        raise InvalidInput(field="image", found=f"shape {image.shape}", expected="(ny, nx)")
    softening = 0.1
    if limits is not None:
        low, high = limits
    elif stretch == "arcsinh":
        low, high, softening = arcsinh_limits(image)
    else:
        low, high = zscale_limits(image)
    return encode_levels(
        to_levels(image, low, high, stretch=stretch, softening=softening),
        file_format=file_format,
        largest_side=largest_side,
        circles=circles,
        quality=quality,
    )


def encode_levels(
    levels: NDArray[np.uint8],
    *,
    file_format: Format = "png",
    largest_side: int | None = 1024,
    circles: Sequence[Circle] = (),
    quality: int = 85,
) -> bytes:
    """Encode grey or colour levels, row 0 at the bottom as FITS has it.

    Parameters
    ----------
    levels
        ``uint8``, shape ``(ny, nx)`` grey or ``(ny, nx, 3)`` red, green, blue.
    largest_side
        Shrink, keeping the aspect, so that no side is longer; ``None`` for full size. Small
        images are never enlarged.
    circles
        Drawn after shrinking, so that their lines stay one pixel wide. They make a grey
        picture a colour one.
    quality
        Of JPEG, 1 to 95.

    Raises
    ------
    InvalidInput
        The array has another shape or type, or is empty.
    """
    grey = levels.ndim == 2
    if levels.dtype != np.uint8 or not (grey or (levels.ndim == 3 and levels.shape[2] == 3)):
        raise InvalidInput(
            field="levels",
            found=f"{levels.dtype}, shape {levels.shape}",
            expected="uint8, (ny, nx) or (ny, nx, 3)",
        )
    if levels.size == 0 or max(levels.shape) > LARGEST_SIDE:
        raise InvalidInput(
            field="levels", found=f"shape {levels.shape}", expected=f"1 to {LARGEST_SIDE} a side"
        )
    if file_format not in {"png", "jpeg"}:
        raise InvalidInput(field="file_format", found=file_format, expected="png or jpeg")
    picture = Picture.fromarray(np.ascontiguousarray(levels[::-1]))
    scale = 1.0
    if largest_side is not None and max(picture.size) > largest_side:
        scale = largest_side / max(picture.size)
        size = tuple(max(1, round(side * scale)) for side in picture.size)
        picture = picture.resize((size[0], size[1]), Picture.Resampling.BOX)
    if circles:
        picture = picture.convert("RGB")
        _draw(picture, circles, levels.shape[0], scale)
    sink = io.BytesIO()
    if file_format == "png":
        picture.save(sink, "PNG", compress_level=6)
    else:
        picture.save(sink, "JPEG", quality=quality, subsampling="4:4:4")
    return sink.getvalue()


def _draw(picture: Picture.Image, circles: Sequence[Circle], height: int, scale: float) -> None:
    pen = ImageDraw.Draw(picture)
    for circle in circles:
        # Pillow's integer coordinates are pixel centres too; shrinking is about the corner.
        x = (circle.x + 0.5) * scale - 0.5
        y = (height - 1 - circle.y + 0.5) * scale - 0.5
        reach = max(1.0, circle.radius * scale)
        if np.isfinite([x, y, reach]).all():
            pen.ellipse((x - reach, y - reach, x + reach, y + reach), outline=circle.colour)
