"""Every way in which a FITS file cannot be used, each with its own code."""

from __future__ import annotations

from firstlight.errors import BadFile

__all__ = [
    "AbsurdSize",
    "AllNan",
    "BadBitpix",
    "BadScaling",
    "BadStructureCard",
    "BadTiles",
    "ConstantImage",
    "CorruptTiles",
    "Cube",
    "EmptyImage",
    "HeaderTooLarge",
    "NoEndCard",
    "NoImage",
    "NoSuchImage",
    "NotFits",
    "NotTwoDimensional",
    "TruncatedData",
    "TruncatedHeader",
]


class NotFits(BadFile):
    """The file is not a FITS file."""

    code = "fits.not_fits"


class TruncatedHeader(BadFile):
    """The file ends inside a header."""

    code = "fits.truncated_header"


class NoEndCard(BadFile):
    """The header has no END card."""

    code = "fits.no_end"


class HeaderTooLarge(BadFile):
    """The header has more cards than any camera writes."""

    code = "fits.header_too_large"


class BadStructureCard(BadFile):
    """A card that describes the layout of the file is missing or cannot be read."""

    code = "fits.structure_card"


class BadBitpix(BadFile):
    """BITPIX is not one of the values of the FITS standard."""

    code = "fits.bitpix"


class AbsurdSize(BadFile):
    """The header declares an image that no detector has."""

    code = "fits.absurd_size"


class TruncatedData(BadFile):
    """The file ends before its declared data do."""

    code = "fits.truncated_data"


class NoImage(BadFile):
    """The file holds no image."""

    code = "fits.no_image"


class NoSuchImage(BadFile):
    """The file does not hold the image that was asked for."""

    code = "fits.no_such_image"


class NotTwoDimensional(BadFile):
    """The data are not a two-dimensional image."""

    code = "fits.not_2d"


class EmptyImage(BadFile):
    """The image has an axis of length zero."""

    code = "fits.empty_image"


class Cube(BadFile):
    """The data are a stack of several planes; an exposure is a single plane."""

    code = "fits.cube"


class BadScaling(BadFile):
    """BSCALE, BZERO or BLANK cannot be used to scale the pixels."""

    code = "fits.scaling"


class BadTiles(BadFile):
    """The cards of a tile-compressed image contradict each other."""

    code = "fits.tiles"


class CorruptTiles(BadFile):
    """The tile-compressed pixels cannot be unpacked."""

    code = "fits.corrupt_tiles"


class AllNan(BadFile):
    """Every pixel is undefined (NaN or BLANK)."""

    code = "fits.all_nan"


class ConstantImage(BadFile):
    """Every pixel has the same value."""

    code = "fits.constant"
