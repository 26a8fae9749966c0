"""Plans by the page: what waits for a person, what was decided, and a few of the rows of each."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, and_, or_, select

from cprqueue.domain.records import ClaimedLink, PlanItem, Run
from cprqueue.domain.states import LinkState, Outcome, RunKind
from cprqueue.store import push_queue
from cprqueue.store.database import count
from cprqueue.store.patterns import ESCAPE, escaped
from cprqueue.store.tables import jobs, links, plan_items, runs

LOOKED_AT = 20_000
"""Among so many of the newest runs decisions are sought: more than half a year of fetches."""

PLANS = (RunKind.PRUNE, RunKind.REMOVE_ALL, RunKind.UNDO)


def past(conn: Connection, *, before: int, decided: str, limit: int) -> list[Run]:
    """Return prunes, remove-alls, undos, and fetches in whose detail ``decided`` stands.

    The newest first, those before the run ``before``.
    """
    mark = f'%"{escaped(decided)}"%'
    fetches = and_(
        runs.c.kind.in_((RunKind.FETCH, RunKind.IMPORT)), runs.c.detail.like(mark, escape=ESCAPE)
    )
    # Counted, because numbers have gaps: SQL Server leaves 10,000 out when it is restarted.
    older = select(runs.c.run_id).where(runs.c.run_id < before).order_by(runs.c.run_id.desc())
    beyond = conn.execute(older.offset(LOOKED_AT).limit(1)).scalar() or 0
    these = and_(runs.c.run_id < before, runs.c.run_id > beyond)
    statement = select(runs).where(these, or_(runs.c.kind.in_(PLANS), fetches))
    found = conn.execute(statement.order_by(runs.c.run_id.desc()).limit(limit)).mappings()
    return [Run.from_row(row) for row in found]


def held_jobs(conn: Connection, run_id: int, *, limit: int) -> list[ClaimedLink]:
    """Return the first of the jobs that this fetch holds, by number."""
    where = and_(links.c.state == LinkState.HELD, links.c.due_run_id == run_id)
    ordered = push_queue.WITH_JOB.where(where).order_by(jobs.c.job_number, links.c.job_id)
    return [ClaimedLink.from_row(row) for row in conn.execute(ordered.limit(limit)).mappings()]


def held_count(conn: Connection, run_id: int) -> int:
    """Count the jobs that this fetch holds."""
    return count(conn, links, links.c.state == LinkState.HELD, links.c.due_run_id == run_id)


def items(
    conn: Connection, run_id: int, outcomes: Sequence[Outcome], *, limit: int
) -> list[PlanItem]:
    """Return the first items of a plan with one of these outcomes, in the order of the plan."""
    own = select(plan_items).where(plan_items.c.run_id == run_id)
    some = own.where(plan_items.c.outcome.in_(outcomes)).order_by(plan_items.c.item_id)
    return [PlanItem.from_row(row) for row in conn.execute(some.limit(limit)).mappings()]
