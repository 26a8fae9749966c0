"""Which orders to send again: their message was lost, or the worker that carried them out."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection

from cprqueue.domain.records import Run
from cprqueue.domain.states import RunKind, RunState
from cprqueue.services.prune import orders
from cprqueue.services.prune.turns import LIVE
from cprqueue.store import runs
from cprqueue.store.app_state import claim_moment
from cprqueue.store.database import Database, clock

Task = tuple[str, dict[str, int]]
"""A task's name and its arguments."""


def find(db: Database, *, quiet: timedelta) -> list[Task]:
    """Return the tasks to send again: of live orders that nobody has touched for ``quiet``.

    Sent twice they do no harm. One that nobody has begun for a day is ended instead.
    """
    with db.begin() as conn:
        now = clock(conn)
        found = []
        for run in _untouched(conn, now - quiet):
            if orders.end_too_old(conn, run.run_id):
                continue
            if claim_moment(conn, f"resume-{run.run_id}", now=now, moment=now + quiet):
                found.append(_task(run))
        return found


def _untouched(conn: Connection, before: datetime) -> list[Run]:
    found = [
        run
        for kind, states in LIVE.items()
        for run in runs.newest_few(conn, kind, *states, limit=100)
    ]
    return [run for run in found if orders.moved(conn, run) < before]


def _task(run: Run) -> Task:
    if run.kind is not RunKind.PRUNE:
        return f"cpr.{run.kind}", {"run_id": run.run_id}
    approve = {"approve": True} if run.state is RunState.APPROVED else {}
    return "cpr.snapshot_and_prune", {"run_id": run.run_id, **approve}
