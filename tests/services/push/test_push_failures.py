"""Exactly one effect, whatever fails: answers, items, tokens, calls, and the process itself."""

from __future__ import annotations

from typing import Any

import pytest

from cprqueue.sandbox.server import Sandbox
from cprqueue.services import gates
from tests.listening import Listener
from tests.office import MakeOffice, Office, job, one_to_one

pytestmark = pytest.mark.settings(QBT_RATE_LIMIT="5000")


FAULTS: list[dict[str, Any]] = [
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 503},
    {"kind": "drop"},
    {"kind": "lost"},
    {"kind": "act_then_status", "status": 503},
    {"kind": "garbled", "act": True},
    {"kind": "garbled", "act": False},
    {"kind": "html", "status": 502},
    {"kind": "cut"},
]


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("path", ["/jobcodes", "/locations"])
@pytest.mark.parametrize(
    "fault", FAULTS, ids=[f"{f['kind']}-{f.get('status', f.get('act', ''))}" for f in FAULTS]
)
def test_one_failed_write_of_any_kind_ends_right(
    office: Office, fault: dict[str, Any], path: str, method: str
) -> None:
    office.put(*(job(n, f"A-{n}") for n in range(1, 4)))
    rule = {"service": "qbt", "method": method, "path": path, "nth": [1], **fault}
    office.sandbox.client.set_faults([rule])
    office.put(
        job(1, "B-1"),
        job(2, "A-2", jobAddress1="New Street 2"),
        *(job(n, f"A-{n}") for n in range(4, 8)),
    )
    one_to_one(office, 7)


def test_a_third_of_all_answers_failing_in_every_way_ends_with_one_of_each(
    sandbox: Sandbox, make_office: MakeOffice
) -> None:
    office = make_office(QBT_RATE_LIMIT="5000", QBT_RETRY_BASE_SECONDS="0.00001")
    rules = [{"service": "qbt", "share": 0.035, **fault} for fault in FAULTS]
    rules.append({"service": "qbt", "kind": "items", "item_share": 0.3, "share": 0.1, "code": 500})
    office.sandbox.client.set_faults(rules)
    office.sandbox.rm.put_jobs([job(n, f"A-{n}") for n in range(1, 401)])
    office.fetch()
    office.push(seconds=120)
    assert office.counts()["due"] == 0
    one_to_one(office, 400)
    failed = [c for c in office.sandbox.calls if c.service == "qbt" and c.fault]
    everything = [c for c in office.sandbox.calls if c.service == "qbt"]
    assert len(failed) > len(everything) / 5


def test_a_failing_item_leaves_the_others_of_its_batch_done(office: Office) -> None:
    office.put()
    office.sandbox.client.set_faults(
        [{"service": "qbt", "method": "POST", "path": "/jobcodes", "kind": "items",
          "positions": [2], "code": 417, "extra": "Oops! Not this one", "nth": [1, 2, 3, 4]}]
    )  # fmt: skip
    office.put(*(job(n, f"A-{n}") for n in range(1, 4)))
    parked = office.link(2)
    # The first refusal asks for a look; the second try is a batch of one, so it goes through.
    assert parked.state == "in_sync"
    one_to_one(office, 3)


def test_an_item_refused_for_good_is_parked_with_the_services_own_words(office: Office) -> None:
    rule = {"service": "qbt", "method": "POST", "path": "/jobcodes", "kind": "items",
            "where": {"name": "A-2"}, "code": 417, "extra": "Oops! Not this one"}  # fmt: skip
    office.sandbox.client.set_faults([rule])
    office.put(*(job(n, f"A-{n}") for n in range(1, 4)))
    link = office.link(2)
    assert (link.state, link.error_code) == ("parked", "refused_417")
    assert "Oops! Not this one" in link.error_reason
    office.sandbox.client.clear_faults()
    office.put(job(2, "A-2", jobAddress1="changed"))
    one_to_one(office, 3)


def test_an_item_that_keeps_failing_in_passing_is_parked_after_the_last_attempt(
    sandbox: Sandbox, make_office: MakeOffice
) -> None:
    office = make_office(QBT_MAX_ATTEMPTS="3")
    rule = {"service": "qbt", "method": "POST", "kind": "items", "where": {"name": "A-1"},
            "code": 503, "extra": "try later"}  # fmt: skip
    sandbox.client.set_faults([rule])
    office.put(job(1, "A-1"))
    link = office.link(1)
    assert (link.state, link.attempts) == ("parked", 3)
    assert link.error_reason.startswith("gave up after 3 tries")
    assert link.verification == "whole"  # the last try may have had an effect all the same


