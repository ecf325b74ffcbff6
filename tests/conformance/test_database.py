"""The database on SQLite and on PostgreSQL: the same tables, rules and answers."""

import re
import threading
import time
import uuid
from contextlib import ExitStack, suppress
from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import ColumnClause, Uuid, bindparam, column, select, table, text
from sqlalchemy.exc import IntegrityError, StatementError
from sqlalchemy.orm import Session

from firstlight.algorithms.sky.sky_index import angular_separation, healpix_index
from firstlight.models import (
    Arrival,
    Audience,
    Base,
    Exposure,
    ExposureFile,
    Image,
    InstrumentRecord,
    LightCurve,
    LightCurveSet,
    Object,
    Observation,
    Photometry,
    Provenance,
    Software,
    StepRun,
)
from firstlight.models import database as database_module
from firstlight.models.audience import public_audience
from firstlight.models.base import UtcDateTime
from firstlight.models.database import (
    Database,
    DatabaseMissing,
    DatabaseOutdated,
    DatabaseUnreachable,
    bulk_insert,
)
from firstlight.models.provenance import ProvenanceTag
from firstlight.models.sky_search import find_in_cone
from firstlight.provenance.lineage import Lineage


def _put(session: Session, rows: list[dict[str, object]]) -> None:
    """Insert objects that everybody sees."""
    audience = public_audience(session)
    bulk_insert(session, Object, [row | {"audience_id": audience} for row in rows])


def _stars(count: int, seed: int = 1) -> list[dict[str, object]]:
    rng = np.random.default_rng(seed)
    ra = rng.uniform(0, 360, count)
    dec = np.degrees(np.arcsin(rng.uniform(-1, 1, count)))
    index = healpix_index(ra, dec)
    now = datetime.now(UTC)
    return [
        {
            "id": uuid.UUID(int=n + 1),
            "name": f"star {n}",
            "ra": float(ra[n]),
            "dec": float(dec[n]),
            "hpx": int(index[n]),
            "origin": "test",
            "created_at": now,
        }
        for n in range(count)
    ]


def test_an_empty_database_is_brought_to_the_models(url):
    opened = Database(url)
    opened.upgrade()
    assert opened.revision() == opened.head()
    assert _differences(opened) == []
    opened.dispose()


def test_all_migrations_together_make_the_models(url):
    opened = Database(url)
    for revision in ("0001", "0002", "0003", "0004", "0005", "0006", "0007"):
        opened.upgrade(revision)
    assert opened.revision() == opened.head()
    assert _differences(opened) == []
    opened.dispose()


def test_all_migrations_together_make_the_very_tables_of_the_models(tmp_path):
    def tables(name: str, *revisions: str) -> dict[str, set[str]]:
        opened = Database(f"sqlite:///{tmp_path / name}")
        for revision in revisions:
            opened.upgrade(revision)
        with opened.engine.connect() as connection:
            rows = connection.execute(text("SELECT name, sql FROM sqlite_master")).all()
        opened.dispose()
        return {name: _clauses(sql) for name, sql in rows if sql and name != "alembic_version"}

    assert tables("migrated", "0001", "0002", "0003", "0004", "0005", "0006", "0007") == tables(
        "made", "head"
    )


def _clauses(sql: str) -> set[str]:
    """What a table or index consists of; defaults serve the rows that are migrated alone."""
    words = re.sub(r" DEFAULT '[^']*'", "", " ".join(sql.replace('"', "").split()))
    # SQLite has two ways to write a counting key.
    words = words.replace(" PRIMARY KEY AUTOINCREMENT", " AUTOINCREMENT")
    return set(re.split(r", | \(", words.removesuffix(")").strip(), maxsplit=0))


def _differences(database: Database) -> list[object]:
    assert set(Base.metadata.tables) <= set(database.table_names())
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, Base.metadata))


