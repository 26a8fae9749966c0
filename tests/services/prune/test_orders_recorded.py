"""An order is on record first; what becomes of it is written down beside it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from cprqueue.domain.records import NewPlanItem, Outcome, RunKind, RunState, StateBefore
from cprqueue.errors import ServiceUnreachable, UsageError
from cprqueue.services.prune import months, orders
from cprqueue.store import plan_items, runs
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


def test_a_prune_that_failed_is_taken_up_again_and_one_that_is_over_is_not(db: Database) -> None:
    failed = a_run(db, RunKind.PRUNE, RunState.FAILED, ago=QUIET, finished_at=None)
    over = a_run(db, RunKind.PRUNE, RunState.DONE)
    before = get(db, failed).touched_at
    for run_id in (failed, over):
        assert orders.prune(db, run_id, ZONE, quiet=QUIET) is not None
    assert (get(db, failed).state, get(db, failed).finished_at) == ("queued", None)
    assert get(db, failed).touched_at > before
    assert get(db, over).state == "done"


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
    with db.begin() as conn:
        runs.change(conn, made.run_id, state=RunState.FAILED)
    assert orders.prune(db, None, ZONE, quiet=QUIET) is not None


@pytest.mark.parametrize(
    ("kind", "state", "fits"),
    [
        (RunKind.PRUNE, RunState.HELD, True),
        (RunKind.PRUNE, RunState.APPROVED, True),
        (RunKind.PRUNE, RunState.DONE, False),
        (RunKind.PRUNE, RunState.QUEUED, False),
        (RunKind.REMOVE_ALL, RunState.HELD, False),
    ],
)
def test_only_a_held_prune_can_be_approved(
    db: Database, kind: RunKind, state: RunState, fits: bool
) -> None:
    run_id = a_run(db, kind, state)
    with db.read() as conn:
        if fits:
            orders.require_held(conn, run_id)
        else:
            with pytest.raises(UsageError, match=f"run {run_id} is not a held prune"):
                orders.require_held(conn, run_id)


def test_a_run_that_nobody_knows_cannot_be_approved(db: Database) -> None:
    with db.read() as conn, pytest.raises(UsageError, match="run 4711 is not a held prune"):
        orders.require_held(conn, 4711)


def test_an_approval_is_on_record_and_of_a_held_run_alone(db: Database) -> None:
    held, done = (
        a_run(db, RunKind.PRUNE, RunState.HELD, ago=QUIET),
        a_run(db, RunKind.PRUNE, RunState.DONE),
    )
    with db.begin() as conn:
        runs.change(conn, held, finished_at=clock(conn))
        for run_id in (held, done):
            orders.note_approval(conn, run_id)
    run = get(db, held)
    assert (run.state, run.note) == (RunState.APPROVED, "approved, waiting for a fresh snapshot")
    assert run.finished_at is None
    assert run.touched_at > run.created_at
    assert get(db, done).state == "done"


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


def test_each_lost_run_is_sent_to_its_own_task(db: Database) -> None:
    prune = a_run(db, RunKind.PRUNE, RunState.QUEUED, ago=2 * QUIET)
    approved = a_run(db, RunKind.PRUNE, RunState.APPROVED, ago=2 * QUIET)
    removal = a_run(db, RunKind.REMOVE_ALL, RunState.STOPPING, ago=2 * QUIET)
    assert sorted(orders.interrupted(db, quiet=QUIET), key=lambda task: task[1]["run_id"]) == [
        ("cpr.snapshot_and_prune", {"run_id": prune}),
        ("cpr.snapshot_and_prune", {"run_id": approved, "approve": True}),
        ("cpr.remove_all", {"run_id": removal}),
    ]
    assert orders.interrupted(db, quiet=QUIET) == []


def test_a_lost_run_is_sent_again_after_a_while(db: Database) -> None:
    a_run(db, RunKind.PRUNE, RunState.QUEUED, ago=2 * QUIET)
    assert len(orders.interrupted(db, quiet=timedelta(0))) == 1
    assert len(orders.interrupted(db, quiet=timedelta(0))) == 1


@pytest.mark.parametrize(
    ("kind", "state"), [(RunKind.PRUNE, RunState.FAILED), (RunKind.REMOVE_ALL, RunState.STOPPED)]
)
def test_an_order_of_more_than_a_day_that_never_began_is_ended_with_the_reason(
    db: Database, kind: RunKind, state: RunState
) -> None:
    run_id = a_run(db, kind, RunState.QUEUED, ago=timedelta(days=1, minutes=1))
    assert orders.interrupted(db, quiet=QUIET) == []
    run = get(db, run_id)
    assert (run.state, run.note) == (state, "never carried out, and too old now: order it again")
    assert run.finished_at is not None


def test_an_order_of_almost_a_day_is_carried_out(db: Database) -> None:
    a_run(db, RunKind.PRUNE, RunState.QUEUED, ago=timedelta(hours=23))
    assert len(orders.interrupted(db, quiet=QUIET)) == 1


def test_what_has_begun_is_never_too_old(db: Database) -> None:
    week = timedelta(days=7)
    plan(db, a_run(db, RunKind.PRUNE, RunState.RUNNING, ago=week))
    with db.read() as conn:
        now = clock(conn)
    a_run(db, RunKind.REMOVE_ALL, RunState.RUNNING, ago=week, started_at=now - week)
    assert len(orders.interrupted(db, quiet=QUIET)) == 2


@pytest.mark.parametrize("moved", ["touched_at", "finished_at"])
def test_a_prune_whose_snapshot_has_just_moved_or_ended_is_not_lost(
    db: Database, moved: str
) -> None:
    with db.read() as conn:
        now = clock(conn)
    snapshot = a_run(db, RunKind.SNAPSHOT, RunState.DONE, ago=2 * QUIET, **{moved: now})
    prune = a_run(db, RunKind.PRUNE, RunState.QUEUED, ago=2 * QUIET)
    with db.begin() as conn:
        runs.set_detail(conn, prune, {"snapshot_id": snapshot})
    assert orders.interrupted(db, quiet=QUIET) == []
    with db.begin() as conn:
        runs.set_detail(conn, prune, {"snapshot_id": 4711})
    assert len(orders.interrupted(db, quiet=QUIET)) == 1