def test_an_outage_parks_nobody(sandbox: Sandbox, make_office: MakeOffice) -> None:
    office = make_office(QBT_MAX_ATTEMPTS="2")
    office.put(job(1, "A-1"))
    sandbox.client.set_faults([{"service": "qbt", "kind": "status", "status": 500, "times": 9}])
    office.put(job(1, "A-1"), job(2, "A-2"))
    assert office.counts()["parked"] == 0
    one_to_one(office, 2)


@pytest.mark.parametrize("status", [401, 402, 403, 499])
def test_a_refusal_of_everything_stops_the_push_once_and_it_resumes_by_itself(
    office: Office, status: int
) -> None:
    people = Listener(office)
    office.put(job(1, "A-1"))
    office.sandbox.qbt.switches.update({"force_status": status})
    office.put(job(2, "A-2"), job(3, "A-3"))
    result = office.ring()
    assert result.text.startswith("the push is stopped: ")
    with office.app.db.read() as conn:
        why = gates.push_stopped(conn)
    assert why is not None
    assert why.status == status
    assert office.counts()["due"] == 2
    before = len(office.sandbox.calls)
    for _ in range(20):
        office.ring()
    assert len(office.sandbox.calls) == before
    assert people.titles() == ["QuickBooks Time push stopped"]
    assert not gates.probe_push(office.app.db, office.app.push.work.qbt)
    assert people.titles() == ["QuickBooks Time push stopped"]
    assert gates.CURES[status] in people.heard[0].text
    office.sandbox.qbt.switches.update({"force_status": None})
    assert gates.probe_push(office.app.db, office.app.push.work.qbt)
    office.push()
    one_to_one(office, 3)
    assert people.titles() == ["QuickBooks Time push stopped", "QuickBooks Time push goes on"]


def test_out_of_calls_the_doorbell_costs_nothing_and_says_when_to_ring(
    sandbox: Sandbox, make_office: MakeOffice
) -> None:
    office = make_office(QBT_RATE_LIMIT="10", QBT_RATE_WINDOW="3")
    sandbox.qbt.switches.update({"rate_window_seconds": 3})
    sandbox.rm.put_jobs([job(n, f"A-{n}") for n in range(1, 301)])
    office.fetch()
    rungs = [office.ring() for _ in range(6)]
    assert rungs[-1].next_in is not None
    assert 0 < rungs[-1].next_in.total_seconds() <= 3
    office.push(seconds=30)
    one_to_one(office, 300)
    assert [c for c in sandbox.calls if c.status == 429] == []


def test_a_429_that_nobody_expected_waits_for_a_whole_window(
    sandbox: Sandbox, make_office: MakeOffice
) -> None:
    office = make_office(QBT_RATE_WINDOW="2")
    sandbox.qbt.switches.update({"rate_limit": 2, "rate_window_seconds": 2})
    office.put(job(1, "A-1"))
    one_to_one(office, 1)
    assert len([c for c in sandbox.calls if c.status == 429]) == 1


def test_an_expired_token_is_renewed_once_and_the_new_pair_is_kept(
    sandbox: Sandbox, make_office: MakeOffice
) -> None:
    office = make_office()
    office.put(job(1, "A-1"))
    sandbox.qbt.expire_token()
    office.put(job(2, "A-2"))
    one_to_one(office, 2)
    again = make_office()
    again.put(job(3, "A-3"))
    one_to_one(again, 3)
    grants = [c for c in sandbox.calls if c.path == "/grant"]
    assert len(grants) == 1


def test_a_hand_made_token_that_is_refused_stops_the_push(
    sandbox: Sandbox, make_office: MakeOffice
) -> None:
    by_hand = dict.fromkeys(("QBT_CLIENT_ID", "QBT_CLIENT_SECRET", "QBT_REFRESH_TOKEN"), "")
    office = make_office(**by_hand, QBT_ACCESS_TOKEN="wrong")
    office.put(job(1, "A-1"))
    with office.app.db.read() as conn:
        why = gates.push_stopped(conn)
    assert why is not None
    assert "QBT_ACCESS_TOKEN" in why.text


def test_a_name_that_exists_but_is_never_listed_parks_its_job_with_that_reason(
    office: Office,
) -> None:
    office.put(job(1, "A-1"))
    exists = {"kind": "items", "where": {"name": "A-2"}, "code": 202, "message": "Accepted"}
    rule = {"service": "qbt", "method": "POST", "path": "/jobcodes", **exists}
    office.sandbox.client.set_faults([rule])
    calls = len(office.sandbox.calls)
    office.put(job(2, "A-2"), job(3, "A-3"))
    link = office.link(2)
    assert (link.state, link.error_code) == ("parked", "refused_202")
    assert "says that a jobcode of this name exists, but lists none" in link.error_reason
    assert "202" not in link.error_reason
    assert len(office.sandbox.calls) - calls <= 6
    assert office.link(3).state == "in_sync"
