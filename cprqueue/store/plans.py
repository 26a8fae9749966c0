"""Table ``plan_items``: one row for each jobcode of a plan, its state before, its outcome.

Outcomes: planned -> sending -> archived -> restored; or held_back, dropped, failed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from cprqueue.store.jobs import chunks
from cprqueue.tables import jobs, links, plan_items

OPEN = ("planned", "sending")


def add(conn: Connection, run_id: int, rows: Iterable[dict[str, Any]]) -> None:
    """Write the items of a plan; ``state_before`` is plain JSON data."""
    found = [
        {"run_id": run_id, **row, "state_before": json.dumps(row["state_before"])} for row in rows
    ]
    for start in range(0, len(found), 200):
        conn.execute(insert(plan_items), found[start : start + 200])


def of_run(conn: Connection, run_id: int, *outcomes: str) -> list[Row[Any]]:
    """Return a run's items in the order of the plan."""
    statement = select(plan_items).where(plan_items.c.run_id == run_id)
    if outcomes:
        statement = statement.where(plan_items.c.outcome.in_(outcomes))
    return list(conn.execute(statement.order_by(plan_items.c.item_id)))


def set_outcome(
    conn: Connection,
    item_ids: Sequence[int],
    outcome: str,
    *,
    now: datetime,
    note: str | None = None,
    only_from: Sequence[str] = (),
) -> None:
    """Write what came of items; with ``only_from`` only where it is one of these still."""
    for part in chunks(item_ids):
        statement = update(plan_items).where(plan_items.c.item_id.in_(part))
        if only_from:
            statement = statement.where(plan_items.c.outcome.in_(only_from))
        short = note[:1000] if note else None
        conn.execute(statement.values(outcome=outcome, outcome_at=now, note=short))


def drop_planned(conn: Connection, run_id: int, *, now: datetime, note: str) -> None:
    """Take out of a plan what has not been archived yet."""
    own = update(plan_items).where(plan_items.c.run_id == run_id, plan_items.c.outcome == "planned")
    conn.execute(own.values(outcome="dropped", outcome_at=now, note=note))


def set_state_before(conn: Connection, item_id: int, state: dict[str, Any]) -> None:
    """Replace the state before of an item that was not archived yet by one read afresh."""
    own = update(plan_items).where(plan_items.c.item_id == item_id)
    conn.execute(own.values(state_before=json.dumps(state)))


def state_before(row: Row[Any]) -> dict[str, Any]:
    """Return the item's state before."""
    return dict(json.loads(row.state_before))


def counts(conn: Connection, run_id: int) -> dict[str, int]:
    """Count a run's items by outcome."""
    statement = select(plan_items.c.outcome, func.count()).where(plan_items.c.run_id == run_id)
    found = conn.execute(statement.group_by(plan_items.c.outcome))
    return {str(outcome): int(number) for outcome, number in found}


def managed(conn: Connection) -> list[Row[Any]]:
    """Return every linked jobcode with its job."""
    statement = select(
        jobs.c.job_id, jobs.c.job_number, jobs.c.active, jobs.c.rule, links.c.jobcode_id
    ).select_from(links.join(jobs, jobs.c.job_id == links.c.job_id))
    return list(conn.execute(statement.where(links.c.jobcode_id.is_not(None))))
