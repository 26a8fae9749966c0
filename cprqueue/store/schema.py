"""Bring the database's tables up to date, or tell that they are not."""

from __future__ import annotations

import time
from importlib import resources

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import DBAPIError

from cprqueue.errors import ServiceUnreachable, UsageError
from cprqueue.store import locks
from cprqueue.store.database import Database

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
    with db.engine.begin() as conn:
        config = config_for_alembic()
        config.attributes["connection"] = conn
        command.upgrade(config, "head")


def config_for_alembic() -> Config:
    """Return Alembic's configuration; it needs no alembic.ini."""
    config = Config()
    config.set_main_option("script_location", str(resources.files("cprqueue") / "migrations"))
    return config


def is_current(db: Database) -> bool:
    """Tell whether all migrations have run."""
    return revision(db) == _head()


def is_empty(db: Database) -> bool:
    """Tell whether no migration has run yet."""
    return revision(db) is None


def revision(db: Database) -> str | None:
    """Return the newest migration that the database knows."""
    with db.read() as conn:
        return MigrationContext.configure(conn).get_current_revision()


def _head() -> str | None:
    return ScriptDirectory.from_config(config_for_alembic()).get_current_head()


def require_current(db: Database) -> None:
    """Raise UsageError with the cure where the tables are missing or old."""
    if not is_current(db):
        raise UsageError(
            f"database {db.name} has no tables yet, or old ones: start `cprqueue up` once"
        )
