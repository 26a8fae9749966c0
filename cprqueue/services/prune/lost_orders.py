"""Which orders to send again: their message was lost, or the worker that carried them out."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection

from cprqueue.domain.records import Run
from cprqueue.domain.states import RunKind, RunState
from cprqueue.services.prune.orders import moved
from cprqueue.services.prune.turns import LIVE
from cprqueue.store import plan_items, runs
from cprqueue.store.app_state import claim_moment
from cprqueue.store.database import Database, clock

WORTH = timedelta(days=1)
"""An order that nobody has begun for so long is not what was meant any more."""

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
            if _too_old(conn, run, now):
                _end_too_old(conn, run)
            elif claim_moment(conn, f"resume-{run.run_id}", now=now, moment=now + quiet):
                found.append(_task(run))
        return found


def _untouched(conn: Connection, before: datetime) -> list[Run]:
    found = [
        run
        for kind, states in LIVE.items()
        for run in runs.newest_few(conn, kind, *states, limit=100)
    ]
    return [run for run in found if moved(conn, run) < before]


def _too_old(conn: Connection, run: Run, now: datetime) -> bool:
    if run.kind is RunKind.PRUNE:
        begun = bool(plan_items.counts(conn, run.run_id))
    else:
        begun = run.started_at is not None
    return not begun and moved(conn, run) < now - WORTH


def _end_too_old(conn: Connection, run: Run) -> None:
    state = RunState.FAILED if run.kind is RunKind.PRUNE else RunState.STOPPED
    note = "never carried out, and too old now: order it again"
    runs.finish(conn, run.run_id, state, only_from=(run.state,), note=note)


def _task(run: Run) -> Task:
    if run.kind is not RunKind.PRUNE:
        return f"cpr.{run.kind}", {"run_id": run.run_id}
    approve = {"approve": True} if run.state is RunState.APPROVED else {}
    return "cpr.snapshot_and_prune", {"run_id": run.run_id, **approve}
