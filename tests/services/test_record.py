"""Recording a job: the rule that decided, who is due, and who is rung."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from cprqueue.domain.active import ActiveRules
from cprqueue.domain.models import Address, Job, Observed
from cprqueue.domain.recording import Sighting
from cprqueue.domain.states import LinkState
from cprqueue.services.record import record
from cprqueue.store import events, jobs, leases, links, push_queue
from cprqueue.store.database import Database, clock
from cprqueue.store.push_queue import LinkValues

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
JOB = Job(
    job_id=4711,
    job_number="BMS-25-00008M",
    job_name="Ortiz",
    site_id=33,
    status="Active",
    progress="Work in Progress",
    address=Address("1 Elm St", "", "Hoover", "AL", "35216"),
)
RULES = ActiveRules.build(
    site_ids=[],
    statuses=["Active"],
    inactive_progress=["Lost Lead", "Paid in Full - File Closed"],
    excluded_numbers=["LAX-UNALLOCATED JC"],
)


def seen(run_id: int = 1, *, complete: bool = True, minutes: float = 0) -> Sighting:
    at = NOON + timedelta(minutes=minutes)
    number = round(minutes * 1000) + run_id
    return Sighting(run_id=run_id, number=number, complete=complete, observed_at=at)


def state(db: Database, job_id: int = 4711) -> str | None:
    with db.read() as conn:
        row = links.get(conn, job_id)
    return row.state if row else None


def job_row(db: Database, job_id: int = 4711) -> Any:
    with db.read() as conn:
        return jobs.get(conn, job_id)


def settle(db: Database, job_id: int = 4711, **values: Any) -> None:
    """Let the job be as if its push was over."""
    with db.begin() as conn:
        leases.claim(
            conn, "x", now=clock(conn), limit=9, until=clock(conn) + timedelta(1), only=job_id
        )
        end: dict[str, Any] = {"state": LinkState.IN_SYNC, "next_attempt_at": None}
        end |= {"lease": None, "lease_until": None, **values}
        assert leases.write(conn, job_id, "x", cast("LinkValues", end)), "the job was not due"


def park(db: Database, job_id: int, code: str) -> None:
    settle(db, job_id, state=LinkState.PARKED, error_code=code)


def test_a_new_active_job_is_due_and_rings(db: Database) -> None:
    assert record(db, RULES, JOB, seen()) == [4711]
    assert state(db) == "due"
    row = job_row(db)
    assert (row.active, row.rule) == (True, "active: status Active, progress Work in Progress")
    assert jobs.read_back(row) == JOB


def test_a_new_inactive_job_is_recorded_without_a_link(db: Database) -> None:
    assert record(db, RULES, replace(JOB, progress="Lost Lead"), seen()) == []
    assert (job_row(db).active, state(db)) == (False, None)


@pytest.mark.parametrize("job", [JOB, replace(JOB, status="Closed")], ids=["active", "inactive"])
def test_the_same_message_twice_changes_nothing(db: Database, job: Job) -> None:
    record(db, RULES, job, seen())
    before = (job_row(db), state(db))
    assert record(db, RULES, job, seen()) == []
    assert (job_row(db), state(db)) == before
    with db.read() as conn:
        assert len(events.of_job(conn, 4711)) == 1


def test_an_unchanged_job_in_step_stays_so_in_a_later_fetch(db: Database) -> None:
    record(db, RULES, JOB, seen(1))
    settle(db)
    assert record(db, RULES, JOB, seen(2, minutes=1)) == []
    row = job_row(db)
    assert (state(db), row.seen_run_id, row.complete_run_id) == ("in_sync", 2, 2)
    assert row.observed_at == NOON + timedelta(minutes=1)


def test_an_older_message_never_overwrites_a_newer_record(db: Database) -> None:
    newer, older = replace(JOB, job_name="newer"), replace(JOB, status="Closed")
    record(db, RULES, newer, seen(2, minutes=5))
    assert record(db, RULES, older, seen(1)) == []
    row = job_row(db)
    assert (row.job_name, row.active, row.seen_run_id) == ("newer", True, 2)


def test_an_older_message_of_a_later_run_still_counts_as_seen(db: Database) -> None:
    """A resync looked after the fetch had asked: the fetch's message counts for its run alone."""
    record(db, RULES, JOB, seen(0, complete=False, minutes=5))
    assert record(db, RULES, replace(JOB, job_name="older"), seen(3)) == []
    row = job_row(db)
    assert (row.job_name, row.seen_run_id, row.complete_run_id) == ("Ortiz", 3, 3)


def test_an_incremental_fetch_does_not_count_as_a_complete_one(db: Database) -> None:
    record(db, RULES, JOB, seen(1))
    record(db, RULES, JOB, seen(2, complete=False, minutes=1))
    assert (job_row(db).seen_run_id, job_row(db).complete_run_id) == (2, 1)


