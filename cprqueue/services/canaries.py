"""Canary messages: which queues have a worker that takes messages, and when it last took one."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection

from cprqueue.domain.states import RunKind, RunState
from cprqueue.store import app_state, runs
from cprqueue.store.database import Database, clock

PREFIX = "canary."

RECENT = timedelta(minutes=2)
"""Every queue of a worker that is at work has taken a message within this."""

WORKERS_RUNS = (RunKind.FETCH, RunKind.RESYNC, RunKind.SNAPSHOT)
"""What only workers carry out, whoever ordered it."""

AT_WORK = (RunState.RUNNING, RunState.RECORDING, RunState.DONE)


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


def worked_seconds_ago(db: Database) -> float | None:
    """Return how long ago a worker was at work, as canaries and runs show; None if not lately."""
    with db.read() as conn:
        now, moments = clock(conn), list(read(conn).values())
        newest = [runs.newest(conn, kind, *AT_WORK) for kind in WORKERS_RUNS]
    moments += [run.moved for run in newest if run is not None]
    ago = now - max(moments) if moments else RECENT
    return ago.total_seconds() if timedelta(0) <= ago < RECENT else None


def cure(db: Database) -> str:
    """Return what to do where no worker answers: one may have worked a moment ago.

    A worker that connects to its broker anew hears no question meanwhile.
    """
    ago_seconds = worked_seconds_ago(db)
    if ago_seconds is None:
        return "start `cprqueue up`"
    return (
        f"one was at work {ago_seconds:.0f} s ago, and may be connecting to the broker "
        "anew; if that lasts a minute, start `cprqueue up`"
    )


def read(conn: Connection) -> dict[str, datetime]:
    """Do what ``last`` does."""
    found = app_state.with_prefix(conn, PREFIX)
    return {
        name.removeprefix(PREFIX): datetime.fromisoformat(str(moment))
        for name, moment in found.items()
    }
