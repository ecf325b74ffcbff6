"""Searches on both databases, each against a search by plain Python through all rows."""

import csv
import fnmatch
import io
import uuid
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest
import sqlalchemy as sa
from astropy.io.votable import parse_single_table

from firstlight.algorithms.sky.sky_index import angular_separation, healpix_index
from firstlight.algorithms.sky.sky_polygon import inside_any_polygon
from firstlight.errors import InvalidInput
from firstlight.instruments.header_values import MJD_EPOCH
from firstlight.models import Exposure, ExposureCard, ExposureFile, ExposureHeader, Observation
from firstlight.models import exposure_search as ways
from firstlight.models.database import Database, bulk_insert
from firstlight.models.exposure_file import card_number
from firstlight.services.finding.search import (
    ExposureNotFound,
    NoHeader,
    SearchService,
    SearchTooWide,
    group_stacks,
)
from firstlight.services.finding.search_query import BadCursor, ExposureQuery
from firstlight.storage import StorageSettings, open_store

COUNT = 700
SITES = ["sro", "mrc", "old", None]
FILTERS = ["V", "R", "rare", "given up"]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
OBSERVATION = uuid.UUID(int=7)


def _rows(count=COUNT, seed=4):
    rng = np.random.default_rng(seed)
    made = []
    for n in range(count):
        # Many begin at the same moment, as those whose header has not come.
        mjd = 60_000 + n // 12 * 0.2
        site = SITES[rng.choice(4, p=[0.5, 0.3, 0.1, 0.1])]
        early = n < count // 3
        given = (
            FILTERS[3]
            if early and rng.random() < 0.5
            else FILTERS[rng.choice(3, p=[0.6, 0.39, 0.01])]
        )
        ra, dec = (359.9 + rng.normal(0, 0.5)) % 360, np.clip(89.5 + rng.normal(0, 0.5), -90, 90)
        if rng.random() < 0.5:
            ra, dec = rng.uniform(0, 360), np.degrees(np.arcsin(rng.uniform(-1, 1)))
        placed = rng.random() < 0.95
        stack = f"s{n // 40}" if rng.random() < 0.3 else None
        exp_time = [1.0, 30.0, 30.5, 600.0, None][rng.choice(5)]
        key = uuid.UUID(bytes=rng.bytes(16))
        day = date(2023, 2, 25) + timedelta(days=int(mjd - 60_000))
        made.append(
            {
                "id": key,
                "format": "fits",
                "instrument": ["GenericFITS", "PANOPTES"][rng.choice(2)],
                "site": site,
                "kind": ["science", "flat"][rng.choice(2)],
                "mjd": mjd if rng.random() < 0.9 else None,
                "sort_mjd": mjd,
                "exp_time": exp_time,
                "filter": given,
                "binning": "1x1",
                "target": f"field {rng.choice(5)}",
                "header": {},
                "ra": float(ra) if placed else None,
                "dec": float(dec) if placed else None,
                "hpx": int(healpix_index(ra, dec)) if placed else None,
                "collection": "data" if rng.random() < 0.9 else "allsky",
                "base_filename": f"{site}-kb{n % 3}-{day:%Y%m%d}-{n:08d}",
                "label": f"{site}-kb{n % 3}-{day:%Y%m%d}-{n:08d}"
                if n % 50
                else f"odd_[{n}]%*.fits",
                "data_type": "EX",
                "camera": f"kb{n % 3}",
                "night": day,
                "user_id": f"auth0|{rng.choice(4)}",
                "username": "somebody",
                "smart_stack": stack,
                "stack_number": int(rng.integers(0, 10)) if stack else None,
                "stack_length": 10 if stack else None,
                "reduction_state": ["none", "done"][rng.choice(2)],
                "image_number": key.int >> 75,
                "observation_id": OBSERVATION if n % 7 == 0 else None,
                "modified_at": NOW + timedelta(seconds=int(rng.integers(0, 10_000))),
                "created_at": NOW,
            }
        )
    return made


ROWS = _rows()
BY_ORDER = sorted(ROWS, key=lambda row: (row["sort_mjd"], row["id"]), reverse=True)


def _has_picture(row):
    return row["id"].int % 3 == 0


