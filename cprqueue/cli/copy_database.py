"""``cprqueue copy-database``: everything into another, empty database."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cprqueue import config
from cprqueue.cli.console import err, note, say
from cprqueue.cli.still_running import raise_if_running
from cprqueue.errors import CprqueueError, UsageError
from cprqueue.settings import places, values
from cprqueue.store import copying, schema
from cprqueue.store.database import Database


def copy_database(
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="URL",
            help="A new database, as DATABASE_URL would name it; - reads it from standard input, "
            "so that no list of processes shows its password.",
        ),
    ],
) -> None:
    """Copy everything into another, empty database: from SQLite to a server, or back.

    Stop every `cprqueue up` and every worker first. The present database stays
    as it is; a copy that is stopped, or killed, leaves the new one empty.

    Example:  cprqueue copy-database --to - < url.txt
    """
    settings = config.load()
    url = _url(sys.stdin.readline() if to == "-" else to)
    raise_if_running(settings)
    with closing(Database(settings.database_url)) as source, closing(_target(url)) as target:
        schema.require_current(source)
        if target.engine.url == source.engine.url:
            raise UsageError("--to names the database that is in use: name another one")
        with _named_to():
            schema.revision(target)  # fails at once where nothing answers
            schema.upgrade(target)
        with target.read() as conn:
            copying.raise_if_filled(conn)
        with _bar(copying.rows(source)) as report:
            done = copying.copy_all(source, target, quiet=settings.lease, report=report)
        for table, rows in done.items():
            say(f"{table:<12} {rows:>9} rows, the same in both")
        note("now write this into .env of every host, with its password, and start again:")
        say(f"DATABASE_URL={target.name}")


def _url(text: str) -> str:
    try:
        url = values.database_url(text.strip())
    except ValueError as error:
        raise UsageError(f"--to {error}") from None
    if problems := [*places.missing_directory(url, "--to")]:
        raise UsageError(*problems)
    return url


def _target(url: str) -> Database:
    with _named_to():
        return Database(url)


@contextmanager
def _named_to() -> Iterator[None]:
    """Let errors about the target name --to, not the setting."""
    try:
        yield
    except CprqueueError as error:
        raise type(error)(str(error).replace("DATABASE_URL", "--to")) from None


@contextmanager
def _bar(total: int) -> Iterator[copying.Report]:
    columns = TextColumn("{task.description:<12}"), BarColumn(bar_width=40), MofNCompleteColumn()
    hidden = not err.is_terminal
    with Progress(*columns, TimeElapsedColumn(), console=err, disable=hidden) as bar:
        task = bar.add_task("", total=total)

        def report(table: str, rows: int) -> None:
            bar.update(task, description=table, advance=rows)

        yield report
