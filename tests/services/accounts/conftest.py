"""Accounts in a database of their own."""

import pytest
from account_world import World

from firstlight.models.database import Database


@pytest.fixture(scope="session")
def empty_tables(tmp_path_factory):
    """A file with all tables and no rows, to be copied."""
    path = tmp_path_factory.mktemp("database") / "empty.sqlite"
    opened = Database(f"sqlite:///{path}")
    opened.upgrade()
    opened.dispose()  # the last one to close an SQLite file leaves it complete
    return path


@pytest.fixture
def database(tmp_path, empty_tables):
    path = tmp_path / "test.sqlite"
    path.write_bytes(empty_tables.read_bytes())
    opened = Database(f"sqlite:///{path}")
    yield opened
    opened.dispose()


@pytest.fixture
def world(database):
    return World(database)
