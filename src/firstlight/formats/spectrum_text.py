"""Spectra as text: columns of numbers, and a header in the comments before them.

A line is a row of numbers that blanks, commas, semicolons or tabs set apart; a line that begins
with ``#`` or ``%`` is a comment. Of comments, ``KEY: value`` and ``KEY = value / remark`` (a FITS
card) are kept. One line of names of columns may precede the numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from firstlight.errors import BadFile, InvalidInput

__all__ = ["BadSpectrumText", "SpectrumText", "read_spectrum_text"]

Floats = NDArray[np.float64]

_MOST_COLUMNS = 1000
_MOST_CARDS = 1000
_LONGEST_VALUE = 1000
_BETWEEN = re.compile(r"[\s,;]+")
_NUMBER = re.compile(
    r"[+-]?(\d+\.?\d*|\.\d+)([eEdD][+-]?\d{1,4})?|[+-]?(nan|inf|infinity)", re.IGNORECASE | re.ASCII
)
_CARD = re.compile(r"([A-Za-z][\w .\-/()]{0,63}?)\s*[:=]\s*(.*)", re.ASCII)


class BadSpectrumText(BadFile):
    """The text is no spectrum."""

    code = "spectrum.unreadable"


@dataclass(frozen=True)
class SpectrumText:
    """What a text holds.

    Attributes
    ----------
    wavelengths, fluxes, errors
        As written, shape ``(n,)``; `errors` is None where no column was named.
    header
        What the comments tell, by key.
    """

    wavelengths: Floats
    fluxes: Floats
    errors: Floats | None
    header: dict[str, str]


def read_spectrum_text(
    text: str,
    *,
    wave_column: int = 0,
    flux_column: int = 1,
    error_column: int | None = None,
) -> SpectrumText:
    """Read a spectrum.

    Parameters
    ----------
    wave_column, flux_column, error_column
        Counted from 0; negative ones from the end.

    Raises
    ------
    BadSpectrumText
        A line has too few columns or something else than numbers, or there are no numbers.
    InvalidInput
        There can be no such column.
    """
    columns = [wave_column, flux_column, *([] if error_column is None else [error_column])]
    for column in columns:
        if not -_MOST_COLUMNS <= column < _MOST_COLUMNS:
            raise InvalidInput("there can be no such column", field="column", found=column)
    lines = text.lstrip("\ufeff").splitlines()
    rows = [_picked(number, fields, columns) for number, fields in _rows(lines)]
    if not rows:
        raise BadSpectrumText(found="no numbers", expected="a row of numbers for each wavelength")
    table = np.array(rows, dtype=np.float64)
    errors = None if error_column is None else table[:, 2]
    return SpectrumText(table[:, 0], table[:, 1], errors, _header(lines))


def _rows(lines: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Number of the line, from 1, and its fields."""
    seen = False
    for number, line in enumerate(lines, start=1):
        content = re.split("[#%]", line, maxsplit=1)[0].strip()
        fields = [field for field in _BETWEEN.split(content) if field]
        if not fields:
            continue
        if not seen and not any(map(_NUMBER.fullmatch, fields)):
            seen = True  # names of the columns
            continue
        seen = True
        yield number, fields


def _picked(number: int, fields: list[str], columns: list[int]) -> list[float]:
    found = []
    for column in columns:
        try:
            field = fields[column]
        except IndexError:
            raise BadSpectrumText(
                "a line has too few columns",
                subject=f"line {number}",
                found=len(fields),
                expected=f"a column {column}, counted from 0",
            ) from None
        if _NUMBER.fullmatch(field) is None:
            raise BadSpectrumText(
                "this is not a number",
                subject=f"line {number}",
                field=f"column {column}",
                found=repr(field[:50]),
            )
        # Fortran writes a double's exponent as D.
        found.append(float(field.lower().replace("d", "e") if "n" not in field.lower() else field))
    return found


def _header(lines: list[str]) -> dict[str, str]:
    cards: dict[str, str] = {}
    for line in lines:
        stripped = line.strip()
        if not stripped.startswith(("#", "%")):
            continue
        match = _CARD.fullmatch(stripped.lstrip("#% \t"))
        if match is not None and len(cards) < _MOST_CARDS:
            key, value = match.groups()
            value = re.split(r"\s/\s", value, maxsplit=1)[0].strip().strip("'\"").strip()
            cards[key.strip()] = value[:_LONGEST_VALUE]
    return cards
