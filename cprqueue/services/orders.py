"""Orders for prunes and remove-alls: put on record first, so that a lost message loses nothing."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from cprqueue.errors import CprqueueError
from cprqueue.services import months
from cprqueue.store import plans, runs
from cprqueue.store.database import Database, clock
from cprqueue.store.locks import claim_moment

log = logging.getLogger(__name__)

QUIET = timedelta(minutes=3)
"""A run in the middle of its plan that nobody touched for this long has lost its worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A prune and the snapshot that it waits for."""

    run_id: int
    snapshot_id: int


def prune(db: Database, run_id: int | None, timezone: str) -> Order | None:
    """Return the order to carry out; None where no month is owed (only without ``run_id``)."""
    run_id = run_id or months.owed(db, timezone)
    if run_id is None:
        return None
    with db.begin() as conn:
        snapshot_id = runs.create(conn, "snapshot", now=clock(conn), requested_by="prune")
        row = runs.get(conn, run_id)
        detail = (runs.detail(row) if row else None) or {}
        runs.set_detail(conn, run_id, {**detail, "snapshot_id": snapshot_id})
        runs.change(conn, run_id, only_from=("failed",), state="queued", finished_at=None)
    return Order(run_id=run_id, snapshot_id=snapshot_id)


def request_prune(db: Database, requested_by: str) -> int:
    """Put a prune on record that is not the month's; return its run id."""
    with db.begin() as conn:
        return runs.create(conn, "prune", now=clock(conn), requested_by=requested_by)


def note_failure(db: Database, run_id: int | None, error: CprqueueError) -> None:
    """Note on a waiting prune that its snapshot failed for good."""
    if run_id is None:
        return
    with db.begin() as conn:
        values: dict[str, Any] = {"state": "failed", "finished_at": clock(conn)}
        note = f"its snapshot failed: {error}"
        runs.change(conn, run_id, only_from=("queued", "running"), note=note, **values)


def interrupted(db: Database) -> list[tuple[str, dict[str, Any]]]:
    """Return the tasks to send again: runs with a plan whose worker is gone."""
    with db.begin() as conn:
        now = clock(conn)
        found = []
        for kind, task in (("prune", "cpr.prune_inactive"), ("remove_all", "cpr.remove_all")):
            for run in runs.newest_few(conn, kind, "running", limit=5):
                quiet = run.touched_at is None or run.touched_at < now - QUIET
                if quiet and plans.counts(conn, run.run_id) and _first(conn, run.run_id, now):
                    found.append((task, {"run_id": run.run_id}))
    return found


def _first(conn: Any, run_id: int, now: Any) -> bool:
    return claim_moment(conn, f"resume-{run_id}", now=now, moment=now + QUIET)
