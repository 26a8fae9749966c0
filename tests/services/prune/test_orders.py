"""Interrupted prunes and remove-alls are ordered again, once at a time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from cprqueue.errors import ServiceUnreachable
from cprqueue.services import orders
from cprqueue.store import plans, runs
from cprqueue.store.database import Database, clock

QUIET = timedelta(seconds=60)
LONG = timedelta(minutes=5)


def a_run(db: Database, kind: str, state: str, *, planned: bool, ago: timedelta = LONG) -> int:
    with db.begin() as conn:
        then = clock(conn) - ago
        run_id = runs.create(conn, kind, now=then, state=state)
        row = {"jobcode_id": 1, "name": "A-1", "state_before": {}, "outcome": "planned"}
        plans.add(conn, run_id, [row] if planned else [])
    return run_id


def ordered(db: Database) -> list[tuple[str, Any]]:
    return [(task, kw["run_id"]) for task, kw in orders.interrupted(db, quiet=QUIET)]


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
    db: Database, kind: str, state: str, planned: bool, task: str
) -> None:
    run_id = a_run(db, kind, state, planned=planned)
    assert ordered(db) == [(task, run_id)]
    assert ordered(db) == []


@pytest.mark.parametrize("state", ["done", "failed", "held", "stopped"])
def test_a_run_that_has_ended_is_left_alone(db: Database, state: str) -> None:
    a_run(db, "prune", state, planned=True)
    a_run(db, "remove_all", state, planned=True)
    assert ordered(db) == []


def test_a_run_that_still_moves_is_left_alone(db: Database) -> None:
    a_run(db, "prune", "running", planned=True, ago=timedelta(seconds=5))
    assert ordered(db) == []


def test_a_prune_whose_snapshot_still_moves_is_left_alone(db: Database) -> None:
    run_id = a_run(db, "prune", "queued", planned=False)
    with db.begin() as conn:
        snapshot_id = runs.create(conn, "snapshot", now=clock(conn), state="running")
        runs.set_detail(conn, run_id, {"snapshot_id": snapshot_id})
    assert ordered(db) == []


def test_a_forgotten_order_of_last_week_prunes_nothing_today(db: Database) -> None:
    a_run(db, "prune", "queued", planned=False, ago=timedelta(days=7))
    assert ordered(db) == []


@pytest.mark.parametrize(("state", "after"), [("queued", "failed"), (orders.APPROVED, "held")])
def test_a_snapshot_that_failed_for_good_is_told_to_the_prune_that_waits(
    db: Database, state: str, after: str
) -> None:
    run_id = a_run(db, "prune", state, planned=state == orders.APPROVED)
    ended = orders.note_failure(db, run_id, ServiceUnreachable("gone"))
    assert ended == (after == "failed")
    with db.read() as conn:
        row = runs.get(conn, run_id)
    assert row is not None
    assert row.state == after
    assert "its snapshot failed: gone" in row.note