@pytest.mark.postgres
@pytest.mark.parametrize("rest", [0.0, 60.0])
def test_connections_that_died_at_rest_are_made_anew(postgres_url, monkeypatch, rest):
    monkeypatch.setattr(database_module, "_REST_S", rest)
    opened, other = Database(postgres_url), Database(postgres_url)
    with ExitStack() as several:
        for _ in range(3):
            several.enter_context(opened.reading()).scalar(select(1))
    with other.reading() as session:
        query = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE"
        query += " datname = current_database() AND pid <> pg_backend_pid()"
        assert session.scalar(text(query)) == 3
    found = []
    for _ in range(4):
        with suppress(DatabaseUnreachable), opened.reading() as session:
            found.append(session.scalar(select(1)))
    # Who does not look is told once; then all connections are made anew.
    assert len(found) == (4 if rest == 0.0 else 3)
    opened.dispose()
    other.dispose()


def test_a_database_of_the_main_job_keeps_its_rows_and_learns_the_new_columns(url):
    opened = Database(url)
    opened.upgrade("0001")
    ident, arrival_id, now = uuid.UUID(int=0xABC << 90), uuid.uuid4(), datetime.now(UTC)
    old = {"created_at": now, "filename": "raw/x/a.fits", "format": "fits", "header": {}}
    old |= {"instrument": "GenericFITS", "kind": "bias", "binning": "1x1", "longitude": -120.0}
    old |= {"mjd": 60000.3, "exp_time": 172.8, "sha256": "ab", "md5": "cd", "size": 3}
    told = {"source": "/a.fits", "state": "archived", "created_at": now}
    with opened.begin() as session:
        for model, values in (
            (Exposure, {"id": ident, **old}),
            (Arrival, {"id": arrival_id, **told}),
        ):
            columns = [column(name, model.__table__.c[name].type) for name in values]
            session.execute(table(model.__tablename__, *columns).insert().values(values))
        ran = {"exposure_id": ident, "section_id": "0", "number": 0, "notes": {}, "created_at": now}
        for step, state in (("preprocess", "done"), ("find_sources", "failed")):
            values = {**ran, "step": step, "state": state}
            columns = [column(name, StepRun.__table__.c[name].type) for name in values]
            session.execute(table("step_runs", *columns).insert().values(values))
        session.execute(
            text("UPDATE arrivals SET exposure_id = :id").bindparams(bindparam("id", type_=Uuid())),
            {"id": ident},
        )
    opened.upgrade()
    with opened.reading() as session:
        exposure = session.get_one(Exposure, ident)
        arrival = session.get_one(Arrival, arrival_id)
        file = session.scalars(select(ExposureFile)).one()
    assert exposure.night == date(2023, 2, 24)
    assert exposure.sort_mjd == pytest.approx(60000.3 - 0.001, abs=1e-9)
    assert exposure.image_number == ident.int >> 75 > 0
    assert (exposure.collection, exposure.reduction_state) == ("data", "partial")
    assert (arrival.exposure_id, arrival.origin, arrival.version) == (exposure.id, "ingest", "")
    assert (file.exposure_id, file.name, file.role, file.key, file.sha256, file.made) == (
        exposure.id,
        "a.fits",
        "raw",
        "raw/x/a.fits",
        "ab",
        False,
    )
    opened.dispose()


def _typed(name: str) -> ColumnClause[object]:
    """A column of a table that the models no longer describe."""
    if name == "created_at":
        return column(name, UtcDateTime())
    return column(name, Uuid()) if name.endswith("id") and name != "provenance_id" else column(name)


