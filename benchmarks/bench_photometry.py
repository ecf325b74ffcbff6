"""Photometry: sending 10,000 rows, and reading a light curve of 50,000 points.

    python benchmarks/bench_photometry.py sqlite:////tmp/a.sqlite
    python benchmarks/bench_photometry.py postgresql://user@host/empty

Processor time of this process, the least of several runs: the database must be empty, and is
filled. On PostgreSQL the server's own time is not in it, so wall time is told beside.
"""

from __future__ import annotations

import argparse
import gzip
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np

from firstlight.algorithms.sky.sky_index import healpix_index
from firstlight.models.audience import audience_of
from firstlight.models.database import Database
from firstlight.models.instrument_record import InstrumentRecord
from firstlight.models.object import Object
from firstlight.services.access import operator
from firstlight.services.objects.light_curve_export import LightCurveExport
from firstlight.services.objects.light_curve_plot import LightCurvePlots
from firstlight.services.objects.photometry import PhotometryService
from firstlight.services.objects.photometry_reading import PhotometryReading
from firstlight.services.objects.photometry_settings import PhotometrySettings
from firstlight.web.envelope import success
from meter import metered

NAME = "BENCH-1"
ROWS = 10_000
POINTS = 50_000
RUNS = 5


def main() -> None:
    """Fill the database and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    database = Database(parser.parse_args().url)
    database.upgrade()
    instrument = _prepare(database)
    settings = PhotometrySettings()
    service = PhotometryService(database=database, settings=settings)
    reading = PhotometryReading(database=database, settings=settings)
    exports = LightCurveExport(database=database, settings=settings)
    plots = LightCurvePlots(database=database)
    viewer = operator()
    for part in range(POINTS // ROWS):
        columns = _columns(instrument, part)
        _tell(
            f"POST {ROWS} rows, {part * ROWS} there", lambda c=columns: service.post(viewer, c), 1
        )
    _tell(f"PUT {ROWS} rows that are there", lambda: service.put(viewer, _columns(instrument, 0)))
    _tell("a dictionary a point", lambda: success(reading.of_object(viewer, NAME)).body)
    _tell("columns", lambda: exports.columns(viewer, NAME))
    _tell("json", lambda: success(exports.columns(viewer, NAME).as_dict()).body)
    for kind in ("arrow", "parquet", "csv"):
        _tell(kind, lambda k=kind: exports.file(viewer, NAME, k).body)
    _tell(
        "4,000 points", lambda: success(exports.columns(viewer, NAME, points=4000).as_dict()).body
    )
    _tell("the page's columns, first time", lambda: plots.packed(viewer, NAME), 1)
    _tell("the page's columns, again", lambda: plots.packed(viewer, NAME))
    database.dispose()


def _tell(what: str, act: Callable[[], Any], runs: int = RUNS) -> None:
    spent = []
    for _ in range(runs):
        with metered() as run:
            made = act()
        spent.append((run.cpu, run.wall))
    cpu, wall = (min(each) for each in zip(*spent, strict=True))
    size = ""
    if isinstance(made, bytes):
        size = f"{len(made) / 1e6:8.2f} MB {len(gzip.compress(made, 4)) / 1e6:6.2f} MB in gzip"
    print(f"{what:38s} {cpu:7.3f} s CPU {wall:7.3f} s wall {size}")


def _columns(instrument: int, part: int) -> dict[str, Any]:
    rng = np.random.default_rng(part)
    return {
        "obj_id": NAME,
        "instrument_id": instrument,
        "mjd": np.round(np.sort(59_000 + 300 * part + 290 * rng.random(ROWS)), 6).tolist(),
        "filter": ["ztfg", "ztfr", "ztfi", "sdssz"] * (ROWS // 4),
        "mag": np.round(rng.normal(18, 0.1, ROWS), 4).tolist(),
        "magerr": np.round(0.01 + 0.05 * rng.random(ROWS), 4).tolist(),
        "limiting_mag": np.round(rng.normal(21, 0.1, ROWS), 3).tolist(),
        "altdata": {"seeing": np.round(1 + rng.random(ROWS), 2).tolist()},
    }


def _prepare(database: Database) -> int:
    with database.begin() as session:
        instrument = InstrumentRecord(name="Bench", type="imager", filters=[])
        place = int(healpix_index([120.5], [-3.25])[0])
        thing = Object(
            id=uuid.uuid4(), name=NAME, ra=120.5, dec=-3.25, hpx=place, origin="bench",
            aliases=[], audience_id=audience_of(session),
        )  # fmt: skip
        session.add_all([instrument, thing])
        session.flush()
        return instrument.id


if __name__ == "__main__":
    main()
