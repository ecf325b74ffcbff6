"""Headers as text files, which telescopes send ahead of the pixels."""

from __future__ import annotations

import os
from typing import Any

from astropy.io.fits import Header

from firstlight.errors import BadFile
from firstlight.formats.card_triples import Triple, read_triples
from firstlight.formats.file_errors import check_is_readable_file
from firstlight.formats.fits_cards import CARD, clean_header, is_blank

__all__ = [
    "BadHeaderText",
    "header_as_dict",
    "header_to_text",
    "parse_cards_text",
    "parse_header_text",
    "read_header_text",
]

_MAX_BYTES = 16 << 20


class BadHeaderText(BadFile):
    """The text is not a FITS header."""

    code = "header_text.bad"


def parse_header_text(text: str | bytes, *, subject: object = None) -> Header:
    """Read the cards of a header written as text.

    Parameters
    ----------
    text
        One card a line (of any length up to 80, with any line ending), or cards of 80
        characters with nothing between. What follows END is ignored.
    subject
        What errors call it.

    Returns
    -------
    Header
        Its cards neither warn nor fail. Text without a single ``KEYWORD =`` is refused.
    """
    return clean_header(_whole_cards(text, subject))[0]


def parse_cards_text(text: str | bytes, *, subject: object = None) -> list[Triple]:
    """Read the same cards as `parse_header_text` as plain triples, which is much quicker."""
    return read_triples(_whole_cards(text, subject))


def _whole_cards(text: str | bytes, subject: object) -> bytes:
    """Cards of 80 bytes with nothing between, up to END."""
    raw = text.encode("latin-1", "replace") if isinstance(text, str) else text
    if len(raw) > _MAX_BYTES:
        raise BadHeaderText(subject=subject, found=f"{len(raw)} bytes", expected="a header")
    lines = raw.splitlines() if b"\n" in raw or b"\r" in raw else [raw]
    cards = [
        line[at : at + CARD].ljust(CARD)
        for line in lines
        for at in range(0, max(len(line.rstrip()), 1), CARD)
    ]
    kept = []
    for card in cards:
        if card.rstrip() == b"END":
            break
        kept.append(card)
    if not any(card[8:9] == b"=" for card in kept):
        raise BadHeaderText(
            subject=subject, found=repr(raw[:40]), expected="lines like 'KEYWORD = value'"
        )
    return b"".join(card for card in kept if card.strip())


def read_header_text(path: str | os.PathLike[str]) -> Header:
    """Read a header from a text file; see `parse_header_text`."""
    path = check_is_readable_file(path)
    with path.open("rb") as stream:
        return parse_header_text(stream.read(_MAX_BYTES + 1), subject=path)


def header_to_text(header: Header) -> str:
    """Write a header as text: one card a line, END last."""
    cards = "".join(str(card).ljust(CARD) for card in header.cards)
    lines = [cards[at : at + CARD].rstrip() for at in range(0, len(cards), CARD)]
    return "\n".join([*lines, "END"]) + "\n"


def header_as_dict(header: Header) -> dict[str, Any]:
    """Return the cards as JSON can hold them; the lines of a commentary become one text."""
    plain: dict[str, Any] = {}
    for card in header.cards:
        value = None if is_blank(card.value) else card.value
        if card.keyword in ("COMMENT", "HISTORY") and card.keyword in plain:
            plain[card.keyword] = f"{plain[card.keyword]}\n{value or ''}"
        elif card.keyword:
            plain.setdefault(card.keyword, str(value) if isinstance(value, complex) else value)
    return plain
