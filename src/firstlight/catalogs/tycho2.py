"""The embedded Tycho-2 catalogue: positions and V_T of 1.87 million stars, with no network."""

from __future__ import annotations

import json
from functools import cached_property
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from firstlight.algorithms.sky.sky_index import ORDER, angular_separation, cone_ranges
from firstlight.catalogs.base import ReferenceStars

__all__ = ["CELL_ORDER", "ROW", "Tycho2"]

ROW = np.dtype([("ra_e7", "<u4"), ("dec_e7", "<i4"), ("vt_mmag", "<i2")])
"""One star: degrees times 1e7 at J2000, and V_T in millimagnitudes."""

CELL_ORDER = 6
"""HEALPix order of the table of offsets: cells of 0.9 degrees with 38 stars on average."""

# Typical one-sigma errors against V_T, after Høg et al. 2000 (A&A 355, L27), section 3: 7 mas and
# 0.013 mag for stars brighter than 9, 60 mas and 0.10 mag over the whole catalogue.
_VT = (2.0, 8.0, 9.0, 10.0, 11.0, 11.5, 12.0, 13.0)
_MAG_ERR = (0.015, 0.02, 0.025, 0.05, 0.10, 0.15, 0.20, 0.35)
_POSITION_ERR = (0.005, 0.007, 0.012, 0.025, 0.055, 0.07, 0.09, 0.14)
# This table has no proper motions. Typical field stars of these magnitudes move this much.
_MOTION_PER_YEAR = 0.008


class Tycho2:
    """Tycho-2 (Høg et al. 2000) as distributed with Debian's astrometry-data-tycho2.

    That distribution keeps 1.87 of the 2.54 million stars and no proper motions: positions are
    those of J2000 whatever the epoch asked for, and `position_err` grows with the distance in
    time by 8 mas a year, typical of field stars of these magnitudes. A nearby star may have
    moved much further.

    Parameters
    ----------
    folder
        Where ``tycho2.npy`` and its companions are; by default in the package.
    """

    name = "tycho2"
    band = "VT"
    system = "Vega"

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or Path(str(files("firstlight.catalogs") / "data"))

    def __len__(self) -> int:
        return len(self._rows)

    @cached_property
    def release(self) -> str:
        """Version of the table and the beginning of its checksum."""
        facts = json.loads((self._folder / "tycho2.json").read_text())
        return f"tycho2-{facts['table']}-{facts['sha256'][:12]}"

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

        See `ReferenceCatalog.cone`. Positions stay at J2000; the errors tell.
        """
        rows = self._near(ra, dec, radius)
        star_ra, star_dec = rows["ra_e7"] * 1e-7, rows["dec_e7"] * 1e-7
        mag = rows["vt_mmag"] * 1e-3
        wanted = angular_separation(ra, dec, star_ra, star_dec) <= radius
        if faintest is not None:
            wanted &= mag <= faintest
        chosen = np.flatnonzero(wanted)
        chosen = chosen[np.argsort(mag[chosen], kind="stable")]
        mag = mag[chosen]
        moved = _MOTION_PER_YEAR * abs(epoch - 2000.0)
        return ReferenceStars(
            ra=star_ra[chosen],
            dec=star_dec[chosen],
            mag=mag,
            mag_err=np.interp(mag, _VT, _MAG_ERR),
            position_err=np.hypot(np.interp(mag, _VT, _POSITION_ERR), moved),
            band=self.band,
            system=self.system,
        )

    def everything(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Right ascension, declination (degrees, J2000) and V_T of all stars, in sky order."""
        rows = self._rows
        return rows["ra_e7"] * 1e-7, rows["dec_e7"] * 1e-7, rows["vt_mmag"] * 1e-3

    @cached_property
    def _rows(self) -> NDArray[np.void]:
        rows: NDArray[np.void] = np.load(self._folder / "tycho2.npy", mmap_mode="r")
        return rows

    @cached_property
    def _offsets(self) -> NDArray[np.uint32]:
        offsets: NDArray[np.uint32] = np.load(self._folder / "tycho2_cells.npy")
        return offsets

    def _near(self, ra: float, dec: float, radius: float) -> NDArray[np.void]:
        """Rows of every cell that the cone touches."""
        shift = 2 * (ORDER - CELL_ORDER)
        slices = []
        done = 0
        for first, stop in cone_ranges(ra, dec, radius):
            # Two ranges can end and begin within one cell of this coarser order.
            begin, end = max(first >> shift, done), ((stop - 1) >> shift) + 1
            if begin < end:
                slices.append(self._rows[self._offsets[begin] : self._offsets[end]])
                done = end
        return np.concatenate(slices)
