"""Lists of a hundred thousand generated objects: fill a database, then time kinds of lists.

    python benchmarks/bench_object_list.py fill sqlite:///objects.sqlite
    python benchmarks/bench_object_list.py time sqlite:///objects.sqlite

Half of the objects are seen by one group, two hundred by another, the rest by neither. Some
values are traps: a class and a small group that have only the oldest objects, a class that a
third has, redshifts that few have.
"""

from __future__ import annotations

import argparse
import statistics
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
from sqlalchemy import text

from firstlight.algorithms.sky_index import healpix_index
from firstlight.models.account import Group, User
from firstlight.models.audience import audience_of
from firstlight.models.database import Database, bulk_insert
from firstlight.models.notes import Classification, Taxonomy
from firstlight.models.object import Object, PhotometrySummary, SavedObject, coordinate_name
from firstlight.services.access import Viewer, operator
from firstlight.services.objects.object_list import ObjectList
from firstlight.services.objects.object_parts import Include
from firstlight.services.objects.object_query import ObjectQuery, Order
from firstlight.services.objects.saved_objects import SavedWhen

COUNT = 100_000
SMALL = 200
START = datetime(2024, 1, 1, tzinfo=UTC)
CLASSES = ["RR Lyrae", "Eclipsing binary", "SN Ia", "AGN", "Exoplanet host"]
PARTS = [0.3, 0.04, 0.01, 0.005, 0.0005]
OLD_CLASS = "Nova"


def fill(database: Database) -> None:
    """Write everything."""
    database.upgrade()
    random = np.random.default_rng(11)
    with database.begin() as session:
        groups = [Group(name="half"), Group(name="small")]
        session.add_all([*groups, user := User(username="ada"), tree := Taxonomy(
            name="classes", version="1", hierarchy={"class": "all"},
            audience_id=audience_of(session),
        )])  # fmt: skip
        session.flush()
        half, small = (audience_of(session, groups=[each.id]) for each in groups)
        nobody = audience_of(session)
        ra, dec = _sky(random)
        ids = [uuid.UUID(bytes=random.bytes(16)) for _ in range(COUNT)]
        audience = np.where(random.random(COUNT) < 0.5, half, nobody)
        audience[:SMALL] = small
        bulk_insert(session, Object, _objects(random, ids, (ra, dec), audience))
        bulk_insert(session, PhotometrySummary, _summaries(random, ids, audience))
        notes = _classes(random, ids, audience)
        bulk_insert(
            session,
            Classification,
            [{**note, "taxonomy_id": tree.id, "author_id": user.id} for note in notes],
        )
        common = {"group_id": groups[0].id, "active": True, "requested": False}
        saved = [
            {**common, "object_id": ids[n], "saved_at": START + timedelta(minutes=n)}
            for n in np.flatnonzero(audience == half)[::2].tolist()
        ]
        bulk_insert(session, SavedObject, saved)
    with database.engine.connect() as connection:
        connection.execute(text("ANALYZE"))
        connection.commit()


