"""Light curves of models, as services send them: time, flux, and its range, by filter."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from firstlight.formats.plain_document import clean_text
from firstlight.formats.result_errors import ResultMalformed, ResultTooLarge

__all__ = ["ModelCurves"]

_COLUMNS = 4
_LONGEST_NAME = 128
_NUMBERS = frozenset({int, float})


class ModelCurves:
    """Checks curves, and counts.

    Parameters
    ----------
    most_rows
        Of all curves together.
    most_curves
        Of all models together.

    Attributes
    ----------
    dropped
        Rows with numbers that are not finite, which were left out.
    """

    def __init__(self, *, most_rows: int = 200_000, most_curves: int = 1000) -> None:
        self._rows_left = most_rows
        self._curves_left = most_curves
        self.dropped = 0

    def of_model(self, curves: Any, where: str) -> dict[str, list[list[float]]]:
        """Curves of one model by filter: rows of MJD, median, low and high in µJy (AB).

        Raises
        ------
        ResultMalformed
            It has another form.
        ResultTooLarge
            There are more rows or curves than allowed.
        """
        if not isinstance(curves, Mapping):
            raise ResultMalformed(
                "light curves of a model are an object with a list for each filter",
                field=where,
                found=type(curves).__name__,
            )
        return {
            clean_text(name)[:_LONGEST_NAME]: self._curve(each, f"{where}.{name}"[:200])
            for name, each in curves.items()
        }

    def _curve(self, rows: Any, where: str) -> list[list[float]]:
        if not isinstance(rows, list):
            raise ResultMalformed("a light curve is a list of rows", field=where)
        self._rows_left -= len(rows)
        self._curves_left -= 1
        if self._rows_left < 0 or self._curves_left < 0:
            raise ResultTooLarge("the light curves of models are too long", field=where)
        made = []
        for number, row in enumerate(rows):
            numbers = self._row(row, f"{where}[{number}]")
            if numbers is None:
                self.dropped += 1
            else:
                made.append(numbers)
        return made

    @staticmethod
    def _row(row: Any, where: str) -> list[float] | None:
        if not isinstance(row, list) or len(row) != _COLUMNS:
            raise ResultMalformed(
                "a row of a light curve has four numbers",
                field=where,
                expected="[MJD, median, low, high]",
            )
        if None in row:
            return None
        if not set(map(type, row)) <= _NUMBERS:
            raise ResultMalformed("a row of a light curve has four numbers", field=where)
        try:
            numbers = [float(each) for each in row]
        except OverflowError:
            return None
        return numbers if all(map(math.isfinite, numbers)) else None
