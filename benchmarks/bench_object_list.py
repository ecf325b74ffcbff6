"""Lists of a hundred thousand generated objects: fill a database, then time kinds of lists.

    python benchmarks/bench_object_list.py fill sqlite:///objects.sqlite
    python benchmarks/bench_object_list.py time sqlite:///objects.sqlite

Half of the objects are seen by one group and two hundred by another. Each of six teams has saved
a fifth of all objects, so that many are in several lists at once; some are seen by nobody. A
tenth of the light curves have points that only one of the teams sees. Some values are traps: a
class and a small group that have only the oldest objects, a class that a third has, redshifts
that few have.
"""

from __future__ import annotations

import argparse
import statistics
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from firstlight.algorithms.sky.sky_index import healpix_index
from firstlight.models.account import Group, User
from firstlight.models.audience import audience_of
from firstlight.models.database import Database, bulk_insert
from firstlight.models.notes import (
    Annotation,
    Classification,
    ClassificationVote,
    ObjectTag,
    Tag,
    Taxonomy,
)
from firstlight.models.object import Object, PhotometrySummary, SavedObject, coordinate_name
from firstlight.services.access import Viewer, operator
from firstlight.services.objects.object_list import ObjectList
from firstlight.services.objects.object_parts import Include
from firstlight.services.objects.object_query import ObjectQuery, Order
from firstlight.services.objects.saved_objects import SavedWhen
from server_meter import BothMeter

Clock = Callable[[], float]

COUNT = 100_000
SMALL = 200
TEAMS = 6
START = datetime(2024, 1, 1, tzinfo=UTC)
CLASSES = ["RR Lyrae", "Eclipsing binary", "SN Ia", "AGN", "Exoplanet host"]
PARTS = [0.3, 0.04, 0.01, 0.005, 0.0005]
OLD_CLASS = "Nova"


@dataclass(frozen=True)
class People:
    """Numbers of groups, of who has saved and said everything, and of audiences."""

    half: int
    small: int
    teams: tuple[int, ...]
    user: int
    taxonomy: int
    tags: tuple[int, ...]


def fill(database: Database) -> None:
    """Write everything."""
    database.upgrade()
    random = np.random.default_rng(11)
    with database.begin() as session:
        people = _people(session)
        in_half = random.random(COUNT) < 0.5
        in_teams = random.random((COUNT, TEAMS)) < 0.2
        in_half[:SMALL], in_teams[:SMALL] = False, False
        audience = _audiences(session, people, in_half, in_teams)
        team_only = audience_of(session, groups=people.teams[:1])
        sky = _sky(random)
        ids = [uuid.UUID(bytes=random.bytes(16)) for _ in range(COUNT)]
        bulk_insert(session, Object, _objects(random, ids, sky, audience))
        bulk_insert(session, PhotometrySummary, _summaries(random, ids, audience, team_only))
        bulk_insert(session, Classification, _classes(random, ids, audience, people))
        numbers = session.scalars(select(Classification.id))
        votes = [{"classification_id": n, "voter_id": people.user, "vote": 1} for n in numbers]
        bulk_insert(session, ClassificationVote, votes)
        bulk_insert(session, Annotation, _annotations(random, ids, audience, people))
        bulk_insert(session, ObjectTag, _tags(random, ids, audience, people))
        lists = {people.half: in_half & (np.arange(COUNT) % 2 == 0)}
        lists |= dict(zip(people.teams, in_teams.T, strict=True))
        bulk_insert(session, SavedObject, _saved(ids, lists, people))
    analyse = "ANALYZE" if database.is_sqlite else "VACUUM ANALYZE"
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(analyse))


def _people(session: Session) -> People:
    names = ["half", "small", *(f"team {n}" for n in range(1, TEAMS + 1))]
    groups = [Group(name=name) for name in names]
    tree = Taxonomy(
        name="classes",
        version="1",
        hierarchy={"class": "all"},
        audience_id=audience_of(session),
    )
    tags = [Tag(name=name) for name in ("follow up", "bogus", "published")]
    session.add_all([*groups, user := User(username="ada"), tree, *tags])
    session.flush()
    half, small, *teams = (each.id for each in groups)
    return People(half, small, tuple(teams), user.id, tree.id, tuple(tag.id for tag in tags))


def _audiences(
    session: Session, people: People, in_half: np.ndarray, in_teams: np.ndarray
) -> np.ndarray:
    """Of each object, the audience of the groups that see it."""
    member = np.column_stack([in_half, in_teams])
    member = np.column_stack([member, np.arange(COUNT) < SMALL])
    groups = np.array([people.half, *people.teams, people.small])
    kinds, which = np.unique(member, axis=0, return_inverse=True)
    numbers = [audience_of(session, groups=groups[kind].tolist()) for kind in kinds]
    return np.array(numbers)[which.ravel()]


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
    random: np.random.Generator, ids: list[uuid.UUID], audience: np.ndarray, team_only: int
) -> list[dict[str, Any]]:
    """Statistics of one filter, and in every tenth of another that fewer may see."""
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
        pieces = [piece]
        if n % 10 == 0:
            pieces.append(piece | {"filter": "R", "audience": team_only, "peak_mag": last - 0.3})
        rows.append(
            {
                "object_id": ids[n],
                "n_points": 200 * len(pieces),
                "n_detections": 190 * len(pieces),
                "first_detected_mjd": 60300.0,
                "last_detected_mjd": piece["last_mjd"],
                "last_detected_mag": last,
                "last_detected_filter": "G",
                "peak_mag": pieces[-1]["peak_mag"],
                "peak_mjd": 60350.0,
                "peak_filter": pieces[-1]["filter"],
                "mean_mag": last,
                "only_audience_id": pieces[0]["audience"] if len(pieces) == 1 else None,
                "filters": {
                    "audiences": sorted({each["audience"] for each in pieces}),
                    "pieces": {each["filter"]: [each] for each in pieces},
                },
            }
        )
    return rows


