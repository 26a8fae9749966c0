"""What a push writes down of an item that is not done yet: the next claim must not guess."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from cprqueue.domain.states import ErrorCode, LinkState, VerificationKind
from cprqueue.store.database import clock
from tests.office import MakeOffice, Office, job, one_to_one
from tests.pruning import CLOSED, fault


def creates(office: Office) -> int:
    """Count the requests so far that would make a jobcode."""
    return sum(call[:2] == ("POST", "/jobcodes") for call in office.writes())


def refuse(office: Office, code: int) -> None:
    """Let QuickBooks Time answer this code to every create of the jobcode A-1."""
    fault(office, kind="items", method="POST", path="/jobcodes", where={"name": "A-1"}, code=code)


def appear(office: Office, *items: dict[str, Any]) -> datetime:
    """Fetch these jobs; return the database's time before they are pushed."""
    office.sandbox.rm.put_jobs(items)
    office.fetch()
    with office.app.db.read() as conn:
        return clock(conn)


@pytest.fixture
def patient(make_office: MakeOffice) -> Office:
    """An office that tries again only after a while, and whose account was exported."""
    made = make_office(QBT_RETRY_BASE_SECONDS="600")
    made.put()
    made.app.snapshot.take()
    return made


@pytest.mark.parametrize("code", [409, 423, 429, 500, 503])
def test_an_item_that_fails_in_passing_waits_for_its_next_attempt(
    patient: Office, code: int
) -> None:
    refuse(patient, code)
    before = appear(patient, job(1, "A-1"))
    patient.ring()
    link = patient.link(1)
    assert (link.state, link.error_code, link.attempts) == (LinkState.DUE, f"item_{code}", 1)
    assert link.verification == VerificationKind.FULL, "it may have had an effect all the same"
    assert link.next_attempt_at > before
    assert creates(patient) == 1


def test_a_name_that_exists_but_is_not_listed_is_parked_with_the_cure(patient: Office) -> None:
    refuse(patient, 202)
    appear(patient, job(1, "A-1"))
    patient.ring()
    link = patient.link(1)
    assert (link.state, link.error_code) == (LinkState.PARKED, "refused_202")
    assert "rename that jobcode, then retry" in link.error_reason
    assert creates(patient) == 2, "once, and once more after a verification found nothing"


def test_a_refused_item_whose_verification_fails_is_fully_verified_next_time(
    patient: Office,
) -> None:
    where = {"service": "qbt", "path": "/jobcodes"}
    items = {"kind": "items", "method": "POST", "where": {"name": "A-1"}, "code": 417}
    down = {"kind": "status", "method": "GET", "status": 503}
    patient.sandbox.client.set_faults([{**where, **items}, {**where, **down}])
    appear(patient, job(1, "A-1"))
    patient.ring()
    link = patient.link(1)
    assert (link.state, link.error_code) == (LinkState.DUE, ErrorCode.NO_ANSWER)
    assert (link.verification, link.intent) == (VerificationKind.FULL, None), (
        "its request is known to have done nothing"
    )


def test_a_jobcode_that_the_export_shows_is_adopted_without_an_attempt_to_make_it(
    patient: Office,
) -> None:
    there = patient.sandbox.qbt.add_jobcode(name="A-1", assigned_to_all=True)
    patient.app.snapshot.take()
    appear(patient, job(1, "A-1"))
    patient.ring()
    assert patient.link(1).jobcode_id == there
    assert patient.writes() == [("POST", "/locations", 1)]
    one_to_one(patient, 1)


def test_a_jobcode_whose_location_is_shared_is_on_record_before_it_is_verified(
    patient: Office,
) -> None:
    qbt = patient.sandbox.qbt
    codes = [qbt.add_jobcode(name=name) for name in ("A-1", "Warehouse")]
    qbt.add_location(addr1="5 Yard Road", linked_objects={"jobcodes": codes})
    patient.app.snapshot.take()
    fault(patient, kind="status", method="GET", status=503)
    appear(patient, job(1, "A-1"))
    patient.ring()
    link = patient.link(1)
    assert (link.jobcode_id, link.verification, link.error_code) == (
        codes[0],
        VerificationKind.FULL,
        ErrorCode.NO_ANSWER,
    )
    assert patient.writes() == []


def test_a_jobcode_that_is_taken_over_is_the_new_jobs_even_where_the_verification_fails(
    patient: Office,
) -> None:
    patient.put(job(1, "A-1"))
    code = patient.link(1).jobcode_id
    patient.put(job(1, "A-1", **CLOSED))
    fault(patient, kind="status", method="GET", status=503)
    appear(patient, job(2, "A-1"))
    patient.ring()
    link = patient.link(2)
    assert (link.jobcode_id, link.verification, link.error_code) == (
        code,
        VerificationKind.FULL,
        ErrorCode.NO_ANSWER,
    )
    assert patient.link(1).jobcode_id is None


def test_a_jobcode_is_taken_over_at_the_first_wake_up(patient: Office) -> None:
    patient.put(job(1, "A-1"))
    patient.put(job(1, "A-1", **CLOSED))
    before = creates(patient)
    appear(patient, job(2, "A-1"))
    patient.ring()
    assert (patient.link(2).state, patient.link(2).attempts) == (LinkState.IN_SYNC, 0)
    assert creates(patient) == before, "it is known whose the name is"
    assert patient.link(1).jobcode_id is None
    one_to_one(patient, 1)


def test_a_jobcode_that_makes_way_is_on_record_under_its_new_name(patient: Office) -> None:
    patient.put(job(1, "A-1"), job(2, "A-2"))
    patient.put(job(1, "A-1", **CLOSED))
    appear(patient, job(2, "A-1"))
    patient.ring()
    assert patient.link(1).observed.name == "A-1 ~1"
    assert patient.link(2).observed.name == "A-1"
