"""Sections that change with time: stored, found by date, and not asked for twice."""

from datetime import UTC, datetime, timedelta

import pytest
from astropy.time import Time
from sqlalchemy import create_engine, event
from sqlalchemy.orm import Session

from firstlight.errors import InvalidInput
from firstlight.instruments import Instrument, SensorSection
from firstlight.instruments.header_values import to_mjd
from firstlight.instruments.registry import forget_instrument
from firstlight.models import exposure as _tables  # noqa: F401, the tables are made of it
from firstlight.models import observation as _more  # noqa: F401, likewise
from firstlight.models.base import Base


@pytest.fixture
def engine():
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def session(engine):
    with Session(engine) as session:
        yield session


@pytest.fixture
def queries(engine):
    asked: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
    return asked


@pytest.fixture
def camera():
    class Changing(Instrument):
        section_ids = (0, 1)
        gain = 2.0

        def _make_new_section(self, identifier):
            return SensorSection(identifier=identifier, instrument=self.name, gain=1.0)

    yield Changing()
    forget_instrument("Changing")


def _store(camera, session, gain, start=None, end=None):
    camera.fetch_sections()
    for section in camera.sections.values():
        section.gain = gain
    return camera.commit_sections(session, start, end)


def test_hard_coded_without_rows(camera, session):
    assert camera.fetch_sections()[0].gain == 1.0
    assert camera.fetch_sections(session, 59000)["1"].gain == 1.0
    assert camera.at(session, 59000) is camera


def test_every_form_of_a_date_finds_its_interval(camera, session):
    _store(camera, session, 5.0, "2020-01-01", "2021-01-01")
    _store(camera, session, 6.0, "2021-01-01", "2022-01-01")
    when = datetime(2020, 7, 1, 12, tzinfo=UTC)
    for date in (when, when.replace(tzinfo=None), Time("2020-07-01T12:00:00"), to_mjd(when),
                 "2020-07-01T12:00:00.000"):  # fmt: skip
        assert camera.fetch_sections(session, date)[0].gain == 5.0, date
    assert camera.fetch_sections(session, "2021-07-01")[0].gain == 6.0
    assert camera.fetch_sections(session, "2019-12-31T23:59:59.999")[0].gain == 1.0
    assert camera.fetch_sections(session, "2030-01-01")[0].gain == 1.0


def test_start_is_included_and_end_is_not(camera, session):
    _store(camera, session, 5.0, "2020-01-01", "2021-01-01")
    assert camera.fetch_sections(session, "2020-01-01T00:00:00")[0].gain == 5.0
    assert camera.fetch_sections(session, "2021-01-01T00:00:00")[0].gain == 1.0
    # Upstream's commented-out code reloaded only where the date was *close* to the last one.
    assert camera.fetch_sections(session, "2020-12-31T23:59:59.999")[0].gain == 5.0


def test_none_is_now_and_no_limits_is_always(camera, session):
    now = datetime.now(UTC)
    _store(camera, session, 5.0, now - timedelta(days=1), now + timedelta(days=1))
    assert camera.fetch_sections(session)[0].gain == 5.0
    _store(camera, session, 7.0)
    assert camera.fetch_sections(session, 0.0)[0].gain == 7.0


def test_validity_goes_only_to_sections_without_one(camera, session):
    own = datetime(2019, 1, 1, tzinfo=UTC)
    camera.fetch_sections()
    camera.sections[1].validity_start = own
    stored = camera.commit_sections(session, "2020-01-01", "2021-01-01")
    starts = {row.identifier: row.validity_start for row in stored}
    assert starts == {"0": datetime(2020, 1, 1, tzinfo=UTC), "1": own}
    assert camera.fetch_sections(session, "2019-06-01")[1].validity_start == own
    assert camera.fetch_sections(session, "2019-06-01")[0].validity_start is None


def test_what_was_stored_last_counts(camera, session):
    _store(camera, session, 5.0, "2020-01-01")
    _store(camera, session, 6.0, "2020-06-01", "2020-07-01")
    gains = [camera.fetch_sections(session, f"2020-{month:02d}-15")[0].gain for month in (5, 6, 7)]
    assert gains == [5.0, 6.0, 5.0]
    _store(camera, session, 5.0, "2020-01-01")  # back to what it was
    assert camera.fetch_sections(session, "2020-06-15")[0].gain == 5.0


