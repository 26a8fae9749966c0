"""The database as it is, for whoever only reads: one that is not there yet is an empty one."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from cprqueue.store import schema
from cprqueue.store.database import Database
from cprqueue.store.tables import metadata


def opened(url: str) -> Database:
    """Open the database at ``url``, or an empty one in memory where it has no tables yet.

    No file is made. Raises UsageError where its tables are old, or newer than this version.
    """
    with ExitStack() as closing:
        if not _is_missing_file(url):
            made = Database(url)
            closing.callback(made.close)
            if not schema.is_empty(made):
                schema.require_current(made)
                closing.pop_all()
                return made
    empty = Database("sqlite://")
    with empty.begin() as conn:
        metadata.create_all(conn)
    return empty


def _is_missing_file(url: str) -> bool:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return False  # which the database itself says better
    path = parsed.database
    return parsed.get_backend_name() == "sqlite" and bool(path) and not Path(path or "").exists()
