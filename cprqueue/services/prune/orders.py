"""Orders for prunes and remove-alls: put on record first, so that a lost message loses nothing."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from cprqueue.domain.records import Run, RunKind, RunState
from cprqueue.errors import CprqueueError, UsageError
from cprqueue.services.prune import months
from cprqueue.store import plan_items, runs
from cprqueue.store.app_state import claim_moment
from cprqueue.store.database import Database, clock

log = logging.getLogger(__name__)

WORTH = timedelta(days=1)
"""An order without a plan that is older than this is not carried out any more by itself."""

LIVE = (RunState.QUEUED, RunState.RUNNING)


Task = tuple[str, dict[str, int]]
"""A task's name and its arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A prune and the snapshot that it waits for."""

    run_id: int
    snapshot_id: int


def prune(db: Database, run_id: int | None, timezone: str, *, quiet: timedelta) -> Order | None:
    """Return the order to carry out; None where no month is owed (only without ``run_id``).

    A month that was ordered before and has moved within ``quiet`` is under way, not owed.
    """
    asked, run_id = run_id, run_id or months.owed(db, timezone)
    if run_id is None:
        return None
    with db.begin() as conn:
        row = runs.get(conn, run_id)
        if asked is None and row is not None and _under_way(conn, row, quiet):
            return None
        snapshot_id = runs.create(conn, RunKind.SNAPSHOT, now=clock(conn), requested_by="prune")
        detail = row.details if row else {}
        runs.set_detail(conn, run_id, {**detail, "snapshot_id": snapshot_id})
        failed, queued = RunState.FAILED, RunState.QUEUED
        runs.change(conn, run_id, only_from=(failed,), state=queued, finished_at=None)
        runs.change(conn, run_id, touched_at=clock(conn))
    return Order(run_id=run_id, snapshot_id=snapshot_id)


def _under_way(conn: Connection, row: Run, quiet: timedelta) -> bool:
    ordered = "snapshot_id" in row.details
    return ordered and row.state in runs.OPEN and _touched(conn, row) > clock(conn) - quiet


def request_prune(db: Database, requested_by: str) -> int:
    """Put a prune on record that is not the month's; return its run id."""
    with db.begin() as conn:
        return runs.create(conn, RunKind.PRUNE, now=clock(conn), requested_by=requested_by)


def how_to_approve(run_id: int) -> str:
    """Return the sentence that names the next command for a held prune."""
    return f"To archive exactly these: cprqueue prune approve {run_id}"


_HELD = (RunState.HELD, RunState.APPROVED)


def require_held(conn: Connection, run_id: int) -> None:
    """Raise UsageError unless the run is a prune that is held, or approved before."""
    row = runs.get(conn, run_id)
    if row is None or row.kind is not RunKind.PRUNE or row.state not in _HELD:
        raise UsageError(f"run {run_id} is not a held prune: see `cprqueue history`")


def note_approval(conn: Connection, run_id: int) -> None:
    """Put on record that a held prune is approved; repeated, it changes nothing."""
    note = "approved, waiting for a fresh snapshot"
    runs.change(
        conn,
        run_id,
        only_from=(RunState.HELD,),
        state=RunState.APPROVED,
        touched_at=clock(conn),
        finished_at=None,
        note=note,
    )


def note_failure(db: Database, run_id: int | None, error: CprqueueError) -> bool:
    """Note on a waiting prune that its snapshot failed for good; True if that ended the run."""
    if run_id is None:
        return False
    note = f"its snapshot failed: {error}"
    with db.begin() as conn:
        now, state = clock(conn), RunState.FAILED
        ended = runs.change(conn, run_id, only_from=LIVE, state=state, finished_at=now, note=note)
    refuse_approval(db, run_id, note)
    return ended


def refuse_approval(
    db: Database, run_id: int, reason: str, *, also_from: tuple[RunState, ...] = ()
) -> None:
    """Note on an approved prune that its approval came to nothing; it is held again.

    ``also_from``: states that it may have come to since it was approved.
    """
    with db.begin() as conn:
        note = f"not approved: {reason}. {how_to_approve(run_id)}"
        now, only_from = clock(conn), (RunState.APPROVED, *also_from)
        state = RunState.HELD
        runs.change(conn, run_id, only_from=only_from, state=state, finished_at=now, note=note)


def interrupted(db: Database, *, quiet: timedelta) -> list[Task]:
    """Return the tasks to send again: of runs that nobody has touched for ``quiet``.

    Their worker is gone, or their message. Sent twice they do no harm. What nobody carried out
    for a day is ended instead: by then it is not what was meant.
    """
    with db.begin() as conn:
        now = clock(conn)
        found = []
        for run in _lost(conn, now - quiet):
            if _too_old(conn, run, now):
                _end_too_old(conn, run, now)
            elif claim_moment(conn, f"resume-{run.run_id}", now=now, moment=now + quiet):
                found.append(_task(run))
        return found


def _lost(conn: Connection, before: datetime) -> list[Run]:
    prunes = runs.newest_few(conn, RunKind.PRUNE, *LIVE, RunState.APPROVED, limit=100)
    removals = runs.newest_few(conn, RunKind.REMOVE_ALL, *LIVE, RunState.STOPPING, limit=100)
    return [run for run in [*prunes, *removals] if _touched(conn, run) < before]


def _touched(conn: Connection, run: Run) -> datetime:
    """Return when the run last moved, or the snapshot that it was ordered with."""
    snapshot_id = run.details.get("snapshot_id")
    snapshot = runs.get(conn, snapshot_id) if isinstance(snapshot_id, int) else None
    moments: list[datetime | None] = [run.moved]
    if snapshot is not None:
        moments += [snapshot.touched_at, snapshot.finished_at]
    return max(moment for moment in moments if moment)


def _too_old(conn: Connection, run: Run, now: datetime) -> bool:
    if run.kind is RunKind.REMOVE_ALL:
        begun = run.started_at is not None
    else:
        begun = bool(plan_items.counts(conn, run.run_id))
    return not begun and _touched(conn, run) < now - WORTH


def _end_too_old(conn: Connection, run: Run, now: datetime) -> None:
    state = RunState.STOPPED if run.kind is RunKind.REMOVE_ALL else RunState.FAILED
    note = "never carried out, and too old now: order it again"
    runs.change(conn, run.run_id, only_from=(run.state,), state=state, finished_at=now, note=note)


def _task(run: Run) -> Task:
    if run.kind is RunKind.REMOVE_ALL:
        return "cpr.remove_all", {"run_id": run.run_id}
    approve = {"approve": True} if run.state is RunState.APPROVED else {}
    return "cpr.snapshot_and_prune", {"run_id": run.run_id, **approve}
