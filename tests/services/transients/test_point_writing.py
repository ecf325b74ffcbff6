"""Points are written many at a time, and once for each key, on both databases."""

import uuid
from datetime import datetime, timedelta, timezone

import pytest
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from firstlight.models import Object, Photometry, PhotometryValidation
from firstlight.models.audience import audience_of
from firstlight.models.base import utc_now
from firstlight.models.database import Database
from firstlight.services.transients import point_writing
from firstlight.services.transients.point_writing import upsert_points

KEYS = sorted(uuid.uuid4() for _ in range(7))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def tables(request):
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    database = Database(request.getfixturevalue(name))
    yield database
    database.dispose()


@pytest.fixture
def star(tables):
    return add_star(tables)


def add_star(database):
    with database.begin() as session:
        row = Object(
            id=uuid.uuid4(), name="star", ra=1.0, dec=2.0, hpx=3, origin="t",
            audience_id=audience_of(session),
        )  # fmt: skip
        session.add(row)
    return row


def write(database, star, keys, *, name="r", **columns):
    """Points whose flux is their number."""
    now = utc_now()
    shared = {
        "audience_id": star.audience_id, "created_at": now, "modified_at": now, "origin": "o",
        "filter": name, "mjd": 1.0 / 3.0,
    }  # fmt: skip
    own = {
        "key": [key.hex for key in keys], "object_id": [star.id.hex] * len(keys),
        "flux_ujy": [float(KEYS.index(key)) for key in keys], "flags": [3] * len(keys),
        "mag": [None] * len(keys),
    }  # fmt: skip
    with database.begin() as session:
        upsert_points(session, shared, own | columns)


def read(database):
    with database.reading() as session:
        return list(session.scalars(select(Photometry).order_by(Photometry.key)))


def test_all_points_are_written_however_many_a_statement_holds(tables, star, monkeypatch):
    monkeypatch.setattr(point_writing, "MAX_VARIABLES", 6 + 3 * 5)
    write(tables, star, KEYS)
    rows = read(tables)
    assert [row.key for row in rows] == KEYS
    assert [row.flux_ujy for row in rows] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert {(row.object_id, row.mag, row.flags, row.mjd) for row in rows} == {
        (star.id, None, 3, 1.0 / 3.0)
    }


def test_numbers_come_back_to_the_last_digit(tables, star):
    flux = [0.1 + 0.2, -1e-300, 1.7976931348623157e308, None]
    write(tables, star, KEYS[:4], flux_ujy=flux)
    assert [row.flux_ujy for row in read(tables)] == flux


@pytest.mark.parametrize("already", [0, 1])
def test_values_of_every_kind_come_back(tables, star, already):
    """Whether there is a point among them before or not, which are written in different ways."""
    write(tables, star, KEYS[1 : 1 + already])
    born = datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=timezone(timedelta(hours=-3)))
    shared = {
        "audience_id": star.audience_id, "created_at": born, "modified_at": born, "origin": "",
        "filter": "µ band", "mjd": 2.0 / 3.0, "mag_system": None, "airmass": None,
        "image_id": None, "instrument_id": None, "limit_sigma": 5.0,
    }  # fmt: skip
    own = {
        "key": [key.hex for key in KEYS[:3]], "object_id": [star.id.hex] * 3,
        "flags": [0, -1, 2**31 - 1], "mag": [None, -0.0, 1e-300], "ra": [None, None, None],
        "mag_err": [1.0, None, 2.0],
    }  # fmt: skip
    with tables.begin() as session:
        upsert_points(session, shared, own)
    rows = read(tables)
    assert [row.key for row in rows] == KEYS[:3]
    for name, values in own.items():
        if name not in ("key", "object_id"):
            assert [getattr(row, name) for row in rows] == values
    for name, value in shared.items():
        for row in rows[::2]:
            assert getattr(row, name) == value


def test_no_points_are_written_by_no_statement(tables, star):
    write(tables, star, [])
    assert read(tables) == []


def test_a_point_that_is_there_keeps_its_number_its_birth_and_what_was_said_of_it(tables, star):
    write(tables, star, KEYS[:3])
    before = read(tables)
    with tables.begin() as session:
        session.add(PhotometryValidation(photometry_id=before[1].id, validated=True))
    write(tables, star, KEYS[1:5], flags=[9, 9, 9, 9])
    after = read(tables)
    assert [row.key for row in after] == KEYS[:5]
    assert [row.id for row in after[:3]] == [row.id for row in before]
    assert [row.created_at for row in after[:3]] == [row.created_at for row in before]
    assert after[1].modified_at > before[1].modified_at
    assert [row.flags for row in after] == [3, 9, 9, 9, 9]
    with tables.reading() as session:
        assert session.get_one(PhotometryValidation, before[1].id).validated


def test_what_the_table_refuses_is_refused_and_nothing_written(tables, star):
    with pytest.raises(DBAPIError):
        write(tables, star, KEYS, object_id=[star.id.hex] * 6 + [uuid.uuid4().hex])
    assert read(tables) == []


@pytest.mark.slow
def test_a_text_that_is_too_long_is_not_cut(postgres_url):
    database = Database(postgres_url)
    star = add_star(database)
    with pytest.raises(DBAPIError):
        write(database, star, KEYS[:1], name="r" * 65)
    database.dispose()
