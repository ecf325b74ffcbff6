"""A catalogue of chosen stars."""

from __future__ import annotations

import numpy as np

from firstlight.catalogs.base import ReferenceStars
from firstlight.simulation import NightSettings

NOBODY_VARIES = {"pulsators": 0, "rr_lyrae": 0, "eclipsing": 0, "flares": 0, "transit": False}


class GivenStars:
    """A catalogue of exactly these stars."""

    name, release = "given", "1"

    def __init__(self, ra, dec, mag) -> None:
        self.ra, self.dec, self.mag = (np.asarray(a, float) for a in (ra, dec, mag))

    def cone(self, ra, dec, radius, *, epoch=2000.0, faintest=None) -> ReferenceStars:
        n = len(self.ra)
        return ReferenceStars(
            ra=self.ra,
            dec=self.dec,
            mag=self.mag,
            mag_err=np.full(n, 0.01),
            position_err=np.full(n, 0.01),
            band="VT",
            system="Vega",
        )


def crowd(settings: NightSettings, n: int = 60, seed: int = 5) -> GivenStars:
    """Stars of magnitude 9 to 12 over the field of `settings`."""
    random = np.random.default_rng(seed)
    half = settings.sky.pixel_scale / 3600 * settings.detector.rows * 0.7
    dec = settings.dec + random.uniform(-half, half, n)
    ra = settings.ra + random.uniform(-2 * half, 2 * half, n) / np.cos(np.radians(settings.dec))
    return GivenStars(ra % 360, dec, random.uniform(9, 12, n))
