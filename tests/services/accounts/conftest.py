"""Accounts in a database of their own, of either kind."""

import pytest
import sqlalchemy as sa
from account_world import World

from firstlight.models.base import Base
from firstlight.models.database import Database


@pytest.fixture(scope="session")
def empty_tables(tmp_path_factory):
    """A file with all tables and no rows, to be copied."""
    path = tmp_path_factory.mktemp("database") / "empty.sqlite"
    opened = Database(f"sqlite:///{path}")
    opened.upgrade()
    opened.dispose()  # the last one to close an SQLite file leaves it complete
    return path


@pytest.fixture(scope="session")
def accounts_on_postgres(postgres_server):
    """One database for all tests; each begins by emptying it."""
    server = sa.make_url(postgres_server).set(drivername="postgresql+psycopg")
    administration = sa.create_engine(
        server.set(database="postgres"), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool
    )
    with administration.connect() as connection:
        connection.execute(sa.text("CREATE DATABASE accounts"))
    opened = Database(server.set(database="accounts"))
    opened.upgrade()
    yield opened
    opened.dispose()
    with administration.connect() as connection:
        connection.execute(sa.text("DROP DATABASE accounts WITH (FORCE)"))


@pytest.fixture(params=["sqlite", "postgres"])
def database(request, tmp_path):
    if request.param == "postgres":
        opened = request.getfixturevalue("accounts_on_postgres")
        names = ", ".join(table.name for table in Base.metadata.sorted_tables)
        with opened.engine.begin() as connection:
            connection.execute(sa.text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))
        yield opened
        return
    path = tmp_path / "test.sqlite"
    path.write_bytes(request.getfixturevalue("empty_tables").read_bytes())
    opened = Database(f"sqlite:///{path}")
    yield opened
    opened.dispose()


@pytest.fixture
def world(database):
    return World(database)
