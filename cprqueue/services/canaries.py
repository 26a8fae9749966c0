"""Canary messages: which queues have a worker that takes messages, and when it last took one."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection

from cprqueue.store import app_state
from cprqueue.store.database import Database, clock

PREFIX = "canary."

RECENT = timedelta(minutes=2)
"""Every queue of a worker that is at work has taken a message within this."""


def note(db: Database, queue: str) -> None:
    """Record that a worker of ``queue`` took a canary message now, by the database's clock."""
    with db.begin() as conn:
        now = clock(conn)
        app_state.put(conn, PREFIX + queue, now.isoformat(), now=now)


def last(db: Database) -> dict[str, datetime]:
    """Return when each queue's canary was last taken; a queue without one is missing.

    A busy queue gets none, there any task counts: the sweep sends one only where nothing waits.
    """
    with db.read() as conn:
        return read(conn)


def last_seconds_ago(db: Database) -> float | None:
    """Return how long ago a worker took a canary message; None where none did lately."""
    with db.read() as conn:
        now, moments = clock(conn), read(conn).values()
    if not moments or not timedelta(0) <= (ago := now - max(moments)) < RECENT:
        return None
    return ago.total_seconds()


def cure(db: Database) -> str:
    """Return what to do where no worker answers: one may have worked a moment ago.

    A worker that connects to its broker anew hears no question meanwhile.
    """
    ago_seconds = last_seconds_ago(db)
    if ago_seconds is None:
        return "start `cprqueue up`"
    return (
        f"one took a message {ago_seconds:.0f} s ago, and may be connecting to the broker "
        "anew: look again in a minute, or start `cprqueue up`"
    )


def read(conn: Connection) -> dict[str, datetime]:
    """Do what ``last`` does."""
    found = app_state.with_prefix(conn, PREFIX)
    return {
        name.removeprefix(PREFIX): datetime.fromisoformat(str(moment))
        for name, moment in found.items()
    }
