"""The stored files of an exposure, and the headers that came with them."""

from __future__ import annotations

import hashlib
import uuid
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from firstlight.models.base import Base, Timestamped
from firstlight.provenance.fingerprint import product_id

__all__ = ["ExposureCard", "ExposureFile", "ExposureHeader", "FileRole", "card_number"]


class FileRole(StrEnum):
    """What a file is to its exposure."""

    HEADER_TEXT = "header_text"
    FITS_LARGE = "fits_large"
    FITS_SMALL = "fits_small"
    JPG_MEDIUM = "jpg_medium"
    THUMBNAIL = "thumbnail"
    RAW = "raw"  # pixels of an exposure that does not follow the file grammar
    CR2 = "cr2"
    RED_FITS = "red_fits"
    GREEN_FITS = "green_fits"
    BLUE_FITS = "blue_fits"
    COLOUR_JPG = "colour_jpg"
    OTHER = "other"


class ExposureFile(Timestamped, Base):
    """One stored file of an exposure. Whether a kind of file exists is whether it has a row."""

    __tablename__ = "exposure_files"
    __table_args__ = (
        UniqueConstraint("exposure_id", "name"),
        Index("ix_exposure_files_exposure_id_role", "exposure_id", "role"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    exposure_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("exposures.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(512))
    """Last part of the file's name, as delivered."""
    role: Mapped[str] = mapped_column(String(16))
    reduction_level: Mapped[str | None] = mapped_column(String(2))
    key: Mapped[str] = mapped_column(String(900), index=True)
    """Where the bytes are in the store."""
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    md5: Mapped[str] = mapped_column(String(32))
    made: Mapped[bool] = mapped_column(default=False)
    """Whether firstlight made it, rather than received it."""

    def identify(self) -> None:
        """Set the id from the exposure and the name."""
        self.id = product_id("exposure file", [str(self.exposure_id), self.name])


class ExposureHeader(Base):
    """The whole header that came with one file, in its order.

    Of the headers of an exposure the one of lowest `rank` counts, whichever came last.
    """

    __tablename__ = "exposure_headers"
    __table_args__ = (Index("ix_exposure_headers_exposure_id_rank", "exposure_id", "rank"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    """That of the `ExposureFile`; of the upload ticket for a header given with it."""
    exposure_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("exposures.id", ondelete="CASCADE"))
    rank: Mapped[int]
    cards: Mapped[list[Any]]
    """Triples of keyword, value, comment; values are JSON (numbers, text, booleans, null)."""


class ExposureCard(Base):
    """Search index of the header that counts: one row for each card worth finding."""

    __tablename__ = "exposure_cards"
    __table_args__ = (
        Index("ix_exposure_cards_exposure_id", "exposure_id"),
        {"sqlite_with_rowid": False},
    )

    card: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    """`card_number` of the keyword and its value."""
    sort_mjd: Mapped[float] = mapped_column(primary_key=True)
    exposure_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("exposures.id", ondelete="CASCADE"), primary_key=True
    )


def card_number(keyword: str, value: object) -> int:
    """Return a signed 64-bit number that stands for a card in the search index.

    Letter case and blanks around the value do not count, and whole numbers are the same
    with and without a decimal point.
    """
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    if number is None:
        try:
            number = float(str(value))
        except ValueError:
            number = None
    text = str(value).strip().casefold() if number is None else f"{number:.12g}"
    digest = hashlib.blake2b(f"{keyword.strip().upper()}={text}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
