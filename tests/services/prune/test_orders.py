"""Interrupted prunes and remove-alls are ordered again, once at a time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from cprqueue.domain.models import Jobcode
from cprqueue.domain.records import NewPlanItem, StateBefore
from cprqueue.domain.states import Outcome, RunKind, RunState
from cprqueue.errors import ServiceUnreachable
from cprqueue.services.prune import lost_orders, orders
from cprqueue.store import plan_items, runs
from cprqueue.store.database import Database, clock

QUIET = timedelta(seconds=60)
LONG = timedelta(minutes=5)
CODE = Jobcode(id=1, name="A-1")
ITEM = NewPlanItem(
    job_id=1,
    job_number="A-1",
    jobcode_id=1,
    name="A-1",
    reason="",
    state_before=StateBefore.of(CODE, (), (), ()),
    outcome=Outcome.PLANNED,
)


def a_run(
    db: Database, kind: RunKind, state: RunState, *, planned: bool, ago: timedelta = LONG
) -> int:
    with db.begin() as conn:
        then = clock(conn) - ago
        run_id = runs.create(conn, kind, now=then, state=state)
        plan_items.add(conn, run_id, [ITEM] if planned else [])
    return run_id


def ordered(db: Database) -> list[tuple[str, Any]]:
    return [(task, kw["run_id"]) for task, kw in lost_orders.find(db, quiet=QUIET)]


@pytest.mark.parametrize(
    ("kind", "state", "planned", "task"),
    [
        ("prune", "running", True, "cpr.snapshot_and_prune"),
        ("prune", "running", False, "cpr.snapshot_and_prune"),
        ("prune", "queued", False, "cpr.snapshot_and_prune"),
        ("remove_all", "running", True, "cpr.remove_all"),
        ("remove_all", "queued", True, "cpr.remove_all"),
        ("remove_all", "stopping", True, "cpr.remove_all"),
    ],
)
def test_a_run_that_lost_its_worker_or_its_message_is_ordered_again_once(
    db: Database, kind: RunKind, state: RunState, planned: bool, task: str
) -> None:
    run_id = a_run(db, kind, state, planned=planned)
    assert ordered(db) == [(task, run_id)]
    assert ordered(db) == []


@pytest.mark.parametrize("state", runs.ENDED)
def test_a_run_that_has_ended_is_left_alone(db: Database, state: RunState) -> None:
    a_run(db, RunKind.PRUNE, state, planned=True)
    a_run(db, RunKind.REMOVE_ALL, state, planned=True)
    assert ordered(db) == []


def test_a_run_that_still_moves_is_left_alone(db: Database) -> None:
    a_run(db, RunKind.PRUNE, RunState.RUNNING, planned=True, ago=timedelta(seconds=5))
    assert ordered(db) == []


def test_a_prune_whose_snapshot_still_moves_is_left_alone(db: Database) -> None:
    run_id = a_run(db, RunKind.PRUNE, RunState.QUEUED, planned=False)
    with db.begin() as conn:
        snapshot_id = runs.create(conn, RunKind.SNAPSHOT, now=clock(conn), state=RunState.RUNNING)
        runs.set_detail(conn, run_id, {"snapshot_id": snapshot_id})
    assert ordered(db) == []


def test_a_forgotten_order_of_last_week_prunes_nothing_today(db: Database) -> None:
    a_run(db, RunKind.PRUNE, RunState.QUEUED, planned=False, ago=timedelta(days=7))
    assert ordered(db) == []


@pytest.mark.parametrize(
    ("state", "after"), [(RunState.QUEUED, RunState.FAILED), (RunState.APPROVED, RunState.HELD)]
)
def test_a_snapshot_that_failed_for_good_is_told_to_the_prune_that_waits(
    db: Database, state: RunState, after: RunState
) -> None:
    run_id = a_run(db, RunKind.PRUNE, state, planned=state is RunState.APPROVED)
    ended = orders.note_failure(db, run_id, ServiceUnreachable("gone"))
    assert ended == (after is RunState.FAILED)
    with db.read() as conn:
        row = runs.get(conn, run_id)
    assert row is not None
    assert row.state == after
    assert "its snapshot failed: gone" in (row.note or "")
