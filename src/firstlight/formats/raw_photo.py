"""Raw photographs of DSLR cameras (CR2, NEF, DNG, ...) as mosaics with a FITS header.

They are decoded by LibRaw, through rawpy: the optional extra ``raw``.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
from astropy.io.fits import Header
from numpy.typing import NDArray

from firstlight.algorithms.pictures.colour_channels import flipped_rows
from firstlight.errors import BadFile, MissingDependency
from firstlight.formats.exif_tags import ExifTags, read_exif
from firstlight.formats.file_errors import check_is_readable_file
from firstlight.formats.fits_cards import plain_text
from firstlight.formats.fits_image import encode_sections

__all__ = [
    "RAW_SUFFIXES",
    "BadRawPhoto",
    "RawPhoto",
    "is_raw_photo",
    "raw_photo_to_fits",
    "read_raw_header",
    "read_raw_photo",
]

RAW_SUFFIXES = (".cr2", ".cr3", ".nef", ".dng", ".arw", ".orf", ".raf", ".rw2", ".pef")
MAX_PIXELS = 1 << 29
EARLIEST = 1995  # year of the first digital cameras; LibRaw says 1970 for "not known"
_MAGIC = (b"II*\0", b"MM\0*", b"IIRO", b"IIU\0", b"FUJIFILM")
_EXIF_TIME = re.compile(r"^(\d{4}):(\d\d):(\d\d)[ T](\d\d:\d\d:\d\d)")
_PathLike: TypeAlias = str | os.PathLike[str]


class BadRawPhoto(BadFile):
    """The file is not a raw photograph that can be read."""

    code = "raw_photo.bad"


@dataclass(frozen=True)
class RawPhoto:
    """What the sensor saw.

    Attributes
    ----------
    mosaic
        ADU, uint16, shape ``(ny, nx)``, without the sensor's covered borders. Row 0 is the
        *bottom* row of the sensor, so that the sky is not mirrored when FITS viewers draw it.
    pattern
        Colours of the first 2 x 2 pixels of `mosaic`, row by row: ``GBRG`` for most Canons.
    header
        What Exif and LibRaw say, under the keywords that PANOPTES units use.
    """

    mosaic: NDArray[np.uint16]
    pattern: str
    header: Header


def is_raw_photo(path: _PathLike) -> bool:
    """Whether a file is called like a raw photograph and begins like one."""
    name = os.fspath(path).lower()
    if not name.endswith(RAW_SUFFIXES):
        return False
    with check_is_readable_file(path).open("rb") as stream:
        start = stream.read(12)
    return start.startswith(_MAGIC) or start[4:11] == b"ftypcrx"


def read_raw_photo(path: _PathLike) -> RawPhoto:
    """Read pixels and header.

    Raises
    ------
    BadRawPhoto
        The file is damaged, or its sensor has no blocks of 2 x 2 colours.
    MissingDependency
        rawpy is not installed.
    """
    path = check_is_readable_file(path)
    with _opened(path) as (raw, pattern, exif):
        mosaic = np.ascontiguousarray(raw.raw_image_visible[::-1])
        header = _header(raw, pattern, exif, path.name)
    return RawPhoto(mosaic, flipped_rows(pattern, len(mosaic)), header)


def read_raw_header(path: _PathLike) -> Header:
    """Read the header alone; errors as `read_raw_photo`."""
    path = check_is_readable_file(path)
    with _opened(path) as (raw, pattern, exif):
        return _header(raw, pattern, exif, path.name)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, str, ExifTags]]:
    """Open a photograph that is whole; gives LibRaw's view, the pattern and the tags."""
    rawpy = _rawpy()
    exif, size = read_exif(path), path.stat().st_size
    if exif.end > size:
        raise BadRawPhoto(
            "The raw photograph is cut short.",
            subject=path,
            found=f"{size} bytes",
            expected=f"at least {exif.end}",
            hint="the transfer may have failed",
        )
    try:
        with rawpy.imread(str(path)) as raw:
            yield raw, _pattern(raw, rawpy, path), exif
    except (rawpy.LibRawError, NotImplementedError) as fault:
        raise _bad(path, fault) from fault


def raw_photo_to_fits(path: _PathLike) -> bytes:
    """Convert to a FITS file: the mosaic as it is, 16 bits, with the Exif data as header.

    The same file always gives the same bytes.
    """
    photo = read_raw_photo(path)
    return encode_sections(photo.header, {"0": photo.mosaic})


