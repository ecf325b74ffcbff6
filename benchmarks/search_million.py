"""Search over a million generated exposures: fill a database, then time every kind of search.

    python benchmarks/search_million.py fill sqlite:///million.sqlite
    python benchmarks/search_million.py time sqlite:///million.sqlite

The sky, sites, users and nights are skewed as real ones are, and some values are traps: a
filter that is common but was given up years ago, a user who was busy once, a site that is
closed, a field with a tenth of all exposures, filters that one site alone has.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import text

from firstlight.algorithms.sky.sky_index import healpix_index
from firstlight.models import Exposure, ExposureCard, ExposureFile
from firstlight.models.archived import archive_indexes
from firstlight.models.database import Database, bulk_insert
from firstlight.models.exposure_file import card_number
from firstlight.services.finding.search import SearchService
from firstlight.services.finding.search_query import ExposureQuery
from firstlight.services.intake.archive_settings import ArchiveSettings
from firstlight.storage import StorageSettings, open_store

COUNT = 1_000_000
CHUNK = 20_000
START_MJD = 59_215.0  # 2021-01-01
NIGHTS = 1826
SITES = np.array(["sro", "mrc", "eco", "aro", "old"])
SITE_PARTS = [0.45, 0.25, 0.15, 0.1, 0.05]
CAMERAS = {
    "sro": ["kb001ms", "kb002ms", "sq101sm"],
    "mrc": ["sq005mm", "sq006mm", "ea03"],
    "eco": ["sq003ms", "ec002cs"],
    "aro": ["sq014sm", "gf01"],
    "old": ["kf01", "kf02"],
}
FILTERS = [
    *"BVRI",
    "up",
    "gp",
    "rp",
    "ip",
    "zs",
    "w",
    "ha",
    "o3",
    "s2",
    "n2",
    "cr",
    "PR",
    "PG",
    "PB",
]
FILTER_PARTS = np.array([8, 10, 12, 6, 4, 15, 18, 9, 5, 20, 6, 3, 2, 1, 1, 4, 4, 4], float)
GIVEN_UP, RARE = "lu", "ai"
EXP_TIMES = np.array([1.0, 5, 10, 20, 30, 60, 120, 180, 300, 600])
STATES = ["none", "done", "partial", "failed"]
MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)


def _fields(rng: np.random.Generator) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Targets with their places and shares; the first has a tenth of everything."""
    count = 3000
    ra = rng.uniform(0, 360, count)
    dec = np.degrees(np.arcsin(rng.uniform(-0.8, 1, count)))
    part = 1 / np.arange(1, count + 1) ** 0.9
    names = [f"field {n}" for n in range(count)]
    return names, ra, dec, part / part.sum()


def rows(count: int, seed: int = 1) -> Iterator[list[dict[str, Any]]]:
    """Exposures in the order of time, in chunks."""
    rng = np.random.default_rng(seed)
    names, field_ra, field_dec, part = _fields(rng)
    nights = np.sort(rng.integers(0, NIGHTS, count))
    numbers = dict.fromkeys([camera for each in CAMERAS.values() for camera in each], 0)
    for start in range(0, count, CHUNK):
        night = nights[start : start + CHUNK]
        yield _chunk(rng, night, (names, field_ra, field_dec, part), numbers)


