"""One interface over every reference catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["ReferenceCatalog", "ReferenceStars"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ReferenceStars:
    """Stars of a reference catalogue around one place, brightest first.

    Attributes
    ----------
    ra, dec
        ICRS degrees at the epoch that was asked for, shape ``(n,)``.
    mag, mag_err
        Magnitude in `band` and its one-sigma error (NaN where unknown), shape ``(n,)``.
    colour
        Colour index named by `colour_name` (NaN where unknown), shape ``(n,)``; ``None``
        where the catalogue has no colours.
    band, system, colour_name
        For example ``"VT"``, ``"Vega"``, ``"BP-RP"``.
    position_err
        One-sigma position error in arcseconds at that epoch, shape ``(n,)``.
    """

    ra: Floats
    dec: Floats
    mag: Floats
    mag_err: Floats
    position_err: Floats
    band: str
    system: str
    colour: Floats | None = None
    colour_name: str | None = None

    def __len__(self) -> int:
        return len(self.ra)


class ReferenceCatalog(Protocol):
    """A source of reference stars."""

    @property
    def name(self) -> str:
        """Short name used in settings, for example ``tycho2``."""

    @property
    def release(self) -> str:
        """What exactly answers, recorded in the provenance of every product that used it."""

    def cone(
        self,
        ra: float,
        dec: float,
        radius: float,
        *,
        epoch: float = 2000.0,
        faintest: float | None = None,
    ) -> ReferenceStars:
        """Stars within `radius` degrees of (`ra`, `dec`), brightest first.

        Parameters
        ----------
        ra, dec, radius
            ICRS degrees.
        epoch
            Julian year at which positions are wanted; proper motion is applied where known.
        faintest
            Leave out stars fainter than this magnitude.
        """
