"""The night of a moment."""

from __future__ import annotations

import math
from datetime import date, timedelta

from firstlight.instruments.header_values import MJD_EPOCH

__all__ = ["evening_mjd", "night_of"]


def night_of(mjd: float, longitude: float | None) -> date:
    """Return the local date of the noon before.

    Parameters
    ----------
    mjd
        UTC.
    longitude
        Degrees, positive to the east; ``None`` counts as Greenwich.
    """
    local_noons = math.floor(mjd + (longitude or 0.0) / 360.0 - 0.5)
    return (MJD_EPOCH + timedelta(days=float(local_noons))).date()


def evening_mjd(night: date, longitude: float | None) -> float:
    """MJD (UTC) of the local noon with which a night begins."""
    return (night - MJD_EPOCH.date()).days + 0.5 - (longitude or 0.0) / 360.0
