"""What is on record of each jobcode that leaves, before the request and after it."""

from __future__ import annotations

from typing import Any

import pytest

from cprqueue.errors import AlreadyRunning, Transient
from cprqueue.store import events, plan_items
from cprqueue.store.database import clock
from tests.office import Office, job
from tests.pruning import (
    close,
    during,
    fault,
    names,
    order,
    outcomes,
    prune,
    remove_all,
)

PUT = ("PUT", "/jobcodes")


def jobs(office: Office, number: int) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, number + 1)))


def noted(office: Office, run_id: int) -> dict[str, Any]:
    """Return what is noted of each job of a plan."""
    with office.app.db.read() as conn:
        return {item.job_number: item.note for item in plan_items.of_run(conn, run_id)}


def test_each_that_left_is_an_event_of_its_job_with_the_run(office: Office) -> None:
    jobs(office, 5)
    close(office, 1)
    run_id, _ = prune(office)
    with office.app.db.read() as conn:
        (event,) = [found for found in events.of_job(conn, 1) if found.kind == "archived"]
    assert event.text.startswith(f"jobcode {office.link(1).jobcode_id} archived: ")
    assert event.run_id == run_id


def test_one_that_the_service_refuses_to_archive_is_noted_with_its_words(office: Office) -> None:
    jobs(office, 5)
    close(office, 1, 2)
    run_id = order(office)
    code = office.link(1).jobcode_id
    refused = {"where": {"id": code}, "code": 417, "extra": "Oops! Not this one"}
    fault(office, kind="items", method="PUT", path="/jobcodes", **refused)
    assert office.app.prune.run(run_id, None) == "1 archived, 1 failed"
    assert outcomes(office, run_id) == {"archived": 1, "failed": 1}
    assert noted(office, run_id)["A-1"] == "QuickBooks Time answered 417: Oops! Not this one"


def test_what_is_under_way_is_on_record_and_leased_before_the_request_leaves(
    office: Office,
) -> None:
    jobs(office, 5)
    close(office, 1)
    run_id = order(office)
    seen: list[Any] = []

    def verification() -> None:
        with office.app.db.read() as conn:
            seen.append((office.link(1).lease_until > clock(conn), outcomes(office, run_id)))

    during(office, "sending", verification)
    office.app.prune.run(run_id, None)
    assert seen == [(True, {"sending": 1})]
    assert office.link(1).lease is None, "and given back after it"


def test_the_next_try_verifies_a_request_without_an_answer(office: Office) -> None:
    jobs(office, 3)
    run_id = remove_all(office)
    fault(office, kind="lost", method="PUT", path="/jobcodes", times=1)
    with pytest.raises(Transient):
        office.app.remove_all.run(run_id)
    assert outcomes(office, run_id) == {"sending": 3}
    before = len(office.writes())
    assert office.app.remove_all.run(run_id) == "3 archived"
    assert len(office.writes()) == before, "all of it was done already"


def test_what_a_request_without_an_answer_did_not_do_is_done_by_the_next_try(
    office: Office,
) -> None:
    jobs(office, 3)
    run_id = remove_all(office)
    fault(office, kind="drop", method="PUT", path="/jobcodes", times=1)
    with pytest.raises(Transient):
        office.app.remove_all.run(run_id)
    assert office.app.remove_all.run(run_id) == "3 archived"
    assert names(office, active=True) == set()


def test_one_who_clocks_in_holds_back_that_one_alone_and_is_named(office: Office) -> None:
    jobs(office, 3)
    run_id = remove_all(office)
    office.sandbox.qbt.clock_in(office.link(2).jobcode_id)
    assert office.app.remove_all.run(run_id) == "2 archived, 1 held back"
    assert names(office, active=True) == {"A-2"}
    assert noted(office, run_id)["A-2"] == "1 on the clock right now"


def test_a_batch_of_which_everybody_works_costs_no_request_and_ends_the_run(
    office: Office,
) -> None:
    jobs(office, 2)
    run_id = remove_all(office)
    for n in (1, 2):
        user = office.sandbox.qbt.add_user(first_name=f"Worker {n}")
        office.sandbox.qbt.clock_in(office.link(n).jobcode_id, user)
    before = len(office.writes())
    assert office.app.remove_all.run(run_id) == "0 archived, 2 held back"
    assert len(office.writes()) == before


def test_only_one_archive_is_at_work_and_the_next_follows_it(
    office: Office,
) -> None:
    with office.app.archive.alone() as keep:
        keep()
        with pytest.raises(AlreadyRunning), office.app.archive.alone():
            pass
    with office.app.archive.alone():
        pass


def test_more_than_one_request_takes_is_archived_in_one_run(office: Office) -> None:
    jobs(office, 51)
    run_id = remove_all(office)
    assert office.app.remove_all.run(run_id) == "51 archived"
    puts = [items for method, path, items in office.writes() if (method, path) == PUT]
    assert sorted(puts) == [1, 50]


def test_an_answer_that_cannot_be_read_is_one_without_an_answer(office: Office) -> None:
    jobs(office, 3)
    run_id = remove_all(office)
    fault(office, kind="html", method="PUT", path="/jobcodes", times=1)
    with pytest.raises(Transient):
        office.app.remove_all.run(run_id)
    assert outcomes(office, run_id) == {"sending": 3}
    assert office.app.remove_all.run(run_id) == "3 archived"
