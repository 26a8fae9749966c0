"""What nobody can know after a request, and how the push comes to know it all the same."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from typing import Any

import pytest

from cprqueue.sandbox.server import Sandbox
from cprqueue.services import gates
from cprqueue.store.database import clock
from tests.office import MakeOffice, Office, job, one_to_one
from tests.real_processes import wait_until

REFUSED_WHOLE = {
    "service": "qbt",
    "method": "POST",
    "kind": "status",
    "body": json.dumps({"error": {"code": 400, "message": "Bad Request"}}),
}

pytestmark = pytest.mark.settings(QBT_RATE_LIMIT="5000", QBT_RATE_WINDOW="1")


def qbt_calls(office: Office) -> list[Any]:
    return [call for call in office.sandbox.calls if call.service == "qbt"]


@pytest.mark.parametrize("status", [400, 413])
@pytest.mark.parametrize(
    "then", [{"kind": "rate_limited"}, {"kind": "status", "status": 403}, {"kind": "lost"}]
)
def test_what_the_first_half_of_a_refused_batch_made_is_known_whatever_ends_the_second(
    office: Office, status: int, then: dict[str, Any]
) -> None:
    office.put()
    where = {"service": "qbt", "method": "POST", "path": "/locations"}
    office.sandbox.client.set_faults(
        [{**REFUSED_WHOLE, **where, "status": status, "nth": [1]}, {**where, **then, "nth": [3]}]
    )
    office.sandbox.rm.put_jobs([job(n, f"A-{n}") for n in range(1, 5)])
    office.fetch()
    office.ring()
    assert [bool(office.link(n).location_id) for n in range(1, 5)] == [True, True, False, False]
    office.sandbox.client.clear_faults()
    assert gates.probe_push(office.app.db, office.app.push.work.qbt)
    office.push()
    one_to_one(office, 4)


def test_one_item_that_makes_the_whole_batch_refused_is_found_and_parked_alone(
    office: Office,
) -> None:
    office.put()
    # All four, the first two, the first; and the first once more after a look.
    rule = {**REFUSED_WHOLE, "path": "/jobcodes", "status": 400, "nth": [1, 2, 3, 6]}
    office.sandbox.client.set_faults([rule])
    office.put(*(job(n, f"A-{n}") for n in range(1, 5)))
    states = [office.link(n).state for n in range(1, 5)]
    assert states == ["parked", "in_sync", "in_sync", "in_sync"]
    assert office.link(1).error_code == "refused_400"


@pytest.mark.parametrize("fault", [{"status": 404}, {"status": 400}, {"status": 302}])
@pytest.mark.parametrize("act", [True, False])
def test_a_refusal_in_words_that_are_not_the_services_own_parks_nobody_and_costs_few_calls(
    office: Office, fault: dict[str, Any], act: bool
) -> None:
    office.put(job(99, "Z-9"))
    before = len(qbt_calls(office))
    office.sandbox.client.set_faults(
        [{"service": "qbt", "method": "POST", "path": "/jobcodes", "kind": "html", "act": act,
          "times": 2, **fault}]
    )  # fmt: skip
    office.put(*(job(n, f"A-{n}") for n in range(1, 51)))
    one_to_one(office, 51)
    assert len(qbt_calls(office)) - before < 20


def test_a_look_that_rows_slip_past_between_two_pages_is_taken_again(office: Office) -> None:
    qbt = office.sandbox.qbt
    qbt.switches.update({"order": "last_modified"})
    office.put(job(1, "A-1"))
    others = [qbt.add_location(addr1=f"{n} Elm Street") for n in range(220)]
    qbt.advance(2)
    where = {"service": "qbt", "path": "/locations"}
    office.sandbox.client.set_faults([{**where, "method": "POST", "kind": "lost", "nth": [1]}])
    office.sandbox.rm.put_jobs([job(2, "A-2")])
    office.fetch()
    office.ring()
    office.sandbox.client.set_faults(
        [{**where, "method": "GET", "kind": "slow", "act": "after", "seconds": 1.5, "nth": [2]}]
    )
    pages = len(qbt_calls(office))
    looking = threading.Thread(target=office.push)
    looking.start()
    wait_until(lambda: any(c.query.get("page") == "2" for c in qbt_calls(office)[pages:]))
    qbt.advance(2)
    for place in others[:60]:
        qbt.change_location(place, notes="seen to")
    looking.join()
    ours = [p for p in qbt.state()["locations"] if p["addr1"] == "2 Main Street"]
    assert len(ours) == 1
    assert office.link(2).state == "in_sync"


def test_a_look_whose_listing_is_one_page_costs_one_call(office: Office) -> None:
    office.put(job(1, "A-1"))
    rule = {"service": "qbt", "method": "POST", "path": "/locations", "kind": "lost", "nth": [1]}
    office.sandbox.client.set_faults([rule])
    before = len(qbt_calls(office))
    office.put(job(2, "A-2"))
    calls = [(call.method, call.path) for call in qbt_calls(office)[before:]]
    assert calls == [("POST", "/jobcodes"), ("POST", "/locations"), ("GET", "/locations")]
    one_to_one(office, 2)


@pytest.mark.parametrize("path", ["/jobcodes", "/locations"])
def test_after_a_lost_answer_the_look_waits_until_the_request_can_hardly_be_under_way(
    sandbox: Sandbox, make_office: MakeOffice, path: str
) -> None:
    office = make_office(QBT_RETRY_BASE_SECONDS="2")
    office.put(job(99, "Z-9"))
    rule = {"service": "qbt", "method": "POST", "path": path, "kind": "lost"}
    office.sandbox.client.set_faults([rule])
    sandbox.rm.put_jobs([job(n, f"A-{n}") for n in range(1, 21)])
    office.fetch()
    with office.app.db.read() as conn:
        before = clock(conn)
    office.ring()
    waits = [office.link(n).next_attempt_at - before for n in range(1, 21)]
    assert min(waits) > timedelta(seconds=5)
    assert len(set(waits)) > 1, "they do not come back together"
