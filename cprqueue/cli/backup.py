"""``cprqueue backup``: a checked copy of the SQLite database; nothing has to be stopped."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from cprqueue.bootstrap import application
from cprqueue.cli.console import err, say
from cprqueue.errors import DatabaseUnavailable, UsageError
from cprqueue.store import schema

PAGES = 500
"""Copied in one step; between two steps the others write."""

TOOLS = {
    "postgresql": "pg_dump --format=custom",
    "mssql": "BACKUP DATABASE in SQL Server",
    "mysql": "mariadb-dump --single-transaction",
    "mariadb": "mariadb-dump --single-transaction",
}


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that is not there yet.")],
) -> None:
    """Copy the SQLite database to FILE and check the copy; nothing has to be stopped.

    Example:  cprqueue backup /backups/cprqueue-monday.db
    """
    app = application()
    if not app.db.is_sqlite:
        tool = TOOLS.get(app.db.engine.dialect.name, "your database's own tool")
        raise UsageError(f"the database is on a server: back it up with {tool}")
    schema.require_current(app.db)
    copy(Path(str(app.db.engine.url.database)), file)
    say(f"{file}: {file.stat().st_size} bytes, checked")


def copy(database: Path, file: Path) -> None:
    """Write a checked copy of ``database`` to the new ``file``; no half one is left behind.

    Raises UsageError where the file cannot be made, DatabaseUnavailable where the copying fails.
    """
    try:
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        raise UsageError(f"{file} exists already: name another file") from None
    except OSError as error:
        raise UsageError(f"{file} cannot be made: {error.strerror}") from None
    try:
        _copy(database, file)
    except BaseException as error:
        file.unlink(missing_ok=True)
        if isinstance(error, sqlite3.Error):
            raise DatabaseUnavailable(f"the backup to {file} failed: {error}") from None
        raise


def _copy(database: Path, file: Path) -> None:
    source, target = sqlite3.connect(database), sqlite3.connect(file)
    try:
        with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
            task = bar.add_task("copying", total=None)

            def copied(_status: int, remaining: int, total: int) -> None:
                bar.update(task, total=total, completed=total - remaining)

            source.backup(target, pages=PAGES, progress=copied)
        target.execute("PRAGMA journal_mode=DELETE")  # one file, without any beside it
        found = target.execute("PRAGMA integrity_check").fetchall()
        if found != [("ok",)]:
            raise DatabaseUnavailable(f"{database} is damaged: {found[0][0]}")
    finally:
        target.close()
        source.close()
