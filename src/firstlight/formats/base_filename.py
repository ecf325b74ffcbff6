"""The file names of Photon Ranch: which exposure a file belongs to and what it is.

::

    key  = [collection "/"] base "-" data_type level "." extension
    base = site "-" instrument "-" YYYYMMDD "-" NNNNNNNN

``data/sro-kb001ms-20220629-00010442-EX10.jpg`` is the medium picture of the exposure
``sro-kb001ms-20220629-00010442``. A key without a collection is one of ``data``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from firstlight.errors import UserError

__all__ = [
    "BadBaseFilename",
    "Collection",
    "FileName",
    "Role",
    "looks_like_base_filename",
    "parse_name",
]

_LONGEST = 200  # characters of the last part: room for prefixes in every store and column
_SHOWN = 80  # of a wrong value, in an error

_WORD = "[A-Za-z0-9_]"
_RULES = {
    "site": (rf"{_WORD}{{3,6}}", "3 to 6 letters or digits"),
    "instrument": (rf"{_WORD}+", "letters and digits"),
    "day": (r"[0-9]{8}", "YYYYMMDD"),
    "number": (r"[0-9]{8}", "8 digits"),
    "data_type": (r"[A-Za-z]+", "letters"),
    "reduction_level": (r"[0-9]{2}", "2 digits"),
}
_EXTENSIONS = ("txt", "jpg", "fits", "fits.bz2", "fits.fz")
_TAIL = re.compile(r"([A-Za-z]*)([^.]*)(?:\.(.*))?", re.ASCII | re.DOTALL)
_LOOKS_LIKE = 4  # of the five parts, right


class Collection(StrEnum):
    """What a key begins with, which is the kind of exposure."""

    DATA = "data"
    INFO_IMAGES = "info-images"
    ALLSKY = "allsky"
    TEST = "test"


class Role(StrEnum):
    """What a file is to its exposure."""

    HEADER_TEXT = "header_text"
    FITS_LARGE = "fits_large"
    FITS_SMALL = "fits_small"
    JPG_MEDIUM = "jpg_medium"
    THUMBNAIL = "thumbnail"
    OTHER = "other"  # kept, without effect


class BadBaseFilename(UserError):
    """The name is not one that an observatory of Photon Ranch gives."""

    code = "base_filename.bad"


@dataclass(frozen=True, slots=True)
class FileName:
    """A parsed name. ``str`` gives the key, with its collection.

    Letters keep their case, so names that differ in case only are different names.

    Parameters
    ----------
    day
        The date in the name: of the observing night by the site's custom, not of the exposure.
    number
        8 digits, with their leading zeros.
    data_type
        ``EX`` or ``e`` exposure, ``EP`` experimental, ``EF`` focus, and what others use.
    reduction_level
        2 digits.
    extension
        ``txt``, ``jpg``, ``fits``, ``fits.bz2`` or ``fits.fz``.
    """

    collection: Collection
    site: str
    instrument: str
    day: date
    number: str
    data_type: str
    reduction_level: str
    extension: str

    @property
    def base_filename(self) -> str:
        """What all files of one exposure share."""
        return f"{self.site}-{self.instrument}-{_compact(self.day)}-{self.number}"

    @property
    def filename(self) -> str:
        """The name without its collection."""
        tail = f"{self.data_type}{self.reduction_level}.{self.extension}"
        return f"{self.base_filename}-{tail}"

    @property
    def role(self) -> Role:
        """What the file is, by its extension and reduction level."""
        large, small = ("00", "01"), ("10", "13")
        if self.extension == "txt":
            return Role.HEADER_TEXT  # sites disagree on its level, so any will do
        if self.extension == "jpg":
            medium = Role.JPG_MEDIUM if self.reduction_level in small else Role.OTHER
            return Role.THUMBNAIL if self.reduction_level == "11" else medium
        if self.reduction_level in large:
            return Role.FITS_LARGE
        return Role.FITS_SMALL if self.reduction_level in small else Role.OTHER

    def __str__(self) -> str:
        return f"{self.collection}/{self.filename}"


def parse_name(key: str) -> FileName:
    """Parse a key, or a file name alone.

    Raises
    ------
    BadBaseFilename
        It is not of this grammar; `field` says which part is wrong.
    """
    prefix, slash, name = key.rpartition("/")
    if slash and prefix not in set(Collection):
        raise _fault(key, "collection", prefix, ", ".join(Collection))
    if len(name) > _LONGEST:
        raise _fault(key, "length", f"{len(name)} characters", f"at most {_LONGEST}")
    parts = name.split("-")
    if len(parts) != 5:
        raise _fault(
            key,
            "parts",
            f"{len(parts)} parts between dashes",
            "5: site-instrument-YYYYMMDD-NNNNNNNN-EX00.fits.fz",
        )
    site, instrument, day, number, tail = parts
    data_type, level, extension = _split_tail(tail)
    found = {
        "site": site,
        "instrument": instrument,
        "day": day,
        "number": number,
        "data_type": data_type,
        "reduction_level": level,
    }
    for field, value in found.items():
        pattern, expected = _RULES[field]
        if not re.fullmatch(pattern, value):
            raise _fault(key, field, value, expected)
    if extension not in _EXTENSIONS:
        raise _fault(key, "extension", extension, ", ".join(_EXTENSIONS))
    return FileName(
        collection=Collection(prefix or Collection.DATA),
        site=site,
        instrument=instrument,
        day=_calendar_day(key, day),
        number=number,
        data_type=data_type,
        reduction_level=level,
        extension=extension,
    )


def looks_like_base_filename(key: str) -> bool:
    """Tell a name that was meant to be of this grammar from one of another world.

    So it is where at least four of the five parts are right: one slip of a program keeps its
    name in this world, while names of other archives (``ogg0m404-kb82-20190221-0123-e91.fits``
    has a long site and a short number) stay out of it. Every name that parses is one.
    """
    site, instrument, day, number, tail, *_ = [*key.rpartition("/")[2].split("-"), *[""] * 5]
    right = [
        bool(re.fullmatch(_RULES[field][0], value))
        for field, value in zip(
            ("site", "instrument", "day", "number"), (site, instrument, day, number), strict=True
        )
    ]
    data_type, level, extension = _split_tail(tail)
    right.append(bool(data_type and level) and extension in _EXTENSIONS)
    return sum(right) >= _LOOKS_LIKE


def _split_tail(tail: str) -> tuple[str, str, str]:
    """Split ``EX10.fits.fz`` into data type, level and extension; what is missing is empty."""
    found = _TAIL.fullmatch(tail)
    # The pattern matches every text.
    return ("", "", "") if found is None else (found[1], found[2], found[3] or "")


def _calendar_day(key: str, digits: str) -> date:
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError as fault:
        raise _fault(key, "day", digits, "a day of the calendar") from fault


def _compact(day: date) -> str:
    """YYYYMMDD; strftime does not fill the years before 1000 with zeros everywhere."""
    return f"{day.year:04d}{day.month:02d}{day.day:02d}"


def _fault(key: str, field: str, found: str, expected: str) -> BadBaseFilename:
    """Build the error; names can hold anything, so what is odd in them is written out."""
    return BadBaseFilename(subject=_shown(key), field=field, found=_shown(found), expected=expected)


def _shown(text: str) -> str:
    return ascii(text[:_SHOWN])[1:-1] + ("..." if len(text) > _SHOWN else "")