def _chunk(
    rng: np.random.Generator,
    night: np.ndarray,
    fields: tuple[list[str], np.ndarray, np.ndarray, np.ndarray],
    numbers: dict[str, int],
) -> list[dict[str, Any]]:
    names, field_ra, field_dec, part = fields
    size = len(night)
    age = night / NIGHTS
    site = rng.choice(SITES, size, p=SITE_PARTS)
    site[(site == "old") & (age > 0.3)] = "sro"
    filters = rng.choice(FILTERS, size, p=FILTER_PARTS / FILTER_PARTS.sum())
    filters[(age < 0.2) & (rng.random(size) < 0.4)] = GIVEN_UP
    filters[rng.random(size) < 5e-5] = RARE
    filters[np.isin(filters, ["PR", "PG", "PB"])] = "gp"
    colour = (site == "aro") & (rng.random(size) < 0.5)
    filters[colour] = rng.choice(["PR", "PG", "PB"], colour.sum())
    target = rng.choice(len(names), size, p=part)
    ra = np.mod(field_ra[target] + rng.normal(0, 0.05, size), 360.0)
    dec = np.clip(field_dec[target] + rng.normal(0, 0.05, size), -90, 90)
    exp_time = rng.choice(
        EXP_TIMES, size, p=[0.02, 0.03, 0.1, 0.15, 0.25, 0.2, 0.15, 0.05, 0.04, 0.01]
    )
    odd = rng.random(size) < 0.02
    exp_time[odd] = np.round(rng.uniform(0.1, 900, odd.sum()), 3)
    user = np.minimum(rng.zipf(1.3, size), 300)
    user[(age > 0.15) & (age < 0.2) & (rng.random(size) < 0.5)] = 777
    mjd = np.sort(START_MJD + night + rng.uniform(0.55, 1.0, size))
    draw = rng.random((4, size))
    hpx = healpix_index(ra, dec)
    ids = rng.bytes(16 * size)
    made = []
    for n in range(size):
        where = str(site[n])
        camera = CAMERAS[where][int(draw[0, n] * len(CAMERAS[where]))]
        numbers[camera] += 1
        day = date(2021, 1, 1) + timedelta(days=int(night[n]))
        base = f"{where}-{camera}-{day:%Y%m%d}-{numbers[camera]:08d}"
        science = bool(draw[1, n] < 0.9)
        one = uuid.UUID(bytes=ids[16 * n : 16 * n + 16])
        stacked = bool(science and draw[2, n] < 0.3)
        made.append(
            {
                "id": one,
                "format": "fits",
                "instrument": "GenericFITS",
                "site": where,
                "kind": "science" if science else "flat",
                "mjd": float(mjd[n] + exp_time[n] / 172800),
                "exp_time": float(exp_time[n]),
                "filter": str(filters[n]),
                "binning": "1x1",
                "target": names[target[n]],
                "header": {},
                "ra": float(ra[n]),
                "dec": float(dec[n]),
                "hpx": int(hpx[n]),
                "collection": "data" if draw[3, n] > 0.02 else "allsky",
                "base_filename": base,
                "label": base,
                "data_type": "EX" if draw[3, n] < 0.93 else ("EP" if draw[3, n] < 0.97 else "EF"),
                "camera": camera,
                "night": day,
                "sort_mjd": float(mjd[n]),
                "user_id": f"auth0|{user[n]:08d}",
                "username": f"user{user[n]}",
                "smart_stack": f"{where}{night[n]}{target[n]}" if stacked else None,
                "stack_number": int(draw[2, n] * 30) if stacked else None,
                "stack_length": 10 if stacked else None,
                "reduction_state": STATES[min(int(draw[1, n] ** 3 * 4.2), 3)],
                "image_number": one.int >> 75,
                "modified_at": MJD_EPOCH + timedelta(days=float(mjd[n])),
                "created_at": MJD_EPOCH + timedelta(days=float(mjd[n])),
            }
        )
    return made


def _cards(row: dict[str, Any]) -> list[dict[str, Any]]:
    pairs = (("OBJECT", row["target"]), ("OBSERVER", row["username"]), ("FILTER", row["filter"]))
    return [
        {"card": card_number(*pair), "sort_mjd": row["sort_mjd"], "exposure_id": row["id"]}
        for pair in pairs
    ]


def _file(row: dict[str, Any]) -> dict[str, Any]:
    name = f"{row['base_filename']}-{row['data_type']}10.jpg"
    return {
        "id": uuid.UUID(int=row["id"].int ^ 1),
        "exposure_id": row["id"],
        "name": name,
        "role": "jpg_medium",
        "reduction_level": "10",
        "key": f"data/{name}",
        "size": 90_000,
        "sha256": "0" * 64,
        "md5": "0" * 32,
        "made": False,
        "created_at": row["created_at"],
    }


def fill(database: Database, count: int) -> None:
    """Make the tables and fill them; indexes are made last, which takes less time."""
    database.upgrade()
    names = [index.name for index in archive_indexes()]
    begun = time.monotonic()
    with database.engine.begin() as connection:
        for name in names:
            connection.execute(text(f"DROP INDEX {name}"))
    for number, chunk in enumerate(rows(count)):
        with database.begin() as session:
            bulk_insert(session, Exposure, chunk)
            bulk_insert(session, ExposureCard, [card for row in chunk for card in _cards(row)])
            bulk_insert(session, ExposureFile, [_file(row) for row in chunk])
        if number % 10 == 0:
            print(f"{(number + 1) * CHUNK:9d} rows, {time.monotonic() - begun:.0f} s", flush=True)
    with database.engine.begin() as connection:
        for index in Exposure.__table__.indexes:
            if index.name in names:
                index.create(connection)
    analyse = "ANALYZE" if database.is_sqlite else "VACUUM ANALYZE"
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(analyse))
    print(f"filled in {time.monotonic() - begun:.0f} s")


