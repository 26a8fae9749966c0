"""Tidy: forget what is too old to help anybody, and close what died."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection

from cprqueue.domain.records import RunKind, RunState
from cprqueue.store import events, runs
from cprqueue.store.app_state import claim_moment
from cprqueue.store.database import Database, clock

EVENTS_KEPT = timedelta(days=400)
STUCK_AFTER = timedelta(minutes=30)


def tidy(db: Database) -> None:
    """Do the housekeeping, at most once an hour however often it is called."""
    with db.begin() as conn:
        now = clock(conn)
        _close_dead(conn, now)
        if claim_moment(conn, "tidy", now=now, moment=now + timedelta(hours=1)):
            events.forget_before(conn, now - EVENTS_KEPT)


def _close_dead(conn: Connection, now: datetime) -> None:
    """Call runs failed that nobody has touched for long; their work is done by the next one."""
    for kind in (RunKind.SNAPSHOT, RunKind.RESYNC, RunKind.IMPORT):
        for run in runs.newest_few(conn, kind, RunState.QUEUED, RunState.RUNNING, limit=20):
            if run.moved < now - STUCK_AFTER:
                note = "ended without a word: its worker died or its message was lost"
                runs.change(conn, run.run_id, state=RunState.FAILED, finished_at=now, note=note)
