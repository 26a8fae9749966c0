"""``cprqueue migrate``: bring the tables up to date; ``up`` does it too, at its start."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer

from cprqueue import config
from cprqueue.cli.console import note
from cprqueue.errors import UsageError
from cprqueue.store import schema
from cprqueue.store.database import Database


def migrate(
    sql: Annotated[
        bool,
        typer.Option("--sql", help="Print the SQL instead, for a database administrator to run."),
    ] = False,
    since: Annotated[
        str,
        typer.Option("--since", help="With --sql: the revision that the database has by now."),
    ] = "",
    back_to: Annotated[
        str,
        typer.Option(
            "--back-to",
            metavar="REVISION",
            help="Make the tables those of an older version, before that is put in place; it names "
            "the revision when it refuses them. Stop everything and make a backup first.",
        ),
    ] = "",
) -> None:
    """Bring the database's tables up to date. Containers run it before the workers start."""
    settings = config.load()
    if sql:
        url = settings.database_url
        typer.echo(schema.script(url, since=since or None, back_to=back_to or None))
        return
    if since:
        raise UsageError("--since goes with --sql alone: the database itself knows its revision")
    with closing(Database(settings.database_url)) as db:
        if back_to:
            from cprqueue.cli.still_running import raise_if_running  # Celery, and what it needs

            raise_if_running(settings)
            schema.downgrade(db, back_to)
            note(f"the tables of {db.name} are those of revision {back_to}")
        else:
            schema.upgrade(db)
            note(f"the tables of {db.name} are up to date")
