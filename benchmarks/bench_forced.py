"""Forced photometry of many objects over many stored differences: complete, repeatable, how fast.

    OMP_NUM_THREADS=1 python benchmarks/bench_forced.py
    python benchmarks/bench_forced.py --url postgresql://user@host/empty --objects 1000 --images 100

Points a second are those of the jobs alone, in one process, with the pages of the files in the
cache of the system: sections are read, measured and their rows written; then the objects' light
curves are summarised, and it is looked whether a point is missing. CPU is that of this process and
of a PostgreSQL server on this machine, each also alone. A few files serve all images.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sqlalchemy import func, select

from firstlight.algorithms.sky import healpix_cover  # noqa: F401, workers have loaded it before
from firstlight.formats.fits_image import Planes, write_planes
from firstlight.models import ForcedRun, Object, Photometry
from firstlight.models.audience import audience_of
from firstlight.models.database import Database
from firstlight.models.sky_search import place
from firstlight.services.transients.followed import follow
from firstlight.services.transients.forced_photometry import ForcedPhotometryService
from firstlight.services.transients.settings import ForcedPhotometrySettings
from firstlight.work.engine import JobRequest

# The rows of a survey without its pixels are those of the tests.
sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "services" / "transients"))
from transient_world import Survey

from server_meter import BothMeter

FILES = 4
ERROR = 10.0


def main() -> None:
    """Fill a database, measure, and tell."""
    options = parse()
    with tempfile.TemporaryDirectory(prefix="forced-", dir=options.work) as name:
        folder = Path(name)
        database = Database(options.url or f"sqlite:///{folder / 'forced.sqlite'}")
        meter = BothMeter(database)
        database.upgrade()
        survey = Survey(database, folder=folder, shape=(options.side, options.side))
        ids = add_objects(survey, options.objects)
        add_images(survey, options.images, folder)
        service = ForcedPhotometryService(database=database, settings=ForcedPhotometrySettings())
        print(
            f"{database.url.get_backend_name()}: {len(ids)} objects, {options.images} images, "
            f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
        )
        first = tell(meter, "sections", service, service.plan)
        then = tell(meter, "objects, nothing new", service, service.plan_objects)
        print_rate("both", first + then)
        late = add_objects(survey, options.objects // 10, seed=2)
        tell(meter, "new objects, their past", service, service.plan_objects)
        check(database, ids + late, options.images)
        again = service.measure_sections(sections(database))
        check(database, ids + late, options.images)
        print(f"again: {again['points']} points, the same rows")
        database.dispose()


def parse() -> argparse.Namespace:
    """Options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", help="of an empty database; SQLite in a temporary folder if none")
    parser.add_argument("--objects", type=int, default=1000)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--side", type=int, default=1024, help="pixels")
    parser.add_argument("--work", help="where temporary files go")
    return parser.parse_args()


def add_objects(survey: Survey, count: int, seed: int = 1) -> list[uuid.UUID]:
    """Followed objects anywhere in the images."""
    dice = np.random.default_rng(seed)
    ny, nx = survey.shape
    ra, dec = survey.projection().pixel_to_sky(
        dice.uniform(20, nx - 20, count), dice.uniform(20, ny - 20, count)
    )
    with survey.database.begin() as session:
        audience = audience_of(session)
        rows = []
        for n in range(count):
            row = Object(
                id=uuid.uuid4(), name=f"bench {seed} {n}", origin="transients",
                audience_id=audience,
            )  # fmt: skip
            place(row, float(ra[n]), float(dec[n]))
            session.add(row)
            rows.append(row.id)
        session.flush()
        follow(session, rows, 0.1)
    return rows


def add_images(survey: Survey, count: int, folder: Path) -> None:
    """Differences of noise, dithered by a few pixels; some share their file."""
    dice = np.random.default_rng(3)
    for n in range(FILES):
        score = dice.standard_normal(survey.shape).astype(np.float32)
        error = np.full(survey.shape, ERROR, np.float32)
        flags = np.zeros(survey.shape, np.uint16)
        extras = {"score": score, "flux_error": error}
        write_planes(folder / f"{n}.fits", Planes(score * error, error, flags, {}, extras))
        (folder / f"{n}.fits").read_bytes()
    for n in range(count):
        shift = tuple(dice.uniform(-5, 5, 2))
        made = survey.section(60_000.0 + n, shift=shift)
        (folder / made.difference.filename).symlink_to(folder / f"{n % FILES}.fits")


def sections(database: Database) -> list[tuple[uuid.UUID, str]]:
    """All sections that have been measured."""
    with database.reading() as session:
        query = select(ForcedRun.exposure_id, ForcedRun.section_id)
        return [(row.exposure_id, row.section_id) for row in session.execute(query)]


@dataclass(frozen=True)
class Spent:
    """Points that jobs have written, and the seconds these took."""

    points: int
    cpu: float
    server: float
    wall: float

    def __add__(self, other: Spent) -> Spent:
        """Of both."""
        points, cpu = self.points + other.points, self.cpu + other.cpu
        return Spent(points, cpu, self.server + other.server, self.wall + other.wall)


def tell(
    meter: BothMeter,
    what: str,
    service: ForcedPhotometryService,
    plan: Callable[[], list[JobRequest]],
) -> Spent:
    """Do what is planned, and print how long it took."""
    requests = plan()
    cpu, server, wall = time.process_time(), meter.server(), time.perf_counter()
    points = 0
    for request in requests:
        done = service.run(request.payload)
        assert not done["failures"], done["failures"]
        points += done["points"]
    cpu, server = time.process_time() - cpu, meter.server() - server
    spent = Spent(points, cpu, server, time.perf_counter() - wall)
    print_rate(what, spent)
    return spent


def print_rate(what: str, spent: Spent) -> None:
    """A line of the table."""
    both = spent.cpu + spent.server
    rate = f"{spent.points / both:7.0f} points/s of CPU, {spent.points / spent.wall:.0f} of wall"
    times = f"CPU {spent.cpu:5.2f} + {spent.server:5.2f} s  wall {spent.wall:6.2f} s"
    print(f"{what:24} {spent.points:7d} points  {times}  {rate if spent.points else ''}")


def check(database: Database, ids: list[uuid.UUID], images: int) -> None:
    """Every object has exactly one point in every image."""
    with database.reading() as session:
        counts = dict(
            session.execute(
                select(Photometry.object_id, func.count()).group_by(Photometry.object_id)
            ).all()
        )
    assert counts == dict.fromkeys(ids, images), "not complete"


if __name__ == "__main__":
    main()
