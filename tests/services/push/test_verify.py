"""What a verification reads before anything is written, and what it takes for the job's own."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from cprqueue.domain.models import Jobcode
from cprqueue.services.push.verify import unmanaged
from cprqueue.store import runs
from cprqueue.store.database import clock
from tests.office import Office, job, one_to_one
from tests.pruning import fault


def calls(office: Office) -> list[tuple[str, str]]:
    return [(call.method, call.path) for call in office.sandbox.calls if call.service == "qbt"]


def appear(office: Office, *items: dict[str, Any]) -> list[tuple[str, str]]:
    """Have these jobs pushed to the end; return the calls that it took."""
    before = len(calls(office))
    office.put(*items)
    return calls(office)[before:]


def test_a_jobcode_whose_create_lost_its_answer_is_found_by_one_listing(office: Office) -> None:
    office.put(job(9, "Z-9"))
    fault(office, kind="lost", method="POST", path="/jobcodes", times=1)
    assert appear(office, job(1, "A-1")) == [
        ("POST", "/jobcodes"),
        ("GET", "/jobcodes"),
        ("POST", "/locations"),
    ]
    one_to_one(office, 2)


def test_a_change_that_lost_its_answer_is_verified_by_one_listing(office: Office) -> None:
    office.put(job(1, "A-1"), job(2, "A-2"))
    fault(office, kind="lost", method="PUT", path="/locations", times=1)
    moved = appear(office, job(1, "A-1", jobAddress1="9 New Road"))
    assert moved == [("PUT", "/locations"), ("GET", "/locations")]
    one_to_one(office, 2)


def test_a_service_whose_clock_is_behind_ours_is_asked_from_far_enough_back(
    office: Office,
) -> None:
    office.put(job(9, "Z-9"))
    office.sandbox.qbt.advance(-200)
    fault(office, kind="lost", method="POST", path="/jobcodes", times=1)
    assert appear(office, job(1, "A-1")).count(("POST", "/jobcodes")) == 1
    one_to_one(office, 2)


def test_a_change_that_was_not_done_is_sent_again_after_a_verification(office: Office) -> None:
    office.put(job(1, "A-1"))
    fault(office, kind="drop", method="PUT", path="/jobcodes", times=1)
    assert appear(office, job(1, "B-1")) == [
        ("PUT", "/jobcodes"),
        ("GET", "/jobcodes"),
        ("PUT", "/jobcodes"),
    ]
    one_to_one(office, 1)


def test_a_name_that_was_there_with_a_location_is_fully_verified(office: Office) -> None:
    """A jobcode with locations was there before: the lost create did not make it."""
    office.put(job(9, "Z-9"))
    there = office.sandbox.qbt.add_jobcode(name="A-1")
    office.sandbox.qbt.add_location(addr1="5 Yard Road", linked_objects={"jobcodes": [there]})
    fault(office, kind="drop", method="POST", path="/jobcodes", times=1)
    appear(office, job(1, "A-1"))
    assert office.link(1).jobcode_id == there
    one_to_one(office, 2)


def test_a_resync_before_the_first_export_makes_the_jobcode(office: Office) -> None:
    office.sandbox.rm.put_jobs([job(1, "A-1")])
    (report,) = office.app.resync.run("1", None)
    assert report.ok, report.steps
    one_to_one(office, 1)


def test_a_location_that_was_unlinked_by_hand_is_linked_again_by_a_resync(office: Office) -> None:
    office.put(job(1, "A-1"))
    place = office.link(1).location_id
    office.sandbox.qbt.change_location(place, linked_objects={"jobcodes": []})
    (report,) = office.app.resync.run("1", None)
    assert report.ok, report.steps
    assert office.link(1).location_id == place
    one_to_one(office, 1)


def test_an_old_export_shows_which_jobcode_to_adopt_but_not_its_state(
    office: Office,
) -> None:
    office.put()
    qbt = office.sandbox.qbt
    there = qbt.add_jobcode(name="A-1", assigned_to_all=True)
    run_id = office.app.snapshot.take()
    with office.app.db.begin() as conn:
        runs.change(conn, run_id, started_at=clock(conn) - timedelta(hours=1, seconds=5))
    qbt.change_jobcode(there, assigned_to_all=False)
    appear(office, job(1, "A-1"))
    assert office.link(1).jobcode_id == there
    one_to_one(office, 1)


def test_an_export_that_is_young_needs_no_verification(office: Office) -> None:
    office.put()
    there = office.sandbox.qbt.add_jobcode(name="A-1", assigned_to_all=True)
    office.app.snapshot.take()
    assert appear(office, job(1, "A-1")) == [("POST", "/locations")]
    assert office.link(1).jobcode_id == there


def test_a_jobcode_that_a_job_has_already_is_never_adopted_by_another(office: Office) -> None:
    office.put(job(1, "A-1"))
    code = office.link(1).jobcode_id
    office.app.snapshot.take()
    office.put(job(1, "B-1"), job(2, "A-1"))
    assert office.link(1).jobcode_id == code
    assert office.link(2).jobcode_id != code
    one_to_one(office, 2)


def test_unmanaged_are_the_jobcodes_that_no_job_has(office: Office) -> None:
    office.put(job(1, "A-1"))
    ours = Jobcode(id=office.link(1).jobcode_id, name="A-1")
    shop = Jobcode(id=4711, name="Shop")
    assert unmanaged(office.app.db, [ours, shop]) == [shop]
    assert unmanaged(office.app.db, []) == []
