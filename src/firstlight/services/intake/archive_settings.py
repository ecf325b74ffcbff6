"""Settings of the archive. Light to import: the command line reads them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["ArchiveSettings"]

_CARDS = (
    "AIRMASS",
    "BLKUID",
    "CCDXBIN",
    "CONFMODE",
    "DAY-OBS",
    "DETECTOR",
    "EXPTIME",
    "FILTER",
    "FRAMENUM",
    "IMAGETYP",
    "INSTRUME",
    "OBJECT",
    "OBSERVER",
    "OBSTYPE",
    "ORIGNAME",
    "PROPID",
    "REQNUM",
    "SEQID",
    "SITEID",
    "SMARTSTK",
    "SSTKNUM",
    "TELESCOP",
    "TELID",
    "USERID",
    "USERNAME",
)


class ArchiveSettings(BaseModel):
    """What the archive makes of what arrives."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    indexed_cards: tuple[str, ...] = _CARDS
    """Keywords by whose values exposures can be searched at once."""
    thumbnail_height: int = Field(default=128, ge=16, le=2048)
    """Pixels of the thumbnails that are made of medium JPGs; they are never enlarged."""
    raw_levels: tuple[str, ...] = ("00", "01")
    """Reduction levels of large FITS files that are reduced, the best first."""
    max_text_mb: float = Field(default=16.0, gt=0)
    """Header texts larger than this are refused."""
    max_picture_mb: float = Field(default=256.0, gt=0)
    """JPG files larger than this are refused."""
    batch: int = Field(default=20, ge=1, le=1000)
    """Arrivals that one job takes."""
    settle_s: float = Field(default=60.0, ge=0)
    """What needs whole observations is reduced when nothing has come for so long, seconds."""
