"""Orders for undos: what was asked for, which items of which run, and what it has lost so far."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace

from sqlalchemy import Connection

from cprqueue.domain.models import built, name_key
from cprqueue.domain.records import PlanItem, Run
from cprqueue.domain.states import Outcome, RunKind, RunState
from cprqueue.errors import UsageError
from cprqueue.services.prune import turns
from cprqueue.services.prune.restore import Lost
from cprqueue.store import plan_items, runs
from cprqueue.store.database import clock

LEFT = (Outcome.SENDING, Outcome.ARCHIVED, Outcome.RESTORING)
KINDS = (RunKind.PRUNE, RunKind.REMOVE_ALL)

ENDED_BY_UNDO = "ended by the undo"
"""How the note begins of a run that a person ended by undoing it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoOrder:
    """What an undo was asked for, and what it has lost so far; the detail of its run.

    ``keep_by``: who keeps what comes back, or nobody; ``kept``: how many are, at its end.
    """

    of_run: int
    numbers: list[str]
    lost: list[dict[str, str]]
    keep_by: str = ""
    kept: int = 0

    @classmethod
    def of(cls, run: Run) -> UndoOrder:
        """Read it from the undo's run."""
        return built(cls, run.details)


@dataclass(slots=True, kw_only=True)
class UndoResult:
    """What an undo did. ``lost``: (job number or name, what could not be restored)."""

    restored: int = 0
    lost: Lost = field(default_factory=list)
    kept: int = 0

    @classmethod
    def of(cls, run: Run) -> UndoResult:
        """Read it from the undo's run."""
        order = UndoOrder.of(run)
        lost = [(entry["what"], entry["text"]) for entry in order.lost]
        return cls(restored=run.recorded, lost=lost, kept=order.kept)

    def text(self) -> str:
        """Return it as one line."""
        more = f", {len(self.lost)} not wholly" if self.lost else ""
        kept = f", {self.kept} kept" if self.kept else ""
        return f"{self.restored} restored{kept}{more}"


def queue(conn: Connection, order: UndoOrder, requested_by: str) -> int:
    """Queue the undo of this order that has not come to its end, or else a new one."""
    unfinished = _unfinished(conn, order)
    turns.take_turn(conn, unfinished, None if order.numbers else order.of_run)
    if unfinished is not None:
        runs.requeue(conn, unfinished)
        if order.keep_by:
            found = UndoOrder.of(runs.existing(conn, unfinished, to_write=True))
            runs.progress(conn, unfinished, detail=asdict(replace(found, keep_by=order.keep_by)))
        return unfinished
    run_id = runs.create(conn, RunKind.UNDO, requested_by=requested_by)
    runs.progress(conn, run_id, detail=asdict(order))
    return run_id


def _unfinished(conn: Connection, order: UndoOrder) -> int | None:
    states = (*turns.OPEN, RunState.STOPPED)
    for row in runs.newest_few(conn, RunKind.UNDO, *states, limit=20):
        if replace(UndoOrder.of(row), lost=[], keep_by=order.keep_by, kept=0) == order:
            return row.run_id
    return None


def end_undone(conn: Connection, of_run: int, undo_id: int) -> None:
    """End the run that is undone: what it has not archived yet stays."""
    runs.progress(conn, of_run)  # locks its row: no batch is on its way from here on
    note = f"not archived: run {undo_id} undid the plan"
    plan_items.drop_planned(conn, of_run, now=clock(conn), note=note)
    if runs.existing(conn, of_run).state is not RunState.DONE:
        note = f"{ENDED_BY_UNDO} of run {undo_id}"
        runs.finish(conn, of_run, RunState.DONE, note=note)


def chosen(conn: Connection, order: UndoOrder) -> list[PlanItem]:
    """Return the items to restore. Raises UsageError for a number that the run did not archive."""
    return [item for item in covered(conn, order) if item.outcome in LEFT]


def covered(conn: Connection, order: UndoOrder) -> list[PlanItem]:
    """Return the items to restore and those that are restored. Raises as ``chosen`` does."""
    items = plan_items.of_run(conn, order.of_run, *LEFT, Outcome.RESTORED)
    keys = {name_key(number): number for number in order.numbers}
    found = [item for item in items if not keys or name_key(item.label) in keys]
    known = {name_key(item.label) for item in found}
    unknown = [number for key, number in keys.items() if key not in known]
    if unknown:
        raise UsageError(f"run {order.of_run} archived no {', '.join(unknown)}")
    return found
