"""Lists of objects: against a search of all of them one by one, for every viewer."""

import math
import uuid
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from object_world import START, ObjectWorld

from firstlight.algorithms.sky.sky_index import angular_separation
from firstlight.errors import FirstlightError, InvalidInput
from firstlight.models.database import Database
from firstlight.services.objects import object_search
from firstlight.services.objects.object_list import ObjectList
from firstlight.services.objects.object_parts import Include
from firstlight.services.objects.object_query import (
    SORTS,
    BadObjectCursor,
    ObjectQuery,
    Order,
    read_mark,
)
from firstlight.services.objects.saved_objects import SavedWhen

CLASSES = ("SN Ia", "RR Lyrae")
AUDIENCES = ("A", "B", "AB", "")


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
)
def new_database(request, tmp_path_factory):
    """Makes databases with empty tables."""
    made = []

    def make():
        if request.param == "sqlite":
            url = f"sqlite:///{tmp_path_factory.mktemp('objects') / 'full.sqlite'}"
            made.append(Database(url))
        else:
            made.append(_postgres(request))
        made[-1].upgrade()
        return made[-1]

    yield make
    for database in made:
        database.dispose()


@pytest.fixture(scope="module")
def full(new_database):
    """Sixty objects with all kinds of facts."""
    database = new_database()
    world = ObjectWorld(database)
    world.facts = {}
    rng = np.random.default_rng(3)
    for n in range(60):
        _random_object(world, rng, n)
    return SimpleNamespace(world=world, lists=ObjectList(database=database))


