"""``status``, ``failures``, ``retry`` and ``history`` tell people how things stand."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from cprqueue.cli import reports
from cprqueue.domain.states import RunKind, RunState
from cprqueue.operating.broker_state import Broker
from cprqueue.services import digest, gates, signs
from cprqueue.services.reports import overview
from cprqueue.services.reports.explain import explain
from cprqueue.store import runs
from cprqueue.store.database import clock
from tests.listening import by_the_minute
from tests.office import Office, job


def read_status(office: Office, latest: signs.Latest = by_the_minute) -> overview.Status:
    return overview.read_status(office.app.db, office.app.budget, latest)


# --- status -------------------------------------------------------------------------------


def test_a_stopped_push_a_failed_fetch_and_an_old_one_are_warned_of(office: Office) -> None:
    office.put(job(1, "A-1"))
    office.sandbox.qbt.switches.update({"force_status": 402})
    office.record([job(1, "A-2")])
    office.push()
    with office.app.db.begin() as conn:
        now = clock(conn)
        runs.change(conn, 1, finished_at=now - timedelta(hours=2))
        run_id = runs.create(conn, RunKind.FETCH, now=now, state=RunState.FAILED)
        runs.change(conn, run_id, note="RestorationManager's answer is empty")
    found = read_status(office)
    assert found.push_stopped is not None
    assert found.push_stopped.status == 402
    assert [words[:28] for words in found.warnings] == [
        "the push is stopped: QuickBo",
        f"the last fetch (run {run_id}) faile",
        "the last successful fetch is",
    ]


def by_the_hour(_task: str, since: datetime) -> datetime:
    return since + timedelta(hours=3)


def test_how_old_a_fetch_may_be_is_the_timetables_to_say(office: Office) -> None:
    office.put(job(1, "A-1"))
    with office.app.db.begin() as conn:
        now = clock(conn)
        runs.change(conn, 1, finished_at=now - timedelta(minutes=100))
    assert read_status(office, by_the_hour).warnings == []
    (warning,) = read_status(office).warnings
    assert warning == "the last successful fetch is 100 minutes old: is beat running?"
    with office.app.db.read() as conn:
        assert digest.read(conn, by_the_hour).waits == []
        assert digest.read(conn, by_the_minute).waits == [warning]
    with office.app.db.begin() as conn:
        runs.progress(conn, runs.create(conn, RunKind.FETCH), state=RunState.RUNNING)
    assert read_status(office).warnings == [], "another is under way, as `health` says"


def test_every_slot_is_free_before_the_first_call(office: Office) -> None:
    assert read_status(office).budget["free"] == 300


@pytest.mark.parametrize(
    ("due", "free", "minutes"),
    [
        (0, 270, 0),
        (1, 2, 0),
        (50, 2, 0),
        (51, 2, 5),  # four calls for two batches, and two are free
        (10_000, 270, 5),  # 400 calls: 130 wait for the next window
        (20_000, 270, 10),  # 800: two windows of 270
        (1, 0, 5),
    ],
)
def test_what_is_due_waits_as_long_as_the_budget_makes_it(
    due: int, free: int, minutes: float
) -> None:
    assert overview.minutes_for(due, free=free, for_bulk=270, window_seconds=300) == minutes


def test_a_job_whose_name_a_customers_jobcode_has_is_named(office: Office) -> None:
    parent = office.sandbox.qbt.add_jobcode(name="Customer")
    office.sandbox.qbt.add_jobcode(name="a-1", parent_id=parent)
    office.put(job(1, "A-1"), job(2, "A-2"))
    office.app.snapshot.take()
    assert [words for words in read_status(office).warnings if "below a customer" in words] == [
        "1 active job has a jobcode of the same name below a customer or project in QuickBooks "
        "Time, which is not ours: A-1"
    ]


def test_while_the_sync_is_suspended_what_is_due_does_not_go_at_once(office: Office) -> None:
    office.record([job(1, "A-1")])
    with office.app.db.begin() as conn:
        gates.suspend(conn, 7)
    found = read_status(office)
    assert found.push_halted
    rows = reports._status_rows(found, Broker(workers=["one"]))
    assert "goes at once" not in rows["Calls"]
    assert "waits: see the warnings" in rows["Calls"]
    assert "remove-all of run 7" in found.suspended
    assert "remove-all of run 7" in explain(office.app.db, 1).sentence


# --- failures -----------------------------------------------------------------------------


def test_explain_and_failures_agree_on_the_next_attempt(office: Office) -> None:
    office.put(job(1, "A-1"), job(2, "X" * 65))
    office.app.push.work.retry_base *= 1_000_000
    office.sandbox.client.set_faults([{"kind": "status", "service": "qbt", "method": "PUT"}])
    office.record([job(1, "A-3")])
    office.ring()
    for row in overview.failures(office.app.db):
        said = explain(office.app.db, row.job_id).as_json()["link"]
        assert isinstance(said, dict)
        expected = overview.failure_json(row)["next_attempt_at"]
        assert said["next_attempt_at"] == expected
        assert (expected is None) == (row.job_id == 2)


# --- history ------------------------------------------------------------------------------


def test_a_run_has_only_the_counts_that_mean_something_for_its_kind(office: Office) -> None:
    office.put(job(1, "A-1"))
    found = {run.kind: overview.run_counts(run) for run in overview.history(office.app.db, limit=9)}
    assert set(found[RunKind.FETCH]) == {"emitted", "recorded", "skipped"}
    [fetch] = [run for run in overview.history(office.app.db, limit=9) if run.kind is RunKind.FETCH]
    assert set(overview.said_counts(fetch)) == {"jobs", "recorded", "skipped"}
    assert found[RunKind.SNAPSHOT] == {"jobcodes": 0, "calls": 2}