def _fill(database):
    with database.begin() as session:
        session.add(
            Observation(
                id=OBSERVATION,
                instrument="PANOPTES",
                target="x",
                night=date(2023, 2, 25),
                sequence="PAN001_14d3bd_20180216T110623",
            )
        )
        session.flush()
        bulk_insert(session, Exposure, ROWS)
        bulk_insert(
            session,
            ExposureCard,
            [
                {
                    "card": card_number("OBJECT", row["target"]),
                    "sort_mjd": row["sort_mjd"],
                    "exposure_id": row["id"],
                }
                for row in ROWS
            ],
        )
        bulk_insert(session, ExposureFile, [f for row in ROWS for f in _files(row)])
        headers = [h for row in ROWS[::2] for h in _headers(row)]
        bulk_insert(session, ExposureHeader, headers)


def _files(row):
    made = ["fits_large", *(["jpg_medium"] if _has_picture(row) else [])]
    return [
        {
            "id": uuid.uuid5(row["id"], role),
            "exposure_id": row["id"],
            "name": f"{row['base_filename']}-{role}",
            "role": role,
            "reduction_level": "10",
            "key": f"data/{row['base_filename']}-{role}",
            "size": 3,
            "sha256": "0" * 64,
            "md5": "0" * 32,
            "made": False,
            "created_at": NOW,
        }
        for role in made
    ]


def _headers(row):
    gain = 1.5 if row["kind"] == "flat" else 2
    return [
        {
            "id": uuid.uuid5(row["id"], str(rank)),
            "exposure_id": row["id"],
            "rank": rank,
            "cards": [["OBJECT", row["target"], "what"], ["GAIN", gain + rank, ""], ["", None, ""]],
        }
        for rank in (1, 0)
    ]


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def database(request, tmp_path_factory):
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('search') / 'test.sqlite'}"
        made = None
    else:
        made = _postgres(request.getfixturevalue("postgres_server"))
        url = next(made)
    opened = Database(url)
    opened.upgrade()
    _fill(opened)
    yield opened
    opened.dispose()
    if made is not None:
        next(made, None)


