"""Connections: how each database's are made, what limits their waits, and when one is gone.

A server may close what lies idle, and end or restart at any time. A connection is pinged before
each use, and one that is found dead takes the whole pool with it. Nothing is set for longer than
a transaction on PostgreSQL, and no statement is prepared there, so PgBouncer may share its
connections between transactions.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from cprqueue.errors import SettingsError
from cprqueue.store import odbc_waits, sqlite_file
from cprqueue.store.chunks import MOST_PARAMETERS
from cprqueue.store.odbc_waits import STATEMENT_SECONDS
from cprqueue.store.transience import Trouble, codes_of, trouble

BUSY_SECONDS = 30
"""Longest wait for a lock, on every database."""

IDLE_SECONDS = 30
"""After so long without a word in a transaction the server ends it, and its locks: the way to us
may have fallen silent, which a server learns after hours. Ours wait for nothing but statements."""

LOGIN_SECONDS = 10
"""Longest time for a server to answer a login."""

POOL = 3
"""Connections that a process keeps: one for its work, one for each thread beside it."""

_ON_CONNECT = {
    # A server's or a driver's defaults may differ. Filtered indexes need the first seven; an
    # error that is caught must not end the transaction.
    "mssql": "SET ANSI_NULLS, ANSI_PADDING, ANSI_WARNINGS, ARITHABORT, CONCAT_NULL_YIELDS_NULL,"
    " QUOTED_IDENTIFIER ON; SET NUMERIC_ROUNDABORT, XACT_ABORT, NOCOUNT OFF;"
    f" SET LOCK_TIMEOUT {BUSY_SECONDS * 1000}",
    # For a server's half of what _ARGUMENTS sets: a client that is gone in the middle of a batch of
    # statements is idle by no other clock, and keeps its locks. Harmless to others behind a pooler.
    "postgresql": "SELECT set_config('tcp_keepalives_idle', '10', false),"
    " set_config('tcp_keepalives_interval', '5', false)",
    # The comment is read by MariaDB alone: MySQL has no such variable.
    "mysql": f"SET SESSION sql_safe_updates = 0, innodb_lock_wait_timeout = {BUSY_SECONDS}"
    f" /*M! , max_statement_time = {STATEMENT_SECONDS}"
    f", idle_transaction_timeout = {IDLE_SECONDS} */",
}

_ON_BEGIN = {
    # Transaction by transaction: what is set for longer would reach others through a pooler.
    "postgresql": f"SELECT set_config('lock_timeout', '{BUSY_SECONDS}s', true),"
    f" set_config('statement_timeout', '{STATEMENT_SECONDS}s', true),"
    f" set_config('idle_in_transaction_session_timeout', '{IDLE_SECONDS}s', true)",
}

# SQL Server and PostgreSQL show what was to be written: an address, perhaps. A number follows.
_VALUES = re.compile(r"(Truncated value:|Failing row contains) .*?(?= \(2628\)|\Z)", re.DOTALL)

_POOL_LOG = "sqlalchemy.pool.impl.QueuePool"

_ODBC = {"timeout": LOGIN_SECONDS}

_MARIADB_WAITS = {
    "CONN_TIMEOUT": str(LOGIN_SECONDS),  # its driver takes no notice of ODBC's own
    "READ_TIMEOUT": str(STATEMENT_SECONDS + 15),  # where odbc_waits does not know the socket
    "WRITE_TIMEOUT": "60",
}

_ARGUMENTS: Mapping[tuple[str, str], Mapping[str, object]] = {
    ("postgresql", "psycopg"): {
        "client_encoding": "utf8",  # whatever the database's is: who cannot hold a name says so
        "prepare_threshold": None,
        "connect_timeout": LOGIN_SECONDS,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
    },
    ("mssql", "pyodbc"): _ODBC,
    # OPTION 2: count the rows that an UPDATE found, as every other database does; by default this
    # driver counts the rows that it changed, so a lock renewed in time would look lost.
    ("mysql", "pyodbc"): {
        **_ODBC,
        "OPTION": "2",
        **_MARIADB_WAITS,
        # MySQL's driver spells them without the underscore.
        **{name.replace("_", ""): text for name, text in _MARIADB_WAITS.items()},
    },
}


def make(url: str, *, durable: bool) -> Engine:
    """Make the engine for a URL. Raises SettingsError where it can be none."""
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            return _sqlite_engine(url, parsed.database, durable=durable)
        return _server_engine(parsed)
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise SettingsError(f"DATABASE_URL needs a driver that is not installed: {error}") from None
    except (ArgumentError, ValueError):
        raise SettingsError("DATABASE_URL is no database URL: see .env.example") from None


def _server_engine(url: URL) -> Engine:
    engine = create_engine(
        url,
        hide_parameters=True,
        pool_pre_ping=True,
        pool_recycle=1800,
        pool_size=POOL,
        pool_timeout=BUSY_SECONDS,
        isolation_level="READ COMMITTED",
        connect_args=_arguments(url),
    )
    if engine.dialect.is_async:
        raise SettingsError("DATABASE_URL names an asynchronous driver: see .env.example")
    logging.getLogger(_POOL_LOG).addFilter(_is_news)
    _limit_waits(engine)
    event.listen(engine, "handle_error", _note_loss)
    if engine.dialect.driver == "psycopg":
        _limit_psycopg(engine)
    if engine.dialect.driver == "pyodbc":
        odbc_waits.limit(engine)
    if engine.dialect.name == "mssql":
        engine.dialect.insertmanyvalues_max_parameters = MOST_PARAMETERS
    return engine


def _limit_psycopg(engine: Engine) -> None:
    from cprqueue.store.limited_psycopg import LimitedConnection  # 10 MB, for PostgreSQL alone

    @event.listens_for(engine, "do_connect")
    def connect(
        _dialect: object, _record: object, args: list[Any], options: dict[str, Any]
    ) -> LimitedConnection:
        return LimitedConnection.connect(*args, **options)


def _family(name: str) -> str:
    return "mysql" if name == "mariadb" else name


def _arguments(url: URL) -> dict[str, object]:
    """Return what the driver is told besides the URL, which has the last word."""
    ours = _ARGUMENTS.get((_family(url.get_backend_name()), url.get_driver_name()), {})
    said = {name.lower() for name in url.query}
    return {name: value for name, value in ours.items() if name.lower() not in said}


def _limit_waits(engine: Engine) -> None:
    family = _family(engine.dialect.name)

    @event.listens_for(engine, "connect")
    def _connect(connection: DBAPIConnection, _record: object) -> None:
        if statement := _ON_CONNECT.get(family):
            cursor = connection.cursor()
            engine.dialect.do_execute(cursor, statement, ())
            cursor.close()
            connection.commit()
        if (family, engine.dialect.driver) == ("mssql", "pyodbc"):
            connection.timeout = STATEMENT_SECONDS

    @event.listens_for(engine, "begin")
    def _begin(conn: Connection) -> None:
        if statement := _ON_BEGIN.get(family):
            conn.exec_driver_sql(statement)


def _is_news(record: logging.LogRecord) -> bool:
    """Drop the traceback of a connection that died as it was given back: it is not used again."""
    return not record.exc_info


def _without_values(part: object) -> object:
    return _VALUES.sub(r"\1 ...", part) if isinstance(part, str) else part


def _note_loss(context: ExceptionContext) -> None:
    """Have the pool drop its connections where a driver says that one is gone."""
    for error in filter(None, (context.original_exception, context.sqlalchemy_exception)):
        error.args = tuple(_without_values(part) for part in error.args)
    codes = codes_of(context.original_exception)
    lost = trouble(context.dialect.name, codes) is Trouble.LOST
    if lost or context.is_pre_ping:  # what cannot be pinged is of no use, whatever the reason
        context.is_disconnect = True


def _sqlite_engine(url: str, path: str | None, *, durable: bool) -> Engine:
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_SECONDS})
    if path and path != ":memory:":
        sqlite_file.watch(engine, Path(path).absolute())
        sqlite_file.bound_log(engine, Path(path).absolute())

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
