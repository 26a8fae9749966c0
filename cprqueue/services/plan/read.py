"""Read what a plan is made of: the record, RestorationManager's answer, QuickBooks Time."""

from __future__ import annotations

from sqlalchemy import Connection, true

from cprqueue.domain.plan_members import Known
from cprqueue.domain.states import RunKind, RunState
from cprqueue.services.fetch.unread import is_blind
from cprqueue.services.push.verify import YOUNG
from cprqueue.store import job_changes, keeps, push_queue, runs
from cprqueue.store.database import clock

FETCHES = 60
"""Among so many the last complete fetch is sought that could read every job."""


def read_known(conn: Connection, timezone: str = "UTC") -> Known:
    """Read what is on record of every job, and of its link."""
    export = runs.newest(conn, RunKind.SNAPSHOT, RunState.DONE)
    complete = runs.newest_few(conn, RunKind.FETCH, RunState.DONE, complete=True, limit=FETCHES)
    able = [run.run_id for run in complete if not is_blind(run)]
    return Known(
        jobs=job_changes.known(conn),
        links=push_queue.select_with_jobs(conn, true()),
        complete_run_id=able[0] if able else None,
        exported=export is not None,
        kept={i: keep.text(timezone) for i, keep in keeps.standing(conn, clock(conn)).items()},
        young=export is None or clock(conn) - export.began < YOUNG,
    )
