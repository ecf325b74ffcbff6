"""Raw photographs of DSLR cameras (CR2, NEF, DNG, ...) as mosaics with a FITS header.

They are decoded by LibRaw, through rawpy, and their Exif data by exifread: the optional extra
``raw``.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
from astropy.io.fits import Header
from numpy.typing import NDArray

from firstlight.algorithms.colour_channels import flipped_rows
from firstlight.errors import BadFile, MissingDependency
from firstlight.formats.file_errors import check_is_readable_file
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
_MAGIC = (b"II*\0", b"MM\0*", b"IIRO", b"IIU\0", b"FUJIFILM")
_EXIF_TIME = re.compile(r"^(\d{4}):(\d\d):(\d\d)[ T](\d\d:\d\d:\d\d)")
_PathLike: TypeAlias = str | os.PathLike[str]
_Exif: TypeAlias = dict[str, Any]


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
        rawpy or exifread is not installed.
    """
    path = check_is_readable_file(path)
    rawpy = _rawpy()
    try:
        with rawpy.imread(str(path)) as raw:
            pattern = _pattern(raw, rawpy, path)
            mosaic = np.ascontiguousarray(raw.raw_image_visible[::-1])
            header = _header(raw, pattern, path)
    except rawpy.LibRawError as fault:
        raise _bad(path, fault) from fault
    return RawPhoto(mosaic, flipped_rows(pattern, len(mosaic)), header)


def read_raw_header(path: _PathLike) -> Header:
    """Read the header without the pixels; errors as `read_raw_photo`."""
    path = check_is_readable_file(path)
    rawpy = _rawpy()
    try:
        with rawpy.imread(str(path)) as raw:
            return _header(raw, _pattern(raw, rawpy, path), path)
    except rawpy.LibRawError as fault:
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


def _header(raw: Any, pattern: str, path: Path) -> Header:
    exif = _exif(path)
    rows = int(raw.sizes.height)
    black = float(np.median(raw.black_level_per_channel))
    balance = [float(value) for value in raw.camera_whitebalance]
    peaks = raw.camera_white_level_per_channel
    green = balance[1] or 1.0
    exposure = exif.get("EXIF ExposureTime") or getattr(raw.other, "shutter_speed", None)
    cards: list[tuple[str, Any, str]] = [
        ("FILTER", pattern, "colours from the top of the sensor"),
        ("BAYERPAT", flipped_rows(pattern, rows), "colours from the first pixel here"),
        ("EXPTIME", _number(exposure), "seconds"),
        ("DATE-OBS", *_date(exif)),
        ("ISO", _number(exif.get("EXIF ISOSpeedRatings") or raw.other.iso_speed), ""),
        ("CAMERA", _text(exif.get("Image Model")), "model"),
        ("CAMTEMP", _number(exif.get("MakerNote CameraTemperature")), "Celsius"),
        ("CAMSN", _text(exif.get("MakerNote SerialNumber")), "serial number"),
        ("INTSN", _text(exif.get("MakerNote InternalSerialNumber")), "internal serial number"),
        ("MEASEV", _number(exif.get("MakerNote MeasuredEV")), ""),
        ("FOCALLEN", _number(exif.get("EXIF FocalLength")), "mm"),
        ("FNUMBER", _number(exif.get("EXIF FNumber")), ""),
        ("WBRGGB", " ".join(f"{n:g}" for n in (*balance[:2], green, balance[2])), "as shot"),
        ("REDBAL", round(balance[0] / green, 6), ""),
        ("BLUEBAL", round(balance[2] / green, 6), ""),
        ("WHTLVLS", int(min(peaks)) if peaks is not None else None, "as the camera says"),
        ("BLKLEVEL", black, "ADU of a pixel without light, by LibRaw"),
        ("WHTLEVEL", int(raw.white_level), "largest ADU, by LibRaw"),
        ("FILENAME", path.name, ""),
    ]
    return Header([card for card in cards if card[1] is not None])


def _exif(path: Path) -> _Exif:
    """Exif data by name; empty where they cannot be read, then LibRaw says what it knows."""
    try:
        import exifread  # noqa: PLC0415, an optional package
    except ImportError as fault:
        raise _missing("exifread") from fault
    try:
        with path.open("rb") as stream:
            found = exifread.process_file(stream, details=True, extract_thumbnail=False)
    except OSError:
        raise
    except Exception:  # noqa: BLE001, foreign bytes fail in any way, and pixels may be good
        return {}
    return {name.strip(): tag for name, tag in found.items()}


def _date(exif: _Exif) -> tuple[str | None, str]:
    """Start of the exposure, UTC, and a comment that tells of its zone."""
    name = next((n for n in ("EXIF DateTimeOriginal", "Image DateTimeOriginal") if n in exif), None)
    match = _EXIF_TIME.match(str(exif[name])) if name is not None else None
    if match is None:
        return None, ""
    part = re.match(r"\d+", str(exif.get("EXIF SubSecTimeOriginal", "")))
    text = f"{match[1]}-{match[2]}-{match[3]}T{match[4]}" + (f".{part[0]}" if part else "")
    zone = re.match(r"[+-]\d\d:\d\d", str(exif.get("EXIF OffsetTimeOriginal", "")))
    if zone is None:
        return text, "the camera names no zone: UTC"
    try:
        when = datetime.fromisoformat(text + zone[0]).astimezone(UTC)
    except ValueError:
        return text, "the camera names no zone: UTC"
    return when.isoformat(timespec="milliseconds").removesuffix("+00:00"), "UTC"


def _number(value: Any) -> float | int | None:
    """Read the first number of an Exif value: 602/5, [100], '11 C'."""
    if value is None:
        return None
    match = re.search(r"([+-]?\d+(?:\.\d+)?)(?:/(\d+))?", str(value))
    if match is None or (match[2] is not None and int(match[2]) == 0):
        return None
    number = float(match[1]) / float(match[2] or 1)
    return int(number) if number.is_integer() else round(number, 9)


def _text(value: Any) -> str | None:
    text = "" if value is None else str(value).strip().strip("\0")
    return text or None


def _rawpy() -> ModuleType:
    try:
        import rawpy  # noqa: PLC0415, an optional package
    except ImportError as fault:
        raise _missing("rawpy") from fault
    module: ModuleType = rawpy
    return module


def _missing(package: str) -> MissingDependency:
    return MissingDependency(
        "Raw photographs need an optional package.",
        found=f"no {package}",
        hint="pip install 'firstlight[raw]'",
    )


def _bad(path: Path, fault: Exception) -> BadRawPhoto:
    told = fault.args[0] if fault.args else fault
    reason = told.decode(errors="replace") if isinstance(told, bytes) else str(told)
    return BadRawPhoto(subject=path, found=reason, expected="a raw photograph that LibRaw knows")
