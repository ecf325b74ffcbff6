"""Headers as the archive keeps them: every card in its order, as JSON that any database takes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, TypeAlias

from astropy.io.fits import Header
from astropy.io.fits.card import Undefined

from firstlight.instruments.header_reader import PlainHeader

__all__ = ["CardList", "cards_of", "clean_cards", "clean_text", "values_of"]

CardList: TypeAlias = list[list[Any]]
"""Triples of keyword, value, comment; values are numbers, text, booleans or None."""

_LONGEST = 1 << 16  # characters of one value; no card of FITS comes near
_EXACT = 1 << 53  # larger integers lose digits in the JSON of other languages


def cards_of(header: Header) -> CardList:
    """Cards of a FITS header."""
    return [
        [clean_text(card.keyword), _plain(card.value), clean_text(card.comment or "")]
        for card in header.cards
    ]


def clean_cards(cards: Iterable[Any]) -> CardList:
    """Triples from anywhere, made safe to keep."""
    return [
        [clean_text(str(keyword)).upper().strip(), _plain(value), clean_text(str(comment or ""))]
        for keyword, value, comment in cards
    ]


def values_of(cards: Iterable[Any]) -> PlainHeader:
    """The first value of each keyword."""
    found: dict[str, Any] = {}
    for keyword, value, _ in cards:
        if keyword and keyword not in found:
            found[keyword] = value
    return PlainHeader(found)


def clean_text(text: str) -> str:
    """Text without what PostgreSQL refuses: null characters and halves of surrogate pairs."""
    if text.isascii() and text.isprintable():
        return text[:_LONGEST]
    safe = text.replace("\0", "?").encode("utf-8", "replace").decode("utf-8")
    return safe[:_LONGEST]


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, Undefined):
        return None
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) <= _EXACT else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return clean_text(str(value))
