"""Build the embedded Tycho-2 table from a FITS table of positions and V_T.

Usage: ``python tools/build_tycho2.py tycho2_index07.fits.gz``

The input has the columns ``ra_e7`` and ``dec_e7`` (ICRS degrees at J2000, times 1e7) and
``vt_mmag`` (V_T in millimagnitudes), as extracted from Debian's astrometry-data-tycho2-07. The
output, in ``src/firstlight/catalogs/data``, is the same numbers in HEALPix order so that a cone
is a few slices of a memory-mapped file, and a note of what the file is.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
from astropy.table import Table

from firstlight.algorithms.sky.sky_index import ORDER, healpix_index
from firstlight.catalogs.tycho2 import CELL_ORDER, ROW

FOLDER = Path(__file__).parent.parent / "src" / "firstlight" / "catalogs" / "data"


def main() -> None:
    """Write ``tycho2.npy``, ``tycho2_cells.npy`` and ``tycho2.json``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path)
    table = Table.read(parser.parse_args().table)
    rows = np.empty(len(table), ROW)
    for name in ROW.names or ():
        rows[name] = table[name]
    index = healpix_index(rows["ra_e7"] * 1e-7, rows["dec_e7"] * 1e-7)
    # Brightness breaks ties so that the file does not depend on the order of the input.
    by_place = np.lexsort((rows["vt_mmag"], index))
    rows, index = rows[by_place], index[by_place]
    cells = np.arange(12 * 4**CELL_ORDER + 1, dtype=np.int64) << (2 * (ORDER - CELL_ORDER))
    FOLDER.mkdir(exist_ok=True)
    np.save(FOLDER / "tycho2.npy", rows)
    np.save(FOLDER / "tycho2_cells.npy", np.searchsorted(index, cells).astype("<u4"))
    checksum = hashlib.sha256((FOLDER / "tycho2.npy").read_bytes()).hexdigest()
    facts = {"stars": len(rows), "table": "1", "sha256": checksum}
    (FOLDER / "tycho2.json").write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
