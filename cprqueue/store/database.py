"""Engine, transactions and the database's clock."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    DateTime,
    Engine,
    FromClause,
    create_engine,
    event,
    func,
    literal,
    select,
)
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    NoSuchModuleError,
    OperationalError,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import FunctionElement
from sqlalchemy.types import BigInteger

from cprqueue.errors import DatabaseUnavailable, Overtaken, SettingsError
from cprqueue.store import sqlite_file

T = TypeVar("T")

BUSY_SECONDS = 30


class now_ms(FunctionElement[int]):  # noqa: N801  (named like the SQL function that it is)
    """Milliseconds since 1970 by the database's own clock."""

    type = BigInteger()
    name = "now_ms"
    inherit_cache = True


@compiles(now_ms, "sqlite")
def _sqlite_now(*_: object, **__: object) -> str:
    return "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"


@compiles(now_ms, "postgresql")
def _postgresql_now(*_: object, **__: object) -> str:
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"


@compiles(now_ms, "mssql")
def _mssql_now(*_: object, **__: object) -> str:
    return "DATEDIFF_BIG(millisecond, '1970-01-01', SYSUTCDATETIME())"


@compiles(now_ms, "mysql")
@compiles(now_ms, "mariadb")
def _mysql_now(*_: object, **__: object) -> str:
    return "CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000 AS SIGNED)"


class moved_by(FunctionElement[datetime]):  # noqa: N801  (as above)
    """A moment (a column) moved by a number of milliseconds."""

    type = DateTime()
    name = "moved_by"
    inherit_cache = True

    def __init__(self, moment: ColumnElement[datetime], milliseconds: int) -> None:
        super().__init__(moment, literal(milliseconds, BigInteger()))


@compiles(moved_by, "sqlite")
def _sqlite_moved(element: moved_by, compiler: SQLCompiler, **kw: object) -> str:
    moment, by = (compiler.process(part, **kw) for part in element.clauses)
    return f"strftime('%Y-%m-%d %H:%M:%f', {moment}, ({by} / 1000.0) || ' seconds') || '000'"


@compiles(moved_by, "postgresql")
def _postgresql_moved(element: moved_by, compiler: SQLCompiler, **kw: object) -> str:
    moment, by = (compiler.process(part, **kw) for part in element.clauses)
    return f"{moment} + {by} * INTERVAL '1 millisecond'"


@compiles(moved_by, "mssql")
def _mssql_moved(element: moved_by, compiler: SQLCompiler, **kw: object) -> str:
    moment, by = (compiler.process(part, **kw) for part in element.clauses)
    return f"DATEADD(second, {by} / 1000, {moment})"


@compiles(moved_by, "mysql")
@compiles(moved_by, "mariadb")
def _mysql_moved(element: moved_by, compiler: SQLCompiler, **kw: object) -> str:
    moment, by = (compiler.process(part, **kw) for part in element.clauses)
    return f"DATE_ADD({moment}, INTERVAL {by} * 1000 MICROSECOND)"