def _pattern(raw: Any, rawpy: ModuleType, path: Path) -> str:
    """Colours of the first 2 x 2 pixels from the top of the sensor."""
    sizes = raw.sizes
    if sizes.raw_height * sizes.raw_width > MAX_PIXELS:
        raise BadRawPhoto(
            subject=path,
            found=f"{sizes.raw_width} x {sizes.raw_height} pixels",
            expected=f"at most {MAX_PIXELS} pixels",
        )
    letters = ""
    if raw.raw_type == rawpy.RawType.Flat and np.shape(raw.raw_pattern) == (2, 2):
        letters = "".join(chr(raw.color_desc[n]) for n in np.ravel(raw.raw_colors_visible[:2, :2]))
    if sorted(letters) != ["B", "G", "G", "R"]:
        raise BadRawPhoto(
            subject=path,
            found=f"{raw.raw_type.name}, colours {letters or 'without a block of 2 x 2'}",
            expected="a sensor with one red, two green and one blue pixel in each block",
            hint="reduced formats such as sRAW are no mosaics: let the camera write full raw files",
        )
    return letters


def _header(raw: Any, pattern: str, exif: ExifTags, name: str) -> Header:
    told, other = exif.values, raw.other
    black = float(np.median(raw.black_level_per_channel))
    red, green, blue = (float(value) for value in raw.camera_whitebalance[:3])
    green = green or 1.0
    peaks = raw.camera_white_level_per_channel
    cards: list[tuple[str, Any, str]] = [
        ("FILTER", pattern, "colours from the top of the sensor"),
        ("BAYERPAT", flipped_rows(pattern, int(raw.sizes.height)), "from the first pixel here"),
        ("EXPTIME", _rounded(told.get("ExposureTime") or other.shutter_speed), "seconds"),
        ("DATE-OBS", *_date(told, other.timestamp)),
        ("ISO", _rounded(told.get("ISO") or other.iso_speed), ""),
        ("CAMERA", told.get("Model"), "model"),
        ("CAMTEMP", _rounded(told.get("CameraTemperature")), "Celsius"),
        ("CAMSN", told.get("SerialNumber") or told.get("BodySerialNumber"), "serial number"),
        ("INTSN", told.get("InternalSerialNumber"), "internal serial number"),
        ("MEASEV", _rounded(told.get("MeasuredEV")), "as the camera measured"),
        ("MEASEV2", _rounded(told.get("MeasuredEV2")), ""),
        ("FOCALLEN", _rounded(told.get("FocalLength")), "mm"),
        ("FNUMBER", _rounded(told.get("FNumber")), ""),
        ("WBRGGB", f"{red:g} {green:g} {green:g} {blue:g}", "as shot"),
        ("REDBAL", round(red / green, 6), ""),
        ("BLUEBAL", round(blue / green, 6), ""),
        ("WHTLVLS", int(min(peaks)) if peaks is not None else None, "as the camera says"),
        ("BLKLEVEL", black, "ADU of a pixel without light, by LibRaw"),
        ("WHTLEVEL", int(raw.white_level), "largest ADU, by LibRaw"),
        ("FILENAME", name, ""),
    ]
    return Header(
        [
            (keyword, plain_text(value) if isinstance(value, str) else value, comment)
            for keyword, value, comment in cards
            if value is not None and (isinstance(value, str) or math.isfinite(value))
        ]
    )


def _date(told: dict[str, float | str], seen: datetime | None) -> tuple[str | None, str]:
    """Start of the exposure, UTC, and a comment that tells of its zone.

    `seen` is what LibRaw found, in whole seconds of the camera's own clock.
    """
    no_zone = "the camera names no zone: UTC"
    match = _EXIF_TIME.match(str(told.get("DateTimeOriginal", "")))
    if match is None:
        known = seen is not None and seen.year >= EARLIEST
        return (seen.strftime("%Y-%m-%dT%H:%M:%S") if seen and known else None), no_zone
    part = re.match(r"\d{1,6}", str(told.get("SubSecTimeOriginal", "")))
    text = f"{match[1]}-{match[2]}-{match[3]}T{match[4]}" + (f".{part[0]}" if part else "")
    zone = re.match(r"[+-]\d\d:\d\d", str(told.get("OffsetTimeOriginal", "")))
    if zone is None:
        return text, no_zone
    try:
        when = datetime.fromisoformat(text + zone[0]).astimezone(UTC)
    except (ValueError, OverflowError):
        return text, no_zone
    return when.isoformat(timespec="milliseconds").removesuffix("+00:00"), "UTC"


def _rounded(value: object) -> float | int | None:
    """Whole numbers as such, others to what Exif's fractions mean; None for what is no number."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return int(value) if float(value).is_integer() else round(float(value), 6)


def _rawpy() -> ModuleType:
    try:
        import rawpy  # noqa: PLC0415, an optional package
    except ImportError as fault:
        raise MissingDependency(
            "Raw photographs need an optional package.",
            found="no rawpy",
            hint="pip install 'firstlight[raw]'",
        ) from fault
    module: ModuleType = rawpy
    return module


def _bad(path: Path, fault: Exception) -> BadRawPhoto:
    told = fault.args[0] if fault.args else fault
    reason = told.decode(errors="replace") if isinstance(told, bytes) else str(told)
    return BadRawPhoto(subject=path, found=reason, expected="a raw photograph that LibRaw knows")
