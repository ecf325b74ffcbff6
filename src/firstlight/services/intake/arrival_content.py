"""Looking into the bytes of an arrival: whether they are whole, and what they tell."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from firstlight.errors import BadFile
from firstlight.formats.base_filename import FileName, Role
from firstlight.formats.fits_file import inspect
from firstlight.formats.header_text import parse_cards_text
from firstlight.formats.jpeg import check_jpeg, shrink_jpeg
from firstlight.instruments import get_instrument_instance
from firstlight.services.intake.archive_settings import ArchiveSettings
from firstlight.services.intake.stored_header import CardList, cards_of, clean_cards

__all__ = ["Content", "FileTooLarge", "check_fits", "check_light", "is_light", "size_limit"]

_MEDIUM_LEVEL = "10"  # of the pictures that thumbnails are made of


class FileTooLarge(BadFile):
    """The file is larger than files of its kind may be."""

    code = "archive.too_large"


@dataclass(frozen=True)
class Content:
    """What a file holds.

    Attributes
    ----------
    cards
        Its header; None for a picture.
    thumbnail
        A small picture made of it, where it is a medium JPG.
    """

    cards: CardList | None = None
    thumbnail: bytes | None = None


def is_light(name: FileName) -> bool:
    """Whether a file is small enough to be held in memory whole."""
    return name.extension in ("txt", "jpg")


def size_limit(name: FileName, settings: ArchiveSettings) -> int:
    """Largest number of bytes of a light file."""
    limit = settings.max_text_mb if name.extension == "txt" else settings.max_picture_mb
    return round(limit * 1e6)


def check_light(name: FileName, content: bytes, settings: ArchiveSettings) -> Content:
    """Check a header text or a picture.

    Raises
    ------
    BadFile
        With what is wrong with it.
    """
    if name.extension == "txt":
        return Content(cards=clean_cards(parse_cards_text(content, subject=name.filename)))
    if name.role is Role.JPG_MEDIUM and name.reduction_level == _MEDIUM_LEVEL:
        small = shrink_jpeg(content, settings.thumbnail_height, subject=name.filename)
        return Content(thumbnail=small)
    check_jpeg(content, subject=name.filename)
    return Content()


def check_fits(path: Path) -> Content:
    """Check a FITS file, every pixel of it.

    Raises
    ------
    BadFile
        With what is wrong with it.
    """
    inspect(path, pixels=True)
    reader = get_instrument_instance("GenericFITS")
    return Content(cards=cards_of(reader.read_header(path)))
