"""How cameras write numbers, angles, times and frame types, understood once for all of them.

Each function takes the raw value of a card and returns a plain one. It raises ``ValueError``
with what it expected when it cannot; the caller knows the card and the file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any, TypeAlias

import numpy as np
from astropy.time import Time

from firstlight.formats.fits_cards import is_blank

__all__ = [
    "MJD_EPOCH",
    "DateLike",
    "largest_stored_value",
    "parse_angle",
    "parse_binning",
    "parse_date",
    "parse_kind",
    "parse_latitude_or_longitude",
    "parse_number",
    "parse_pixel_range",
    "parse_right_ascension",
    "parse_time_of_day",
    "to_datetime",
    "to_mjd",
]

DateLike: TypeAlias = Any  # datetime, date, astropy Time, MJD, text or None

MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)
_NUMBER = re.compile(r"^\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][+-]?\d+)?)\s*([A-Za-z%°/\"'-]*)\s*$")
_SEXAGESIMAL = re.compile(
    r"^\s*([+-]?)\s*(\d{1,3})(?:\s*[:hHdD°]\s*|\s+)(\d{1,2})(?:(?:\s*[:mM'\u2032]\s*|\s+)"
    r"(\d{1,2}(?:\.\d*)?)\s*[sS\"\u2033]?)?\s*m?'?\s*$"
)
_DECIMAL_MINUTES = re.compile(r"^([+-]?\d{1,3})\s*[:\s]\s*(\d{1,2})(\.\d{1,6})$")
_DATE = re.compile(r"^(\d{4})[-/](\d{1,2})[-/](\d{1,2})$")
_OLD_DATE = re.compile(r"^(\d{1,2})/(\d{1,2})/(\d{2})$")
_TIME = re.compile(r"^(\d{1,2}):(\d{1,2})(?::(\d{1,2}(?:\.\d*)?))?$")
_ZONE = re.compile(r"\s*(Z|UTC?|[+-]\d{2}:?\d{2}|[+-]\d{2})$", re.IGNORECASE)
_RANGE = re.compile(r"^\[?\s*(\d+)\s*:\s*(\d+)\s*,\s*(\d+)\s*:\s*(\d+)\s*\]?$")
_LIGHT = {
    "science", "sci", "object", "objects", "light", "lights", "lightframe", "lightimage",
    "target", "expose", "exposure", "sky", "image", "observation", "standard", "std", "raw",
    "photometricstandard",
    "experimental", "ex",
}  # fmt: skip


def parse_number(value: object) -> float:
    """Read a number, also from text, also with a unit behind it (``'43 C'``)."""
    if isinstance(value, bool):
        raise ValueError("a number")  # noqa: TRY004, one kind of error for every bad value
    if isinstance(value, int | float | np.integer | np.floating):
        return float(value)
    match = _NUMBER.match(str(value))
    if not match:
        raise ValueError("a number")
    return float(match[1].upper().replace("D", "E"))


def parse_angle(value: object) -> tuple[float, bool]:
    """Read an angle.

    Returns
    -------
    angle, sexagesimal
        In the unit of its first part, and whether it came in three (or two) parts.
    """
    match = _SEXAGESIMAL.match(value) if isinstance(value, str) else None
    if not match:
        return parse_number(value), False
    sign, first, minutes, seconds = match.groups()
    if int(minutes) >= 60 or float(seconds or 0) >= 60:
        raise ValueError("minutes and seconds below 60")
    angle = int(first) + int(minutes) / 60 + float(seconds or 0) / 3600
    return (-angle if sign == "-" else angle), True


def parse_right_ascension(value: object) -> float:
    """Return degrees in [0, 360): numbers are degrees, three parts are hours."""
    angle, in_hours = parse_angle(value)
    limit = 24.0 if in_hours else 360.0
    # Mounts write small negative angles and 360 itself.
    if not math.isfinite(angle) or not -limit / 2 <= angle <= limit:
        raise ValueError("degrees from 0 to 360, or hours as 'hh:mm:ss'")
    return (angle * (15.0 if in_hours else 1.0)) % 360.0


def parse_latitude_or_longitude(value: object, limit: float = 90.0) -> float:
    """Return degrees, north and east positive; a letter N, S, E or W may say the side."""
    text, side = str(value).strip(), ""
    if isinstance(value, str):
        letters = re.match(r"^([NSEWnsew]?)\s*(.*?)\s*([NSEWnsew]?)$", text)
        if letters:
            side, text = (letters[1] or letters[3]).upper(), letters[2]
    if decimal := _DECIMAL_MINUTES.match(text):
        # Some telescopes tell their place so; of a star it would be too little to be sure.
        text = f"{decimal[1]}:{int(decimal[2])}:{60 * float('0' + decimal[3])}"
    angle, _ = parse_angle(text if isinstance(value, str) else value)
    if side in ("S", "W"):
        angle = -abs(angle)
    if not math.isfinite(angle) or abs(angle) > limit:
        raise ValueError(f"degrees from {-limit:g} to {limit:g}")
    return angle


def parse_time_of_day(value: object) -> timedelta:
    """Read ``hh:mm:ss.sss``; a zone behind it is understood by `parse_date` only."""
    match = _TIME.match(_ZONE.sub("", str(value).strip()))
    if not match:
        raise ValueError("hh:mm:ss")
    hours, minutes, seconds = int(match[1]), int(match[2]), float(match[3] or 0)
    if hours > 24 or minutes > 59 or seconds >= 61:
        raise ValueError("hh:mm:ss within a day")
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def parse_date(value: object) -> tuple[datetime, bool]:
    """Read a date in the forms that cameras write.

    Parameters
    ----------
    value
        ``YYYY-MM-DD``, with ``T`` or a blank before the time, or ``YYYY/MM/DD``, or the old
        FITS form ``DD/MM/YY``. A zone (``Z``, ``-0700``, ``+07:00``) may follow; without one
        the time is UTC.

    Returns
    -------
    when, has_time
        Aware, in UTC; and whether the text had a time of day.
    """
    text = str(value).strip()
    day, clock = [*re.split(r"[Tt\s]", text, maxsplit=1), ""][:2]
    clock = clock.strip()
    start = _parse_day(day)
    if not clock:
        return start, False
    zone = _ZONE.search(clock)
    offset = _parse_zone(zone[1]) if zone else UTC
    when = start + parse_time_of_day(_ZONE.sub("", clock) if zone else clock)
    return when.replace(tzinfo=offset).astimezone(UTC), True


def _parse_day(text: str) -> datetime:
    if match := _DATE.match(text):
        year, month, day = (int(part) for part in match.groups())
    elif match := _OLD_DATE.match(text):
        day, month, year = (int(part) for part in match.groups())
        year += 1900  # by definition of that form
    else:
        raise ValueError("YYYY-MM-DDThh:mm:ss")
    if not 1850 <= year <= 2200:
        raise ValueError("a year from 1850 to 2200")
    try:
        return datetime(year, month, day, tzinfo=UTC)
    except ValueError:
        raise ValueError("a day of the calendar") from None


def _parse_zone(text: str) -> timezone:
    if text.upper() in ("Z", "UT", "UTC"):
        return UTC
    digits = text[1:].replace(":", "").ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    if offset > timedelta(hours=14):
        raise ValueError("a zone of at most 14 hours")
    return timezone(-offset if text[0] == "-" else offset)


def to_mjd(when: datetime) -> float:
    """Return the modified Julian date of an aware time."""
    return (when - MJD_EPOCH) / timedelta(days=1)


def to_datetime(when: DateLike) -> datetime:
    """Return an aware time in UTC.

    Parameters
    ----------
    when
        A datetime (UTC where it has no zone), a date, an astropy Time, an MJD, a text as
        `parse_date` reads it, or ``None`` for now.
    """
    if when is None:
        return datetime.now(UTC)
    if isinstance(when, datetime):
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    if isinstance(when, date):
        return datetime(when.year, when.month, when.day, tzinfo=UTC)
    if isinstance(when, Time):
        return MJD_EPOCH + timedelta(days=float(when.utc.mjd))
    if isinstance(when, str) and not _NUMBER.match(when):
        return parse_date(when)[0]
    mjd = parse_number(when)
    if not -1e6 < mjd < 2.9e6:
        raise ValueError("a modified Julian date")
    return MJD_EPOCH + timedelta(days=mjd)


def parse_kind(value: object) -> str:
    """Return ``science``, ``bias``, ``dark``, ``flat`` or ``other`` from a frame type."""
    text = re.sub(r"[^a-z]", "", str(value).lower())
    # A "dark flat" is a dark with the exposure time of the flats.
    for kind, words in (("dark", ("dark",)), ("flat", ("flat",)), ("bias", ("bias", "zero"))):
        if any(word in text for word in words):
            return kind
    return "science" if text in _LIGHT or text.startswith("light") else "other"


def parse_binning(value: object) -> int:
    """Return a whole number of 1 or more."""
    number = parse_number(value)
    if not number.is_integer() or not 1 <= number <= 64:
        raise ValueError("a whole number from 1 to 64")
    return int(number)


def parse_pixel_range(value: object) -> tuple[slice, slice]:
    """Read ``[x1:x2,y1:y2]``, which counts from 1 and includes both ends.

    Returns
    -------
    rows, columns
        Slices of an array ``(ny, nx)``. A range written backwards, as flipped readouts do,
        covers the same pixels.
    """
    match = _RANGE.match(str(value).strip())
    if not match:
        raise ValueError("[x1:x2,y1:y2]")
    x1, x2, y1, y2 = (int(part) for part in match.groups())
    if min(x1, x2, y1, y2) < 1:
        raise ValueError("pixels counted from 1")
    return slice(min(y1, y2) - 1, max(y1, y2)), slice(min(x1, x2) - 1, max(x1, x2))


def blank_to_none(value: object) -> object:
    """Return None for a card without a value."""
    return None if is_blank(value) else value


def largest_stored_value(header: Mapping[str, Any]) -> float | None:
    """Largest number that the pixels can hold; None for floats, which have no such limit."""
    bits = header.get("ZBITPIX", header.get("BITPIX"))
    if not isinstance(bits, int) or not 8 <= bits <= 32 or not header.get("NAXIS"):
        return None
    zero, scale = header.get("BZERO") or 0, header.get("BSCALE") or 1
    stored = 255 if bits == 8 else 2 ** (bits - 1) - 1
    return float(stored) * float(scale) + float(zero)
