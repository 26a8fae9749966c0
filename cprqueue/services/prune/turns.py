"""One order at a time, of prunes, remove-alls and undos.

An order is live from the moment that it is on record until its run has ended. While one is live,
every other is refused by name, so that none is carried out on facts from before another.
Whatever makes an order live calls ``take_turn`` first, in the same transaction.
"""

from __future__ import annotations

from sqlalchemy import Connection

from cprqueue.domain.records import Run
from cprqueue.domain.states import RunKind, RunState
from cprqueue.errors import AlreadyRunning
from cprqueue.store import locks, runs

OPEN = (RunState.QUEUED, RunState.RUNNING)
LIVE = {
    RunKind.PRUNE: (*OPEN, RunState.APPROVED),
    RunKind.REMOVE_ALL: (*OPEN, RunState.STOPPING),
    RunKind.UNDO: OPEN,
}


def take_turn(conn: Connection, *but: int | None) -> None:
    """Raise AlreadyRunning while another order than ``but`` is live; it names that one.

    Until the transaction ends nobody else can put an order on record.
    """
    locks.serialize(conn, locks.PRUNE)
    refuse_live(conn, *but)


def refuse_live(conn: Connection, *but: int | None) -> None:
    """Raise AlreadyRunning while another order than ``but`` is live; it names that one."""
    other = live(conn, *but)
    if other is not None:
        raise AlreadyRunning(f"{title(other)} is {other.state}: {how_to_end(other)}")


def live(conn: Connection, *but: int | None) -> Run | None:
    """Return the order that is queued or at work, if any other than ``but`` is."""
    for kind, states in LIVE.items():
        for run in runs.newest_few(conn, kind, *states, limit=100):
            if run.run_id not in but:
                return run
    return None


def title(run: Run) -> str:
    """Name an order as people do."""
    words = {RunKind.PRUNE: "prune", RunKind.REMOVE_ALL: "remove-all"}
    if run.kind in words:
        return f"{words[run.kind]} {run.run_id}"
    return f"undo {run.run_id} (of run {run.details.get('of_run')})"


def how_to_end(run: Run) -> str:
    """Say how a live order comes to its end."""
    if run.kind is RunKind.UNDO:
        return f"wait for its end; `cprqueue undo {run.details.get('of_run')}` continues it"
    return f"wait for its end, or end it with `cprqueue undo {run.run_id}`"
