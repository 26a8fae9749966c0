"""Jobs with links in a database of their own, for tests of ``store``: no office, no services."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from cprqueue.domain.active import ActiveRules
from cprqueue.domain.models import Address, Job, Observed
from cprqueue.domain.recording import Sighting
from cprqueue.domain.records import Link
from cprqueue.domain.states import ErrorCode, LinkState
from cprqueue.services.record import record
from cprqueue.store import leases, links, push_queue
from cprqueue.store.database import Database, clock
from cprqueue.store.push_queue import NO_LEASE, LinkValues

RULES = ActiveRules.build(
    site_ids=[], statuses=["Active"], inactive_progress=["Lost Lead"], excluded_numbers=[]
)
MINUTE = timedelta(minutes=1)
PARKED: LinkValues = {
    "state": LinkState.PARKED,
    "error_code": ErrorCode.DOUBLED_NUMBER,
    "error_reason": "A-1",
    "attempts": 2,
}


def now(db: Database) -> datetime:
    """Return the database's time."""
    with db.read() as conn:
        return clock(conn)


def know(db: Database, *job_ids: int, number: str = "", progress: str = "") -> None:
    """Have these jobs on record, seen just now; a new active one is due."""
    for job_id in job_ids:
        named = {"job_number": number or f"A-{job_id}", "job_name": "", "status": "Active"}
        job = Job(job_id=job_id, site_id=1, progress=progress or "Open", address=Address(), **named)
        record(db, RULES, job, Sighting(run_id=1, number=1, complete=True, observed_at=now(db)))


def link(db: Database, job_id: int = 1) -> Link:
    """Return the link of a job that has one."""
    with db.read() as conn:
        return links.existing(conn, job_id)


def claim(db: Database, lease: str, *, limit: int = 50, **wishes: Any) -> list[int]:
    """Claim what is due for a minute; return the jobs."""
    with db.begin() as conn:
        at = clock(conn)
        rows = leases.claim(conn, lease, now=at, limit=limit, until=at + MINUTE, **wishes)
    return [row.job_id for row in rows]


def write(db: Database, values: LinkValues, *job_ids: int) -> None:
    """Give these jobs' links such values, with no lease left."""
    for job_id in job_ids:
        with db.begin() as conn:
            at = clock(conn)
            push_queue.make_due(conn, job_id, now=at)
            leases.claim(conn, "test", now=at, limit=1, until=at + MINUTE, only=job_id)
            leases.write(conn, job_id, "test", {**values, **NO_LEASE})


def hold(db: Database, job_id: int, jobcode_id: int, **values: Any) -> None:
    """Let QuickBooks Time hold this jobcode for the job, in step."""
    observed = Observed(
        jobcode_id=jobcode_id, name=f"A-{job_id}", active=True, assigned_to_all=True
    )
    columns = links.observed_columns(replace(observed, **values))
    write(db, {"state": LinkState.IN_SYNC, "next_attempt_at": None, **columns}, job_id)