def test_committing_twice_stores_once(camera, session):
    assert len(_store(camera, session, 5.0, "2020-01-01")) == 2
    assert camera.commit_sections(session, "2020-01-01") == []
    camera.sections[0].gain = 5.5
    assert [row.identifier for row in camera.commit_sections(session)] == ["0"]


def test_one_query_for_many_exposures(camera, session, queries):
    _store(camera, session, 5.0, "2020-01-01", "2021-01-01")
    session.commit()
    queries.clear()
    found = {id(camera.at(session, 58849.0 + day / 10)) for day in range(5000)}
    assert len(found) == 2  # within and after
    assert len(queries) == 1


def test_exposures_of_two_dates_do_not_disturb_each_other(camera, session):
    _store(camera, session, 5.0, "2020-01-01", "2021-01-01")
    _store(camera, session, 6.0, "2021-01-01", "2022-01-01")
    old, new = camera.at(session, "2020-05-05"), camera.at(session, "2021-05-05")
    assert (old.get_property(0, "gain"), new.get_property(0, "gain")) == (5.0, 6.0)
    assert camera.at(session, "2020-08-08") is old


def test_what_is_seen_is_right_after_a_commit(camera, session):
    _store(camera, session, 5.0, "2020-01-01")
    before = camera.at(session, "2020-05-05")
    _store(camera, session, 6.0, "2020-01-01")
    assert before.get_property(0, "gain") == 5.0
    assert camera.at(session, "2020-05-05").get_property(0, "gain") == 6.0


def test_edits_are_not_seen_by_others_until_committed(camera, session):
    _store(camera, session, 5.0, "2020-01-01")
    camera.fetch_sections(session, "2020-05-05")[0].gain = 99.0
    assert camera.at(session, "2020-05-05").get_property(0, "gain") == 5.0
    assert camera.fetch_sections(session, "2020-05-05")[0].gain == 5.0


def test_a_failed_commit_leaves_nothing_behind(camera, session):
    camera.fetch_sections()[0].gain = 9.0
    camera.sections[0].gain = object()
    with pytest.raises(Exception, match=r"type|float"):
        camera.commit_sections(session)
    session.rollback()
    assert camera.fetch_sections(session, 59000)[0].gain == 1.0


def test_databases_are_kept_apart(camera, session):
    _store(camera, session, 5.0)
    other = create_engine("sqlite://")
    Base.metadata.create_all(other)
    with Session(other) as second:
        assert camera.fetch_sections(second, 59000)[0].gain == 1.0
        assert camera.fetch_sections(session, 59000)[0].gain == 5.0
    other.dispose()


def test_what_other_processes_store_is_seen_in_time(camera, session, monkeypatch):
    _store(camera, session, 5.0)
    camera.fetch_sections(session, 59000)
    session.add(SensorSection(identifier="0", instrument="Changing", gain=8.0, revision=9,
                              id=__import__("uuid").uuid4()))  # fmt: skip
    session.commit()
    assert camera.fetch_sections(session, 59000)[0].gain == 5.0
    camera.forget_sections(session)
    assert camera.fetch_sections(session, 59000)[0].gain == 8.0
    monkeypatch.setattr(Instrument, "sections_max_age", 0.0)
    assert camera.at(session, 59000) is camera.at(session, 59000)  # nothing new, nothing rebuilt


def test_all_properties_survive_the_database(camera, session):
    camera.fetch_sections()
    values = {"size_x": 7, "size_y": 8, "offset_x": 1.5, "offset_y": -2.5, "filter_array_index": 2,
              "pixel_scale": 0.5, "gain": 1.25, "read_noise": 3.5, "dark_current": 0.5,
              "saturation_limit": 6e4, "non_linearity_limit": 5e4, "defective": True}  # fmt: skip
    for name, value in values.items():
        setattr(camera.sections[0], name, value)
    camera.commit_sections(session)
    found = camera.fetch_sections(session)[0]
    assert {name: getattr(found, name) for name in values} == values


def test_a_validity_that_ends_before_it_starts(camera, session):
    camera.fetch_sections()
    with pytest.raises(InvalidInput, match="validity_end"):
        camera.commit_sections(session, "2021-01-01", "2020-01-01")
    with pytest.raises(InvalidInput, match="date"):
        camera.fetch_sections(session, "the day before")
