"""Resyncs and snapshots that a person asked for: sent again where their message was lost.

Sent twice they do no harm. One that nobody has begun for half an hour is called failed by the
sweep. What a prune needs is sent again with the prune (``services.prune.lost_orders``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta

from cprqueue.domain.records import Run
from cprqueue.domain.states import RunKind, RunState
from cprqueue.store import runs
from cprqueue.store.app_state import claim_moment
from cprqueue.store.database import Database, clock

OPERATOR = "operator"
MANY = 100

Task = tuple[str, dict[str, object]]
"""A task's name and its arguments."""


def find(db: Database, waiting: Callable[[str], int], *, quiet: timedelta) -> list[Task]:
    """Return the tasks of requests that nobody has begun for ``quiet``.

    ``waiting`` counts what is in a queue: while messages wait there, they are only slow.
    """
    with db.begin() as conn:
        now = clock(conn)
        found = []
        for kind, queue in ((RunKind.RESYNC, "urgent"), (RunKind.SNAPSHOT, "maintenance")):
            queued = runs.newest_few(conn, kind, RunState.QUEUED, limit=MANY)
            old = [run for run in queued if run.moved < now - quiet and _task(run)]
            for run in old if old and not waiting(queue) else ():
                if claim_moment(conn, f"resume-{run.run_id}", now=now, moment=now + quiet):
                    found += _task(run)
        return found


def _task(run: Run) -> list[Task]:
    job = run.details.get("job")
    if run.kind is RunKind.RESYNC and job:
        return [("cpr.resync_job", {"job": job, "run_id": run.run_id})]
    if run.kind is RunKind.SNAPSHOT and run.requested_by == OPERATOR:
        return [("cpr.snapshot_export", {"run_id": run.run_id})]
    return []


def withdraw(db: Database, run_ids: Iterable[int], reason: str) -> None:
    """End the runs among these that nobody has begun: their message could not be sent."""
    with db.begin() as conn:
        for run_id in run_ids:
            queued = (RunState.QUEUED,)
            runs.finish(conn, run_id, RunState.FAILED, only_from=queued, note=reason)