def test_light_curves_of_the_archive_get_numbers_instruments_and_readers(url):
    opened = Database(url)
    opened.upgrade("0002")
    made = Lineage("light_curves", "1")
    star, lonely, image, curves = (uuid.uuid4() for _ in range(4))
    observed = Observation(instrument="DemoInstrument", target="M 67", night=date(2026, 3, 1))
    observed.identify()
    now = datetime(2026, 3, 2, tzinfo=UTC)
    with opened.begin() as session:
        Provenance.record(session, made)
        by = {"provenance_id": made.id, "software_id": Software.record(session).id}
        exposure = {"id": uuid.uuid4(), "instrument": "DemoInstrument", "kind": "science"}
        exposure |= {"sort_mjd": 60000.0, "site": "sro", "format": "fits", "filter": "V"}
        bulk_insert(session, Exposure, [exposure])
        session.add(observed)
        session.flush()
        session.add(
            Image(
                id=image, kind="science", instrument="DemoInstrument", section_id="0", nx=1, ny=1,
                mjd=60000.0, gain=1.0, read_noise=1.0, calibration={}, header={}, filename="i",
                exposure_id=exposure["id"], **by,
            )
        )  # fmt: skip
        session.add(
            LightCurveSet(
                id=curves, observation_id=observed.id, section_id="0", frame="sky", n_stars=1,
                n_images=1, summary={}, created_at=now, **by,
            )
        )  # fmt: skip
        session.flush()
        old = {"name": "s", "ra": 1.0, "dec": 2.0, "hpx": 3, "origin": "light_curves"}
        point = {"id": uuid.uuid4(), "object_id": star, "image_id": image, "set_id": curves}
        point |= {"provenance_id": made.id, "bjd_tdb": 2460000.5, "x": 1.0, "y": 2.0, "flags": 0}
        for name, values in (
            ("objects", {"id": star, **old, "created_at": now}),
            ("objects", {"id": lonely, **old, "name": "t", "created_at": now}),
            ("photometry", {**point, "mjd": 60000.1, "mag": 12.5}),
            ("photometry", {**point, "id": uuid.uuid4(), "mjd": 60000.0, "mag": 12.25}),
        ):
            columns = [_typed(key) for key in values]
            session.execute(table(name, *columns).insert().values(values))
    opened.upgrade()
    with opened.reading() as session:
        points = session.scalars(select(Photometry).order_by(Photometry.id)).all()
        assert [row.mag for row in points] == [12.25, 12.5]
        assert points[1].key == point["id"]
        assert session.get_one(InstrumentRecord, points[0].instrument_id).name == "DemoInstrument"
        assert points[0].created_at == now
        readers = session.get_one(Audience, points[0].audience_id)
        assert readers.key == "ssro"
        assert session.get_one(Object, star).audience_id == readers.id
        assert session.get_one(Audience, session.get_one(Object, lonely).audience_id).key == ""
    opened.dispose()


def test_upgrading_twice_changes_nothing(database):
    before = database.table_names()
    database.upgrade()
    assert database.table_names() == before


def test_a_file_that_is_gone_is_named_and_none_is_made_in_its_place(tmp_path):
    path = tmp_path / "gone.sqlite"
    opened = Database(f"sqlite:///{path}")
    with pytest.raises(DatabaseMissing) as caught:
        opened.check_current()
    assert caught.value.subject == str(path)
    assert not path.exists()


def test_a_database_of_another_version_is_refused(url):
    opened = Database(url)
    opened.engine.connect().close()  # an empty SQLite file is there now
    with pytest.raises(DatabaseOutdated) as caught:
        opened.check_current()
    assert caught.value.hint == "firstlight upgrade"
    opened.dispose()


def test_bulk_insert_takes_many_rows_and_leaves_those_that_are_there(database):
    rows = _stars(10_000)
    with database.begin() as session:
        _put(session, rows)
        _put(session, rows[:100])
    with database.reading() as session:
        assert session.scalar(text("select count(*) from objects")) == 10_000


