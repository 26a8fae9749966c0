"""What the record keeps of a job that the database refuses, and of what comes late or twice."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event

from cprqueue.domain.active import ActiveRules
from cprqueue.domain.models import Address, Job, Observed
from cprqueue.domain.push_item import read_item
from cprqueue.domain.recording import REFUSED, Sighting
from cprqueue.domain.states import LinkState
from cprqueue.services.record import record
from cprqueue.store import events, jobs, leases, links
from cprqueue.store.database import Database, clock
from cprqueue.store.push_queue import NO_LEASE, LinkValues

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
JOB = Job(
    job_id=7,
    job_number="A-7",
    job_name="Ortiz",
    site_id=33,
    status="Active",
    progress="Work in Progress",
    address=Address("1 Elm St", "", "Hoover", "AL", "35216"),
)
TOO_LONG = replace(JOB, job_name="x" * 50_000)
RULES = ActiveRules.build(
    site_ids=[], statuses=["Active"], inactive_progress=["Lost Lead"], excluded_numbers=[]
)


@pytest.fixture
def narrow(db: Database) -> Database:
    """A database that refuses texts of 40,000 bytes, as others refuse them by their columns."""

    @event.listens_for(db.engine, "connect")
    def limit(connection: Any, _record: Any) -> None:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 40_000)

    db.engine.dispose()
    return db


def seen(run_id: int = 1, *, complete: bool = True, minutes: float = 0) -> Sighting:
    at = NOON + timedelta(minutes=minutes)
    number = round(minutes * 1000) + run_id
    return Sighting(run_id=run_id, number=number, complete=complete, observed_at=at)


def row_of(db: Database, job_id: int = 7) -> Any:
    with db.read() as conn:
        return jobs.get(conn, job_id)


def link_of(db: Database, job_id: int = 7) -> Any:
    with db.read() as conn:
        return links.get(conn, job_id)


def history(db: Database, job_id: int = 7) -> list[str]:
    """Return the job's history, oldest first."""
    with db.read() as conn:
        return [found.text for found in events.of_job(conn, job_id)]


def settle(db: Database) -> None:
    """Let the job be in step with QuickBooks Time."""
    observed = links.observed_columns(Observed(jobcode_id=5, name="A-7", active=True))
    with db.begin() as conn:
        now = clock(conn)
        leases.claim(conn, "mine", now=now, limit=9, until=now + timedelta(minutes=1))
        leases.write(conn, 7, "mine", {"state": LinkState.IN_SYNC, **NO_LEASE, **observed})


def test_a_new_job_that_cannot_be_stored_is_on_record_by_its_id(narrow: Database) -> None:
    assert record(narrow, RULES, TOO_LONG, seen(4)) == []
    row = row_of(narrow)
    assert (row.active, row.rule, row.job_number) == (False, REFUSED, "")
    assert (row.seen_run_id, row.complete_run_id) == (4, 4), "its fetch waits for nothing"
    assert link_of(narrow) is None


def test_a_known_job_that_cannot_be_stored_stays_as_it_was_and_counts_as_seen(
    narrow: Database,
) -> None:
    record(narrow, RULES, JOB, seen(1))
    settle(narrow)
    assert record(narrow, RULES, TOO_LONG, seen(2, minutes=5)) == []
    row = row_of(narrow)
    assert (row.active, row.job_name, row.seen_run_id, row.complete_run_id) == (True, "Ortiz", 2, 2)
    assert row.observed_at == NOON + timedelta(minutes=5)
    assert link_of(narrow).state == LinkState.IN_SYNC
    assert history(narrow)[-1] == REFUSED


def test_a_refusal_is_one_event_however_often_it_comes(narrow: Database) -> None:
    record(narrow, RULES, JOB, seen(1))
    for run_id in (2, 3, 4):
        record(narrow, RULES, TOO_LONG, seen(run_id, minutes=run_id))
    assert [text == REFUSED for text in history(narrow)] == [False, True]
    record(narrow, RULES, replace(JOB, job_name="Smith"), seen(5, minutes=5))
    record(narrow, RULES, TOO_LONG, seen(6, minutes=6))
    assert [text == REFUSED for text in history(narrow)] == [False, True, False, True]


