"""Which month's prune is still owed. One row for each month decides, so none runs twice."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import IntegrityError

from cprqueue.domain.states import RunKind, RunState
from cprqueue.errors import AlreadyRunning
from cprqueue.services.prune.turns import take_turn
from cprqueue.store import runs
from cprqueue.store.database import Database, clock
from cprqueue.store.tables import runs as runs_table

SETTLED = (RunState.DONE, RunState.HELD, RunState.APPROVED)


def month_key(now: datetime, timezone: str) -> str:
    """Return the key of the month that ``now`` is in, on the customer's calendar."""
    return f"prune-{now.astimezone(ZoneInfo(timezone)):%Y-%m}"


def month_start(now: datetime, timezone: str) -> datetime:
    """Return the first moment of the month that ``now`` is in."""
    local = now.astimezone(ZoneInfo(timezone))
    return local.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def owed(db: Database, timezone: str) -> int | None:
    """Queue this month's prune if it is still to be done, and return its run; else None.

    A month that began before the system was set up is not owed. A run that failed or was cut
    off in the middle is queued again, under the same id. While another order is live, the month
    waits: the next call finds it owed.
    """
    try:
        with db.begin() as conn:
            return _owed(conn, timezone)
    except (AlreadyRunning, IntegrityError):
        return None  # or another host has just put the same month on record


def _owed(conn: Connection, timezone: str) -> int | None:
    now = clock(conn)
    key = month_key(now, timezone)
    row = runs.with_key(conn, key)
    if row is not None:
        if row.state in SETTLED:
            return None
        take_turn(conn, row.run_id)
        runs.requeue(conn, row.run_id, only_from=(RunState.FAILED,))
        return row.run_id
    first = conn.execute(select(func.min(runs_table.c.created_at))).scalar()
    if first is None or first > month_start(now, timezone):
        return None
    take_turn(conn)
    return runs.create(conn, RunKind.PRUNE, now=now, key=key, requested_by="month")
