"""Orders for prunes: on record first, so that a lost message loses nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from cprqueue.domain.records import Run
from cprqueue.domain.states import Outcome, RunKind, RunState
from cprqueue.errors import CprqueueError, UsageError
from cprqueue.services.prune import months
from cprqueue.services.prune.turns import LIVE, OPEN, take_turn
from cprqueue.store import events, plan_items, runs
from cprqueue.store.database import Database, clock

WORTH = timedelta(days=1)
"""An order that nobody has begun for so long is not what was meant any more."""

SENT = {Outcome.SENDING, Outcome.ARCHIVED, Outcome.FAILED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A prune and the snapshot that it waits for."""

    run_id: int
    snapshot_id: int


def request_prune(db: Database, requested_by: str) -> int:
    """Put a prune on record that is not the month's; return its run id.

    Raises AlreadyRunning while another order is live.
    """
    with db.begin() as conn:
        take_turn(conn)
        return runs.create(conn, RunKind.PRUNE, requested_by=requested_by)


def prune(db: Database, run_id: int | None, timezone: str, *, quiet: timedelta) -> Order | None:
    """Queue the snapshot of a prune and return both ids; None where nothing is to be done.

    With ``run_id``: nothing unless that order is still live, however late its message comes.
    Without: nothing unless this month's prune is owed. It waits while another order is live,
    and one that was queued before and has moved within ``quiet`` is under way.
    """
    asked = run_id is not None
    run_id = run_id or months.owed(db, timezone)
    if run_id is None:
        return None
    with db.begin() as conn:
        row = runs.get(conn, run_id, to_write=True)
        if row is None or row.state not in LIVE[RunKind.PRUNE]:
            return None
        if end_too_old(conn, run_id) if asked else _under_way(conn, row, quiet):
            return None
        snapshot_id = runs.create(conn, RunKind.SNAPSHOT, requested_by="prune")
        runs.progress(conn, run_id, detail={**row.details, "snapshot_id": snapshot_id})
    return Order(run_id=run_id, snapshot_id=snapshot_id)


def _under_way(conn: Connection, row: Run, quiet: timedelta) -> bool:
    return "snapshot_id" in row.details and moved(conn, row) > clock(conn) - quiet


def is_live(db: Database, run_id: int) -> bool:
    """Tell whether a prune is still to be carried out, or being carried out."""
    with db.read() as conn:
        row = runs.get(conn, run_id)
    return row is not None and row.state in LIVE[RunKind.PRUNE]


def drop_snapshot(db: Database, snapshot_id: int | None, for_run: int) -> str:
    """End the snapshot of a prune that has ended before it began; return why."""
    reason = f"not needed: run {for_run}, which it was for, has ended"
    if snapshot_id is not None:
        with db.begin() as conn:
            only_from = (RunState.QUEUED,)
            runs.finish(conn, snapshot_id, RunState.STOPPED, only_from=only_from, note=reason)
    return reason


def moved(conn: Connection, run: Run) -> datetime:
    """Return when the run last moved, or the snapshot that it waits for."""
    snapshot_id = run.details.get("snapshot_id")
    snapshot = runs.get(conn, snapshot_id) if isinstance(snapshot_id, int) else None
    return max(run.moved, snapshot.moved) if snapshot else run.moved


def end_too_old(conn: Connection, run_id: int) -> bool:
    """End a live order that nobody has begun for a day; True if this did. An approval is over.

    Whoever carries out an order asks: its message may have waited in a broker that was down.
    """
    run = runs.get(conn, run_id)
    if run is None or run.state not in LIVE.get(run.kind, ()) or _begun(conn, run):
        return False
    if moved(conn, run) >= clock(conn) - WORTH:
        return False
    note = "never carried out, and too old now"
    if run.state is RunState.APPROVED:
        _hold_again(conn, run_id, note, LIVE[RunKind.PRUNE])
    else:
        state = RunState.FAILED if run.kind is RunKind.PRUNE else RunState.STOPPED
        note = f"{note}: order it again"
        runs.finish(conn, run_id, state, only_from=(run.state,), note=note)
    return True