@pytest.mark.parametrize("place", [(0.0, 0.0), (359.99, 10.0), (123.0, 89.9), (77.0, -90.0)])
@pytest.mark.parametrize("radius", [0.5, 5.0, 40.0])
def test_cones_find_exactly_the_stars_inside_nearest_first(database, place, radius):
    rows = _stars(3_000)
    with database.begin() as session:
        _put(session, rows)
    apart = angular_separation(*place, [r["ra"] for r in rows], [r["dec"] for r in rows])
    expected = [rows[i]["name"] for i in np.argsort(apart) if apart[i] <= radius]
    with database.reading() as session:
        found = find_in_cone(session, Object, *place, radius)
    assert [row.name for row, _ in found] == expected
    distances = [distance for _, distance in found]
    assert distances == sorted(distances)


def test_foreign_keys_are_enforced(database):
    with pytest.raises(IntegrityError), database.begin() as session:
        session.add(LightCurve(set_id=uuid.uuid4(), number=0, x=0, y=0, n_points=1, statistics={}))


def test_times_come_back_aware_and_in_utc(database):
    when = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=-7)))
    row = Arrival(id=uuid.uuid4(), source="a", state="archived", created_at=when)
    with database.begin() as session:
        session.add(row)
    with database.reading() as session:
        back = session.get_one(Arrival, row.id)
    assert back.created_at == when
    assert back.created_at.utcoffset() == timedelta(0)


def test_naive_times_are_refused(database):
    row = Arrival(id=uuid.uuid4(), source="a", state="archived", created_at=datetime(2026, 1, 1))  # noqa: DTZ001, that is the point
    with pytest.raises(StatementError), database.begin() as session:
        session.add(row)


def test_an_error_rolls_the_whole_transaction_back(database):
    def half() -> None:
        with database.begin() as session:
            _put(session, _stars(10))
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError):
        half()
    with database.reading() as session:
        assert session.scalars(select(Object)).all() == []


def test_two_that_record_the_same_provenance_at_once_both_go_on(database):
    root = Lineage("detect", "1", {"threshold": 5})
    leaf = Lineage("measure", "1", {}, (root,))
    begun, failed = threading.Event(), []

    def record_too() -> None:
        try:
            begun.set()
            with database.begin() as session:
                Provenance.record(session, leaf)
        except Exception as fault:  # noqa: BLE001, told below
            failed.append(fault)

    other = threading.Thread(target=record_too)
    with database.begin() as session:
        Provenance.record(session, leaf)
        other.start()
        begun.wait()
        time.sleep(0.3)  # so that it waits for what is not yet there
    other.join(30)
    assert not failed
    with database.reading() as session:
        assert [each.id for each in session.get_one(Provenance, leaf.id).upstreams] == [root.id]


def test_provenances_are_recorded_once_with_their_upstreams_and_tags_move(database):
    root = Lineage("calibrate", "1", {"clip": 3.0, "names": ["a"]})
    leaf = Lineage("find", "2", {}, (root,))
    with database.begin() as session:
        ProvenanceTag.point(session, "current", leaf)
    with database.begin() as session:
        ProvenanceTag.point(session, "current", leaf)
        row = Provenance.record(session, leaf)
        assert [up.id for up in row.upstreams] == [root.id]
        assert row.upstreams[0].parameters == {"clip": 3.0, "names": ["a"]}
    newer = Lineage("find", "3", {}, (root,))
    with database.begin() as session:
        ProvenanceTag.point(session, "current", newer)
    with database.reading() as session:
        tags = {row.process: row.provenance_id for row in session.scalars(select(ProvenanceTag))}
    assert tags == {"calibrate": root.id, "find": newer.id}


def test_photometry_has_an_index_for_light_curves(database):
    names = {index.name for index in Photometry.__table__.indexes}
    assert "ix_photometry_object_mjd" in names


def test_a_server_that_is_not_there_is_named(tmp_path):
    opened = Database("postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(DatabaseUnreachable) as caught, opened.reading() as session:
        session.execute(text("select 1"))
    assert "127.0.0.1" in str(caught.value)
    opened.dispose()