def _queries() -> dict[str, ExposureQuery]:
    """Searches of every kind, the traps among them."""
    _, ra, dec, _ = _fields(np.random.default_rng(1))
    day = START_MJD + NIGHTS - 400

    def when(mjd: float) -> datetime:
        return MJD_EPOCH + timedelta(days=mjd)

    def cone(field: int, radius: float) -> tuple[float, float, float]:
        return float(ra[field]), float(dec[field]), radius

    corners = [(-3.0, -3.0), (0.0, -1.0), (3.0, -3.0), (0.0, 4.0)]
    return {
        "everything": ExposureQuery(),
        "site": ExposureQuery(site=("sro",)),
        "site that is closed": ExposureQuery(site=("old",)),
        "filter, common": ExposureQuery(filter=("w",)),
        "filter, given up": ExposureQuery(filter=(GIVEN_UP,)),
        "filter, rare": ExposureQuery(filter=(RARE,)),
        "filter, none": ExposureQuery(filter=("none",)),
        "camera": ExposureQuery(camera=("kb001ms",)),
        "user": ExposureQuery(username=("user5",)),
        "user, busy once": ExposureQuery(user_id=("auth0|00000777",)),
        "target": ExposureQuery(target=("field 7",)),
        "kind": ExposureQuery(kind=("flat",)),
        "data type": ExposureQuery(data_type=("EF",)),
        "collection": ExposureQuery(collection=("allsky",)),
        "reduction state": ExposureQuery(reduction_state=("failed",)),
        "night": ExposureQuery(night=date(2023, 5, 5)),
        "dates": ExposureQuery(start=when(day), end=when(day + 10)),
        "exposure time": ExposureQuery(exp_time_min=60, exp_time_max=60),
        "exposure times, many": ExposureQuery(exp_time_min=30, exp_time_max=100),
        "exposure times, few": ExposureQuery(exp_time_min=601, exp_time_max=700),
        "cone, 0.5 deg": ExposureQuery(cone=cone(100, 0.5)),
        "cone, the favourite": ExposureQuery(cone=cone(0, 1.0)),
        "cone, 20 deg": ExposureQuery(cone=cone(5, 20.0)),
        "polygon": ExposureQuery(
            polygon=tuple((float(ra[3] + x), float(dec[3] + y)) for x, y in corners)
        ),
        "card": ExposureQuery(cards=(("OBJECT", "field 7"),)),
        "name, beginning": ExposureQuery(name="sro-kb001ms-2022*"),
        "name, wildcard first, common": ExposureQuery(name="*kb001ms*"),
        "name, wildcard first, rare": ExposureQuery(name="*-00010442*"),
        "modified since": ExposureQuery(modified_since=when(START_MJD + NIGHTS - 5)),
        "final of stacks": ExposureQuery(final_only=True),
        "filter and dates": ExposureQuery(filter=("w",), start=when(day), end=when(day + 9)),
        "site and filter": ExposureQuery(site=("aro",), filter=("PR",)),
        "site and filter that never meet": ExposureQuery(site=("sro",), filter=("PR",)),
        "filter and user": ExposureQuery(filter=("w",), username=("user777",)),
        "camera and filter that never meet": ExposureQuery(camera=("kb001ms",), filter=("PR",)),
        "cone and filter": ExposureQuery(cone=cone(0, 1.0), filter=("rp",)),
        "cone and site": ExposureQuery(cone=cone(0, 1.0), site=("old",)),
        "filter given up and exposure times": ExposureQuery(
            filter=(GIVEN_UP,), exp_time_min=100, exp_time_max=500
        ),
    }


def _median_ms(ask: Callable[[], object], times: int) -> float:
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        ask()
        taken.append((time.perf_counter() - begun) * 1000)
    return statistics.median(taken)


def measure(database: Database, times: int) -> None:
    """Median times of the first page and of one far down, milliseconds, as a table."""
    cards = ArchiveSettings().indexed_cards
    store = open_store(StorageSettings(root=tempfile.mkdtemp()))
    service = SearchService(database=database, store=store, indexed_cards=cards)
    print("| search | first page | deep page | at row |\n|---|---|---|---|")
    for name, query in _queries().items():
        first = _median_ms(lambda q=query: service.exposures(q, None), times)
        cursor, row = None, 0
        for _ in range(20):
            page = service.exposures(query, None, cursor=cursor, limit=1000)
            if page.next_cursor is None:
                break
            cursor, row = page.next_cursor, row + 1000
        deep = "-"
        if cursor is not None:
            taken = _median_ms(
                lambda q=query, c=cursor: service.exposures(q, None, cursor=c), times
            )
            deep = f"{taken:.1f}"
        print(f"| {name} | {first:.1f} | {deep} | {row} |", flush=True)
    sites = _median_ms(lambda: service.latest_of_all_sites(None), times)
    print(f"| latest of all sites | {sites:.1f} | - | - |")


def main() -> None:
    """Fill or time one database."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["fill", "time"])
    parser.add_argument("url")
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--times", type=int, default=9)
    given = parser.parse_args()
    database = Database(given.url)
    if given.what == "fill":
        fill(database, given.count)
    else:
        measure(database, given.times)


if __name__ == "__main__":
    main()
