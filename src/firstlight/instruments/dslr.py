"""DSLR: any camera that writes raw photographs, described by what its files say."""

from __future__ import annotations

from firstlight.formats.raw_photo import RAW_SUFFIXES
from firstlight.instruments.header_reader import AnyHeader
from firstlight.instruments.mosaic_camera import MosaicCamera

__all__ = ["DSLR"]


class DSLR(MosaicCamera):
    """A camera that nobody has described yet, whose files are raw photographs.

    Black and white level are those of LibRaw; gain and read noise depend on ISO and model and
    are not told, so that electrons are ADU until the settings say more. FITS files made by
    `formats.raw_photo.raw_photo_to_fits` are read alike.
    """

    name = "DSLR"
    filename_regex = tuple(rf"(?i)\{suffix}$" for suffix in RAW_SUFFIXES)
    cfa_pattern = "GBRG"
    translations = {  # noqa: RUF012, declared as a read-only Mapping in the base class
        "bias_level": ("BLKLEVEL",),
        "saturation_limit": ("WHTLEVEL",),
    }
    auxiliary_keys = ("iso", "camsn", "focallen", "fnumber", "redbal", "bluebal")

    def matches_header(self, header: AnyHeader) -> float | None:
        """Know it by the cards of the conversion."""
        converted = all(key in header for key in ("BAYERPAT", "BLKLEVEL", "WHTLEVEL", "WBRGGB"))
        if converted:
            return 0.6
        return None if self.find_card(header, "instrument") is None else 0.0
