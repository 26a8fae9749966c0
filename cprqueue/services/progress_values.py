"""The values of ``jobProgress`` on active jobs, and since when: a new one is reported once."""

from __future__ import annotations

import logging
from datetime import datetime

from sqlalchemy import Connection

from cprqueue.store import app_state, jobs

log = logging.getLogger(__name__)

PROGRESS_SEEN = "progress_seen"


def note_new(conn: Connection, now: datetime) -> None:
    """Log once each progress value that was never seen on an active job before.

    RM's list of values is not known, and a new way to say "closed" counts as active.
    """
    present = jobs.active_progress_values(conn)
    known = _progress_seen(conn)
    fresh = sorted(set(present) - set(known or {}))
    if not fresh:
        return
    for value in fresh if known is not None else ():
        log.warning("unknown progress counts as active", extra={"progress": value})
    seen = {value: now.isoformat() if known is not None else "" for value in fresh}
    app_state.put(conn, PROGRESS_SEEN, {**(known or {}), **seen}, now=now)


def new_since(conn: Connection, since: datetime) -> list[str]:
    """Return the progress values that turned up after ``since``."""
    known = _progress_seen(conn) or {}
    return sorted(v for v, at in known.items() if at and datetime.fromisoformat(at) >= since)


def _progress_seen(conn: Connection) -> dict[str, str] | None:
    """Return when each progress value turned up; "" for those of the first fetch."""
    found = app_state.get(conn, PROGRESS_SEEN)
    return {name: str(at) for name, at in found.items()} if isinstance(found, dict) else None
