"""Recognising objects: many detections by parallel workers, in several orders.

    OMP_NUM_THREADS=1 python benchmarks/bench_association.py
    python benchmarks/bench_association.py --url postgresql://user@host/ --detections 100000

Each image shows one of 40 fields and all objects of it; positions err by 0.25 arcseconds. After
each order there must be exactly as many objects as there are, each with all its detections, and
the places must be those of the other orders. Seconds are those of recognising alone, summed over
the workers; the rows of the measurements are written outside of them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from firstlight.models import Measurement, Object
from firstlight.models.database import Database, DatabaseUnreachable
from firstlight.services.transients.association import ObjectRecogniser
from firstlight.services.transients.known_objects import KnownObjects
from firstlight.services.transients.settings import AssociationSettings

# The rows of a survey without its pixels are those of the tests.
sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "services" / "transients"))
from transient_world import Section, Survey

FIELDS = 40
STEP = 15.0 / 3600.0  # degrees between objects
ERROR = 0.25  # arcseconds
ORDERS = ("forward", "reversed", "shuffled")
_worker: dict[str, Any] = {}


def main() -> None:
    """All orders on one kind of database."""
    options = parse()
    count, epochs = options.objects, options.detections // options.objects
    print(f"{count} objects, {count * epochs} detections, {options.workers} workers")
    before = None
    for order in options.orders:
        with tempfile.TemporaryDirectory(prefix="association-", dir=options.work) as folder:
            url = fresh(options.url, folder, order)
            places = run(url, order, count, epochs, options.workers)
        if before is not None:
            apart = np.abs(places - before).max() * 3600.0
            print(f"  places differ from those of the first order by {apart:.1e} arcseconds")
            assert apart < 1e-3
        before = places if before is None else before


def parse() -> argparse.Namespace:
    """Options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", help="of a server of PostgreSQL; SQLite if none")
    parser.add_argument("--objects", type=int, default=10_000)
    parser.add_argument("--detections", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--orders", nargs="+", choices=ORDERS, default=ORDERS)
    parser.add_argument("--work", help="where temporary files go")
    return parser.parse_args()


def fresh(server: str | None, folder: str, order: str) -> str:
    """The URL of an empty database with all tables."""
    if server is None:
        url = f"sqlite:///{folder}/association.sqlite"
    else:
        name = f"association_{order}"
        given = sa.make_url(server)
        engine = sa.create_engine(
            given.set(drivername="postgresql+psycopg", database="postgres"),
            isolation_level="AUTOCOMMIT",
        )
        with engine.connect() as connection:
            connection.execute(sa.text(f"DROP DATABASE IF EXISTS {name}"))
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
        engine.dispose()
        url = given.set(database=name).render_as_string(hide_password=False)
    database = Database(url)
    database.upgrade()
    database.dispose()
    return url


def run(url: str, order: str, count: int, epochs: int, workers: int) -> np.ndarray:
    """Recognise everything; returns declinations by the number of the object."""
    dice = np.random.default_rng(5)
    ra, dec = sky(count)
    images = [(epoch, field) for epoch in range(epochs) for field in range(FIELDS)]
    if order != "forward":
        images = images[::-1] if order == "reversed" else dice.permutation(images).tolist()
    # Before the workers are there: a provenance is recorded by whoever plans.
    database = Database(url)
    Survey(database)
    database.dispose()
    start = time.perf_counter()
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers, begin, (url, count)) as pool:
        spent = sum(pool.imap_unordered(work, images))
    wall = time.perf_counter() - start
    database = Database(url)
    with database.reading() as session:
        places = np.array(session.execute(sa.select(Object.ra, Object.dec)).all())
        rows = sa.select(Measurement.object_id, sa.func.count()).group_by(Measurement.object_id)
        counts = [number for _, number in session.execute(rows)]
    database.dispose()
    assert len(places) == count, f"{len(places)} objects in place of {count}"
    assert set(counts) == {epochs}, "detections are not all of their own object"
    total = count * epochs
    print(
        f"{order:9} {len(places)} objects  {spent:6.1f} s of CPU in recognising: "
        f"{total / spent:.0f} detections/s, {count / spent:.0f} objects/s; all {wall:.0f} s, "
        f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    apart = (places[:, 0, None] - ra + 180.0) % 360.0 - 180.0
    nearest = np.hypot(apart, places[:, 1, None] - dec).argmin(axis=1)
    return places[np.argsort(nearest), 1]


def sky(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Objects on a grid, field by field."""
    side = int(np.ceil(np.sqrt(count / FIELDS)))
    number = np.arange(count)
    field, place = number % FIELDS, number // FIELDS
    dec = 2.0 + (place // side) * STEP
    ra = 150.0 + field * (side + 20) * STEP + (place % side) * STEP
    return ra, dec


def begin(url: str, count: int) -> None:
    """What each worker has."""
    survey = patiently(Survey, Database(url))
    keeper = ObjectRecogniser(AssociationSettings(), KnownObjects((), Path()))
    _worker.update(survey=survey, keeper=keeper, sky=sky(count))


def work(image: tuple[int, int]) -> float:
    """Measure and recognise one image; returns the seconds of CPU that recognising took."""
    epoch, field = image
    survey, keeper = _worker["survey"], _worker["keeper"]
    ra, dec = (each[field::FIELDS] for each in _worker["sky"])
    dice = np.random.default_rng([epoch, field])
    noise = dice.normal(0.0, ERROR / 3600.0, (2, len(ra)))
    section: Section = patiently(survey.section, 60_000.0 + epoch + field / 100.0)
    spent = 0.0

    def timed(*arguments: Any) -> None:
        nonlocal spent
        start = time.process_time()
        keeper(*arguments)
        spent = time.process_time() - start

    patiently(survey.recognise, timed, section, ra + noise[0], dec + noise[1], error=ERROR)
    return spent


def patiently(do: Any, *arguments: Any, **named: Any) -> Any:
    """Try again where SQLite gave its only writer to others for too long, as jobs do."""
    while True:
        try:
            return do(*arguments, **named)
        except DatabaseUnreachable:
            continue


if __name__ == "__main__":
    main()
