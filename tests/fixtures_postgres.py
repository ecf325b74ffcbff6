"""A PostgreSQL server of the tests' own: fixtures `postgres_server`, `postgres_url`, and others.

The server runs as an unprivileged user in a temporary folder and listens on a unix socket there
alone. FIRSTLIGHT_TEST_POSTGRES names a running server instead (a URL of a superuser). Without
either, tests that ask for it skip and say why, or fail where FIRSTLIGHT_REQUIRE contains the word
"postgres".
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from firstlight.models.database import Database

_FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


def _missing(reason: str) -> None:
    if "postgres" in os.environ.get("FIRSTLIGHT_REQUIRE", ""):
        pytest.fail(f"PostgreSQL is required here: {reason}")
    pytest.skip(f"no PostgreSQL: {reason}")


def _binary(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join([*map(str, _FOLDERS), os.environ["PATH"]]))


def _as_user() -> dict[str, Any]:
    """Arguments of subprocess that leave root behind, since PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    return {}


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a server, without a database."""
    given = os.environ.get("FIRSTLIGHT_TEST_POSTGRES")
    if given:
        yield given
        return
    try:
        import psycopg  # noqa: F401, PLC0415 - only whether it is there
    except ImportError:
        _missing("psycopg is not installed")
    initdb, control = _binary("initdb"), _binary("pg_ctl")
    if initdb is None or control is None:
        _missing("initdb and pg_ctl were not found")
        return
    # Not pytest's folder: the path of a socket may have 107 characters, and others must enter.
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        options: dict[str, Any] = {"cwd": folder, "capture_output": True, **_as_user()}
        if "user" in options:
            os.chown(folder, options["user"], options["group"])
        data = folder / "data"
        settings = (
            f"-k {folder} -c listen_addresses='' -c fsync=off -c full_page_writes=off "
            "-c max_connections=200 -c shared_buffers=32MB"
        )
        _run([initdb, "-D", str(data), "-U", "tests", "-A", "trust", "-E", "UTF8"], options)
        try:
            _run(
                [
                    control,
                    "-D",
                    str(data),
                    "-l",
                    str(folder / "log"),
                    "-w",
                    "-o",
                    settings,
                    "start",
                ],
                options,
            )
            yield f"postgresql+psycopg://tests@/?host={folder}"
        finally:
            subprocess.run(
                [control, "-D", str(data), "-m", "immediate", "-w", "stop"], check=False, **options
            )


def _run(command: list[str], options: dict[str, Any]) -> None:
    done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, **options)
    if done.returncode:
        _missing(f"{Path(command[0]).name} failed: {done.stderr.decode(errors='replace')[-500:]}")


@pytest.fixture
def empty_postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of a new database without tables, dropped after the test."""
    with new_database(postgres_server) as url:
        yield url


@pytest.fixture(scope="session")
def postgres_tables(postgres_server: str) -> Iterator[str]:
    """The name of a database with all tables and no rows, to be copied."""
    with new_database(postgres_server) as url:
        database = Database(url)
        database.upgrade()
        database.dispose()
        yield str(sa.make_url(url).database)


@pytest.fixture(scope="session")
def _kept_with_tables(postgres_server: str, postgres_tables: str) -> Iterator[KeptDatabases]:
    with ExitStack() as stack:
        yield KeptDatabases(stack, postgres_server, postgres_tables)


@pytest.fixture
def postgres_url(_kept_with_tables: KeptDatabases) -> Iterator[str]:
    """The URL of a database with all tables and no rows, of this test alone."""
    with _kept_with_tables.lent() as url:
        yield url


@pytest.fixture(scope="session")
def _kept_for_jobs(postgres_server: str) -> Iterator[KeptDatabases]:
    from firstlight.work.dbos_store import open_database  # noqa: PLC0415, slow to load

    with ExitStack() as stack:
        url = sa.make_url(stack.enter_context(new_database(postgres_server)))
        open_database(url).dispose()
        yield KeptDatabases(stack, postgres_server, str(url.database))


