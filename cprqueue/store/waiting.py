"""What waits for a person: the first of each kind, for who cannot read thousands."""

from __future__ import annotations

from sqlalchemy import Connection, and_, select

from cprqueue.domain.records import ClaimedLink
from cprqueue.domain.states import LinkState
from cprqueue.store import push_queue
from cprqueue.store.tables import jobs, links


def parked(conn: Connection, *, limit: int) -> list[ClaimedLink]:
    """Return the first parked jobs, by job number."""
    where = and_(jobs.c.active, links.c.state == LinkState.PARKED)
    statement = push_queue.WITH_JOB.where(where).order_by(jobs.c.job_number, links.c.job_id)
    found = conn.execute(statement.limit(limit)).mappings()
    return [ClaimedLink.from_row(row) for row in found]


def held_reason(conn: Connection, run_id: int) -> str:
    """Say why this fetch holds jobs, as the brake said it; "" where it holds none any more."""
    own = and_(links.c.state == LinkState.HELD, links.c.due_run_id == run_id)
    return conn.execute(select(links.c.error_reason).where(own).limit(1)).scalar() or ""
