"""PhotonRanch: the cameras of the Photon Ranch network, which share one way of writing headers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from firstlight.formats.fits_cards import is_blank
from firstlight.instruments import header_values as values
from firstlight.instruments.generic import GenericFITS
from firstlight.instruments.header_errors import BadHeader, BadQuantity
from firstlight.instruments.header_names import normalize_keyword
from firstlight.instruments.header_reader import AnyHeader, CardFound

__all__ = ["PhotonRanch", "read_archive_cards"]

_HOURS = frozenset({"OBJCTRA", "RAHRS"})
_OWN = ("SMARTSTK", "SSTKNUM", "SSTKLEN")
_LARGEST_INTEGER = 2**31 - 1


class PhotonRanch(GenericFITS):
    """Any camera of the network; describe a camera in the settings for better errors.

    Right ascension is that of OBJCTRA, in decimal hours or as ``hh:mm:ss``; where there is
    none, that of RA, in degrees. The observatories' own program writes OBJCTRA in degrees: it is
    taken for degrees where that is nearer to RADEG or RAHRS, which it writes, too.
    """

    name = "PhotonRanch"
    filename_regex = (r"^[A-Za-z0-9_]{3,6}-[A-Za-z0-9_]+-\d{8}-\d{8}(?:-|$)",)
    translations = {  # noqa: RUF012, declared as a read-only Mapping in the base class
        "ra": ("OBJCTRA", "RA", "RAHRS"),
        "dec": ("OBJCTDEC", "DEC"),
        "binning_x": ("CCDXBIN", "XBINING"),
        "binning_y": ("CCDYBIN", "YBINING"),
        "temperature": ("CCDATEMP",),
    }

    def matches_header(self, header: AnyHeader) -> float | None:
        """Claim headers with the network's own cards, less surely than a described camera."""
        told = {normalize_keyword(keyword) for keyword in header}
        if "SITEID" in told and any(keyword in told for keyword in _OWN):
            return 0.5
        return None

    def _find(self, cards: dict[str, CardFound], name: str) -> CardFound | None:
        found = super()._find(cards, name)
        if found is None:
            return None
        if name == "pixel_scale" and str(found.value).strip().lower() == "unknown":
            return None  # so the network's cameras call it until a first image was solved
        if name != "ra" or normalize_keyword(found.keyword) not in _HOURS:
            return found
        if _is_in_degrees(found.value, cards):
            return found
        return found._replace(value=_degrees(found.value))


def _is_in_degrees(value: Any, cards: Mapping[str, CardFound]) -> bool:
    """Whether a number is a right ascension in degrees, as cards that say their unit tell."""
    told = {name: cards[name].value for name in ("RADEG", "RAHRS") if name in cards}
    try:
        number = values.parse_number(value)
        pointing = [values.parse_number(v) * (15 if k == "RAHRS" else 1) for k, v in told.items()]
    except ValueError:
        return False
    if not pointing:
        return False
    off = [abs((each - pointing[0] + 180) % 360 - 180) for each in (number, 15 * number)]
    return off[0] < off[1]


def _degrees(value: Any) -> Any:
    """Hours as a number become degrees; what is in three parts is hours to everyone."""
    try:
        hours = values.parse_number(value)
    except ValueError:
        return value
    if not 0 <= hours <= 24:
        return f"{value} (hours from 0 to 24)"  # no number, so that the reader refuses it
    return hours * 15.0


def _angle(low: float, high: float) -> Callable[[Any], float]:
    def read(value: Any) -> float:
        angle = values.parse_number(value)
        if not (math.isfinite(angle) and low <= angle <= high):
            raise ValueError(f"degrees from {low:g} to {high:g}")
        return angle

    return read


def _count(value: Any) -> int:
    number = values.parse_number(value)
    if number != int(number) or not 0 <= number <= _LARGEST_INTEGER:
        raise ValueError("a whole number from 0")
    return int(number)


def _text(value: Any) -> str | None:
    return str(value).strip() or None


def _stack(value: Any) -> str | None:
    """No stack is written as ``no``."""
    if isinstance(value, bool):
        return None
    text = str(value).strip()
    return None if text.lower() in ("no", "none", "false", "") else text


_ARCHIVE_CARDS: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "altitude": ("ALTITUDE", _angle(-90, 90)),
    "azimuth": ("AZIMUTH", _angle(-360, 360)),
    "user_id": ("USERID", _text),
    "username": ("USERNAME", _text),
    "smart_stack": ("SMARTSTK", _stack),
    "stack_number": ("SSTKNUM", _count),
    "stack_length": ("SSTKLEN", _count),
}


def read_archive_cards(header: AnyHeader) -> tuple[dict[str, Any], list[BadHeader]]:
    """Read what the archive wants to know beyond what a reduction needs.

    Parameters
    ----------
    header
        Values by keyword, upper case.

    Returns
    -------
    columns, problems
        `altitude`, `azimuth` (degrees), `user_id`, `username`, `smart_stack`, `stack_number`
        and `stack_length`; None for what is missing, blank or nonsense, and an error that is
        not raised for each piece of nonsense.
    """
    columns: dict[str, Any] = {}
    problems: list[BadHeader] = []
    for column, (keyword, read) in _ARCHIVE_CARDS.items():
        value = header.get(keyword)
        columns[column] = None
        if is_blank(value):
            continue
        try:
            columns[column] = read(value)
        except (ValueError, OverflowError) as fault:
            problems.append(BadQuantity(field=keyword, found=repr(value), expected=str(fault)))
    if columns["azimuth"] is not None:
        columns["azimuth"] %= 360.0
    if columns["smart_stack"] is None:
        columns["stack_number"] = columns["stack_length"] = None
    return columns, problems