@pytest.fixture
def postgres_jobs_url(_kept_for_jobs: KeptDatabases) -> Iterator[str]:
    """The same with the tables of the engine, and no others."""
    with _kept_for_jobs.lent() as url:
        yield url


class KeptDatabases:
    """Databases that are emptied after one test and lent to the next.

    To make one and to drop it, a thousand files each, takes longer than most tests. One is lent
    again only if its tables are the very tables that it was made with; identities count from their
    beginning again. Otherwise, and after many rows, it is dropped.
    """

    _FEW = 5000  # rows; those deleted are still read over

    def __init__(self, until: ExitStack, postgres_server: str, template: str) -> None:
        self._until = until
        self._server = postgres_server
        self._template = template
        self._free: list[tuple[str, str]] = []

    @contextmanager
    def lent(self) -> Iterator[str]:
        """Lend one to whoever asks, and to nobody else meanwhile."""
        url, tables = self._free.pop() if self._free else self._made()
        yield url
        if self._emptied(url, tables):
            self._free.append((url, tables))

    def _made(self) -> tuple[str, str]:
        url = self._until.enter_context(new_database(self._server, template=self._template))
        with _connected(url) as connection:
            return url, _tables_of(connection)

    def _emptied(self, url: str, tables: str) -> bool:
        with _connected(url) as connection:
            connection.execute(sa.text(_END_OTHERS))
            if _tables_of(connection) != tables:
                return False
            names = connection.scalars(sa.text(_TABLES)).all()
            filled = connection.scalars(
                sa.text(" UNION ALL ".join(_HAS_ROWS.format(name=name) for name in names))
            ).all()
            connection.execute(sa.text("SET session_replication_role = replica"))
            rows = sum(
                connection.execute(sa.text(_EMPTY.format(name=name))).rowcount for name in filled
            )
            connection.execute(sa.text(_COUNT_ANEW))
            return rows < self._FEW


# What a test has left open must not write into the next one: this waits for the end.
_END_OTHERS = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
# What migrations wrote of themselves stays.
_TABLES = """
    SELECT oid::regclass::text FROM pg_class
    WHERE oid >= 16384 AND relkind = 'r' AND relname NOT IN ('alembic_version', 'dbos_migrations')
"""
_HAS_ROWS = "SELECT '{name}' WHERE EXISTS (SELECT FROM {name})"
_EMPTY = "DELETE FROM {name}"
_COUNT_ANEW = "SELECT setval(seqrelid::regclass, seqstart, false) FROM pg_sequence"
_AS_MADE = """
    SELECT md5(string_agg(concat_ws(' ', oid, xmin), ',' ORDER BY oid))
    FROM pg_class WHERE oid >= 16384
"""
_MIGRATED = """
    SELECT query_to_xml(format('SELECT *, xmin FROM %s', oid::regclass), true, false, '')::text
    FROM pg_class WHERE relname IN ('alembic_version', 'dbos_migrations') AND relkind = 'r'
"""


def _tables_of(connection: sa.Connection) -> str:
    """Changes with any change of a table's definition, and with the migration it stands at."""
    found = [connection.scalar(sa.text(_AS_MADE)), *connection.scalars(sa.text(_MIGRATED))]
    return " ".join(map(str, found))


@contextmanager
def _connected(url: str | sa.URL) -> Iterator[sa.Connection]:
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        yield connection


def _administration(postgres_server: str) -> AbstractContextManager[sa.Connection]:
    server = sa.make_url(postgres_server)
    return _connected(server.set(database="postgres", drivername="postgresql+psycopg"))


@contextmanager
def new_database(postgres_server: str, template: str = "template1") -> Iterator[str]:
    """Make a database on a server, a copy of another; it is dropped at the end."""
    name = f"firstlight_{uuid.uuid4().hex[:12]}"
    with _administration(postgres_server) as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    try:
        server = sa.make_url(postgres_server)
        yield server.set(database=name, drivername="postgresql+psycopg").render_as_string(
            hide_password=False
        )
    finally:
        with _administration(postgres_server) as connection:
            connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
