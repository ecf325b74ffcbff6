"""Header cards as plain triples, at a tenth of the cost of a whole `Header`.

Most cards follow the standard to the letter and are read here; the others, and all that continue
over several cards, are left to `fits_cards.clean_header`, and both agree on what is read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import TypeAlias, cast

from astropy.io.fits.card import Undefined

from firstlight.formats.fits_cards import CARD, Value, clean_header

__all__ = ["Triple", "read_triples"]

Triple: TypeAlias = tuple[str, Value, str]
"""Keyword, value (None where undefined), comment."""

_PLAIN = re.compile(
    r"""([A-Z0-9_-]{1,8})\ *=\ \ *
    (?: '((?:[^']|'')*)' | ([TF])(?=[\ /]|$) | ([+-]?\d{1,17})(?=[\ /]|$)
      | ([+-]?(?:\d+\.\d*|\.\d+)(?:[ED][+-]?\d+)?)(?=[\ /]|$) )?
    \ *(?:/\ *([^\n]*))?""",
    re.VERBOSE | re.ASCII,
)
_COMMENTARY = ("COMMENT ", "HISTORY ")
_UNCLEAR = object()
_ODD_KEYWORDS = frozenset({"CONTINUE", "END", "HIERARCH", "COMMENT", "HISTORY"})


def read_triples(raw: bytes) -> list[Triple]:
    """Read cards.

    Parameters
    ----------
    raw
        A multiple of 80 bytes, without the END card.

    Returns
    -------
    list
        As the cards of `clean_header`, in their order.
    """
    triples: list[Triple] = []
    for image in _images(raw):
        triple = _plain(image) if len(image) == CARD else None
        if triple is not None:
            triples.append(triple)
            continue
        header, _ = clean_header(image)
        triples += [
            (card.keyword, _defined(card.value), card.comment or "") for card in header.cards
        ]
    return triples


def _defined(value: object) -> Value:
    return None if isinstance(value, Undefined) else cast("Value", value)


def _images(raw: bytes) -> Iterator[bytes]:
    """Yield each card with those that continue it."""
    start = 0
    for at in range(CARD, len(raw), CARD):
        if not raw.startswith(b"CONTINUE", at):
            yield raw[start:at]
            start = at
    if raw:
        yield raw[start:]


def _plain(image: bytes) -> Triple | None:
    """Read a card that needs no judgement; None for any other."""
    text = image.decode("latin-1")
    if not text.isascii() or not text.isprintable():
        return None
    if text.startswith(_COMMENTARY):
        return text[:7], text[8:].rstrip(), ""
    found = _PLAIN.fullmatch(text)
    if found is None or text[8:10] != "= " or found[1] in _ODD_KEYWORDS:
        return None
    value = _value(*found.groups()[1:5])
    return (
        None if value is _UNCLEAR else (found[1], cast("Value", value), (found[6] or "").rstrip())
    )


def _value(
    quoted: str | None, logical: str | None, whole: str | None, decimal: str | None
) -> object:
    if quoted is not None:
        # It may be a record of several values, or go on in another card.
        unclear = ":" in quoted or quoted.endswith("&")
        return _UNCLEAR if unclear else quoted.replace("''", "'").rstrip()
    if logical is not None:
        return logical == "T"
    if whole is not None:
        return int(whole)
    if decimal is None:
        return None
    number = float(decimal.replace("D", "E"))
    return number if math.isfinite(number) else _UNCLEAR