def _postgres(server):
    """One database for the module: the fixture of the suite lives for one test."""
    name = f"search_{uuid.uuid4().hex[:12]}"
    root = sa.make_url(server).set(database="postgres", drivername="postgresql+psycopg")
    engine = sa.create_engine(root, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    yield root.set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def service(database, tmp_path):
    store = open_store(StorageSettings(root=str(tmp_path / "store")))
    return SearchService(database=database, store=store, indexed_cards=["OBJECT"])


@pytest.fixture(params=["usual bounds", "everything is long"])
def bounds(request, monkeypatch):
    """A thousand rows take the ways of a million where the bounds are a thousandth."""
    if request.param == "everything is long":
        for name, value in (("FEW", 2), ("PROBED", 20), ("NEWEST", 30), ("PROBED_FAR", 100)):
            monkeypatch.setattr(ways, name, value)


def _is_final(row):
    return row.smart_stack is None or row.stack_number == max(
        other["stack_number"]
        for other in ROWS
        if (other["smart_stack"], other["site"], other["camera"])
        == (row.smart_stack, row.site, row.camera)
    )


ARROW = ((350.0, -30.0), (0.0, 0.0), (10.0, -30.0), (0.0, 60.0))
QUERIES = {
    "all": (ExposureQuery(), lambda _: True),
    "site": (ExposureQuery(site=("sro", "nowhere")), lambda r: r.site == "sro"),
    "filters": (
        ExposureQuery(filter=("given up", "rare")),
        lambda r: r.filter in ("given up", "rare"),
    ),
    "instrument and camera": (
        ExposureQuery(instrument=("PANOPTES",), camera=("kb1",)),
        lambda r: r.instrument == "PANOPTES" and r.camera == "kb1",
    ),
    "two that never meet": (
        ExposureQuery(filter=("given up",), start=MJD_EPOCH + timedelta(days=60_015)),
        lambda r: r.filter == "given up" and r.sort_mjd >= 60_015,
    ),
    "user": (
        ExposureQuery(user_id=("auth0|2",), username=("somebody",)),
        lambda r: r.user_id == "auth0|2",
    ),
    "words": (
        ExposureQuery(
            kind=("flat",), data_type=("EX",), collection=("allsky",), reduction_state=("done",)
        ),
        lambda r: r.kind == "flat" and r.collection == "allsky" and r.reduction_state == "done",
    ),
    "target": (ExposureQuery(target=("field 1",)), lambda r: r.target == "field 1"),
    "one exposure time": (
        ExposureQuery(exp_time_min=30.5, exp_time_max=30.5),
        lambda r: r.exp_time == 30.5,
    ),
    "exposure times": (
        ExposureQuery(exp_time_min=30, exp_time_max=60),
        lambda r: r.exp_time is not None and 30 <= r.exp_time <= 60,
    ),
    "at most so long": (
        ExposureQuery(exp_time_max=30),
        lambda r: r.exp_time is not None and r.exp_time <= 30,
    ),
    "dates": (
        ExposureQuery(
            start=MJD_EPOCH + timedelta(days=60_003), end=MJD_EPOCH + timedelta(days=60_005)
        ),
        lambda r: 60_003 <= r.sort_mjd < 60_005,
    ),
    "night": (ExposureQuery(night=date(2023, 2, 28)), lambda r: r.night == date(2023, 2, 28)),
    "name begins": (ExposureQuery(name="sro-kb1"), lambda r: r.label.startswith("sro-kb1")),
    "name glob": (
        ExposureQuery(name="sro-*-2023030?-*"),
        lambda r: fnmatch.fnmatchcase(r.label, "sro-*-2023030?-*"),
    ),
    "name like": (ExposureQuery(name="%kb2%_1"), lambda r: "kb2" in r.label and r.label[-1] == "1"),
    "name with wildcards in it": (
        ExposureQuery(name="odd_[50]%*"),
        lambda r: r.label.startswith("odd_[50]%"),
    ),
    "name in other letters": (ExposureQuery(name="SRO*"), lambda _: False),
    "cone over the pole": (
        ExposureQuery(cone=(180.0, 89.9, 0.7)),
        lambda r: r.ra is not None and angular_separation(180, 89.9, r.ra, r.dec) <= 0.7,
    ),
    "cone over the meridian": (
        ExposureQuery(cone=(0.5, 10.0, 25.0)),
        lambda r: r.ra is not None and angular_separation(0.5, 10, r.ra, r.dec) <= 25,
    ),
    "all the sky": (ExposureQuery(cone=(0.0, 0.0, 180.0)), lambda r: r.ra is not None),
    "polygon": (
        ExposureQuery(polygon=ARROW),
        lambda r: (
            r.ra is not None and bool(inside_any_polygon(r.ra, r.dec, *zip(*ARROW, strict=True)))
        ),
    ),
    "cone and filter": (
        ExposureQuery(cone=(0.0, 90.0, 3.0), filter=("R",)),
        lambda r: (
            r.filter == "R" and r.ra is not None and angular_separation(0, 90, r.ra, r.dec) <= 3
        ),
    ),
    "card": (
        ExposureQuery(cards=(("object", "FIELD 3 "),)),
        lambda r: r.target == "field 3",
    ),
    "card, name and site": (
        ExposureQuery(cards=(("OBJECT", "field 3"),), name="*kb1*", site=("mrc",)),
        lambda r: r.target == "field 3" and "kb1" in r.label and r.site == "mrc",
    ),
    "card without an index": (
        ExposureQuery(cards=(("GAIN", "2.0"), ("OBJECT", "field 3"))),
        lambda r: r.target == "field 3" and r.kind == "science" and ROWS[::2].count(vars(r)),
    ),
    "modified": (
        ExposureQuery(modified_since=NOW + timedelta(seconds=9000)),
        lambda r: r.modified_at >= NOW + timedelta(seconds=9000),
    ),
    "modified and site": (
        ExposureQuery(modified_since=NOW + timedelta(seconds=2000), site=("old",)),
        lambda r: r.modified_at >= NOW + timedelta(seconds=2000) and r.site == "old",
    ),
    "observation": (ExposureQuery(observation=OBSERVATION), lambda r: bool(r.observation_id)),
    "sequence": (
        ExposureQuery(sequence="PAN001_14d3bd_20180216T110623", filter=("V",)),
        lambda r: bool(r.observation_id) and r.filter == "V",
    ),
    "no such sequence": (ExposureQuery(sequence="PAN009"), lambda _: False),
    "stack": (ExposureQuery(smart_stack="s3"), lambda r: r.smart_stack == "s3"),
    "final": (ExposureQuery(final_only=True), _is_final),
    "picture": (
        ExposureQuery(has="jpg_medium", filter=("R",)),
        lambda r: r.filter == "R" and _has_picture(vars(r)),
    ),
}


def _expected(holds, sites=None):
    return [
        row["id"]
        for row in BY_ORDER
        if (sites is None or row["site"] in sites) and holds(SimpleNamespace(**row))
    ]


def _all_pages(service, query, sites, limit):
    cursor, found = None, []
    while True:
        page = service.exposures(query, sites, cursor=cursor, limit=limit)
        found += [row.id for row in page.rows]
        cursor = page.next_cursor
        if cursor is None:
            return found
        assert len(page.rows) == limit


@pytest.mark.postgres
@pytest.mark.parametrize("name", QUERIES)
def test_every_search_finds_what_python_finds_page_by_page(service, bounds, name):
    query, holds = QUERIES[name]
    expected = _expected(holds)
    assert expected or name in ("name in other letters", "no such sequence", "two that never meet")
    found = _all_pages(service, query, None, 97)
    assert found == expected
    if len(expected) < 100:
        assert _all_pages(service, query, None, 13) == expected
    assert service.count(query, None) == len(expected)


@pytest.mark.postgres
@pytest.mark.parametrize("name", QUERIES)
def test_a_viewer_finds_nothing_of_other_sites(service, bounds, name):
    query, holds = QUERIES[name]
    sites = ["mrc", "old", "elsewhere"]
    assert _all_pages(service, query, sites, 61) == _expected(holds, sites)
    assert service.exposures(query, []).rows == ()
    assert service.count(query, []) == 0


@pytest.mark.postgres
def test_pages_stay_as_they_are_while_newer_exposures_come(service, database):
    query = ExposureQuery(site=("sro",))
    expected = _expected(lambda row: row.site == "sro")
    first = service.exposures(query, None, limit=100)
    newer = {
        **ROWS[0],
        "id": uuid.uuid4(),
        "base_filename": "n",
        "sort_mjd": 70_000.0,
        "site": "sro",
    }
    with database.begin() as session:
        bulk_insert(session, Exposure, [newer])
    try:
        second = service.exposures(query, None, limit=100, cursor=first.next_cursor)
        assert [row.id for row in (*first.rows, *second.rows)] == expected[:200]
    finally:
        with database.begin() as session:
            session.delete(session.get_one(Exposure, newer["id"]))


@pytest.mark.postgres
def test_counting_stops(service):
    assert service.count(ExposureQuery(), None, at_most=10) == 10
    assert service.count(ExposureQuery(cone=(0, 0, 180)), None, at_most=10) == 10


@pytest.mark.postgres
def test_cards_without_an_index_are_not_sought_among_too_many(service, monkeypatch):
    monkeypatch.setattr("firstlight.services.finding.search.MOST_HEADERS", 50)
    wide = ExposureQuery(cards=(("GAIN", 2),))
    for ask in (service.exposures, service.count):
        with pytest.raises(SearchTooWide) as caught:
            ask(wide, None)
        assert caught.value.field == "GAIN"
    narrow = ExposureQuery(cards=(("GAIN", 2),), smart_stack="s3")
    assert len(service.exposures(narrow, None).rows) < 30


@pytest.mark.postgres
def test_the_latest_of_a_site_and_of_a_user(service):
    found = [row.id for row in service.latest("mrc", 5, None)]
    holds = lambda r: r.site == "mrc" and r.collection == "data" and _has_picture(vars(r))  # noqa: E731, a test's predicate
    assert found == _expected(holds)[:5]
    mine = [row.id for row in service.latest("mrc", 5, None, user_id="auth0|1")]
    assert mine == _expected(lambda r: holds(r) and r.user_id == "auth0|1")[:5]
    assert service.latest("mrc", 5, ["sro"]) == ()


@pytest.mark.postgres
def test_the_latest_of_all_sites(service):
    found = service.latest_of_all_sites(None)
    assert list(found) == ["mrc", "old", "sro"]
    for site, row in found.items():
        holds = lambda r, site=site: (  # noqa: E731, a test's predicate
            r.site == site and r.collection == "data" and _has_picture(vars(r))
        )
        assert row.id == _expected(holds)[0]
        assert row.file("jpg_medium") is not None
    assert list(service.latest_of_all_sites(["old"])) == ["old"]
    assert service.latest_of_all_sites([]) == {}


@pytest.mark.postgres
def test_one_exposure_by_each_of_its_names(service):
    row = next(row for row in ROWS[::2] if row["site"] == "sro" and row["collection"] == "data")
    for which in (row["id"], str(row["id"]), row["image_number"], row["base_filename"]):
        assert service.exposure(which, ["sro"]).id == row["id"]
        with pytest.raises(ExposureNotFound):
            service.exposure(which, ["mrc"])
    with pytest.raises(ExposureNotFound):
        service.exposure(row["base_filename"], None, collection="allsky")
    for nobody in ("", "no\0body", "\ud800", 1 << 70, -1, "%", "7"):
        with pytest.raises(ExposureNotFound):
            service.exposure(nobody, None)


@pytest.mark.postgres
def test_the_header_is_that_of_the_lowest_rank(service):
    row = ROWS[0]
    cards = service.header(row["id"], None)
    assert list(cards[0]) == ["OBJECT", row["target"], "what"]
    assert cards[1][1] == (1.5 if row["kind"] == "flat" else 2)
    with pytest.raises(NoHeader):
        service.header(ROWS[1]["id"], None)
    with pytest.raises(ExposureNotFound):
        service.header(row["id"], [])


@pytest.mark.postgres
def test_files_have_links_where_the_store_makes_them(database, service, tmp_path):
    row = ROWS[0]
    assert {link.url for link in service.files(row["id"], None)} == {None}
    settings = StorageSettings(
        root=str(tmp_path / "store"),
        link_base_url="https://portal.example/api",
        link_secret="0123456789abcdef",  # noqa: S106, of this test
    )
    linked = SearchService(database=database, store=open_store(settings))
    found = linked.files(row["id"], None)
    assert [link.file.name for link in found] == sorted(file["name"] for file in _files(row))
    assert all(link.url.startswith("https://portal.example/api/") for link in found)


@pytest.mark.postgres
def test_smart_stacks_are_grouped_and_no_is_none(service):
    groups = service.smart_stack("s3", None)
    members = [row for row in ROWS if row["smart_stack"] == "s3"]
    assert sum(len(group.rows) for group in groups) == len(members)
    for group in groups:
        numbers = [row.columns["stack_number"] for row in group.rows]
        assert numbers == sorted(numbers)
        assert group.final.columns["stack_number"] == max(numbers)
        assert len({(row.columns["site"], row.columns["camera"]) for row in group.rows}) == 1
        assert group.length == 10
    assert service.smart_stack("no", None) == service.smart_stack("", None) == ()
    page = service.exposures(ExposureQuery(), None, limit=200)
    together = group_stacks(page.rows)
    assert sum(len(group.rows) for group in together) == 200
    assert len(together) < 200


@pytest.mark.postgres
def test_exports_hold_every_row(service, monkeypatch):
    monkeypatch.setattr("firstlight.services.finding.search.LONGEST_PAGE", 150)
    query = ExposureQuery(filter=("R",))
    expected = [str(one) for one in _expected(lambda row: row.filter == "R")]
    text = b"".join(service.export(query, None, "csv")).decode()
    assert [line["id"] for line in csv.DictReader(io.StringIO(text))] == expected
    document = b"".join(service.export(query, None, "votable", at_most=200))
    table = parse_single_table(io.BytesIO(document))
    assert list(table.array["id"]) == expected[:200]
    assert b"OVERFLOW" in document
    whole = b"".join(service.export(query, ["sro"], "votable"))
    assert b"OVERFLOW" not in whole
    assert len(parse_single_table(io.BytesIO(whole)).array) == len(
        _expected(lambda row: row.filter == "R", ["sro"])
    )


@pytest.mark.postgres
@pytest.mark.parametrize("limit", [0, 1001])
def test_pages_have_bounds(service, limit):
    with pytest.raises(InvalidInput):
        service.exposures(ExposureQuery(), None, limit=limit)


@pytest.mark.postgres
@pytest.mark.parametrize(
    "cursor", ["", "x", "é", "W10", "eyJhIjoxfQ", "WzIsIjB4MCIsIjAiXQ", "[[" * 999]
)
def test_what_is_no_cursor_is_refused(service, cursor):
    with pytest.raises(BadCursor):
        service.exposures(ExposureQuery(), None, cursor=cursor)
