"""Positions as people give them. Light to import: forms are checked with it."""

from __future__ import annotations

from firstlight.errors import InvalidInput

__all__ = ["checked_place"]


def checked_place(ra: float, dec: float) -> tuple[float, float]:
    """A position on the sky, right ascension in [0, 360)."""
    if not (-360.0 <= ra <= 360.0 and -90.0 <= dec <= 90.0):
        raise InvalidInput(
            "This is no place on the sky.",
            found=f"{ra} {dec}",
            expected="right ascension and declination in degrees",
        )
    return float(ra) % 360.0, float(dec)
