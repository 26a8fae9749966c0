"""The table of runs: which is the newest, how far it is, and what it reports."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from cprqueue.domain.active import ActiveRules
from cprqueue.domain.models import Address, Job
from cprqueue.domain.recording import Sighting
from cprqueue.domain.states import LinkState, RunKind, RunState
from cprqueue.services.record import record
from cprqueue.store import leases, plan_pages, runs
from cprqueue.store.database import Database, clock
from cprqueue.store.tables import runs as runs_table

DONE, QUEUED = RunState.DONE, RunState.QUEUED
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
RULES = ActiveRules.build(
    site_ids=[], statuses=["Active"], inactive_progress=["Lost Lead"], excluded_numbers=[]
)


def create(db: Database, kind: RunKind = RunKind.FETCH, **values: Any) -> int:
    with db.begin() as conn:
        return runs.create(conn, kind, now=NOON, **values)


def get(db: Database, run_id: int) -> Any:
    with db.read() as conn:
        return runs.get(conn, run_id)


def show(
    db: Database, job_id: int, run_id: int, *, minutes: int = 0, progress: str = "Open"
) -> None:
    """Record a job that this run has shown."""
    job = Job(
        job_id=job_id, job_number=f"A-{job_id}", job_name=f"{run_id}", site_id=1, status="Active",
        progress=progress, address=Address(),
    )  # fmt: skip
    at = NOON + timedelta(minutes=minutes)
    seen = Sighting(run_id=run_id, number=1 + minutes, complete=True, observed_at=at)
    record(db, RULES, job, seen)


def test_a_new_run_waits_and_says_who_asked_for_it(db: Database) -> None:
    first = create(db, requested_by="beat")
    second = create(db, complete=True, state=RunState.RUNNING)
    assert second > first
    row = get(db, first)
    assert (row.kind, row.state) == (RunKind.FETCH, RunState.QUEUED)
    assert (row.requested_by, row.complete) == ("beat", False)
    assert (row.created_at, row.touched_at) == (NOON, NOON)
    assert (row.emitted, row.recorded, row.skipped, row.calls) == (0, 0, 0, 0)
    assert (get(db, second).state, get(db, second).complete) == ("running", True)
    assert get(db, 4711) is None


def test_a_key_exists_once_and_runs_without_a_key_are_many(db: Database) -> None:
    create(db, key="prune-2026-03")
    with pytest.raises(IntegrityError):
        create(db, key="prune-2026-03")
    create(db)
    create(db)


def test_a_change_is_of_one_run_alone_and_only_in_the_named_states(db: Database) -> None:
    first, second = create(db), create(db)
    with db.begin() as conn:
        assert runs.change(conn, first, state=RunState.RUNNING)
        waiting, open_ = (QUEUED, RunState.HELD), (QUEUED, RunState.RUNNING)
        assert not runs.change(conn, first, only_from=waiting, state=DONE)
        assert runs.change(conn, first, only_from=open_, state=DONE)
        assert not runs.change(conn, 4711, state=DONE)
    assert (get(db, first).state, get(db, second).state) == ("done", QUEUED)


def test_a_long_note_is_cut_and_the_report_comes_back_as_it_was(db: Database) -> None:
    run_id = create(db)
    with db.begin() as conn:
        runs.change(conn, run_id, note="x" * 1500)
        assert runs.existing(conn, run_id).detail is None
        runs.set_detail(conn, run_id, {"names": ["Ä"], "at": NOON})
    row = get(db, run_id)
    assert len(row.note) == 1000
    assert row.detail == {"names": ["Ä"], "at": str(NOON)}


def test_the_newest_is_found_by_kind_state_and_completeness(db: Database) -> None:
    whole = create(db, state=RunState.DONE, complete=True)
    part = create(db, state=RunState.DONE)
    snapshot = create(db, RunKind.SNAPSHOT, state=RunState.FAILED)
    waiting = create(db)

    def newest(kind: RunKind, *states: RunState, **wishes: Any) -> int | None:
        with db.read() as conn:
            row = runs.newest(conn, kind, *states, **wishes)
        return row.run_id if row else None

    assert newest(RunKind.FETCH) == waiting
    assert newest(RunKind.FETCH, DONE) == part
    assert newest(RunKind.FETCH, DONE, complete=True) == whole
    assert newest(RunKind.FETCH, QUEUED, DONE, complete=False) == waiting
    assert newest(RunKind.SNAPSHOT) == snapshot
    assert newest(RunKind.SNAPSHOT, DONE) is None
    with db.read() as conn:
        found = [row.run_id for row in runs.newest_few(conn, None, limit=3)]
    assert found == [waiting, snapshot, part]


def test_a_run_counts_the_jobs_that_it_has_shown_itself(db: Database) -> None:
    for job_id in (1, 2):
        show(db, job_id, 1)
    run_id = create(db)
    assert run_id == 1
    with db.begin() as conn:
        runs.change(conn, run_id, observed_at=NOON)
    later = create(db)
    show(db, 3, later, minutes=5)
    with db.begin() as conn:
        runs.change(conn, later, observed_at=NOON + timedelta(minutes=5), sighting=6)
    with db.read() as conn:
        assert runs.recorded_count(conn, get(db, run_id)) == 3, "a later run has shown it too"
        assert runs.recorded_count(conn, get(db, later)) == 1


def test_a_run_that_was_numbered_first_but_asked_later_counts_nothing_older(db: Database) -> None:
    ordered = create(db)
    other = create(db)
    show(db, 1, other, minutes=1)
    with db.begin() as conn:
        runs.change(conn, ordered, observed_at=NOON, sighting=3)
    with db.read() as conn:
        assert runs.recorded_count(conn, get(db, ordered)) == 0


def test_a_run_that_has_not_asked_yet_has_shown_nothing(db: Database) -> None:
    show(db, 1, 1)
    run_id = create(db)
    with db.read() as conn:
        assert runs.recorded_count(conn, get(db, run_id)) == 0
        assert runs.push_counts(conn, get(db, run_id)) == dict.fromkeys(
            ("in_sync", "due", "parked", "held"), 0
        )


def test_the_active_jobs_of_a_run_are_counted_by_the_state_of_their_push(db: Database) -> None:
    run_id = create(db)
    for job_id in (1, 2, 3, 4):
        show(db, job_id, run_id)
    show(db, 5, run_id, progress="Lost Lead")
    with db.begin() as conn:
        runs.change(conn, run_id, observed_at=NOON)
        now = clock(conn)
        leases.claim(conn, "x", now=now, limit=9, until=now + timedelta(minutes=1))
        leases.write(conn, 1, "x", {"state": LinkState.IN_SYNC})
        leases.write(conn, 2, "x", {"state": LinkState.PARKED})
    with db.read() as conn:
        row = get(db, run_id)
        assert runs.push_counts(conn, row) == {"in_sync": 1, "due": 2, "parked": 1, "held": 0}
        assert runs.recorded_count(conn, row) == 5


def test_a_gap_in_the_numbers_hides_no_decision(db: Database) -> None:
    """SQL Server leaves 10,000 numbers out when it is restarted."""
    old, new = create(db, RunKind.PRUNE), create(db)
    after = new + 10 * plan_pages.LOOKED_AT
    with db.begin() as conn:
        conn.execute(update(runs_table).where(runs_table.c.run_id == new).values(run_id=after))
        found = plan_pages.past(conn, before=after + 1, decided="decided", limit=9)
    assert [run.run_id for run in found] == [old]