@pytest.mark.parametrize(
    ("change", "rings"),
    [
        ({"job_number": "BMS-25-00009M"}, True),
        ({"address": Address("2 Elm St")}, True),
        ({"address": Address()}, True),
        ({"job_name": "Smith"}, False),
        ({"progress": "Invoiced"}, False),
        ({"site_id": 8}, False),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_change_rings_only_where_quickbooks_time_should_differ(
    db: Database, change: dict[str, Any], rings: bool
) -> None:
    record(db, RULES, JOB, seen(1))
    settle(db)
    expected = [4711] if rings else []
    assert record(db, RULES, replace(JOB, **change), seen(2, minutes=1)) == expected
    assert state(db) == ("due" if rings else "in_sync")
    assert jobs.read_back(job_row(db)) == replace(JOB, **change)


def test_a_closed_job_leaves_the_push_and_a_reopened_one_comes_back(db: Database) -> None:
    record(db, RULES, JOB, seen(1))
    settle(db, **links.observed_columns(Observed(jobcode_id=5, name="BMS-25-00008M", active=True)))
    closed = replace(JOB, progress="Paid in Full = File Closed")
    assert record(db, RULES, closed, seen(2, minutes=1)) == []
    assert (state(db), job_row(db).active) == ("idle", False)
    assert record(db, RULES, JOB, seen(3, minutes=2)) == [4711]
    with db.read() as conn:
        row = links.get(conn, 4711)
        said = [event.text for event in events.of_job(conn, 4711)]
    assert row is not None
    assert (row.state, row.jobcode_id, row.attempts) == ("due", 5, 0), "the link stayed"
    assert [text.split(":")[0] for text in said] == ["new", "changed", "changed"]


def test_an_inactive_job_that_becomes_active_is_due(db: Database) -> None:
    record(db, RULES, replace(JOB, status="Closed"), seen(1))
    assert record(db, RULES, JOB, seen(2, minutes=1)) == [4711]
    assert state(db) == "due"


def test_a_changed_rule_judges_anew_though_the_job_is_the_same(db: Database) -> None:
    record(db, RULES, JOB, seen(1))
    elsewhere = replace(RULES, site_ids=frozenset({8}))
    record(db, elsewhere, JOB, seen(2, minutes=1))
    row = job_row(db)
    assert (row.active, row.rule, state(db)) == (
        False,
        "site 33 is not one of RM_SITE_IDS",
        "idle",
    )


def test_a_running_lease_survives_a_change(db: Database) -> None:
    record(db, RULES, JOB, seen(1))
    with db.begin() as conn:
        now = clock(conn)
        assert leases.claim(conn, "mine", now=now, limit=9, until=now + timedelta(minutes=1))
    record(db, RULES, replace(JOB, address=Address()), seen(2, minutes=1))
    with db.read() as conn:
        row = links.get(conn, 4711)
    assert row is not None
    assert (row.state, row.lease) == ("due", "mine")


@pytest.mark.parametrize("code", ["doubled_number", "refused_417"])
@pytest.mark.parametrize(
    "change", [{"job_number": "BMS-25-00009M"}, {"status": "Closed"}], ids=["renumbered", "closed"]
)
def test_a_freed_number_rings_whoever_was_parked_for_it(
    db: Database, change: dict[str, Any], code: str
) -> None:
    other = replace(JOB, job_id=4712, job_number="bms-25-00008m")
    for job in (JOB, other):
        record(db, RULES, job, seen(1))
    settle(db)
    park(db, 4712, code)
    assert 4712 in record(db, RULES, replace(JOB, **change), seen(2, minutes=1))
    assert state(db, 4712) == "due"


def test_a_change_of_something_else_rings_no_rival(db: Database) -> None:
    for job in (JOB, replace(JOB, job_id=4712)):
        record(db, RULES, job, seen(1))
    settle(db)
    park(db, 4712, "doubled_number")
    record(db, RULES, replace(JOB, address=Address()), seen(2, minutes=1))
    assert state(db, 4712) == "parked"


def test_a_job_that_vanished_twice_is_inactive_and_comes_back_when_seen(db: Database) -> None:
    record(db, RULES, JOB, seen(1))
    record(db, RULES, replace(JOB, job_id=2), seen(3))
    with db.begin() as conn:
        now = clock(conn)
        assert jobs.mark_vanished(conn, 1, now=now, asking=3, rule="vanished") == {}
        gone = jobs.mark_vanished(conn, 2, now=now, asking=3, rule="vanished")
        assert gone == {4711: "bms-25-00008m"}
        push_queue.set_idle(conn, [4711])
    assert (job_row(db).rule, state(db)) == ("vanished", "idle")
    assert record(db, RULES, JOB, seen(4, minutes=9)) == [4711]
    assert (job_row(db).active, state(db)) == (True, "due")


def test_a_job_that_an_incremental_fetch_showed_has_not_vanished(db: Database) -> None:
    record(db, RULES, JOB, seen(1))
    record(db, RULES, JOB, seen(3, complete=False, minutes=1))
    with db.begin() as conn:
        assert jobs.mark_vanished(conn, 2, now=clock(conn), asking=1003, rule="vanished") == {}


def test_one_new_job_recorded_by_many_threads_at_once_is_one_row(db: Database) -> None:
    errors: list[Exception] = []

    def work(run_id: int) -> None:
        try:
            record(db, RULES, JOB, seen(run_id, minutes=run_id))
        except Exception as error:  # noqa: BLE001  (told by the assertion below)
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert (job_row(db).seen_run_id, state(db)) == (8, "due")
