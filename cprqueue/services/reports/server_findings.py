"""How `check` judges a database server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from cprqueue.errors import CprqueueError
from cprqueue.services.reports.findings import OK, PROBLEM, UNREACHABLE, WARNING, Finding
from cprqueue.store import sqlite_file, traits
from cprqueue.store.database import Database, first_line
from cprqueue.store.traits import Traits

NAMES = {"mssql": "SQL Server", "postgresql": "PostgreSQL", "mariadb": "MariaDB", "mysql": "MySQL"}

SQL_SERVER_2016 = (13,)

LONG_LOG = 4
"""Times its usual length: so long is SQLite's log only where one read does not end."""

CLOSE_OTHERS = "close every other program that has it open, or restart `cprqueue up`"
OPERATIONS = "see Databases in docs/operations.md"


def check(db: Database | None) -> Iterator[Finding]:
    """Try the server out; nothing where there is none, or where it has no tables yet."""
    if db is None:
        return
    if db.is_sqlite:
        yield from _sqlite(Path(db.engine.url.database or ""))
        return
    try:
        yield from judge(traits.read(db))
    except CprqueueError as error:
        yield _finding(UNREACHABLE, str(error), "")
    except DBAPIError as error:
        yield _finding(PROBLEM, first_line(error), f"give its user more rights: {OPERATIONS}")


def _sqlite(path: Path) -> Iterator[Finding]:
    if (size := sqlite_file.log_bytes(path)) > LONG_LOG * sqlite_file.LOG_BYTES:
        text = f"{path}-wal has {size // 2**20} MB: a program has been reading the file for long"
        yield _finding(WARNING, f"{text}, and until it ends the log grows", CLOSE_OTHERS)


def log_warnings(db: Database) -> list[str]:
    """Return what `status` says of SQLite's log, where one read does not end."""
    found = _sqlite(Path(db.engine.url.database or "")) if db.is_sqlite else ()
    return [f"{finding.text}: {finding.cure}" for finding in found]


def judge(found: Traits) -> list[Finding]:
    """Return what is wrong with the server, a line each; or one line that nothing is."""
    name = NAMES.get(found.dialect, "SQLite")
    version = ".".join(str(part) for part in found.version)
    bad = [_finding(state, f"{name} {version} {text}", cure) for state, text, cure in _bad(found)]
    collation = f", collation {found.collation}" if found.collation else ""
    snapshot = ", READ_COMMITTED_SNAPSHOT is on" if found.dialect == "mssql" else ""
    fine = f"{name} {version}{collation}{snapshot}; it counts rows and keeps fractions of a second"
    return bad or [_finding(OK, fine, "")]


def _finding(state: str, text: str, cure: str) -> Finding:
    return Finding(name="database server", state=state, text=text, cure=cure)


def _bad(found: Traits) -> list[tuple[str, str, str]]:
    bad = []
    if found.dialect == "mssql" and found.version < SQL_SERVER_2016:
        bad.append((PROBLEM, "is too old", "SQL Server 2016 is the oldest that will do"))
    if found.dialect == "postgresql" and not found.collation.endswith("UTF8"):
        text = f"cannot hold every name: its database is {found.collation}"
        bad.append((PROBLEM, text, "make the database with ENCODING 'UTF8'"))
    if not found.counts_rows:
        text = "does not tell how many rows an UPDATE found, and all leases and locks go by that"
        bad.append(
            (PROBLEM, text, f"turn NOCOUNT off, or use the driver that we name: {OPERATIONS}")
        )
    if not found.keeps_fractions:
        text = "or its driver cuts fractions of a second off"
        bad.append((WARNING, text, f"use the driver that we name: {OPERATIONS}"))
    if not found.snapshot_reads:
        text = "has READ_COMMITTED_SNAPSHOT off: who reads waits for who writes"
        cure = "let its administrator run: ALTER DATABASE NAME SET READ_COMMITTED_SNAPSHOT ON"
        bad.append((WARNING, text, cure))
    return bad
