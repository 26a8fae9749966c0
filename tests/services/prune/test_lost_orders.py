"""Which orders are sent again, and which are too old for it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from cprqueue.domain.records import NewPlanItem, StateBefore
from cprqueue.domain.states import Outcome, RunKind, RunState
from cprqueue.services.prune import lost_orders
from cprqueue.store import plan_items, runs
from cprqueue.store.database import Database, clock

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


def plan(db: Database, run_id: int) -> None:
    before = StateBefore(
        name="A-1", parent_id=0, type="regular", assigned_to_all=True, short_code=""
    )
    row = NewPlanItem(
        job_id=1, job_number="A-1", jobcode_id=1, name="A-1", reason="closed",
        state_before=before, outcome=Outcome.PLANNED,
    )  # fmt: skip
    with db.begin() as conn:
        plan_items.add(conn, run_id, [row])


def test_each_lost_run_is_sent_to_its_own_task(db: Database) -> None:
    prune = a_run(db, RunKind.PRUNE, RunState.QUEUED, ago=2 * QUIET)
    approved = a_run(db, RunKind.PRUNE, RunState.APPROVED, ago=2 * QUIET)
    removal = a_run(db, RunKind.REMOVE_ALL, RunState.STOPPING, ago=2 * QUIET)
    assert sorted(lost_orders.find(db, quiet=QUIET), key=lambda task: task[1]["run_id"]) == [
        ("cpr.snapshot_and_prune", {"run_id": prune}),
        ("cpr.snapshot_and_prune", {"run_id": approved, "approve": True}),
        ("cpr.remove_all", {"run_id": removal}),
    ]
    assert lost_orders.find(db, quiet=QUIET) == []


def test_a_lost_run_is_sent_again_after_a_while(db: Database) -> None:
    a_run(db, RunKind.PRUNE, RunState.QUEUED, ago=2 * QUIET)
    assert len(lost_orders.find(db, quiet=timedelta(0))) == 1
    assert len(lost_orders.find(db, quiet=timedelta(0))) == 1


@pytest.mark.parametrize(
    ("kind", "state"), [(RunKind.PRUNE, RunState.FAILED), (RunKind.REMOVE_ALL, RunState.STOPPED)]
)
def test_an_order_of_more_than_a_day_that_never_began_is_ended_with_the_reason(
    db: Database, kind: RunKind, state: RunState
) -> None:
    run_id = a_run(db, kind, RunState.QUEUED, ago=timedelta(days=1, minutes=1))
    assert lost_orders.find(db, quiet=QUIET) == []
    run = get(db, run_id)
    assert (run.state, run.note) == (state, "never carried out, and too old now: order it again")
    assert run.finished_at is not None


def test_an_order_of_almost_a_day_is_carried_out(db: Database) -> None:
    a_run(db, RunKind.PRUNE, RunState.QUEUED, ago=timedelta(hours=23))
    assert len(lost_orders.find(db, quiet=QUIET)) == 1


def test_what_has_begun_is_never_too_old(db: Database) -> None:
    week = timedelta(days=7)
    plan(db, a_run(db, RunKind.PRUNE, RunState.RUNNING, ago=week))
    with db.read() as conn:
        now = clock(conn)
    a_run(db, RunKind.REMOVE_ALL, RunState.RUNNING, ago=week, started_at=now - week)
    assert len(lost_orders.find(db, quiet=QUIET)) == 2


def test_a_prune_whose_snapshot_has_just_moved_is_not_lost(db: Database) -> None:
    snapshot = a_run(db, RunKind.SNAPSHOT, RunState.DONE)
    prune = a_run(db, RunKind.PRUNE, RunState.QUEUED, ago=2 * QUIET)
    with db.begin() as conn:
        runs.set_detail(conn, prune, {"snapshot_id": snapshot})
    assert lost_orders.find(db, quiet=QUIET) == []
    with db.begin() as conn:
        runs.set_detail(conn, prune, {"snapshot_id": 4711})
    assert len(lost_orders.find(db, quiet=QUIET)) == 1


def test_an_approval_that_nobody_began_for_a_day_is_held_again(db: Database) -> None:
    prune = a_run(db, RunKind.PRUNE, RunState.APPROVED, ago=timedelta(days=2))
    plan(db, prune)
    assert lost_orders.find(db, quiet=QUIET) == []
    run = get(db, prune)
    assert run.state is RunState.HELD
    assert run.note.endswith(f"cprqueue prune approve {prune}")


def test_an_undo_that_an_older_version_left_running_is_not_taken_up(db: Database) -> None:
    with db.read() as conn:
        week = clock(conn) - timedelta(days=7)
    undo = a_run(
        db, RunKind.UNDO, RunState.RUNNING, ago=timedelta(days=7), started_at=week, touched_at=week
    )
    assert lost_orders.find(db, quiet=QUIET) == []
    assert get(db, undo).state is RunState.STOPPED


def test_an_undo_that_a_late_archive_queued_again_is_carried_out(db: Database) -> None:
    with db.read() as conn:
        week = clock(conn) - timedelta(days=7)
    a_run(
        db, RunKind.UNDO, RunState.QUEUED, ago=timedelta(days=7), started_at=week, touched_at=week
    )
    assert len(lost_orders.find(db, quiet=QUIET)) == 1