def _postgres(request):
    server = sa.make_url(request.getfixturevalue("postgres_server"))
    server = server.set(drivername="postgresql+psycopg")
    name = f"objects_{uuid.uuid4().hex[:12]}"
    engine = sa.create_engine(server.set(database="postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return Database(server.set(database=name).render_as_string(hide_password=False))


def _random_object(world, rng, n):
    seen_by = AUDIENCES[rng.integers(4)]
    facts = {
        "ra": float(rng.choice([10.0, 10.05, 200.0])) + 0.001 * n,
        "dec": float(rng.choice([20.0, -89.99])),
        "redshift": None if rng.random() < 0.5 else round(float(rng.random()), 2),
        "saved": [group for group in seen_by if rng.random() < 0.6],
        "classes": [each for each in CLASSES if rng.random() < 0.3],
    }
    name = f"{rng.choice(['Star', 'nova'])}_{n:02d}"
    ident = world.add(name, seen_by, number=int(rng.integers(30)), **facts)
    points = []
    for _ in range(rng.integers(4)):
        mag = round(float(rng.uniform(14, 20)), 1)
        columns = {"mjd": 60000.0 + rng.integers(1000), "mag": mag, "filter": "g"}
        points.append((str(rng.choice(["A", "B", "AB"])), columns))
    if points:
        world.points(ident, points)
    world.facts[name] = {**facts, "seen_by": seen_by, "points": points}


def sees(viewer, seen_by):
    return viewer == "all" or (viewer != "nobody" and bool(set(viewer) & set(seen_by)))


def numbers_of(viewer, facts):
    seen = sorted(
        (columns["mjd"], -columns["mag"])
        for seen_by, columns in facts["points"]
        if sees(viewer, seen_by)
    )
    if not seen:
        return None
    return {"last_mjd": seen[-1][0], "peak": min(-mag for _, mag in seen), "count": len(seen),
            "lasts": {-mag for mjd, mag in seen if mjd == seen[-1][0]}}  # fmt: skip


def inside(value, bounds):
    low, high = bounds
    return value is not None and (low is None or value >= low) and (high is None or value <= high)


def fits(viewer, name, facts, query):
    numbers = numbers_of(viewer, facts)
    numeric = query.by_numbers
    checks = [
        sees(viewer, facts["seen_by"]),
        query.name is None or query.name.lower() in name.lower(),
        query.cone is None
        or angular_separation(*query.cone[:2], facts["ra"] % 360, facts["dec"]) <= query.cone[2],
        not query.classifications or set(query.classifications) & set(facts["classes"]),
        not set(query.without) & set(facts["classes"]),
        query.classified in (None, bool(facts["classes"])),
        query.saved is None
        or [group for group in facts["saved"] if viewer == "all" or group in viewer],
        query.redshift == (None, None) or inside(facts["redshift"], query.redshift),
        not numeric or numbers is not None,
        not numeric or numbers is None or _numbers_fit(numbers, query),
        query.has_spectrum is not True,
    ]
    return all(checks)


def _numbers_fit(numbers, query):
    return (
        (query.peak_mag == (None, None) or inside(numbers["peak"], query.peak_mag))
        and (query.last_mag == (None, None) or any(
            inside(mag, query.last_mag) for mag in numbers["lasts"]))
        and (query.last_mjd == (None, None) or inside(numbers["last_mjd"], query.last_mjd))
        and numbers["count"] >= (query.min_detections or 0)
    )  # fmt: skip


ranges = st.tuples(
    st.none() | st.floats(14, 20).map(lambda x: round(x, 1)),
    st.none() | st.floats(14, 20).map(lambda x: round(x, 1)),
)
queries = st.builds(
    ObjectQuery,
    name=st.none() | st.sampled_from(["star", "NOVA", "_0", "%", "no"]),
    cone=st.none() | st.sampled_from([(10.0, 20.0, 0.03), (10.0, 20.0, 0.2), (300.0, -90.0, 0.05)]),
    classifications=st.sampled_from([(), (), ("SN Ia",), CLASSES]),
    without=st.sampled_from([(), (), ("SN Ia",)]),
    classified=st.sampled_from([None, None, True, False]),
    saved=st.sampled_from([None, None, SavedWhen()]),
    redshift=st.sampled_from([(None, None), (None, None), (0.2, 0.8), (0.5, None)]),
    last_mag=st.just((None, None)) | ranges,
    peak_mag=st.just((None, None)) | ranges,
    last_mjd=st.sampled_from([(None, None), (60300.0, 60700.0)]),
    min_detections=st.sampled_from([None, None, 2]),
    has_spectrum=st.sampled_from([None, None, None, True, False]),
)
orders = st.builds(Order, st.sampled_from(SORTS), st.booleans())
viewers = st.sampled_from(["A", "B", "AB", "nobody", "all"])


def all_pages(full, viewer, query, order, size):
    names, cursor = [], None
    for _ in range(100):
        page = full.lists.search(viewer, query, order, cursor=cursor, limit=size)
        names += [row.name for row in page.rows]
        cursor = page.next_cursor
        if cursor is None:
            return names
        assert len(page.rows) == size
    raise AssertionError("the list has no end")


@given(
    viewer=viewers,
    query=queries,
    order=orders,
    size=st.integers(4, 25),
    few=st.booleans(),
    ahead=st.sampled_from([12, 24, 1000]),
)
@settings(max_examples=60, deadline=None)
def test_pages_hold_exactly_what_is_sought(full, viewer, query, order, size, few, ahead):
    if order.by == "saved_at":
        query = replace(query, saved=SavedWhen())
    asker = full.world.viewers[viewer]
    wanted = {name for name, facts in full.world.facts.items() if fits(viewer, name, facts, query)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(object_search, "FEW", 10_000 if few else -1)
        patch.setattr(object_search, "NEXT", ahead)
        names = all_pages(full, asker, query, order, size)
        count = full.lists.count(asker, query)
    assert sorted(names) == sorted(wanted)
    assert count == len(wanted)


@given(viewer=viewers, query=queries, order=orders, size=st.integers(4, 25))
@settings(max_examples=15, deadline=None)
def test_numbered_pages_are_the_same_list(full, viewer, query, order, size):
    if order.by == "saved_at":
        query = replace(query, saved=SavedWhen())
    asker = full.world.viewers[viewer]
    every = all_pages(full, asker, query, order, 500)
    bare = Include(groups=False, annotations=False, classifications=False, tags=False)
    names = []
    for page in range(1, math.ceil(len(every) / size) + 2):
        rows, total = full.lists.page(asker, query, order, bare, page=page, per_page=size)
        assert total == len(every)
        names += [row["id"] for row in rows]
    assert names == every


@pytest.fixture(scope="module")
def listed(new_database):
    """When each object came into the lists of groups: one, several, or two at one time."""
    database = new_database()
    world, rng = ObjectWorld(database, "ABC"), np.random.default_rng(8)
    times = {}
    for n in range(90):
        groups = [group for group in "ABC" if rng.random() < 0.6]
        saved = {group: int(rng.integers(60)) for group in groups}
        world.add(f"star {n}", "ABC", saved=saved)
        times[f"star {n}"] = saved
    return SimpleNamespace(world=world, times=times, lists=ObjectList(database=database))


@pytest.mark.parametrize("viewer", ["A", "AB", "ABC"])
@pytest.mark.parametrize("ahead", [2, 15, 1000])
def test_numbered_pages_of_what_is_in_several_lists(listed, viewer, ahead):
    # What a viewer is shown last is what was last put into one of their lists.
    latest = {
        name: max(saved[group] for group in viewer if group in saved)
        for name, saved in listed.times.items()
        if set(viewer) & set(saved)
    }
    asker, query = listed.world.viewers[viewer], ObjectQuery(saved=SavedWhen())
    bare = Include(groups=False, annotations=False, classifications=False, tags=False)
    names = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(object_search, "NEXT", ahead)
        patch.setattr(object_search, "FEW", -1)
        for page in range(1, math.ceil(len(latest) / 7) + 1):
            order = Order("saved_at")
            rows, total = listed.lists.page(asker, query, order, bare, page=page, per_page=7)
            names += [row["id"] for row in rows]
            assert total == len(latest)
    assert sorted(names) == sorted(latest)
    assert [latest[name] for name in names] == sorted(latest.values(), reverse=True)


@pytest.mark.parametrize("by", ["redshift", "last_mag"])
def test_numbered_pages_across_the_end_of_the_values(full, by):
    asker, order = full.world.viewers["all"], Order(by)
    every = all_pages(full, asker, ObjectQuery(), order, 500)
    bare = Include(groups=False, annotations=False, classifications=False, tags=False)
    names = []
    for page in range(1, 16):
        rows, _ = full.lists.page(asker, ObjectQuery(), order, bare, page=page, per_page=4)
        names += [row["id"] for row in rows]
    assert names == every


@pytest.mark.parametrize("by", SORTS)
def test_the_order_is_that_of_the_values(full, by):
    query = ObjectQuery(saved=SavedWhen()) if by == "saved_at" else ObjectQuery()
    rows = full.lists.search(full.world.viewers["all"], query, Order(by, descending=False)).rows
    facts = full.world.facts
    if by in ("redshift", "ra", "dec"):
        values = [facts[row.name][by] for row in rows]
    elif by in ("created_at", "name"):
        values = [getattr(row, by) for row in rows]
    elif by == "saved_at":
        values = [max(row.created_at for _ in row.groups) for row in rows]
    else:
        column = {"last_mag": "last_detected_mag", "last_detected": "last_detected_mjd"}.get(by, by)
        values = [row.numbers and row.numbers[column] for row in rows]
    there = [value for value in values if value is not None]
    if by != "name":  # each database has an alphabet of its own
        assert there == sorted(there)
    assert values[: len(there)] == there, "those without a value come last"


def test_rows_tell_only_what_the_viewer_may_know(full):
    rows = full.lists.search(full.world.viewers["A"], limit=100).rows
    for row in rows:
        facts = full.world.facts[row.name]
        numbers = numbers_of("A", facts)
        assert (row.numbers is None) == (numbers is None)
        if numbers is not None:
            assert row.numbers["peak_mag"] == numbers["peak"]
            assert row.numbers["n_detections"] == numbers["count"]
        assert {name for _, name in row.groups} <= {"group A"}
        assert {name for name, _ in row.classes} == set(facts["classes"])


def test_what_is_added_meanwhile_changes_no_later_page(database):
    world = ObjectWorld(database)
    lists = ObjectList(database=database)
    for n in range(6):
        world.add(f"star {n}", number=n)
    first = lists.search(world.viewers["A"], limit=3)
    world.add("newer", number=100)
    second = lists.search(world.viewers["A"], limit=3, cursor=first.next_cursor)
    assert [row.name for row in second.rows] == ["star 2", "star 1", "star 0"]
    assert second.next_cursor is None
    assert second.rows[0].created_at > START


@given(st.text(max_size=60) | st.binary(max_size=40).map(lambda b: b.hex()), orders)
def test_any_cursor_is_read_or_refused(text, order):
    with suppress(BadObjectCursor):
        read_mark(order, text)


@pytest.mark.parametrize(
    "wrong",
    [
        {"cone": (10.0, 91.0, 1.0)},
        {"cone": (10.0, 0.0, 0.0)},
        {"cone": (float("nan"), 0.0, 1.0)},
        {"name": "\x00"},
        {"name": "\ud800"},
        {"last_mag": (float("nan"), None)},
        {"tags": (2**40,)},
        {"saved": SavedWhen(groups=(-1,))},
        {"min_detections": -1},
        {"classifications": ("x" * 500,)},
    ],
)
def test_what_cannot_be_sought_is_refused(wrong):
    with pytest.raises(InvalidInput):
        ObjectQuery(**wrong)


def test_orders_and_sizes_that_there_are_not(full):
    with pytest.raises(InvalidInput):
        Order("id; drop table objects")
    for limit in (0, 501):
        with pytest.raises(FirstlightError):
            full.lists.search(full.world.viewers["A"], limit=limit)
