"""Numbers with the digits that their errors allow, for people."""

from __future__ import annotations

import math

__all__ = ["measured"]

_MOST_PLACES = 9


def measured(value: float | None, error: float | None = None) -> str:
    """Write a number to the two leading digits of its error, and the error beside it.

    Five digits where there is no error; nothing where there is no number.
    """
    if value is None:
        return ""
    if error is None or not 0 < error < math.inf:
        return f"{value:.5g}"
    places = 1 - math.floor(math.log10(error))
    if places > _MOST_PLACES:
        return f"{value:.3g} ± {error:.2g}"
    after = max(places, 0)
    return f"{round(value, places):.{after}f} ± {round(error, places):.{after}f}"
