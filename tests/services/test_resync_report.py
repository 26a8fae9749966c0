"""What a resync reports step by step, and what stands in its run."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import pytest

from cprqueue.domain.states import LinkState, RunKind
from cprqueue.services.resync_report import STEPS, Report, Step
from cprqueue.store import leases, push_queue, runs
from cprqueue.store.database import clock
from tests.office import Office, job
from tests.pruning import CLOSED, fault
from tests.real_processes import wait_until


def resync(office: Office, text: str = "A-1") -> list[Report]:
    return office.app.resync.run(text, None)


def texts(report: Report) -> list[str]:
    return [step.text for step in report.steps]


def newest(office: Office) -> Any:
    with office.app.db.read() as conn:
        return runs.newest(conn, RunKind.RESYNC)


@pytest.fixture
def one(office: Office) -> Office:
    """One job in step."""
    office.put(job(1, "A-1"))
    return office


def test_a_job_in_step_is_reported_in_five_steps_and_costs_no_write(one: Office) -> None:
    before = len(one.writes())
    (report,) = resync(one)
    link = one.link(1)
    assert [step.step for step in report.steps] == list(STEPS)
    assert texts(report) == [
        "RM job 1 (A-1), status Active, progress Work in Progress",
        "active: status Active, progress Work in Progress",
        "written to the database",
        "all fields are equal",
        f"in step: jobcode {link.jobcode_id}, location {link.location_id}",
    ]
    assert (report.ok, report.job_id, report.job_number) == (True, 1, "A-1")
    assert all(row.equal for row in report.fields)
    assert len(one.writes()) == before


def test_the_run_of_a_resync_says_who_it_was_for_and_keeps_the_report(one: Office) -> None:
    run_id = one.app.resync.request("A-1" + "x" * 60)
    (report,) = one.app.resync.run("A-1", run_id)
    run = newest(one)
    assert (run.run_id, run.state, run.note) == (run_id, "done", None)
    assert run.requested_by == ("A-1" + "x" * 60)[:40]
    assert run.started_at <= run.finished_at
    assert run.detail == [asdict(report)]


def test_what_differs_is_named_before_it_is_put_right(one: Office) -> None:
    one.sandbox.qbt.change_jobcode(one.link(1).jobcode_id, name="Shop", assigned_to_all=False)
    (report,) = resync(one)
    assert texts(report)[3].startswith("differs in name")
    unequal = {row.field: row.observed for row in report.fields if not row.equal}
    assert unequal["name"] == "Shop"
    assert report.ok
    assert one.broken() == []


def test_a_closed_job_is_recorded_and_left_alone(one: Office) -> None:
    one.sandbox.rm.put_jobs([job(1, "A-1", **CLOSED)])
    (report,) = resync(one)
    assert texts(report)[2:] == [
        "written to the database",
        "not compared: an inactive job is left as it is until the monthly prune",
        "nothing to push",
    ]
    assert (report.ok, one.link(1).state) == (True, LinkState.IDLE)
    assert newest(one).state == "done"


def test_an_unknown_number_fails_the_run_with_one_line(one: Office) -> None:
    (report,) = resync(one, "X-9")
    said = "RestorationManager has no job 'X-9': check the number"
    assert (report.ok, report.job_id, texts(report)) == (False, None, [said])
    assert (newest(one).state, newest(one).note) == ("failed", said)


def test_a_job_that_rm_does_not_offer_singly_is_found_in_the_whole_list(one: Office) -> None:
    one.sandbox.rm.switches.update({"single_job": "404"})
    one.sandbox.rm.put_jobs([job(1, "A-1", jobAddress1="9 New Road"), job(2, "A-2")])
    (report,) = resync(one)
    assert (report.ok, report.job_id) == (True, 1)
    assert one.row(1).addr1 == "9 New Road"
    assert one.row(2) is None, "nobody asked for it"


@pytest.mark.parametrize("text", ["2", " a-2 "])
def test_a_job_that_is_not_on_record_yet_is_found_by_its_id_and_by_its_number(
    one: Office, text: str
) -> None:
    one.sandbox.rm.put_jobs([job(2, "A-2")])
    (report,) = resync(one, text)
    assert (report.ok, report.job_id, one.link(2).state) == (True, 2, LinkState.IN_SYNC)


def test_all_jobs_that_share_a_number_are_resynced(one: Office) -> None:
    one.sandbox.rm.put_jobs([job(2, "A-1")])
    one.fetch()
    reports = resync(one)
    assert sorted((report.job_id, report.ok) for report in reports) == [(1, True), (2, False)]
    (parked,) = [report for report in reports if not report.ok]
    assert texts(parked)[-1].startswith("parked: ")
    assert (newest(one).state, newest(one).note) == ("failed", texts(parked)[-1])


def test_a_service_that_fails_is_reported_and_the_job_stays_due(one: Office) -> None:
    fault(one, kind="status", status=402)
    (report,) = resync(one)
    assert not report.ok
    assert "answered 402" in texts(report)[-1]
    assert (newest(one).state, newest(one).note) == ("failed", texts(report)[-1])
    assert one.link(1).state == LinkState.DUE


def test_a_write_that_fails_in_passing_is_pushed_later_and_said_so(one: Office) -> None:
    one.sandbox.qbt.change_jobcode(one.link(1).jobcode_id, name="Shop")
    fault(one, kind="drop", method="PUT", path="/jobcodes")
    (report,) = resync(one)
    assert not report.ok
    assert texts(report)[-1].startswith("due: ")
    assert report.steps[-1] == Step(step="done", ok=False, text=texts(report)[-1])


def test_a_job_that_another_worker_has_is_waited_for_until_that_one_ends(one: Office) -> None:
    one.sandbox.rm.put_jobs([job(1, "A-1", jobAddress1="9 New Road")])
    with one.app.db.begin() as conn:
        now = clock(conn)
        push_queue.make_due(conn, 1, now=now)
        leases.claim(conn, "x", now=now, limit=1, until=now + timedelta(minutes=1))
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(resync, one)
        wait_until(lambda: one.row(1).addr1 == "9 New Road")
        with one.app.db.begin() as conn:
            leases.write(
                conn, 1, "x", {"state": LinkState.IN_SYNC, "lease": None, "lease_until": None}
            )
        (report,) = work.result()
    assert texts(report)[3] == "another worker compared it"
    assert report.ok
