"""``cprqueue migrate``: bring the tables up to date; ``up`` does it too, at its start."""

from __future__ import annotations

from typing import Annotated

import typer

from cprqueue import config
from cprqueue.cli.console import note
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
) -> None:
    """Bring the database's tables up to date. Containers run it before the workers start."""
    url = config.load().database_url
    if sql:
        typer.echo(schema.script(url, since or None))
        return
    db = Database(url)
    try:
        schema.upgrade(db)
        note(f"the tables of {db.name} are up to date")
    finally:
        db.close()
