"""Where overscan and image of each amplifier are, as a header's ranges of pixels tell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from firstlight.formats.fits_cards import is_blank
from firstlight.instruments import header_errors as bad
from firstlight.instruments import header_values as values
from firstlight.instruments.header_names import CardFound

__all__ = ["AmplifierArea", "areas_in"]


@dataclass(frozen=True)
class AmplifierArea:
    """Where one amplifier's pixels are in the raw array, as slices ``(rows, columns)``.

    ``None`` where the header does not say. The overscan `bias` may be absent. `trim` is where
    the pixels belong. `read_from` is the corner of `data`, in words, that is read first.
    """

    name: str
    bias: tuple[slice, slice] | None
    data: tuple[slice, slice] | None
    trim: tuple[slice, slice] | None
    read_from: str = "bottom left"


def areas_in(cards: Mapping[str, CardFound], subject: object) -> list[AmplifierArea]:
    """Read the ranges of all amplifiers; see `HeaderReader.overscan_and_data_sections`."""
    names = sorted(
        {match[2] for key in cards if (match := re.match(r"^(BIAS|DATA|TRIM)SEC([A-Z]?)$", key))}
    )
    areas = []
    for name in names:
        bias, data, trim = (
            _pixel_range(cards, f"{word}SEC{name}", subject) for word in ("BIAS", "DATA", "TRIM")
        )
        if bias or data or trim:
            place = _place_of(cards, name, data) or trim
            corner = _first_corner(cards.get(f"AMPSEC{name}"))
            areas.append(AmplifierArea(name, bias, data, place, corner))
    named = [area for area in areas if area.name]
    # A range for the whole section beside those of its amplifiers is their sum.
    return named if len(named) > 1 else areas


def _place_of(
    cards: Mapping[str, CardFound], name: str, data: tuple[slice, slice] | None
) -> tuple[slice, slice] | None:
    """Where the pixels of one of several amplifiers belong; None where it is not told."""
    card = cards.get(f"CCDSEC{name}") if name else None
    if card is None or data is None or is_blank(card.value):
        return None
    try:
        place = values.parse_pixel_range(card.value)
    except ValueError:
        return None  # a card that is not needed spoils nothing
    fits = all(p.stop - p.start == d.stop - d.start for p, d in zip(place, data, strict=True))
    return place if fits else None


def _first_corner(card: CardFound | None) -> str:
    """Corner of the first pixel of a range in read order, whose ends may stand backwards."""
    ends = [int(number) for number in re.findall(r"\d+", str(card.value))] if card else []
    if len(ends) != 4:
        return "bottom left"
    across, along = ends[0] > ends[1], ends[2] > ends[3]
    return f"{'top' if along else 'bottom'} {'right' if across else 'left'}"


def _pixel_range(
    cards: Mapping[str, CardFound], keyword: str, subject: object
) -> tuple[slice, slice] | None:
    card = cards.get(keyword)
    if card is None or is_blank(card.value):
        return None
    try:
        rows, columns = values.parse_pixel_range(card.value)
    except ValueError as problem:
        raise bad.BadPixelRange(
            subject=subject, field=card.keyword, found=repr(card.value), expected=str(problem)
        ) from problem
    # NAXISn of an image packed as tiles are those of the table that holds them.
    packed = "Z" if "ZNAXIS1" in cards else ""
    size = [cards[key].value for key in (f"{packed}NAXIS1", f"{packed}NAXIS2") if key in cards]
    if len(size) == 2 and (columns.stop > size[0] or rows.stop > size[1]):
        raise bad.BadPixelRange(
            subject=subject,
            field=card.keyword,
            found=repr(card.value),
            expected=f"a range within {size[0]} x {size[1]} pixels",
        )
    return rows, columns
