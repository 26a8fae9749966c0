"""Transactions, and the database's clock."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from sqlalchemy import ColumnElement, Connection, FromClause, func, select
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement
from sqlalchemy.types import BigInteger

from cprqueue.errors import DatabaseUnavailable, Overtaken
from cprqueue.store import engines, sqlite_file
from cprqueue.store.transience import Code, Trouble, codes_of, trouble

T = TypeVar("T")

PAUSES = {Trouble.CLASH: 0.02, Trouble.LOST: 0.2}
"""Seconds before another try, more with each: the winner finishes, or the server comes back."""

LOGIN_TIMEOUT = Code("HYT00", 0)
"""Within a statement the same code is its timeout, and that of a lock."""

_MORE = "let it take more connections: docs/operations.md says how many are needed"
_FULL = "name the primary in DATABASE_URL; a full disk may also have made it read-only"
CURES = {
    "too many c": _MORE,
    "connection slots": _MORE,
    "no more connections": _MORE,
    "read-only": _FULL,
    "statement timeout": "see what keeps the server busy, and whether its limit is long enough",
    "statement pooling mode": "set PgBouncer's pool_mode to transaction or session",
    "idle-in-transaction": "see what kept this process from its work for so long",
}
"""What to do about what a server says."""


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


class Database:
    """One engine; make one for each process, after any fork.

    ``durable`` makes SQLite wait for the disk at each commit, so that even a power cut
    forgets nothing. The push needs it (an intent must outlive its request), the rest does not:
    what a power cut takes back there is fetched again.
    """

    def __init__(self, url: str, *, durable: bool = False) -> None:
        self.engine = engines.make(url, durable=durable)
        self.is_sqlite = self.engine.dialect.name == "sqlite"

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Open one transaction; committed at the end of the block, rolled back on an error.

        Raises DatabaseUnavailable where the database cannot be reached, goes away, or lets
        another transaction go first. It may have committed all the same if it went away.
        """
        try:
            with self.engine.begin() as conn:
                yield conn
        except DBAPIError as error:
            self._raise_if_passing(error)
            raise

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that only reads: on SQLite it never waits for a writer.

        Raises DatabaseUnavailable as ``begin`` does.
        """
        try:
            with self.engine.connect().execution_options(reading=True) as conn:
                yield conn
        except DBAPIError as error:
            self._raise_if_passing(error)
            raise

    def retrying(self, work: Callable[[Connection], T], *, tries: int = 5) -> T:
        """Run ``work`` in a transaction of its own, again where the error passes by itself.

        For work that may lose a deadlock, a race for a row or its connection; ``work`` must be
        safe to repeat, also after a commit whose answer was lost. Raises Overtaken where it loses
        that race every time, and what ``begin`` raises.
        """
        began = time.monotonic()
        for attempt in range(1, tries):
            try:
                with self.engine.begin() as conn:
                    return work(conn)
            except Overtaken:
                kind = Trouble.CLASH
            except DBAPIError as error:
                found = self._trouble(error)
                if found is None and not isinstance(error, IntegrityError):
                    raise
                if time.monotonic() - began > engines.BUSY_SECONDS:
                    self._raise_if_passing(error)  # that long a wait is not begun anew
                kind = found or Trouble.CLASH  # two first ones insert the same row: one wins
            time.sleep(PAUSES[kind] * attempt)
        with self.begin() as conn:
            return work(conn)

    def _trouble(self, error: DBAPIError) -> Trouble | None:
        if error.orig is None:
            return None
        codes = codes_of(error.orig)
        if error.statement is None and LOGIN_TIMEOUT in codes:
            return Trouble.LOST
        found = trouble(self.engine.dialect.name, codes)
        return found or (Trouble.LOST if self._is_unreachable(error) else None)

    def _is_unreachable(self, error: DBAPIError) -> bool:
        """Tell whether an error without a code of its own means that the database is not there."""
        if self.is_sqlite:  # a full disk, a damaged file
            damaged = type(error.orig) is sqlite3.DatabaseError
            return damaged or isinstance(error, OperationalError)
        # ODBC drivers give a failed connection any class; it alone has no statement.
        return error.connection_invalidated or error.statement is None

    def _raise_if_passing(self, error: DBAPIError) -> None:
        found = self._trouble(error)
        if found is not None:
            reason = first_line(error)
            text = f"database {self.name}: {reason}: {self._cure(reason, found)}"
            raise DatabaseUnavailable(text) from None

    def _cure(self, reason: str, found: Trouble) -> str:
        if self.is_sqlite:
            return sqlite_file.cure(reason)
        for words, cure in CURES.items():
            if words in reason.lower():
                return cure
        if found is Trouble.CLASH:
            return "another transaction was in the way: try again"
        return "check DATABASE_URL and the server"

    @property
    def name(self) -> str:
        """The database's URL without its password, for messages."""
        return self.engine.url.render_as_string(hide_password=True)

    def close(self) -> None:
        """Give back all connections."""
        self.engine.dispose()


def clock(conn: Connection) -> datetime:
    """Return the time by the database's clock, the one that all hosts share.

    In a transaction that may write, what is on record has moved along with a step of it before.
    """
    from cprqueue.store import clock_steps

    if not conn.get_execution_options().get("reading"):
        return clock_steps.mend(conn)
    return moment(int(conn.execute(select(now_ms())).scalar_one()))


def moment(milliseconds: int) -> datetime:
    """Return what ``now_ms`` gave as a moment."""
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=milliseconds)


def count(conn: Connection, table: FromClause, *where: ColumnElement[bool]) -> int:
    """Count the rows of ``table`` for which all of ``where`` hold."""
    return int(conn.execute(select(func.count()).select_from(table).where(*where)).scalar_one())


def first_line(error: DBAPIError) -> str:
    """Return the driver's own words, without statement and parameters."""
    words = error.orig.args[1:2] if error.orig else ()  # pyodbc: a SQLSTATE, then the text
    text = words[0] if words and isinstance(words[0], str) else str(error.orig)
    return (text.splitlines() or [""])[0][:200]


__all__ = ["Database", "clock", "count", "first_line", "moment", "now_ms"]
