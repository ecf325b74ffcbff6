"""A PostgreSQL server of the tests' own: fixtures `postgres_server` and `postgres_url`.

The server runs as an unprivileged user in a temporary folder and listens on a unix socket there
alone. FIRSTLIGHT_TEST_POSTGRES names a running server instead (a URL whose user may create
databases). Without either, tests that ask for it skip and say why, or fail where FIRSTLIGHT_REQUIRE
contains the word "postgres".
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
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


@pytest.fixture
def postgres_url(postgres_server: str, postgres_tables: str) -> Iterator[str]:
    """The URL of a new database with all tables and no rows, dropped after the test."""
    with new_database(postgres_server, template=postgres_tables) as url:
        yield url


@contextmanager
def new_database(postgres_server: str, template: str = "template1") -> Iterator[str]:
    """Make a database on a server, a copy of another; it is dropped at the end."""
    name = f"firstlight_{uuid.uuid4().hex[:12]}"
    server = sa.make_url(postgres_server)
    administration = sa.create_engine(
        server.set(database="postgres", drivername="postgresql+psycopg"),
        isolation_level="AUTOCOMMIT",
        poolclass=sa.NullPool,
    )
    with administration.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    try:
        yield server.set(database=name, drivername="postgresql+psycopg").render_as_string(
            hide_password=False
        )
    finally:
        with administration.connect() as connection:
            connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