def _begun(conn: Connection, run: Run) -> bool:
    if run.kind is RunKind.PRUNE:
        return run.state is not RunState.APPROVED and bool(plan_items.counts(conn, run.run_id))
    if run.kind is RunKind.REMOVE_ALL:
        return run.state is not RunState.QUEUED
    # One that ended is queued again by an archive that came late; older versions left some
    # running for ever, and a person who still wants one asks for it again.
    return run.state is RunState.QUEUED and run.started_at is not None


def withdraw(db: Database, run_id: int, *, approval: bool = False) -> bool:
    """Take back a prune of which nothing was sent; False where something was, or it has ended.

    An ``approval`` is taken back by this, and the plan is held again.
    """
    with db.begin() as conn:
        # This locks the row of the run: no batch is on its way from here on.
        if not runs.progress(conn, run_id, only_from=LIVE[RunKind.PRUNE]):
            return False
        if SENT & set(plan_items.counts(conn, run_id)):
            return False
        note = "withdrawn: nothing was archived"
        if approval:
            _hold_again(conn, run_id, note, LIVE[RunKind.PRUNE])
        else:
            plan_items.drop_planned(conn, run_id, now=clock(conn), note=note)
            runs.finish(conn, run_id, RunState.STOPPED, note=note)
    return True


# --- approvals ---


def how_to_approve(run_id: int) -> str:
    """Return the sentence that names the next command for a held prune."""
    return f"To archive exactly these: cprqueue prune approve {run_id}"


def approve(db: Database, run_id: int, *, requested_by: str = "") -> bool:
    """Put on record that a held prune is approved; repeated, it changes nothing.

    Of two who approve at once, one gets True: it is for that one to send the order.

    Raises UsageError for any other run, and AlreadyRunning while another order is live.
    """
    with db.begin() as conn:
        take_turn(conn, run_id)
        row = runs.get(conn, run_id, to_write=True)
        held = (RunState.HELD, RunState.APPROVED)
        if row is None or row.kind is not RunKind.PRUNE or row.state not in held:
            raise UsageError(f"run {run_id} is not a held prune: see `cprqueue history`")
        note, state = "approved, waiting for a fresh snapshot", RunState.APPROVED
        now = clock(conn)
        runs.change(conn, run_id, state=state, note=note, touched_at=now, finished_at=None)
        is_new = row.state is RunState.HELD
        named = is_new and requested_by
        planned = plan_items.of_run(conn, run_id, Outcome.PLANNED) if named else []
        ids = [item.job_id for item in planned if item.job_id is not None]
        what = f"approval of the prune of run {run_id}"
        events.add(conn, events.ordered(ids, what, requested_by, at=now, run_id=run_id))
    return is_new


def refuse_approval(db: Database, run_id: int, reason: str, *also_from: RunState) -> None:
    """Note on an approved prune that its approval came to nothing; it is held again.

    ``also_from``: states that it may have come to since it was approved.
    """
    with db.begin() as conn:
        _hold_again(conn, run_id, f"not approved: {reason}", (RunState.APPROVED, *also_from))


def _hold_again(conn: Connection, run_id: int, note: str, only_from: tuple[RunState, ...]) -> None:
    note = f"{note}. {how_to_approve(run_id)}"
    runs.finish(conn, run_id, RunState.HELD, only_from=only_from, note=note)


def note_failure(db: Database, run_id: int | None, error: CprqueueError) -> bool:
    """Note on a waiting prune that its snapshot failed for good; True if that ended the run."""
    if run_id is None:
        return False
    note = f"its snapshot failed: {error}"
    with db.begin() as conn:
        ended = runs.finish(conn, run_id, RunState.FAILED, only_from=OPEN, note=note)
    refuse_approval(db, run_id, note)
    return ended