class Database:
    """One engine; make one for each process, after any fork.

    ``durable`` makes SQLite wait for the disk at each commit, so that even a power cut
    forgets nothing. The push needs it (an intent must outlive its request), the rest does not:
    what a power cut takes back there is fetched again.
    """

    def __init__(self, url: str, *, durable: bool = False) -> None:
        self.engine = _make_engine(url, durable=durable)
        self.is_sqlite = self.engine.dialect.name == "sqlite"

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Open one transaction; committed at the end of the block, rolled back on an error.

        Raises DatabaseUnavailable where the database cannot be reached.
        """
        try:
            with self.engine.begin() as conn:
                yield conn
        except DBAPIError as error:
            if not _is_unreachable(error):
                raise
            raise self._unreachable(error) from None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that only reads: on SQLite it never waits for a writer."""
        try:
            with self.engine.connect().execution_options(reading=True) as conn:
                yield conn
        except DBAPIError as error:
            if not _is_unreachable(error):
                raise
            raise self._unreachable(error) from None

    def retrying(self, work: Callable[[Connection], T], *, tries: int = 5) -> T:
        """Run ``work`` in a transaction of its own, again where the database asks for it.

        For work that may lose a deadlock or a race for a row; ``work`` must be safe to repeat.
        Raises Overtaken where it loses that race every time.
        """
        for attempt in range(1, tries):
            try:
                with self.engine.begin() as conn:
                    return work(conn)
            except DataError:
                raise  # refused for what it holds, which another try does not change
            except (DBAPIError, Overtaken):
                time.sleep(0.02 * attempt)  # lets the winner finish
        with self.begin() as conn:
            return work(conn)

    def _unreachable(self, error: DBAPIError) -> DatabaseUnavailable:
        reason = first_line(error)
        cure = sqlite_file.cure(reason) if self.is_sqlite else "check DATABASE_URL and the server"
        return DatabaseUnavailable(f"database {self.name}: {reason}: {cure}")

    @property
    def name(self) -> str:
        """The database's URL without its password, for messages."""
        return self.engine.url.render_as_string(hide_password=True)

    def close(self) -> None:
        """Give back all connections."""
        self.engine.dispose()


def clock(conn: Connection) -> datetime:
    """Return the time by the database's clock, the one that all hosts share."""
    milliseconds = conn.execute(select(now_ms())).scalar_one()
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=int(milliseconds))


def count(conn: Connection, table: FromClause, *where: ColumnElement[bool]) -> int:
    """Count the rows of ``table`` for which all of ``where`` hold."""
    return int(conn.execute(select(func.count()).select_from(table).where(*where)).scalar_one())


def _make_engine(url: str, *, durable: bool) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            return _sqlite_engine(url, parsed.database, durable=durable)
        engine = create_engine(
            parsed,
            hide_parameters=True,
            pool_pre_ping=True,
            pool_recycle=1800,
            isolation_level="READ COMMITTED",
            connect_args=_connect_args(parsed),
        )
        if engine.dialect.is_async:
            raise SettingsError("DATABASE_URL names an asynchronous driver: see .env.example")
        return engine
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise SettingsError(f"DATABASE_URL needs a driver that is not installed: {error}") from None
    except (ArgumentError, ValueError):
        raise SettingsError("DATABASE_URL is no database URL: see .env.example") from None


def _connect_args(url: URL) -> dict[str, str]:
    if url.get_backend_name() in ("mysql", "mariadb") and url.get_driver_name() == "pyodbc":
        # Count the rows that an UPDATE found, as every other database does; by default this
        # driver counts the rows that it changed, so a lock renewed in time would look lost.
        return {"OPTION": "2"}
    return {}


def _sqlite_engine(url: str, path: str | None, *, durable: bool) -> Engine:
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_SECONDS})
    if path and path != ":memory:":
        sqlite_file.watch(engine, Path(path).absolute())

    @event.listens_for(engine, "connect")
    def _connect(connection: DBAPIConnection, _record: object) -> None:
        # The driver's own BEGIN is deferred, and a deferred one that later writes
        # fails at once when another process writes: so we begin ourselves, to write.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")

    @event.listens_for(engine, "begin")
    def _begin(conn: Connection) -> None:
        reading = conn.get_execution_options().get("reading")
        conn.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _is_unreachable(error: DBAPIError) -> bool:
    # ODBC drivers give a failed connection any class; it alone has no statement.
    if type(error.orig) is sqlite3.DatabaseError:
        return True  # the file is damaged, or is no database
    return isinstance(error, OperationalError) or error.statement is None


def first_line(error: DBAPIError) -> str:
    """Return the driver's own words, without statement and parameters."""
    return str(error.orig).splitlines()[0][:200]


__all__ = ["Database", "clock", "count", "first_line", "moved_by", "now_ms"]
