"""Copy everything into another database: every table that there is, with its rows as they are.

All of it is one transaction of the target: a copy that is stopped or killed leaves it empty, and
the same command begins anew. The source takes no writes meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Table,
    delete,
    func,
    insert,
    not_,
    select,
)
from sqlalchemy.exc import DBAPIError

from cprqueue.domain.states import RunState
from cprqueue.errors import CprqueueError, UsageError
from cprqueue.store.clock_steps import STEPS
from cprqueue.store.database import Database, clock, count, first_line
from cprqueue.store.patterns import begins_with
from cprqueue.store.tables import links, locks, metadata, runs, state

ROWS = 1000
PARAMETERS = 2000  # more in one statement SQL Server refuses

AT_WORK = (RunState.QUEUED, RunState.RUNNING, RunState.RECORDING, RunState.STOPPING)

Report = Callable[[str, int], None]
"""Told the table and how many more of its rows are copied."""


def rows(db: Database) -> int:
    """Count the rows of all tables."""
    with db.read() as conn:
        return sum(count(conn, table, *_copied(table)) for table in metadata.sorted_tables)


def _copied(table: Table) -> tuple[ColumnElement[bool], ...]:
    """Leave out what the database knows of its own clock: it means nothing in another."""
    return (not_(begins_with(state.c.name, STEPS)),) if table is state else ()


def raise_if_filled(conn: Connection) -> None:
    """Raise UsageError unless all tables are empty; the rows of the locks do not count."""
    for table in metadata.sorted_tables:
        if table is not locks and (found := count(conn, table, *_copied(table))):
            raise UsageError(
                f"the target is not empty: its table {table.name} has {found} rows: "
                "name a new database"
            )


def copy_all(
    source: Database, target: Database, *, quiet: timedelta, report: Report
) -> dict[str, int]:
    """Copy all tables, compare them, and return how many rows each has.

    Both need the newest tables. Raises UsageError where the target is not empty, or the source
    is in use: a lease stands, or a run has moved within ``quiet``.
    """
    with source.begin() as read:
        now = clock(read)  # it may write, so it comes before the lock
    with source.begin() as read, _locked(read), target.begin() as write:
        _raise_if_in_use(read, quiet, now)
        write.execute(delete(locks))  # the second of two copies waits here
        raise_if_filled(write)
        done = {table.name: _copy(read, write, table, report) for table in metadata.sorted_tables}
        _set_sequences(write)
        return done


@contextmanager
def _locked(conn: Connection) -> Iterator[None]:
    """Keep everybody from writing until the transaction ends; SQLite's has begun with that."""
    tables = metadata.sorted_tables
    quoted = [conn.dialect.identifier_preparer.format_table(table) for table in tables]
    match conn.dialect.name:
        case "postgresql":
            conn.exec_driver_sql(f"LOCK TABLE {', '.join(quoted)} IN SHARE MODE")
        case "mysql" | "mariadb":
            conn.exec_driver_sql(f"LOCK TABLES {', '.join(f'{name} READ' for name in quoted)}")
        case "mssql":
            for table in tables:
                counted = select(func.count()).select_from(table)
                conn.execute(counted.with_hint(table, "WITH (TABLOCK, HOLDLOCK)", "mssql"))
    try:
        yield
    finally:
        if conn.dialect.name in ("mysql", "mariadb"):  # the others unlock at the end by themselves
            conn.exec_driver_sql("UNLOCK TABLES")


def _raise_if_in_use(conn: Connection, quiet: timedelta, now: datetime) -> None:
    cure = "stop every `cprqueue up` and every worker, wait two minutes, and begin again"
    if leased := count(conn, links, links.c.lease_until > now):
        raise UsageError(f"a worker is pushing {leased} jobs: {cure}")
    held = conn.execute(select(locks.c.name).where(locks.c.until > now)).scalars().first()
    if held is not None:
        raise UsageError(f"somebody holds the lock for {held}: {cure}")
    moving = select(runs.c.run_id).where(runs.c.state.in_(AT_WORK), runs.c.touched_at > now - quiet)
    if (run_id := conn.execute(moving).scalars().first()) is not None:
        raise UsageError(f"run {run_id} is at work: let it end, then {cure}")


def _copy(read: Connection, write: Connection, table: Table, report: Report) -> int:
    """Copy one table. Raises CprqueueError where the target holds anything else afterwards."""
    sent = _Sum()
    try:
        for part in _parts(read, table):
            sent.add(part)
            _insert(write, table, part)
            report(table.name, len(part))
        kept = _Sum()
        for part in _parts(write, table):
            kept.add(part)
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
        raise CprqueueError(
            f"table {table.name} cannot be copied: {first_line(error)}: nothing was kept"
        ) from None
    if sent != kept:
        raise CprqueueError(
            f"table {table.name} came out different ({sent.rows} rows sent, {kept.rows} there): "
            "nothing was kept; please report it"
        )
    return sent.rows


def _parts(conn: Connection, table: Table) -> Iterator[Sequence[Row[Any]]]:
    statement = select(table).where(*_copied(table))
    return conn.execute(statement.execution_options(yield_per=ROWS)).partitions()


@dataclass(slots=True)
class _Sum:
    """How many rows, and a sum of their contents that no order changes."""

    rows: int = 0
    content: int = 0

    def add(self, part: Sequence[Row[Any]]) -> None:
        """Take more rows."""
        self.rows += len(part)
        digests = (blake2b(repr(tuple(row)).encode(), digest_size=8).digest() for row in part)
        self.content += sum(int.from_bytes(digest) for digest in digests)


def _insert(conn: Connection, table: Table, part: Sequence[Row[Any]]) -> None:
    names = [column.key for column in table.columns]
    if conn.dialect.driver != "pyodbc":
        conn.execute(insert(table), [dict(zip(names, row, strict=True)) for row in part])
        return
    each = PARAMETERS // len(names)
    for first in range(0, len(part), each):  # it would send each row by itself
        several = part[first : first + each]
        if conn.dialect.name == "mssql":
            values = [dict(zip(names, row, strict=True)) for row in several]
            conn.execute(insert(table).values(values))
        else:
            _insert_text(conn, table, several)


def _insert_text(conn: Connection, table: Table, several: Sequence[Row[Any]]) -> None:
    """Insert rows with a statement made of text: to compile it took two thirds of a copy's time."""
    one = str(insert(table).compile(dialect=conn.dialect))
    before, _, marks = one.partition(" VALUES ")
    types = (column.type.dialect_impl(conn.dialect) for column in table.columns)
    given = [kind.bind_processor(conn.dialect) or _as_it_is for kind in types]
    values = [to(value) for row in several for to, value in zip(given, row, strict=True)]
    conn.exec_driver_sql(f"{before} VALUES {', '.join([marks] * len(several))}", tuple(values))


def _as_it_is(value: Any) -> Any:
    return value


def _set_sequences(conn: Connection) -> None:
    """Let PostgreSQL go on behind the ids that were copied; the others do so by themselves."""
    if conn.dialect.name != "postgresql":
        return
    for table in metadata.sorted_tables:
        column = table.autoincrement_column
        if column is not None:
            quoted = conn.dialect.identifier_preparer.format_table(table)
            sequence = func.pg_get_serial_sequence(quoted, column.name)
            newest = select(func.max(column)).scalar_subquery()
            conn.execute(select(func.setval(sequence, newest)))  # NULL, of no rows, changes nothing
