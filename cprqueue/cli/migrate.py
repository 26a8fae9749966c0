"""``cprqueue migrate``: bring the tables up to date; ``up`` does it too, at its start."""

from __future__ import annotations

from cprqueue import config
from cprqueue.cli.console import note
from cprqueue.store import schema
from cprqueue.store.database import Database


def migrate() -> None:
    """Bring the database's tables up to date. Containers run it before the workers start."""
    db = Database(config.load().database_url)
    try:
        schema.upgrade(db)
        note(f"the tables of {db.name} are up to date")
    finally:
        db.close()
