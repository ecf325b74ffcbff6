"""What is read together is read in one transaction, and each thing once."""

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.exc import OperationalError

from firstlight.errors import InternalError
from firstlight.models.account import Group
from firstlight.models.database import DatabaseUnreachable, check_apart, each_once, once


@pytest.fixture
def begun(database):
    """Counts the transactions that begin."""
    times = []
    event.listen(database.engine, "begin", times.append)
    return times


@pytest.fixture
def connections(database):
    """Connections that are in use at once, as they come and go."""
    held, most = set(), []

    def out(connection, record, proxy):
        held.add(id(record))
        most.append(len(held))

    event.listen(database.engine, "checkout", out)
    event.listen(database.engine, "checkin", lambda connection, record: held.discard(id(record)))
    return most


def names(database):
    with database.reading() as session:
        return sorted(session.scalars(select(Group.name)))


def write(database, name):
    with database.begin() as session:
        session.add(Group(name=name))


def test_readings_within_share_one_transaction(database, begun):
    with database.together():
        assert names(database) == names(database) == []
        with database.together():
            names(database)
    assert len(begun) == 1
    names(database)
    names(database)
    assert len(begun) == 3


def test_what_is_written_within_is_seen_after_it(database, connections):
    with database.together():
        assert names(database) == []
        write(database, "a")
        assert names(database) == ["a"]
        with database.reading() as session:
            assert once(session, "names", lambda: names(database)) == ["a"]
            write(database, "b")
        with database.reading() as session:
            assert once(session, "names", lambda: names(database)) == ["a", "b"]
            assert once(session, "names", list) == ["a", "b"]
    assert max(connections) == 1, "a thread that held two would wait for itself"


def test_what_reads_apart_has_a_transaction_of_its_own(database, begun, connections):
    with database.together():
        with database.reading() as session, pytest.raises(InternalError):
            check_apart(session)
        names(database)
        with database.reading(apart=True) as session:
            check_apart(session)
            session.scalar(text("SELECT 1"))
        names(database)
    assert len(begun) == 3
    assert max(connections) == 1


def test_rows_of_a_transaction_that_was_ended_keep_what_was_read(database):
    write(database, "a")
    with database.together():
        with database.reading() as session:
            row = session.scalars(select(Group)).one()
        write(database, "b")
        assert row.name == "a"


def test_a_fault_of_one_reading_spoils_no_other(database):
    with database.together():
        with pytest.raises(Exception, match="no_such_table"), database.reading() as session:
            session.execute(text("SELECT * FROM no_such_table"))
        assert names(database) == []


def test_a_server_that_went_away_is_named(database):
    with database.together():
        names(database)
        with pytest.raises(DatabaseUnreachable), database.reading():
            raise OperationalError("SELECT 1", {}, Exception("gone"))
        assert names(database) == []


def test_things_are_looked_for_once_while_it_is_read_and_each_time_while_it_is_written(database):
    asked = []

    def find(wanted):
        asked.append(sorted(wanted))
        return {key: str(key) for key in wanted if key != 3}

    with database.reading() as session:
        assert each_once(session, "words", [1, 2, 3], find) == {1: "1", 2: "2"}
        assert each_once(session, "words", [2, 3, 4], find) == {2: "2", 4: "4"}
        assert each_once(session, "words", [], find) == {}
        assert each_once(session, "others", [1], find) == {1: "1"}
    assert asked == [[1, 2, 3], [4], [1]]
    with database.reading() as session:
        each_once(session, "words", [1], find)
    with database.begin() as session:
        each_once(session, "words", [1], find)
        each_once(session, "words", [1], find)
    assert asked[3:] == [[1], [1], [1]]
