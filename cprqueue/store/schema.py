"""Bring the database's tables up to date, or tell that they are not.

Alembic is loaded only where a migration has to run: nearly every command asks whether one must.
"""

from __future__ import annotations

import io
import logging
import time
from importlib import resources
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from cprqueue.errors import ServiceUnreachable, SettingsError, UsageError
from cprqueue.store import locks
from cprqueue.store.database import Database, first_line
from cprqueue.store.tables import metadata
from cprqueue.store.views import VIEWS

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0007"
"""The newest migration; a test compares it with the scripts."""

TRIES = 5
SILENT_SECONDS = 8.0
"""A try that failed after so long found a server that gives no answer; two more are enough."""

NEWER = (
    "put the version of cprqueue back that it was used with (its `cprqueue migrate --back-to "
    f"{HEAD}` makes them fit for this one), or restore an older backup"
)

log = logging.getLogger(__name__)
_SCRIPTS = resources.files("cprqueue") / "migrations"


def upgrade(db: Database) -> None:
    """Run the missing migrations; safe to repeat and to run on several hosts at once.

    Where two hosts begin together, one meets the other's half-made tables, fails, waits, and
    finds the work done. A server that gives no answer is asked three times, and the log says so.
    """
    silent = 0
    for attempt in range(1, TRIES + 1):
        began = time.monotonic()
        try:
            if not is_current(db):
                _raise_if_newer(db)
                require_names_free(db)
                _run(db)
            with db.begin() as conn:
                locks.ensure(conn)
            return
        except ServiceUnreachable as error:
            silent += time.monotonic() - began > SILENT_SECONDS
            # On SQLite everybody waits for his turn anyway.
            if attempt == TRIES or db.is_sqlite or silent > 2:
                raise
            if silent:
                log.warning("%s; trying again", error)
        except DBAPIError as error:
            if attempt == TRIES:
                raise _not_made(db, error) from None
        time.sleep(attempt)  # the other host is at it


def _not_made(db: Database, error: DBAPIError) -> SettingsError:
    return SettingsError(
        f"database {db.name}: its tables cannot be made: {first_line(error)}: give the user of "
        "DATABASE_URL the rights that docs/operations.md names, or run `cprqueue migrate --sql`"
    )


def _run(db: Database) -> None:
    from alembic import command

    with db.begin() as conn:
        config = config_for_alembic()
        config.attributes["connection"] = conn
        command.upgrade(config, "head")


def downgrade(db: Database, to: str) -> None:
    """Make the tables those of an older version, whose newest revision is ``to``.

    Its rows stay, but for what that version has no place for. Nothing may be using the database.
    Raises UsageError where ``to`` is no revision, or is newer than the tables.
    """
    from alembic import command

    require_current(db)
    _require_known(to)
    with db.begin() as conn:
        config = config_for_alembic()
        config.attributes["connection"] = conn
        command.downgrade(config, to)


def script(url: str, *, since: str | None = None, back_to: str | None = None) -> str:
    """Return migrations as SQL, for whoever may change tables where we may not.

    Those that are missing, or the way back to the revision ``back_to``. Nothing is asked of the
    database: ``since`` is the revision that it has; without it, an empty one, or the newest.
    """
    from alembic import command

    try:
        dialect_name = make_url(url).get_backend_name()
        make_url(url).get_dialect()
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise SettingsError("DATABASE_URL is no database URL: see .env.example") from None
    for name in filter(None, (since, back_to)):
        _require_known(name)
    config = config_for_alembic()
    config.attributes["dialect_name"] = dialect_name
    config.output_buffer = written = io.StringIO()
    if back_to:
        command.downgrade(config, f"{since or HEAD}:{back_to}", sql=True)
    else:
        command.upgrade(config, f"{since}:{HEAD}" if since else HEAD, sql=True)
    return _SET_UP.get(dialect_name, "") + written.getvalue()


_SET_UP = {
    # Filtered indexes need these settings, and sqlcmd comes without the first.
    "mssql": "SET QUOTED_IDENTIFIER ON;\nSET ANSI_NULLS ON;\n\nGO\n\n",
}


def _revisions() -> list[str]:
    names = [script.name for script in (_SCRIPTS / "versions").iterdir()]
    return sorted(name.split("_")[0] for name in names if name[:4].isdecimal())


def _require_known(name: str) -> None:
    if name not in _revisions():
        raise UsageError(f"there is no revision {name}: it is one of {', '.join(_revisions())}")


def config_for_alembic() -> Config:
    """Return Alembic's configuration; it needs no alembic.ini."""
    from alembic.config import Config

    config = Config()
    place = str(_SCRIPTS).replace("%", "%%")  # which ConfigParser would read as a reference
    config.set_main_option("script_location", place)
    return config


def is_newer(db: Database) -> bool:
    """Tell whether the tables are those of a version that came after this one."""
    found = revision(db)
    return found is not None and found not in _revisions()


def is_current(db: Database) -> bool:
    """Tell whether all migrations have run."""
    return revision(db) == HEAD


def is_empty(db: Database) -> bool:
    """Tell whether no migration has run yet."""
    return revision(db) is None


def require_names_free(db: Database) -> None:
    """Raise SettingsError where an empty database has tables or views of others with our names.

    The first migration would stop at them half-way. Views are read first: a host that makes our
    tables at this moment has made ``alembic_version`` before all of them.
    """
    with db.read() as conn:
        found = inspect(conn)
        views = set(found.get_view_names())
        tables = set(found.get_table_names())
    taken = sorted((tables | views) & {*metadata.tables, *VIEWS})
    if taken and "alembic_version" not in tables:
        raise SettingsError(
            f"database {db.name} has {', '.join(taken)} already, not made by cprqueue: rename that "
            "first (docs/moving.md), or give cprqueue a database of its own in DATABASE_URL"
        )


def revision(db: Database) -> str | None:
    """Return the newest migration that the database knows."""
    with db.read() as conn:
        if not inspect(conn).has_table("alembic_version"):
            return None
        found = conn.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def require_current(db: Database) -> None:
    """Raise UsageError with the cure where the tables are missing, old or too new."""
    if not is_current(db):
        _raise_if_newer(db)
        raise UsageError(
            f"database {db.name} has no tables yet, or old ones: start `cprqueue up` once; "
            "if it had some, restore a backup first"
        )


def _raise_if_newer(db: Database) -> None:
    if is_newer(db):
        raise UsageError(f"database {db.name} has the tables of a newer version: {NEWER}")
