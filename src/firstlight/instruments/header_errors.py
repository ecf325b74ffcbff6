"""What can be wrong with the cards of a header, each with its own code."""

from __future__ import annotations

from firstlight.errors import BadFile

__all__ = [
    "BadCoordinate",
    "BadDate",
    "BadExposureTime",
    "BadHeader",
    "BadKind",
    "BadPixelRange",
    "BadQuantity",
    "BadSite",
    "Companion",
    "MissingCard",
]


class BadHeader(BadFile):
    """A card has a value that cannot be used."""

    code = "header.bad"


class MissingCard(BadHeader):
    """The header does not say this; the reduction goes on without it where it can."""

    code = "header.missing"


class BadCoordinate(BadHeader):
    """The pointing is not a position on the sky."""

    code = "header.coordinate"


class BadDate(BadHeader):
    """The time of the exposure cannot be understood."""

    code = "header.date"


class BadExposureTime(BadHeader):
    """The exposure time is not a length of time."""

    code = "header.exposure_time"


class Companion(BadHeader):
    """The file lies beside an image and is none: it is kept, and not reduced."""

    code = "header.companion"


class BadKind(BadHeader):
    """The kind of frame cannot be understood."""

    code = "header.kind"


class BadPixelRange(BadHeader):
    """A range of pixels such as DATASEC cannot be understood or is outside the image."""

    code = "header.pixel_range"


class BadQuantity(BadHeader):
    """A number is outside what is possible."""

    code = "header.quantity"


class BadSite(BadHeader):
    """The place of the telescope is not on the Earth."""

    code = "header.site"
