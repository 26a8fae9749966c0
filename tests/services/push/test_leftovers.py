"""What was made for a job that closed before anybody could look is found, linked and archived."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest

from cprqueue.services.prune import orders
from cprqueue.services.push import orphaned_creates
from cprqueue.store import events
from tests.office import Office, job
from tests.real_processes import wait_until

CLOSED = {"jobProgress": "Lost Lead"}
AT_ONCE = timedelta(0)


@pytest.fixture
def office(office: Office) -> Office:
    office.put(job(9, "Z-9"))
    return office


def close_unanswered(office: Office, *jobs: dict[str, Any], kind: str = "lost") -> None:
    """Let the create of these jobs go unanswered, then close them before it is tried again."""
    rule = {"service": "qbt", "method": "POST", "path": "/jobcodes", "kind": kind, "nth": [1]}
    office.sandbox.client.set_faults([rule])
    office.sandbox.rm.put_jobs(jobs)
    office.fetch()
    office.ring()
    office.sandbox.client.clear_faults()
    office.put(*({**one, **CLOSED} for one in jobs))
    assert [office.link(one["jobId"]).state for one in jobs] == ["idle"] * len(jobs)


def settle(office: Office, quiet: timedelta = AT_ONCE) -> int:
    return orphaned_creates.settle(office.app.db, office.app.push.work.qbt, quiet=quiet)


def codes(office: Office) -> dict[str, int]:
    found = office.sandbox.qbt.state()["jobcodes"]
    return {code["name"]: int(code["id"]) for code in found if code["active"]}


def qbt_calls(office: Office) -> list[tuple[str, str]]:
    return [(call.method, call.path) for call in office.sandbox.calls if call.service == "qbt"]


def test_jobcodes_that_were_made_are_linked_by_one_listing_and_archived_by_the_prune(
    office: Office,
) -> None:
    close_unanswered(office, job(1, "A-1"), job(2, "A-2"))
    before = qbt_calls(office)
    assert settle(office) == 2
    assert qbt_calls(office)[len(before) :] == [("GET", "/jobcodes")]
    made = codes(office)
    assert [office.link(n).jobcode_id for n in (1, 2)] == [made["A-1"], made["A-2"]]
    with office.app.db.read() as conn:
        texts = [event.text for event in events.of_job(conn, 1)]
    assert f"jobcode {made['A-1']} had been created before the job closed" in texts
    run_id = orders.request_prune(office.app.db, "test")
    office.app.snapshot.take()
    office.app.prune.run(run_id, None)
    assert set(codes(office)) == {"Z-9"}


def test_where_nothing_was_made_nothing_is_linked_and_no_further_call_is_spent(
    office: Office,
) -> None:
    close_unanswered(office, job(1, "A-1"), kind="drop")
    assert settle(office) == 0
    link = office.link(1)
    assert (link.jobcode_id, link.intent, link.state) == (None, None, "idle")
    before = qbt_calls(office)
    assert settle(office) == 0
    assert qbt_calls(office) == before


def test_a_request_that_may_be_under_way_is_waited_for(office: Office) -> None:
    close_unanswered(office, job(1, "A-1"))
    before = qbt_calls(office)
    assert settle(office, timedelta(minutes=5)) == 0
    assert qbt_calls(office) == before
    assert office.link(1).intent == "create_jobcode"


def test_a_listing_that_fails_is_read_again_by_the_next_sweep(office: Office) -> None:
    close_unanswered(office, job(1, "A-1"))
    office.sandbox.client.set_faults([{"service": "qbt", "kind": "status", "times": 1}])
    assert settle(office) == 0
    assert settle(office) == 1


def test_what_another_job_has_adopted_meanwhile_stays_its_own(office: Office) -> None:
    close_unanswered(office, job(1, "A-1"))
    office.put(job(2, "A-1"))
    assert settle(office) == 0
    assert office.link(1).jobcode_id is None
    assert office.link(2).jobcode_id == codes(office)["A-1"]
    assert office.broken() == []


def test_a_namesake_that_somebody_gave_a_location_is_not_ours(office: Office) -> None:
    close_unanswered(office, job(1, "A-1"), kind="drop")
    by_hand = office.sandbox.qbt.add_jobcode(name="A-1")
    office.sandbox.qbt.add_location(addr1="5 Yard", linked_objects={"jobcodes": [by_hand]})
    assert settle(office) == 0
    assert office.link(1).jobcode_id is None


def test_a_job_that_is_reopened_while_the_listing_is_read_is_left_to_the_push(
    office: Office,
) -> None:
    close_unanswered(office, job(1, "A-1"))
    office.sandbox.client.set_faults(
        [{"service": "qbt", "method": "GET", "kind": "slow", "seconds": 1, "act": "first"}]
    )
    found: list[int] = []
    sweep = threading.Thread(target=lambda: found.append(settle(office)))
    before = len(office.sandbox.calls)
    sweep.start()
    wait_until(lambda: len(office.sandbox.calls) > before)
    office.sandbox.rm.put_jobs([job(1, "A-1")])
    office.fetch()
    sweep.join()
    assert found == [0]
    office.sandbox.client.clear_faults()
    office.push()
    assert office.broken() == []
    assert set(codes(office)) == {"A-1", "Z-9"}


def test_a_job_that_was_refused_the_name_gets_it_once_it_is_known_whose_it_is(
    office: Office,
) -> None:
    close_unanswered(office, job(1, "A-1"))
    office.put(job(9, "A-1"))
    assert office.link(9).state == "parked"
    assert settle(office) == 1
    office.push()
    assert office.link(9).state == "in_sync"
    assert set(codes(office)) == {"A-1", "A-1 ~1"}
