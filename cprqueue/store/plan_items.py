"""Table ``plan_items``: one row for each jobcode of a plan, its state before, its outcome.

Outcomes: planned -> sending -> archived -> restored; or held_back, dropped, failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import Connection, func, insert, select, update

from cprqueue.domain.cutting import cut
from cprqueue.domain.prune_plan import Managed
from cprqueue.domain.records import NewPlanItem, PlanItem, StateBefore
from cprqueue.domain.states import Outcome
from cprqueue.store.chunks import chunks
from cprqueue.store.database import clock
from cprqueue.store.row_locks import lock
from cprqueue.store.tables import jobs, links, plan_items

OPEN = (Outcome.PLANNED, Outcome.SENDING)


def add(conn: Connection, run_id: int, rows: Iterable[NewPlanItem]) -> None:
    """Write the items of a plan."""
    found = [
        {"run_id": run_id, **row.as_row(), "state_before": row.state_before.to_json()}
        for row in rows
    ]
    for start in range(0, len(found), 200):
        conn.execute(insert(plan_items).inline(), found[start : start + 200])


def of_run(conn: Connection, run_id: int, *outcomes: Outcome) -> list[PlanItem]:
    """Return a run's items in the order of the plan."""
    statement = select(plan_items).where(plan_items.c.run_id == run_id)
    if outcomes:
        statement = statement.where(plan_items.c.outcome.in_(outcomes))
    found = conn.execute(statement.order_by(plan_items.c.item_id)).mappings()
    return [PlanItem.from_row(row) for row in found]


def set_outcome(
    conn: Connection,
    item_ids: Sequence[int],
    outcome: Outcome,
    *,
    now: datetime,
    note: str | None = None,
) -> None:
    """Write what came of items."""
    short = cut(note, 1000) if note else None
    for part in chunks(item_ids):
        own = update(plan_items).where(plan_items.c.item_id.in_(part))
        conn.execute(own.values(outcome=outcome, outcome_at=now, note=short))


def move(
    conn: Connection,
    items: Sequence[PlanItem],
    before: Outcome,
    after: Outcome,
    *,
    note: str | None = None,
) -> list[PlanItem]:
    """Write an outcome where it was ``before`` still; return those items."""
    now_at = outcomes(conn, [item.item_id for item in items])
    moved = [item for item in items if now_at[item.item_id] == before]
    set_outcome(conn, [item.item_id for item in moved], after, now=clock(conn), note=note)
    return moved


def outcomes(conn: Connection, item_ids: Sequence[int]) -> dict[int, Outcome]:
    """Return what has come of these items by now; nobody else changes them before we have."""
    found: dict[int, Outcome] = {}
    columns = select(plan_items.c.item_id, plan_items.c.outcome)
    for part in chunks(item_ids):
        these = plan_items.c.item_id.in_(part)
        lock(conn, plan_items.c.job_id, these)
        found.update((row.item_id, row.outcome) for row in conn.execute(columns.where(these)))
    return found


def archived_since(conn: Connection, moment: datetime) -> set[int]:
    """Return the jobcodes that were archived from this moment on and not restored since."""
    archived = plan_items.c.outcome == Outcome.ARCHIVED
    statement = select(plan_items.c.jobcode_id).where(archived, plan_items.c.outcome_at >= moment)
    return set(conn.execute(statement).scalars())


def newest_run(conn: Connection, job_id: int, outcome: Outcome) -> int | None:
    """Return the newest run that has this job's jobcode in its plan, with this outcome."""
    these = (plan_items.c.job_id == job_id, plan_items.c.outcome == outcome)
    return conn.execute(select(func.max(plan_items.c.run_id)).where(*these)).scalar()


def drop_planned(conn: Connection, run_id: int, *, now: datetime, note: str) -> None:
    """Take out of a plan what has not been archived yet."""
    planned = plan_items.c.outcome == Outcome.PLANNED
    own = update(plan_items).where(plan_items.c.run_id == run_id, planned)
    conn.execute(own.values(outcome=Outcome.DROPPED, outcome_at=now, note=note))


def set_state_before(conn: Connection, item_id: int, state: StateBefore) -> None:
    """Replace the state before of an item that was not archived yet by one read afresh."""
    own = update(plan_items).where(plan_items.c.item_id == item_id)
    conn.execute(own.values(state_before=state.to_json()))


def counts(conn: Connection, run_id: int) -> dict[Outcome, int]:
    """Count a run's items by outcome."""
    statement = select(plan_items.c.outcome, func.count()).where(plan_items.c.run_id == run_id)
    found = conn.execute(statement.group_by(plan_items.c.outcome))
    return {outcome: int(number) for outcome, number in found}


def managed(conn: Connection) -> list[Managed]:
    """Return every linked jobcode with its job."""
    statement = select(
        jobs.c.job_id, jobs.c.job_number, jobs.c.active, jobs.c.rule, links.c.jobcode_id
    ).select_from(links.join(jobs, jobs.c.job_id == links.c.job_id))
    return [
        Managed(
            job_id=row.job_id,
            job_number=row.job_number,
            jobcode_id=row.jobcode_id,
            job_active=row.active,
            rule=row.rule,
        )
        for row in conn.execute(statement.where(links.c.jobcode_id.is_not(None)))
    ]
