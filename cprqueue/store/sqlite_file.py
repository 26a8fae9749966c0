"""SQLite's file: for this user alone, one and the same as long as a process uses it.

A process that goes on with a file that was deleted or replaced would write into nothing, and
it would go unnoticed. So each use of a connection first checks whether the file is still that one.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from cprqueue import private_files
from cprqueue.errors import DatabaseUnavailable, SettingsError

_RESTORE = "restore a backup, as docs/operations.md says"

PUT_BACK = "stop `cprqueue up`, put the file or a backup in its place, and start again"

LOG_BYTES = 16 * 2**20
"""A write-ahead log that is longer is begun anew as soon as no read is in the way."""

TRY_SECONDS, WAIT_MS = 2.0, 200
"""How often that is tried, and how long writers wait for it then."""

CURES = {
    "is locked": "another program holds the file: close it, or wait until it is done",
    "disk is full": "free some space on its disk; the work goes on by itself",
    "disk I/O error": "see to its disk: free some space if it is full",
    "readonly database": "give this user the right to write to the file and its directory",
    "unable to open": "check DATABASE_URL and CPR_VAR_DIR, and the rights on that directory",
    "not a database": f"name another file in DATABASE_URL, or {_RESTORE}",
    "malformed": f"stop everything and {_RESTORE}",
    "no such table": f"its file is a new one or incomplete: stop everything and {_RESTORE}",
}


def cure(reason: str) -> str:
    """Return what to do about what SQLite reported."""
    found = (text for words, text in CURES.items() if words in reason)
    return next(found, "check DATABASE_URL and CPR_VAR_DIR")


def watch(engine: Engine, path: Path) -> None:
    """Make the file where it is missing, and refuse its connections once it is another one.

    Raises SettingsError where the file can be neither made nor used.
    """
    _make_directory(path.parent)
    try:
        first = private_files.make_file(path)
    except IsADirectoryError:
        return  # SQLite itself says what is wrong with it, at the first use
    except OSError as error:
        raise SettingsError(
            f"the database's file {path} cannot be made or written ({error.strerror}): "
            "check CPR_VAR_DIR, DATABASE_URL and the space on its disk"
        ) from None

    @event.listens_for(engine, "do_connect")  # SQLite would make an empty file
    @event.listens_for(engine, "checkout")
    def _raise_if_another(*_: Any) -> None:
        if not _is_same(path, first):
            raise DatabaseUnavailable(
                f"the database's file {path} was deleted or replaced while this was running: "
                f"{PUT_BACK}"
            )


def bound_log(engine: Engine, path: Path) -> None:
    """Keep the write-ahead log short, however many readers come and go.

    SQLite by itself begins it anew only at a moment when nobody reads. Here that moment is
    waited for, shortly, once the log is long. Only one read that does not end keeps it growing.
    """
    tried = -TRY_SECONDS

    @event.listens_for(engine, "connect")
    def _limit(connection: Any, _record: object) -> None:
        connection.execute(f"PRAGMA journal_size_limit={LOG_BYTES}")

    @event.listens_for(engine, "checkin")
    def _shorten(connection: Any, _record: object) -> None:
        nonlocal tried
        if connection is None or time.monotonic() - tried < TRY_SECONDS:
            return
        if log_bytes(path) > LOG_BYTES:
            tried = time.monotonic()
            with suppress(sqlite3.Error):  # the next statement meets the same, and says so
                [usual] = connection.execute("PRAGMA busy_timeout").fetchone()
                connection.execute(f"PRAGMA busy_timeout={WAIT_MS}")
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                connection.execute(f"PRAGMA busy_timeout={usual}")


def log_bytes(path: Path) -> int:
    """Return the length of the write-ahead log; 0 where there is none."""
    try:
        return path.with_name(f"{path.name}-wal").stat().st_size
    except OSError:
        return 0


def _is_same(path: Path, first: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.stat(), first)
    except OSError:
        return False


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"the database's directory {path} cannot be made ({error.strerror}): "
            "check CPR_VAR_DIR and DATABASE_URL"
        ) from None
