"""One plate solution by firstlight from a list of detections on disk to cards on disk.

Usage: ``python firstlight_solve.py CASE OUT hinted|blind``; also called within `run.py`.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import numpy as np
from astropy.io import fits

from cases import Case
from firstlight.algorithms.plate.plate_solve import PlateSolution, Prior, Stars, plate_solve
from firstlight.algorithms.plate.quads import QuadTable
from firstlight.catalogs.quad_index import quad_index
from firstlight.catalogs.tycho2 import Tycho2

SCALE_TOLERANCE = 0.2
RADIUS = 3.0


@cache
def catalog() -> Tycho2:
    return Tycho2()


@cache
def index() -> QuadTable:
    return quad_index(catalog())


def write_list(path: Path, x: np.ndarray, y: np.ndarray, flux: np.ndarray) -> None:
    """1-based pixels, brightest first, as solve-field reads them."""
    order = np.argsort(-flux, kind="stable")
    named = {"X": x + 1, "Y": y + 1, "FLUX": flux}
    columns = [fits.Column(name, "D", array=column[order]) for name, column in named.items()]
    fits.BinTableHDU.from_columns(columns).writeto(path, overwrite=True)


def stars_near(ra: float, dec: float, radius: float) -> Stars:
    stars = catalog().cone(ra, dec, radius, epoch=2000.0)
    return stars.ra, stars.dec, stars.mag


def solve(folder: Path, out: Path, how: str) -> None:
    """Leaves nothing at `out` where there is no solution."""
    out.unlink(missing_ok=True)
    case = Case.load(folder)
    table = fits.getdata(folder / "stars.xyls", 1)
    low, high = case.scale * (1 - SCALE_TOLERANCE), case.scale * (1 + SCALE_TOLERANCE)
    place = {"ra": case.ra, "dec": case.dec, "radius": RADIUS} if how == "hinted" else {}
    answer = plate_solve(
        table["X"] - 1.0,
        table["Y"] - 1.0,
        table["FLUX"],
        case.shape,
        stars_near,
        prior=Prior(scale_low=low, scale_high=high, **place),
        index=index() if how == "blind" else None,
    )
    if isinstance(answer, PlateSolution):
        cards = answer.projection.with_inverse(case.shape).to_header()
        fits.Header(cards).totextfile(out, overwrite=True)


if __name__ == "__main__":
    solve(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
