"""Table ``links``: jobs that wait for the decision of the brake on pushes.

``due_run_id`` names the fetch that made a job due. While it is set, no worker claims the job.
A job in state "due" waits for its fetch to close; one in state "held" waits for a person.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, func, select, update

from cprqueue.domain.cutting import cut
from cprqueue.domain.push_brake import Managed
from cprqueue.domain.records import ClaimedLink
from cprqueue.domain.states import ErrorCode, LinkState
from cprqueue.store import events, push_queue
from cprqueue.store.chunks import chunks
from cprqueue.store.database import count
from cprqueue.store.tables import jobs, links

_UNDECIDED = and_(links.c.state == LinkState.DUE, links.c.due_run_id.is_not(None))
_HELD = links.c.state == LinkState.HELD


def undecided_runs(conn: Connection) -> list[int]:
    """Return the fetches with jobs that wait for a decision, oldest first."""
    found = select(links.c.due_run_id).where(_UNDECIDED).distinct()
    return sorted(conn.execute(found).scalars())


def undecided(conn: Connection, run_ids: Sequence[int]) -> list[ClaimedLink]:
    """Return the jobs of these fetches that wait for a decision."""
    parts = [and_(_UNDECIDED, links.c.due_run_id.in_(part)) for part in chunks(run_ids)]
    return [row for where in parts for row in push_queue.select_with_jobs(conn, where)]


def held(conn: Connection, run_id: int) -> list[ClaimedLink]:
    """Return the jobs that are held by this fetch, by job number."""
    where = and_(_HELD, links.c.due_run_id == run_id)
    return push_queue.select_with_jobs(conn, where, jobs.c.job_number)


def held_counts(conn: Connection) -> dict[int, int]:
    """Return how many jobs each fetch holds."""
    statement = select(links.c.due_run_id, func.count()).where(_HELD)
    found = conn.execute(statement.group_by(links.c.due_run_id).order_by(links.c.due_run_id))
    return {int(run_id): int(number) for run_id, number in found if run_id is not None}


def managed(conn: Connection) -> Managed:
    """Count the jobcodes that have a job."""
    ever = links.c.jobcode_id.is_not(None)
    active = and_(ever, links.c.state != LinkState.IDLE)
    return Managed(ever=count(conn, links, ever), active=count(conn, links, active))


def let_go(conn: Connection, rows: Sequence[ClaimedLink], *, now: datetime) -> list[int]:
    """Make these jobs due for the workers, as far as they are as they were read; return them."""
    _move(conn, rows, {**push_queue.due_values(now), "due_run_id": None})
    return [row.job_id for row in rows]


def hold(
    conn: Connection, rows: Sequence[ClaimedLink], run_id: int, why: str, *, now: datetime
) -> None:
    """Hold these jobs until a person decides, as far as they are as they were read."""
    values: push_queue.LinkValues = {
        "state": LinkState.HELD,
        "next_attempt_at": None,
        "due_run_id": run_id,
        "error_code": ErrorCode.HELD,
        "error_reason": cut(why, 1000),
    }
    _move(conn, rows, values)
    events.add(conn, [events.event(row.job_id, "held", why, at=now, run_id=run_id) for row in rows])


def _move(conn: Connection, rows: Iterable[ClaimedLink], values: Mapping[str, object]) -> None:
    by_run: dict[int | None, list[int]] = {}
    for row in rows:
        by_run.setdefault(row.due_run_id, []).append(row.job_id)
    for run_id, ids in by_run.items():
        for part in chunks(ids):
            own = update(links).where(_UNDECIDED, links.c.job_id.in_(part))
            conn.execute(own.where(links.c.due_run_id == run_id).values(**values))


def approve(conn: Connection, run_id: int, *, now: datetime) -> list[int]:
    """Make due what this fetch holds; return the ids of those jobs. Twice: nothing."""
    return _decide(conn, run_id, {**push_queue.due_values(now), "due_run_id": None})


def dismiss(conn: Connection, run_id: int, why: str) -> list[int]:
    """Park what this fetch holds; return the ids of those jobs. Twice: nothing."""
    values: push_queue.LinkValues = {
        "state": LinkState.PARKED,
        **push_queue.NOT_DUE,
        "error_code": ErrorCode.DISMISSED,
        "error_reason": cut(why, 1000),
    }
    return _decide(conn, run_id, values)


def _decide(conn: Connection, run_id: int, values: Mapping[str, object]) -> list[int]:
    """Write one decision over all that a fetch holds: one of two that come at once finds it."""
    own: ColumnElement[bool] = and_(_HELD, links.c.due_run_id == run_id)
    ids = list(conn.execute(select(links.c.job_id).where(own).order_by(links.c.job_id)).scalars())
    if conn.execute(update(links).where(own).values(**values)).rowcount == 0:
        return []
    return ids
