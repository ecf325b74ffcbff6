"""Header cards that never warn and never fail: what cannot be parsed is kept as text."""

from __future__ import annotations

import math
import re
import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from astropy.io.fits import Card, Header
from astropy.io.fits.card import Undefined

__all__ = [
    "CARD",
    "STRUCTURAL",
    "Value",
    "clean_header",
    "is_blank",
    "plain_text",
    "writable_cards",
]

CARD = 80
Value = str | int | float | complex | bool | None

# Cards that describe the bytes of a file rather than the observation. A writer sets its own.
STRUCTURAL = re.compile(
    r"^(SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|TFIELDS|GROUPS|BSCALE|BZERO|BLANK"
    r"|END|CONTINUE|CHECKSUM|DATASUM|ZHECKSUM|ZDATASUM|TTYPE\d+|TFORM\d+|TUNIT\d+|THEAP|EXTNAME|EXTVER"
    r"|ZIMAGE|ZTENSION|ZBITPIX|ZNAXIS\d*|ZTILE\d+|ZCMPTYPE|ZNAME\d+|ZVAL\d+|ZSIMPLE|ZEXTEND"
    r"|ZPCOUNT|ZGCOUNT|ZQUANTIZ|ZDITHER0|ZBLANK|ZSCALE|ZZERO|LONGSTRN)$"
)

_PRINTABLE = bytes(b if 0x20 <= b <= 0x7E else ord("?") for b in range(256))
_WHOLE = re.compile(r"^[+-]?\d{19,}$")
# Others would be taken for patterns by `Header`, which knows "*", "?" and "...".
_KEYWORD = re.compile(r"[A-Za-z0-9_ -]*(\.[A-Za-z0-9_ -]+)*")
_COMMENTARY = ("COMMENT", "HISTORY", "")


def clean_header(raw: bytes) -> tuple[Header, tuple[str, ...]]:
    """Turn the bytes of a header into cards that can be used without care.

    Parameters
    ----------
    raw
        A multiple of 80 bytes, without the END card.

    Returns
    -------
    Header, notes
        Bytes that FITS does not allow read as ``?``. A card that breaks the standard keeps
        its text as a string value. Each such repair is one note that names the card.
    """
    notes = [
        f"card {raw[at : at + 8].translate(_PRINTABLE).decode().strip() or at // CARD + 1!r}"
        " holds bytes that FITS does not allow"
        for at in range(0, len(raw), CARD)
        if raw[at : at + CARD].translate(_PRINTABLE) != raw[at : at + CARD]
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # each repair is a note instead
        cards = [_clean_card(image, notes) for image in _images(raw.translate(_PRINTABLE).decode())]
        return Header([card for card in cards if card is not None]), tuple(notes)


def _images(text: str) -> Iterator[str]:
    """Yield the text of each card, with the CONTINUE cards that belong to it."""
    image = ""
    for at in range(0, len(text), CARD):
        piece = text[at : at + CARD]
        if piece.startswith("CONTINUE") and image:
            image += piece
            continue
        if image:
            yield image
        image = piece
    if image:
        yield image


def _clean_card(image: str, notes: list[str]) -> Card | None:
    try:
        card = Card.fromstring(image)
        if card.keyword in _COMMENTARY:
            return Card(card.keyword, str(card.rawvalue)) if image.strip() else None
        value = None if isinstance(card.value, Undefined) else card.value
        # Built anew, so that no later use of the card parses, verifies or warns again.
        fresh = Card(card.keyword, value, card.comment)
        str(fresh)
    except Exception:  # noqa: BLE001, astropy raises many kinds for a malformed card
        fresh = None
    if fresh is None or not _KEYWORD.fullmatch(fresh.keyword) or fresh.keyword == "CONTINUE":
        notes.append(f"card {image[:8].strip()!r} does not follow the FITS standard")
        return _as_text(image)
    return fresh


def _as_text(image: str) -> Card:
    """Keep what a card that cannot be parsed says: as a string value, or as a comment."""
    keyword, rest = image[:8].strip(), image[8:CARD]
    if re.fullmatch(r"[A-Z0-9_-]{1,8}", keyword) and rest.startswith("="):
        text = rest[1:].split("/")[0].strip().strip("'").strip()
        if keyword not in ("END", "CONTINUE") and len(text) < 60:
            return Card(keyword, text.replace("'", ""))
    return Card("COMMENT", image[:CARD].strip()[:70])


def is_blank(value: object) -> bool:
    """Whether a card has no value: undefined, an empty string, or not a number."""
    if value is None or isinstance(value, Undefined):
        return True
    if isinstance(value, float):
        return math.isnan(value)
    return isinstance(value, str) and not value.strip()


def plain_text(text: str) -> str:
    """Write text in the letters that FITS allows: accents are dropped, the rest is escaped."""
    kept = []
    for letter in unicodedata.normalize("NFKD", text):
        if " " <= letter <= "~":
            kept.append(letter)
        elif letter.isspace():
            kept.append(" ")
        elif letter < " " or letter == "\x7f":
            kept.append("?")
        elif not unicodedata.combining(letter):
            kept.append(letter.encode("ascii", "backslashreplace").decode())
    return "".join(kept)


def writable_cards(header: Mapping[str, Any] | Header) -> list[Card]:
    """Make cards that a FITS file can hold from a header or any dictionary.

    Structural cards are left out. Long values continue over several cards, long or lower-case
    names become HIERARCH cards, values that FITS has no form for (lists, times) are written as
    text, and numbers that are not finite are written as undefined. The order is kept.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # comments that do not fit are cut, on purpose
        return [
            card
            for keyword, value, comment in _triples(header)
            if not STRUCTURAL.match(keyword.upper())
            for card in _write(keyword, value, comment)
        ]


def _triples(header: Mapping[str, Any] | Header) -> Iterable[tuple[str, Any, str]]:
    if isinstance(header, Header):
        return [(card.keyword, card.value, card.comment or "") for card in header.cards]
    return [(str(keyword), value, "") for keyword, value in header.items()]


def _write(keyword: str, value: Any, comment: str) -> list[Card]:
    if keyword.upper() in _COMMENTARY:
        text = plain_text(str(value))
        return [Card(keyword.upper(), text[at : at + 72]) for at in range(0, len(text) or 1, 72)]
    keyword = re.sub(r"[^A-Za-z0-9_ -]", "_", plain_text(keyword)).strip()
    if len(keyword) <= 8:
        keyword = keyword.upper().replace(" ", "_")
    elif len(keyword) > 40:
        keyword = keyword[:40].strip()
    if len(keyword) > 8:
        keyword = f"HIERARCH {keyword.upper()}"
    plain = _plain_value(value)
    if keyword.startswith("HIERARCH") and isinstance(plain, str):
        plain = plain[: max(0, 66 - len(keyword) - plain.count("'"))]
        comment = ""
    card = Card(keyword, plain, plain_text(comment))
    if len(str(card)) > CARD and not (isinstance(plain, str) and len(keyword) <= 8):
        card = Card(keyword, plain)
    return [card]


def _plain_value(value: Any) -> Value:
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if value is None or isinstance(value, Undefined):
        return None
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return str(value) if _WHOLE.match(str(value)) else value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return plain_text(str(value))
