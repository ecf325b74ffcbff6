"""Positions as people write them."""

from __future__ import annotations

__all__ = ["sexagesimal"]


def sexagesimal(ra: float, dec: float) -> str:
    """Right ascension in hours and declination in degrees: ``02 04 10.28 +46 41 16.2``.

    Parameters
    ----------
    ra, dec
        ICRS degrees. They are rounded to the last digit that is written.
    """
    # Integers of the last digit shown, so that 59.999 never becomes 60.0.
    hundredths = round((ra % 360.0) / 15.0 * 360_000) % (24 * 360_000)
    tenths = round(abs(dec) * 36_000)
    hours, rest = divmod(hundredths, 360_000)
    minutes, rest = divmod(rest, 6_000)
    degrees, left = divmod(tenths, 36_000)
    arcminutes, left = divmod(left, 600)
    sign = "-" if dec < 0 else "+"
    return (
        f"{hours:02d} {minutes:02d} {rest / 100:05.2f} "
        f"{sign}{degrees:02d} {arcminutes:02d} {left / 10:04.1f}"
    )