def test_a_refusal_that_comes_late_turns_no_moment_back(narrow: Database) -> None:
    record(narrow, RULES, JOB, seen(3, minutes=9))
    record(narrow, RULES, TOO_LONG, seen(2))
    row = row_of(narrow)
    assert (row.seen_run_id, row.complete_run_id) == (3, 3)
    assert row.observed_at == NOON + timedelta(minutes=9)


def test_a_job_that_was_corrected_is_pushed_as_any_other(narrow: Database) -> None:
    record(narrow, RULES, TOO_LONG, seen(1))
    assert record(narrow, RULES, JOB, seen(2, minutes=1)) == [7]
    assert (row_of(narrow).active, link_of(narrow).state) == (True, LinkState.DUE)


def test_a_fetch_that_is_not_complete_leaves_no_trace_of_a_complete_one(db: Database) -> None:
    record(db, RULES, JOB, seen(1, complete=False))
    assert (row_of(db).seen_run_id, row_of(db).complete_run_id) == (1, 0)


def test_a_late_message_of_an_earlier_run_changes_nothing_at_all(db: Database) -> None:
    record(db, RULES, JOB, seen(3, minutes=9))
    before = row_of(db)
    assert record(db, RULES, replace(JOB, job_name="older"), seen(2)) == []
    assert row_of(db) == before


def test_a_job_that_was_closed_again_while_idle_stays_idle_and_requeues_nobody(
    db: Database,
) -> None:
    record(db, RULES, JOB, seen(1))
    settle(db)
    record(db, RULES, replace(JOB, progress="Lost Lead"), seen(2, minutes=1))
    again = replace(JOB, progress="lost lead", job_name="Smith")
    assert record(db, RULES, again, seen(3, minutes=2)) == []
    assert (link_of(db).state, row_of(db).job_name) == (LinkState.IDLE, "Smith")


def test_a_reopened_jobs_jobcode_counts_as_archived_until_the_push_has_restored_it(
    db: Database,
) -> None:
    record(db, RULES, JOB, seen(1))
    settle(db)
    record(db, RULES, replace(JOB, progress="Lost Lead"), seen(2, minutes=1))
    record(db, RULES, JOB, seen(3, minutes=2))
    with db.begin() as conn:
        now = clock(conn)
        (row,) = leases.claim(conn, "mine", now=now, limit=9, until=now + timedelta(minutes=1))
    assert row.jobcode_id == 5
    assert not read_item(row).observed.active


def test_a_job_whose_push_fails_is_tried_afresh_when_it_changes(db: Database) -> None:
    record(db, RULES, JOB, seen(1))
    with db.begin() as conn:
        now = clock(conn)
        leases.claim(conn, "mine", now=now, limit=9, until=now + timedelta(minutes=1))
        failed: LinkValues = {
            "state": LinkState.PARKED,
            "error_code": "refused_417",
            "attempts": 3,
            **NO_LEASE,
        }
        leases.write(conn, 7, "mine", failed)
    assert record(db, RULES, replace(JOB, job_name="Smith"), seen(2, minutes=1)) == []
    assert link_of(db).state == LinkState.PARKED, "its name is nothing to QuickBooks Time"
    assert record(db, RULES, replace(JOB, job_number="A-8"), seen(3, minutes=2)) == [7]
    assert (link_of(db).state, link_of(db).error_code, link_of(db).attempts) == (
        LinkState.DUE,
        None,
        0,
    )


def test_the_history_names_the_run_that_showed_the_job_a_fetch_or_an_import(
    db: Database,
) -> None:
    record(db, RULES, JOB, seen(1))
    imported = Sighting(run_id=0, number=2, complete=False, observed_at=NOON, event_run_id=9)
    record(db, RULES, replace(JOB, job_name="Smith"), imported)
    with db.read() as conn:
        assert [found.run_id for found in events.of_job(conn, 7)] == [1, 9]