def _classes(
    random: np.random.Generator, ids: list[uuid.UUID], audience: np.ndarray, people: People
) -> list[dict[str, Any]]:
    rows = []
    for name, part in zip(CLASSES, PARTS, strict=True):
        rows += [(n, name) for n in np.flatnonzero(random.random(COUNT) < part)]
    rows += [(n, OLD_CLASS) for n in range(6_000)]
    return [
        {
            "object_id": ids[n], "classification": name, "probability": 0.9, "ml": False,
            "audience_id": int(audience[n]), "taxonomy_id": people.taxonomy,
            "author_id": people.user,
        }
        for n, name in rows
    ]  # fmt: skip


def _annotations(
    random: np.random.Generator, ids: list[uuid.UUID], audience: np.ndarray, people: People
) -> list[dict[str, Any]]:
    return [
        {
            "object_id": ids[n], "subject": "object", "origin": "crossmatch",
            "data": {"distance": 1.5, "catalog": "Tycho-2", "period": 0.53},
            "author_id": people.user, "audience_id": int(audience[n]),
        }
        for n in np.flatnonzero(random.random(COUNT) < 0.3)
    ]  # fmt: skip


def _tags(
    random: np.random.Generator, ids: list[uuid.UUID], audience: np.ndarray, people: People
) -> list[dict[str, Any]]:
    return [
        {
            "object_id": ids[n], "tag_id": tag, "author_id": people.user,
            "audience_id": int(audience[n]),
        }
        for tag, part in zip(people.tags, (0.1, 0.01, 0.001), strict=True)
        for n in np.flatnonzero(random.random(COUNT) < part)
    ]  # fmt: skip


def _saved(
    ids: list[uuid.UUID], lists: dict[int, np.ndarray], people: People
) -> list[dict[str, Any]]:
    """Entries in the lists of groups, each made a little after the object."""
    return [
        {
            "object_id": ids[n], "group_id": group, "active": True, "requested": False,
            "saved_at": START + timedelta(minutes=n, hours=group), "saved_by_id": people.user,
        }
        for group, chosen in lists.items()
        for n in np.flatnonzero(chosen).tolist()
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


COUNTED = 500  # as far as the page of objects counts them


def measure(database: Database, repeats: int) -> None:
    """Print what each list takes for each viewer, in milliseconds.

    The page alone, with how many there are (counted as far as the portal's page does), and the
    longest of these.

    Of processor time, which a busy machine does not lengthen so much; that of a PostgreSQL server
    on this machine is in it, and the two never work at one time.
    """
    clock = BothMeter(database).both
    lists = ObjectList(database=database)
    viewers = {"all": operator(), **_viewers(database)}
    every: dict[str, list[float]] = {name: [] for name in viewers}
    print(f"{'':28}" + "".join(f"{name:>22}" for name in viewers))
    for what, (query, order) in QUERIES.items():
        line = f"{what:28}"
        for name, viewer in viewers.items():
            ask = partial(lists.search, viewer, query, order, limit=50)
            page = _times(clock, ask, repeats)
            whole = _times(clock, partial(ask, count_to=COUNTED), repeats)
            every[name] += whole
            line += f"{_median(page):7.0f} {_median(whole):4.0f} {max(whole):6.0f}ms"
        print(line)
    for name, times in every.items():
        worst = statistics.quantiles(times, n=20)[-1]
        print(f"{name}: median {_median(times):.0f} ms, p95 {worst:.0f} ms (page and count)")
    _numbered(clock, lists, viewers, repeats)


def _viewers(database: Database) -> dict[str, Viewer]:
    """Members of one group or of several, by what they are called here."""
    with database.reading() as session:
        numbers = {group.name: group.id for group in session.scalars(select(Group))}
    none: frozenset[str] = frozenset()
    read = frozenset({"read"})
    members = {
        "half": ["half"],
        "small": ["small"],
        "teams": ["half", "team 1", "team 2", "team 3"],
    }
    # The number of nobody's account, so that nothing is seen as one's own.
    return {
        name: Viewer(name, read, none, none, 1_000_000, frozenset(numbers[each] for each in groups))
        for name, groups in members.items()
    }


def _numbered(clock: Clock, lists: ObjectList, viewers: dict[str, Viewer], repeats: int) -> None:
    """SkyPortal's pages: by number, with the exact count and all parts."""
    query, order = ObjectQuery(saved=SavedWhen()), Order("saved_at")
    for page in (1, 200):
        for name, viewer in viewers.items():
            ask = partial(lists.page, viewer, query, order, Include(), page=page, per_page=100)
            took = _times(clock, ask, repeats)
            print(f"sources, page {page}, {name}: {_median(took):.0f} ms, {max(took):.0f} at most")


def _median(times: list[float]) -> float:
    return statistics.median(times)


def _times(clock: Clock, call: Callable[[], Any], repeats: int) -> list[float]:
    call()
    times = []
    for _ in range(repeats):
        start = clock()
        call()
        times.append(1000 * (clock() - start))
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
