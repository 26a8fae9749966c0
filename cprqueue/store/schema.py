"""Bring the database's tables up to date, or tell that they are not.

Alembic is loaded only where a migration has to run: nearly every command asks whether one must.
"""

from __future__ import annotations

import time
from importlib import resources
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError

from cprqueue.errors import ServiceUnreachable, UsageError
from cprqueue.store import locks
from cprqueue.store.database import Database

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0001"
"""The newest migration; a test compares it with the scripts."""

TRIES = 5


def upgrade(db: Database) -> None:
    """Run the missing migrations; safe to repeat and to run on several hosts at once.

    Where two hosts begin together, one meets the other's half-made tables, fails, waits, and
    finds the work done.
    """
    for attempt in range(1, TRIES + 1):
        try:
            if not is_current(db):
                _run(db)
            with db.begin() as conn:
                locks.ensure(conn)
            return
        except (DBAPIError, ServiceUnreachable):
            if attempt == TRIES:
                raise
            time.sleep(attempt)  # the other host is at it


def _run(db: Database) -> None:
    from alembic import command

    with db.engine.begin() as conn:
        config = config_for_alembic()
        config.attributes["connection"] = conn
        command.upgrade(config, "head")


def config_for_alembic() -> Config:
    """Return Alembic's configuration; it needs no alembic.ini."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(resources.files("cprqueue") / "migrations"))
    return config


def is_current(db: Database) -> bool:
    """Tell whether all migrations have run."""
    return revision(db) == HEAD


def is_empty(db: Database) -> bool:
    """Tell whether no migration has run yet."""
    return revision(db) is None


def revision(db: Database) -> str | None:
    """Return the newest migration that the database knows."""
    with db.read() as conn:
        if not inspect(conn).has_table("alembic_version"):
            return None
        found = conn.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def require_current(db: Database) -> None:
    """Raise UsageError with the cure where the tables are missing or old."""
    if not is_current(db):
        raise UsageError(
            f"database {db.name} has no tables yet, or old ones: start `cprqueue up` once"
        )