def _sky(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Positions: all over the sky, and a fifth of them in one crowded field."""
    ra = random.uniform(0.0, 360.0, COUNT)
    dec = np.degrees(np.arcsin(random.uniform(-1.0, 1.0, COUNT)))
    crowded = random.random(COUNT) < 0.2
    ra[crowded] = 120.0 + random.normal(0.0, 0.5, crowded.sum())
    dec[crowded] = -20.0 + random.normal(0.0, 0.5, crowded.sum())
    return ra % 360.0, dec


def _objects(
    random: np.random.Generator,
    ids: list[uuid.UUID],
    sky: tuple[np.ndarray, np.ndarray],
    audience: np.ndarray,
) -> list[dict[str, Any]]:
    ra, dec = sky
    hpx = healpix_index(ra, dec)
    redshift = np.where(random.random(COUNT) < 0.02, random.uniform(0, 2, COUNT), np.nan)
    return [
        {
            "id": ids[n],
            "name": f"{coordinate_name(ra[n], dec[n])}-{n}",
            "ra": float(ra[n]),
            "dec": float(dec[n]),
            "hpx": int(hpx[n]),
            "origin": "light_curves",
            "aliases": [],
            "redshift": None if np.isnan(redshift[n]) else float(redshift[n]),
            "redshift_history": [],
            "details": {},
            "audience_id": int(audience[n]),
            "created_at": START + timedelta(minutes=n),
        }
        for n in range(COUNT)
    ]


def _summaries(
    random: np.random.Generator, ids: list[uuid.UUID], audience: np.ndarray
) -> list[dict[str, Any]]:
    mag = random.normal(16.0, 2.0, COUNT)
    rows = []
    for n in np.flatnonzero(random.random(COUNT) < 0.95):
        last = float(mag[n])
        piece = {
            "filter": "G", "audience": int(audience[n]), "n_points": 200, "n_detections": 190,
            "n_mags": 190, "deepest_limit": None, "recent_mjd": 60400.0, "first_mjd": 60300.0,
            "first_mag": last, "last_mjd": 60400.0 + n / COUNT, "last_mag": last,
            "peak_mag": last - 0.2, "peak_mjd": 60350.0, "faintest_mag": last + 0.2,
            "mean_mag": last, "rms_mag": 0.05,
        }  # fmt: skip
        rows.append(
            {
                "object_id": ids[n],
                "n_points": 200,
                "n_detections": 190,
                "first_detected_mjd": 60300.0,
                "last_detected_mjd": piece["last_mjd"],
                "last_detected_mag": last,
                "last_detected_filter": "G",
                "peak_mag": last - 0.2,
                "peak_mjd": 60350.0,
                "peak_filter": "G",
                "mean_mag": last,
                "filters": {"audiences": [int(audience[n])], "pieces": {"G": [piece]}},
            }
        )
    return rows


def _classes(
    random: np.random.Generator, ids: list[uuid.UUID], audience: np.ndarray
) -> list[dict[str, Any]]:
    rows = []
    for name, part in zip(CLASSES, PARTS, strict=True):
        rows += [(n, name) for n in np.flatnonzero(random.random(COUNT) < part)]
    rows += [(n, OLD_CLASS) for n in range(6_000)]
    return [
        {
            "object_id": ids[n], "classification": name, "probability": 0.9, "ml": False,
            "audience_id": int(audience[n]),
        }
        for n, name in rows
    ]  # fmt: skip


QUERIES: dict[str, tuple[ObjectQuery, Order]] = {
    "newest": (ObjectQuery(), Order()),
    "by name": (ObjectQuery(), Order("name", descending=False)),
    "by right ascension": (ObjectQuery(), Order("ra", descending=False)),
    "by redshift": (ObjectQuery(), Order("redshift")),
    "brightest last": (ObjectQuery(), Order("last_mag", descending=False)),
    "by peak": (ObjectQuery(), Order("peak_mag", descending=False)),
    "by points": (ObjectQuery(), Order("n_points")),
    "last saved": (ObjectQuery(saved=SavedWhen()), Order("saved_at")),
    "name contains": (ObjectQuery(name="j0812"), Order("name", descending=False)),
    "name contains, none": (ObjectQuery(name="no such object"), Order()),
    "cone 1'": (ObjectQuery(cone=(120.0, -20.0, 1 / 60)), Order()),
    "cone 1 deg, crowded": (ObjectQuery(cone=(120.0, -20.0, 1.0)), Order()),
    "cone 40 deg": (ObjectQuery(cone=(120.0, -20.0, 40.0)), Order()),
    "a common class": (ObjectQuery(classifications=("RR Lyrae",)), Order()),
    "a rare class": (ObjectQuery(classifications=("AGN",)), Order("last_mag")),
    "a class of old": (ObjectQuery(classifications=(OLD_CLASS,)), Order()),
    "unclassified": (ObjectQuery(classified=False), Order()),
    "magnitudes 12 to 13": (ObjectQuery(last_mag=(12.0, 13.0)), Order()),
    "magnitudes 14 to 18": (ObjectQuery(last_mag=(14.0, 18.0)), Order("last_mag")),
    "peak above 9": (ObjectQuery(peak_mag=(None, 9.0)), Order()),
    "redshift 0.1 to 0.2": (ObjectQuery(redshift=(0.1, 0.2)), Order()),
    "class, magnitude, cone": (
        ObjectQuery(classifications=("RR Lyrae",), last_mag=(14.0, 16.0), cone=(120.0, -20.0, 2.0)),
        Order("last_mag"),
    ),
    "spectrum": (ObjectQuery(has_spectrum=True), Order()),
    "no spectrum": (ObjectQuery(has_spectrum=False), Order()),
}


def measure(database: Database, repeats: int) -> None:
    """Print the median and the longest time of each list for each viewer, in milliseconds.

    Of processor time, which a busy machine does not lengthen; that of a server is not in it.
    """
    lists = ObjectList(database=database)
    with database.reading() as session:
        half, small = (session.query(Group).filter_by(name=n).one().id for n in ("half", "small"))
    none: frozenset[str] = frozenset()
    read = frozenset({"read"})
    viewers = {
        "all": operator(),
        "half": Viewer("half", read, none, none, 1, frozenset({half})),
        "small": Viewer("small", read, none, none, 1, frozenset({small})),
    }
    every: dict[str, list[float]] = {name: [] for name in viewers}
    print(f"{'':28}" + "".join(f"{name:>22}" for name in viewers))
    for what, (query, order) in QUERIES.items():
        line = f"{what:28}"
        for name, viewer in viewers.items():
            page = _times(partial(lists.search, viewer, query, order, limit=50), repeats)
            count = _times(partial(lists.count, viewer, query), repeats)
            every[name] += [a + b for a, b in zip(page, count, strict=True)]
            line += f"{_median(page):7.0f}+{_median(count):4.0f} {max(page) + max(count):6.0f}ms"
        print(line)
    for name, times in every.items():
        worst = statistics.quantiles(times, n=20)[-1]
        print(f"{name}: median {_median(times):.0f} ms, p95 {worst:.0f} ms (page and count)")
    _numbered(lists, viewers, repeats)


def _numbered(lists: ObjectList, viewers: dict[str, Viewer], repeats: int) -> None:
    """SkyPortal's pages: by number, with the exact count and all parts."""
    query, order = ObjectQuery(saved=SavedWhen()), Order("saved_at")
    for page in (1, 200):
        for name, viewer in viewers.items():
            ask = partial(lists.page, viewer, query, order, Include(), page=page, per_page=100)
            took = _times(ask, repeats)
            print(f"sources, page {page}, {name}: {_median(took):.0f} ms, {max(took):.0f} at most")


def _median(times: list[float]) -> float:
    return statistics.median(times)


def _times(call: Callable[[], Any], repeats: int) -> list[float]:
    call()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(1000 * (time.process_time() - start))
    return times


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("fill", "time"))
    parser.add_argument("url")
    parser.add_argument("--repeats", type=int, default=5)
    chosen = parser.parse_args()
    database = Database(chosen.url)
    if chosen.part == "fill":
        fill(database)
    else:
        measure(database, chosen.repeats)


if __name__ == "__main__":
    main()
