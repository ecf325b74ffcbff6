"""Header cards that a program sends as JSON, checked before they are kept."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from firstlight.errors import UserError
from firstlight.services.intake.announcement import Cards

__all__ = ["BadCards", "checked_cards"]

_MOST = 4000
_LONGEST_TEXT = 4096
_LARGEST_NUMBER = 1 << 63
_KEYWORD = re.compile(r"([!-<>-~][ -<>-~]{0,66})?")  # printable, without "="; blank cards too

_Value: TypeAlias = str | int | float | bool | None


class BadCards(UserError):
    """The header cards cannot be used."""

    code = "upload.metadata"


def checked_cards(metadata: Mapping[str, Any] | Sequence[Any]) -> Cards:
    """Return header cards in one shape.

    Parameters
    ----------
    metadata
        Values by keyword, or a list of ``[keyword, value]`` or ``[keyword, value, comment]``.
        Keywords become upper case.

    Raises
    ------
    BadCards
        Something in it could not be in a FITS header; `field` is the keyword or the position.
    """
    if isinstance(metadata, Mapping):
        triples: list[Any] = [[keyword, value] for keyword, value in metadata.items()]
    else:
        triples = list(metadata)
    if len(triples) > _MOST:
        raise BadCards(found=f"{len(triples)} cards", expected=f"at most {_MOST}")
    return tuple(_card(each, position) for position, each in enumerate(triples))


def _card(given: Any, position: int) -> tuple[str, _Value, str]:
    if not isinstance(given, list | tuple) or not 2 <= len(given) <= 3:
        raise BadCards(
            field=str(position),
            found=ascii(given)[:60],
            expected="[keyword, value] or [keyword, value, comment]",
        )
    keyword, value, comment = (*given, "")[:3]
    if not isinstance(keyword, str) or not _KEYWORD.fullmatch(keyword):
        raise BadCards(field=str(position), found=ascii(keyword)[:60], expected="a FITS keyword")
    name = keyword.upper()
    return name, _value(value, name), _text(comment or "", name)


def _value(value: Any, keyword: str) -> _Value:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < _LARGEST_NUMBER:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, str):
        return _text(value, keyword)
    raise BadCards(
        field=keyword, found=ascii(value)[:60], expected="a text, finite number, boolean or null"
    )


def _text(value: Any, keyword: str) -> str:
    """Refuse text that databases cannot hold (NUL, half characters) and all control characters."""
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT:
        raise BadCards(
            field=keyword,
            found=ascii(value)[:60],
            expected=f"a text of at most {_LONGEST_TEXT} characters",
        )
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in value):
        raise BadCards(field=keyword, found=ascii(value)[:60], expected="printable characters")
    return value
