"""What a database server is like, as far as the work depends on it: read, and tried out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, delete, insert, select, text, update

from cprqueue.store.database import Database
from cprqueue.store.tables import state

TRIAL = "check"
"""The row that is written and read back; it is gone when the transaction ends."""

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

_COLLATIONS = {
    "mssql": "SELECT CAST(DATABASEPROPERTYEX(DB_NAME(), 'Collation') AS NVARCHAR(128))",
    "postgresql": "SELECT datcollate || ', ' || pg_encoding_to_char(encoding)"
    " FROM pg_database WHERE datname = current_database()",
    "mysql": "SELECT @@collation_database",
}
_COLLATIONS["mariadb"] = _COLLATIONS["mysql"]

_SNAPSHOT_READS = "SELECT is_read_committed_snapshot_on FROM sys.databases WHERE name = DB_NAME()"


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """``snapshot_reads``: SQL Server's READ_COMMITTED_SNAPSHOT; the others always read so.

    ``counts_rows``: an UPDATE tells how many rows it found. ``keeps_fractions``: of seconds.
    """

    dialect: str
    version: tuple[int, ...]
    collation: str
    snapshot_reads: bool
    counts_rows: bool
    keeps_fractions: bool


def read(db: Database) -> Traits:
    """Read what the server is like; a row is written to a table of ours, and removed again."""
    with db.begin() as conn:
        dialect = conn.dialect
        collation = _COLLATIONS.get(dialect.name)
        snapshot = dialect.name != "mssql" or conn.execute(text(_SNAPSHOT_READS)).scalar()
        found = dialect.server_version_info or ()
        counts_rows, keeps_fractions = _try_out(conn)
        return Traits(
            dialect=dialect.name,
            version=tuple(part for part in found if isinstance(part, int)),
            collation=str(conn.execute(text(collation)).scalar()) if collation else "",
            snapshot_reads=bool(snapshot),
            counts_rows=counts_rows,
            keeps_fractions=keeps_fractions,
        )


def _try_out(conn: Connection) -> tuple[bool, bool]:
    own = state.c.name == TRIAL
    conn.execute(delete(state).where(own))
    conn.execute(insert(state).values(name=TRIAL, updated_at=MOMENT))
    same = conn.execute(update(state).where(own).values(updated_at=MOMENT)).rowcount
    kept = conn.execute(select(state.c.updated_at).where(own)).scalar_one()
    conn.execute(delete(state).where(own))
    return same == 1, kept == MOMENT
