"""The first export of an account: ordered by a wake-up, once, and again if it was lost.

Nothing is pushed before it is there: a jobcode that the account has already is to be found and
adopted, not made a second time.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection

from cprqueue.domain.records import Run
from cprqueue.domain.states import RunKind, RunState
from cprqueue.store import app_state, runs
from cprqueue.store.database import Database, clock

RETRY_AFTER = timedelta(seconds=5)
BETWEEN_ORDERS = timedelta(seconds=15)
ORDER = "first_export"


def taken(conn: Connection) -> bool:
    """Tell whether there is any complete export."""
    return runs.newest(conn, RunKind.SNAPSHOT, RunState.DONE) is not None


def order(db: Database, *, quiet: timedelta) -> int | None:
    """Put a snapshot on record and return its id; its message is then the caller's to send.

    None while one is under way. One that has not moved for ``quiet`` has lost its message or
    its worker: its message is to be sent again.
    """
    with db.read() as conn:
        if _moving(_open(conn), clock(conn) - quiet):
            return None
    return db.retrying(lambda conn: _order(conn, quiet))


def _order(conn: Connection, quiet: timedelta) -> int | None:
    now = clock(conn)
    moment = now + min(BETWEEN_ORDERS, quiet)
    if not app_state.claim_moment(conn, ORDER, now=now, moment=moment):
        return None
    run = _open(conn)
    if run is None:
        return runs.create(conn, RunKind.SNAPSHOT, now=now, requested_by="first push")
    if _moving(run, now - quiet):
        return None
    runs.change(conn, run.run_id, touched_at=now)
    return run.run_id


def _open(conn: Connection) -> Run | None:
    return runs.newest(conn, RunKind.SNAPSHOT, RunState.QUEUED, RunState.RUNNING)


def _moving(run: Run | None, since: datetime) -> bool:
    return run is not None and run.moved > since
