"""Opening the database: SQLite in one file, or PostgreSQL by a URL; both alike above here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sqlalchemy import (
    ARRAY,
    URL,
    Column,
    ColumnElement,
    Connection,
    Dialect,
    Engine,
    String,
    Table,
    any_,
    column,
    create_engine,
    event,
    inspect,
    literal,
    make_url,
    select,
    table,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InvalidatePoolError,
    NoSuchModuleError,
    OperationalError,
)
from sqlalchemy.orm import InstrumentedAttribute, Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from firstlight.errors import (
    BadSettings,
    ConflictError,
    InternalError,
    MissingDependency,
    MissingError,
    RemoteError,
)
from firstlight.models.base import Base

if TYPE_CHECKING:
    from alembic.config import Config

__all__ = [
    "Database",
    "DatabaseMissing",
    "DatabaseOutdated",
    "DatabaseUnreachable",
    "among",
    "bulk_insert",
    "check_apart",
    "each_once",
    "once",
]

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
BUSY_TIMEOUT_S = 60
MIGRATIONS = Path(__file__).parent / "migrations"
# SQLite allows 32766 variables in a statement, PostgreSQL 65535.
MAX_VARIABLES = 30_000
# A connection that rested no longer than this is taken to be alive.
_REST_S = 0.5
_RESTS_SINCE = "rests since"
# What a session that only reads has found so far, in its `info`.
_FOUND = "found"
_COMMON = "common"
_REVISIONS = table("alembic_version", column("version_num", String))


class DatabaseUnreachable(RemoteError):
    """The database does not answer."""

    code = "database.unreachable"


class DatabaseMissing(MissingError):
    """The file of the database is not there."""

    code = "database.missing"


class DatabaseOutdated(ConflictError):
    """The database was made by another version of firstlight."""

    code = "database.outdated"


class _Common(threading.local):
    """The session in which a thread reads all that it reads, while it reads together."""

    session: Session | None = None


class Database:
    """One database: its engine, its sessions, its migrations.

    Parameters
    ----------
    url
        ``sqlite:///path/to/file`` or ``postgresql://user@host/name``.
    """

    def __init__(self, url: str | URL) -> None:
        try:
            self.url = _with_driver(make_url(url))
            self.engine = _create_engine(self.url)
        except (ArgumentError, NoSuchModuleError) as fault:
            raise BadSettings(
                "this is not the URL of a database",
                field="database.url",
                found=str(url),
                expected="sqlite:///file or postgresql://user@host/name",
            ) from fault
        except ModuleNotFoundError as fault:
            raise MissingDependency(
                "PostgreSQL needs the package psycopg",
                subject="database.url",
                hint="pip install 'firstlight[postgres]'",
            ) from fault
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)
        readers = self.engine.execution_options(sqlite_begin="DEFERRED")
        self._reading_sessions = sessionmaker(readers, expire_on_commit=False)
        if not self.is_sqlite:
            # To PostgreSQL each statement is a look of its own anyway.
            readers = readers.execution_options(isolation_level="AUTOCOMMIT")
        self._common_sessions = sessionmaker(readers, expire_on_commit=False, autoflush=False)
        self._common = _Common()
        self._glancing = threading.Lock()
        self._glance: PoolProxiedConnection | None = None

    @property
    def is_sqlite(self) -> bool:
        """Whether this is the embedded database."""
        return self.url.get_backend_name() == "sqlite"

    def changes(self) -> int | None:
        """A number that is another one after anything was written; None where none is told.

        To ask for it takes microseconds: see "PRAGMA data_version" in the documentation of SQLite.
        PostgreSQL has nothing like it.
        """
        if not self.is_sqlite:
            return None
        with self._glancing:
            try:
                if self._glance is None:
                    # One that nothing is ever written through: it would not tell of that.
                    self._glance = self.engine.raw_connection()
                    self._glance.detach()
                cursor = self._glance.cursor()
                cursor.execute("PRAGMA data_version")
                row = cursor.fetchone()
            except (DBAPIError, self.engine.dialect.loaded_dbapi.Error):
                self._glance = row = None
        return None if row is None else int(row[0])

    @contextmanager
    def begin(self) -> Iterator[Session]:
        """A session in one transaction: committed at the end, rolled back on any error."""
        self._part()
        try:
            with self._sessions.begin() as session:
                yield session
        except OperationalError as fault:
            raise self._explain(fault) from fault

    @contextmanager
    def reading(self, *, apart: bool = False) -> Iterator[Session]:
        """A session that only reads.

        Parameters
        ----------
        apart
            Whether it is one of its own also within `together`: for what sets up its
            transaction for its own queries.
        """
        common = None if apart else self._common.session
        try:
            if common is not None:
                yield common
                return
            self._part()
            with self._reading_sessions(info={_FOUND: {}}) as session:
                yield session
        except DBAPIError as fault:
            self._part()  # nothing more can be asked in this transaction
            if isinstance(fault, OperationalError):
                raise self._explain(fault) from fault
            raise

    @contextmanager
    def together(self) -> Iterator[None]:
        """Read in one transaction what this thread reads within.

        A page asks many services, and to begin and end a transaction for each of them takes as
        long as what they ask. What is written within, or read apart, ends it; what is read next
        then begins another, and sees what was written.
        """
        if self._common.session is not None:
            yield
            return
        with self._common_sessions(info={_FOUND: {}, _COMMON: True}) as session:
            self._common.session = session
            try:
                yield
            finally:
                self._common.session = None

    def _part(self) -> None:
        """End the common transaction, if there is one; a thread never holds two connections."""
        common = self._common.session
        if common is not None:
            common.close()
            common.info[_FOUND].clear()

    def upgrade(self, revision: str = "head") -> None:
        """Bring an empty or older database to the tables of this version, or of `revision`."""
        from alembic import command  # noqa: PLC0415, slow to load, and rarely needed

        config = self._alembic()
        try:
            with self.engine.connect() as connection, _tables_may_move(connection):
                config.attributes["connection"] = connection
                if revision == "head" and _is_empty(connection):
                    # The end of all migrations, which a test compares with the models.
                    Base.metadata.create_all(connection)
                    command.stamp(config, revision)
                else:
                    command.upgrade(config, revision)
                connection.commit()
        except OperationalError as fault:
            raise self._explain(fault) from fault

    def revision(self) -> str | None:
        """The migration the database stands at; ``None`` for an empty one."""
        with self.engine.connect() as connection:
            if not inspect(connection).has_table(_REVISIONS.name):
                return None
            return connection.scalar(select(_REVISIONS.c.version_num))

    def head(self) -> str:
        """The newest migration of this version of firstlight: their files are numbered."""
        return max(path.stem for path in (MIGRATIONS / "versions").glob("*_*.py")).split("_")[0]

    def check_current(self) -> None:
        """Refuse a database that is not at the newest migration.

        Raises
        ------
        DatabaseMissing
            The file of the embedded database is not there; none is made.
        DatabaseOutdated
            With what to run.
        """
        file = self.url.database
        if self.is_sqlite and file and file != ":memory:" and not Path(file).exists():
            raise DatabaseMissing(subject=file, hint="put the file back, or firstlight upgrade")
        try:
            found = self.revision()
        except OperationalError as fault:
            raise self._explain(fault) from fault
        if found != self.head():
            raise DatabaseOutdated(
                subject=self.url.render_as_string(hide_password=True),
                found=found or "no tables",
                expected=self.head(),
                hint="firstlight upgrade",
            )

    def table_names(self) -> list[str]:
        """Names of all tables."""
        return inspect(self.engine).get_table_names()

    def dispose(self) -> None:
        """Close all connections."""
        with self._glancing:
            if self._glance is not None:
                self._glance.close()
                self._glance = None
        self.engine.dispose()

    def _alembic(self) -> Config:
        from alembic.config import Config  # noqa: PLC0415, slow to load, and rarely needed

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.set_main_option("path_separator", "os")
        return config

    def _explain(self, fault: OperationalError) -> DatabaseUnreachable:
        return DatabaseUnreachable(
            str(fault.orig).strip().splitlines()[0],
            subject=self.url.render_as_string(hide_password=True),
            hint="firstlight doctor",
        )


def check_apart(session: Session) -> None:
    """Refuse the session of `Database.together` to what sets up its transaction for itself.

    Raises
    ------
    InternalError
        Others would read with the plans that were meant for this.
    """
    if session.info.get(_COMMON):
        raise InternalError("a search sets up a transaction in which others read")


def once(session: Session, what: Hashable, find: Callable[[], T]) -> T:
    """What is asked for again and again while something is read: it is looked for once.

    It is remembered as long as the session that only reads, so for one answer at most. In one
    that writes it is looked for each time.

    Parameters
    ----------
    what
        Names the question, with all that its answer depends on: whoever asks, too.
    """
    found = session.info.get(_FOUND)
    if found is None:
        return find()
    if what not in found:
        found[what] = find()
    return cast("T", found[what])


def each_once(
    session: Session, what: Hashable, keys: Iterable[K], find: Callable[[set[K]], Mapping[K, T]]
) -> dict[K, T]:
    """As `once`, of many things by key: those not yet known are looked for together.

    Returns
    -------
    dict
        Of those keys that there is something for.
    """
    wanted = set(keys)
    looked_for, found = once(session, ("each", what), lambda: (set[K](), dict[K, T]()))
    if new := wanted - looked_for:
        found.update(find(new))
        looked_for |= new
    return {key: found[key] for key in wanted if key in found}


def among(
    session: Session, column: InstrumentedAttribute[T] | Column[T], values: Collection[T]
) -> ColumnElement[bool]:
    """The condition that a column has one of many values.

    PostgreSQL gets them as one array: a statement with a hundred parameters takes longer to be
    written and read than to be executed, and that for a hundred and one is another one.
    """
    if session.get_bind().dialect.name == "sqlite":
        return column.in_(values)
    return column == any_(literal(list(values), ARRAY(column.type)))


def bulk_insert(
    session: Session, entity: type[Base] | Table, rows: Sequence[Mapping[str, Any]]
) -> None:
    """Insert many rows, leaving out those whose key is already there.

    Products are unique on their inputs and provenance, so a row that exists is the same row. What
    another transaction is about to insert is waited for.
    """
    if not rows:
        return
    rows_of = entity if isinstance(entity, Table) else cast("Table", entity.__table__)
    dialect = session.get_bind().dialect.name
    make = sqlite.insert if dialect == "sqlite" else postgresql.insert
    size = max(1, MAX_VARIABLES // max(1, len(rows_of.columns)))
    statement = make(rows_of).on_conflict_do_nothing()
    for start in range(0, len(rows), size):
        session.execute(statement, list(rows[start : start + size]))


def _with_driver(url: URL) -> URL:
    if url.drivername in {"postgresql", "postgres"}:
        return url.set(drivername="postgresql+psycopg")
    return url


def _create_engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        engine = create_engine(url)
        event.listen(engine, "checkin", _note_rest)
        event.listen(engine, "checkout", partial(_look_after_rest, engine.dialect))
        return engine
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _note_rest(_connection: object, record: ConnectionPoolEntry) -> None:
    record.info[_RESTS_SINCE] = time.monotonic()


def _look_after_rest(
    dialect: Dialect, connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: object
) -> None:
    """Look whether a connection has outlived its rest; all are made anew where it has not.

    A page asks for one dozens of times within a moment, and to look each time takes as long as
    what is then asked.
    """
    since = record.info.get(_RESTS_SINCE)
    if since is None or time.monotonic() - since < _REST_S:
        return
    try:
        dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error as fault:
        raise InvalidatePoolError from fault


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver must not begin transactions by itself: see _begin_sqlite.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
        f"busy_timeout={BUSY_TIMEOUT_S * 1000}",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _is_empty(connection: Connection) -> bool:
    return not set(inspect(connection).get_table_names()) & set(Base.metadata.tables)


@contextmanager
def _tables_may_move(connection: Connection) -> Iterator[None]:
    """Let SQLite replace a table that others refer to, as a change of its columns does there."""
    if connection.dialect.name != "sqlite":
        yield
        return
    # Outside any transaction, where alone the pragma has an effect.
    raw = cast("Any", connection.connection.dbapi_connection)
    raw.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
        if dangling := raw.execute("PRAGMA foreign_key_check").fetchall():
            raise InternalError("the migration left rows without their parents", found=dangling[:3])
    finally:
        raw.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: Any) -> None:
    # A transaction that reads first and writes later cannot be upgraded when another has
    # written in between ("database is locked", at once); taking the write lock first waits.
    mode = connection.get_execution_options().get("sqlite_begin", "IMMEDIATE")
    connection.exec_driver_sql(f"BEGIN {mode}")
