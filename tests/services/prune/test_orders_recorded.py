"""An order is on record first; what becomes of it is written down beside it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from cprqueue.domain.states import RunKind, RunState
from cprqueue.errors import ServiceUnreachable, UsageError
from cprqueue.services.prune import months, orders
from cprqueue.store import runs
from cprqueue.store.database import Database, clock

ZONE = "America/Boise"
QUIET = timedelta(minutes=1)


def a_run(
    db: Database, kind: RunKind, state: RunState, *, ago: timedelta = timedelta(0), **more: Any
) -> int:
    """Have a run in this state that moved so long ago."""
    with db.begin() as conn:
        run_id = runs.create(conn, kind, now=clock(conn) - ago, state=state)
        if more:
            runs.change(conn, run_id, **more)
    return run_id


def get(db: Database, run_id: int) -> Any:
    with db.read() as conn:
        return runs.get(conn, run_id)


def test_a_prune_that_a_person_asks_for_is_on_record_with_who_asked(db: Database) -> None:
    run_id = orders.request_prune(db, "operator")
    run = get(db, run_id)
    assert (run.kind, run.state, run.requested_by) == ("prune", "queued", "operator")


def test_an_order_has_a_snapshot_of_its_own_that_the_run_names(db: Database) -> None:
    run_id = orders.request_prune(db, "operator")
    with db.begin() as conn:
        runs.set_detail(conn, run_id, {"limit": 10})
    made = orders.prune(db, run_id, ZONE, quiet=QUIET)
    assert made is not None
    assert made.run_id == run_id
    snapshot = get(db, made.snapshot_id)
    assert (snapshot.kind, snapshot.state, snapshot.requested_by) == ("snapshot", "queued", "prune")
    assert get(db, run_id).detail == {"limit": 10, "snapshot_id": made.snapshot_id}


@pytest.mark.parametrize("state", [RunState.DONE, RunState.FAILED, RunState.HELD])
def test_the_message_of_a_prune_that_is_over_orders_nothing(db: Database, state: RunState) -> None:
    run_id = a_run(db, RunKind.PRUNE, state)
    assert orders.prune(db, run_id, ZONE, quiet=QUIET) is None
    assert get(db, run_id).state is state


def test_an_order_moves_when_its_message_comes(db: Database) -> None:
    run_id = a_run(db, RunKind.PRUNE, RunState.QUEUED, ago=QUIET)
    before = get(db, run_id).touched_at
    assert orders.prune(db, run_id, ZONE, quiet=QUIET) is not None
    assert get(db, run_id).touched_at > before


def test_a_month_that_is_not_owed_orders_nothing(db: Database) -> None:
    assert orders.prune(db, None, ZONE, quiet=QUIET) is None
    with db.read() as conn:
        assert runs.newest(conn, RunKind.SNAPSHOT) is None


def test_a_month_that_was_put_on_record_but_never_ordered_is_owed(db: Database) -> None:
    with db.begin() as conn:
        first = months.month_start(clock(conn), ZONE) - timedelta(days=1)
        runs.create(conn, RunKind.FETCH, now=first, state=RunState.DONE)
    owed = months.owed(db, ZONE)
    made = orders.prune(db, None, ZONE, quiet=QUIET)
    assert made is not None
    assert made.run_id == owed
    assert orders.prune(db, None, ZONE, quiet=QUIET) is None, "now it is under way"
    assert orders.prune(db, None, ZONE, quiet=timedelta(0)) is not None, "its message was lost"


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        (RunKind.PRUNE, RunState.DONE),
        (RunKind.PRUNE, RunState.QUEUED),
        (RunKind.REMOVE_ALL, RunState.HELD),
    ],
)
def test_only_a_held_prune_can_be_approved(db: Database, kind: RunKind, state: RunState) -> None:
    run_id = a_run(db, kind, state)
    with pytest.raises(UsageError, match=f"run {run_id} is not a held prune"):
        orders.approve(db, run_id)
    assert get(db, run_id).state is state


def test_a_run_that_nobody_knows_cannot_be_approved(db: Database) -> None:
    with pytest.raises(UsageError, match="run 4711 is not a held prune"):
        orders.approve(db, 4711)


def test_an_approval_is_on_record_and_may_be_repeated(db: Database) -> None:
    held = a_run(db, RunKind.PRUNE, RunState.HELD, ago=QUIET)
    with db.begin() as conn:
        runs.change(conn, held, finished_at=clock(conn))
    for _ in range(2):
        orders.approve(db, held)
    run = get(db, held)
    assert (run.state, run.note) == (RunState.APPROVED, "approved, waiting for a fresh snapshot")
    assert run.finished_at is None
    assert run.touched_at > run.created_at


@pytest.mark.parametrize(
    ("state", "after", "ended"),
    [
        (RunState.QUEUED, RunState.FAILED, True),
        (RunState.RUNNING, RunState.FAILED, True),
        (RunState.APPROVED, RunState.HELD, False),
        (RunState.DONE, RunState.DONE, False),
    ],
)
def test_a_failed_snapshot_ends_the_prune_that_waits_for_it(
    db: Database, state: RunState, after: RunState, ended: bool
) -> None:
    run_id = a_run(db, RunKind.PRUNE, state)
    assert orders.note_failure(db, run_id, ServiceUnreachable("gone")) is ended
    run = get(db, run_id)
    assert run.state == after
    assert (run.finished_at is not None) == (state is not RunState.DONE)
    if after is RunState.HELD:
        said = "not approved: its snapshot failed: gone."
        assert run.note == f"{said} To archive exactly these: cprqueue prune approve {run_id}"


def test_a_failed_snapshot_that_no_prune_waits_for_ends_nothing(db: Database) -> None:
    assert orders.note_failure(db, None, ServiceUnreachable("gone")) is False


def test_the_snapshot_of_a_prune_that_has_ended_ends_too(db: Database) -> None:
    prune_id = a_run(db, RunKind.PRUNE, RunState.STOPPED)
    waiting = a_run(db, RunKind.SNAPSHOT, RunState.QUEUED)
    taken = a_run(db, RunKind.SNAPSHOT, RunState.DONE)
    said = f"not needed: run {prune_id}, which it was for, has ended"
    assert {orders.drop_snapshot(db, id_, prune_id) for id_ in (waiting, taken, None)} == {said}
    assert (get(db, waiting).state, get(db, waiting).note) == (RunState.STOPPED, said)
    assert (get(db, taken).state, get(db, taken).note) == (RunState.DONE, None)
