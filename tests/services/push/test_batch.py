"""A batch writes back only what is its own, and writes an event for each item that ended."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from cprqueue.domain.models import Observed, Spare
from cprqueue.domain.push_item import read_item
from cprqueue.domain.states import ErrorCode, Intent, LinkState, VerificationKind
from cprqueue.services.push import observing
from cprqueue.services.push.batch import Batch
from cprqueue.store import events, leases, push_queue
from cprqueue.store.database import clock
from cprqueue.store.push_queue import NO_LEASE, LinkValues
from tests.office import Office, job

Kind = VerificationKind | None
CREATE = Intent.CREATE_JOBCODE
CHANGES, FULL = VerificationKind.CHANGES, VerificationKind.FULL
MINUTE = timedelta(minutes=1)
HELD = Observed(jobcode_id=101, name="A-1", active=True, assigned_to_all=True)


def known(office: Office, *job_ids: int) -> None:
    """Have these jobs on record, due."""
    office.record([job(n, f"A-{n}") for n in job_ids])


def claim(office: Office, lease: str = "a", **wishes: Any) -> Batch:
    """Claim what is due for a minute."""
    batch = Batch(db=office.app.db, lease=lease, lease_time=MINUTE)
    with office.app.db.begin() as conn:
        now = clock(conn)
        for row in leases.claim(conn, lease, now=now, limit=50, until=now + MINUTE, **wishes):
            batch.items[row.job_id] = read_item(row)
    return batch


def lose(office: Office, job_id: int) -> None:
    """Let another worker have the job by now, because the lease had expired."""
    with office.app.db.begin() as conn:
        leases.write(conn, job_id, "a", {"lease": "another"})


def history(office: Office, job_id: int = 1) -> list[tuple[str, str]]:
    """Return the job's history after its first record."""
    with office.app.db.read() as conn:
        return [(found.kind, found.text) for found in events.of_job(conn, job_id)][1:]


def test_an_item_is_called_by_its_job_and_number_and_knows_whether_it_is_certain(
    office: Office,
) -> None:
    known(office, 1)
    item = claim(office).items[1]
    assert (item.label, item.seniority, item.key) == ("RM job 1 (A-1)", (0, 1), "a-1")
    assert (item.verification, item.certain) == (None, True)
    item.verification = FULL
    assert not item.certain
    item.verification, item.intent = None, CREATE
    assert not item.certain


@pytest.mark.parametrize(
    ("intent", "verification", "read"),
    [(None, None, None), (CREATE, None, CHANGES), (CREATE, FULL, FULL), (None, FULL, FULL)],
)
def test_a_request_of_unknown_outcome_asks_for_a_verification(
    office: Office, intent: Intent | None, verification: Kind, read: Kind
) -> None:
    known(office, 1)
    batch = claim(office)
    with office.app.db.begin() as conn:
        unsure: LinkValues = {"intent": intent, "verification": verification, **NO_LEASE}
        leases.write(conn, 1, "a", unsure)
    batch = claim(office, "b")
    assert (batch.items[1].verification, batch.items[1].certain) == (read, read is None)


def test_a_create_of_unknown_outcome_is_sought_by_the_name_that_it_sent(
    office: Office,
) -> None:
    known(office, 1)
    batch = claim(office)
    batch.record_intent([batch.items[1]], CREATE)
    batch.close()
    office.record([job(1, "B-1")])
    item = claim(office, "b").items[1]
    assert item.names == ["A-1", "B-1"]
    item.intent = Intent.CREATE_LOCATION
    assert item.names == ["B-1"]


def test_an_intent_is_on_record_with_a_longer_lease_before_anything_is_sent(
    office: Office,
) -> None:
    known(office, 1)
    batch = claim(office)
    before = office.link(1).lease_until
    item = batch.items[1]
    batch.record_intent([item], CREATE)
    link = office.link(1)
    assert (link.intent, link.intent_at) == (CREATE, item.intent_at)
    assert link.lease_until > before
    assert not item.certain


def test_what_another_worker_has_by_now_leaves_the_batch_unsent(office: Office) -> None:
    known(office, 1, 2)
    batch = claim(office)
    lose(office, 1)
    items = list(batch.items.values())
    batch.record_intent(items, CREATE)
    assert list(batch.items) == [2]
    assert [item.job_id for item in batch.keep_ours(items)] == [2]
    assert (office.link(1).intent, office.link(2).intent) == (None, CREATE)


def test_a_request_that_did_nothing_leaves_nothing_uncertain(office: Office) -> None:
    known(office, 1)
    batch = claim(office)
    item = batch.items[1]
    batch.record_intent([item], Intent.CREATE_LOCATION)
    batch.clear_intent([item])
    assert (office.link(1).intent, office.link(1).intent_at) == (None, None)
    assert item.certain


def test_an_item_that_moves_begins_to_count_its_attempts_afresh(office: Office) -> None:
    known(office, 1, 2)
    batch = claim(office)
    with office.app.db.begin() as conn:
        for n, item in batch.items.items():
            leases.write(conn, n, "a", {"attempts": 4})
            item.attempts = 4
        observing.record_observed_each(conn, batch, [(batch.items[1], HELD)])
    assert (office.link(1).attempts, batch.items[1].attempts) == (0, 0)
    assert (office.link(2).attempts, batch.items[2].attempts) == (4, 4)
    assert (office.link(1).jobcode_id, batch.items[1].observed) == (101, HELD)


@pytest.mark.parametrize("each", [True, False])
def test_of_two_jobs_with_one_jobcode_both_are_verified_and_the_second_is_due_later(
    office: Office, each: bool
) -> None:
    known(office, 1, 2, 3)
    batch = claim(office)
    with office.app.db.begin() as conn:
        observing.record_observed(conn, batch, batch.items[1], HELD)
        batch.end(conn, [batch.items[1]])
        if each:
            leases.write(conn, 3, "a", {"attempts": 4})
            third = Observed(jobcode_id=103, name="A-3")
            observing.record_observed_each(
                conn, batch, [(batch.items[2], HELD), (batch.items[3], third)]
            )
        else:
            observing.record_observed(conn, batch, batch.items[2], HELD)
    assert list(batch.items) == [3]
    first = office.link(1)
    assert (first.state, first.verification) == (LinkState.DUE, VerificationKind.REQUIRED)
    second = office.link(2)
    assert (second.jobcode_id, second.error_code, second.verification) == (
        None,
        ErrorCode.CONFLICT,
        FULL,
    )
    assert (second.lease, batch.failed) == (None, 1)
    third_link = office.link(3)
    assert (third_link.jobcode_id, third_link.attempts) == (103 if each else None, 0)


def share(office: Office) -> Batch:
    """Let the jobcodes of two jobs share a spare location."""
    known(office, 1, 2)
    batch = claim(office)
    with office.app.db.begin() as conn:
        for n, other in ((1, 102), (2, 101)):
            spares = (Spare(201, (other,)),)
            observed = Observed(jobcode_id=100 + n, name=f"A-{n}", active=True, spares=spares)
            observing.record_observed(conn, batch, batch.items[n], observed)
    return batch


def spares(office: Office, job_id: int) -> tuple[Spare, ...]:
    with office.app.db.read() as conn:
        (row,) = push_queue.with_jobs(conn, [job_id])
    return row.observed.spares


def test_a_job_that_left_a_shared_location_is_not_linked_to_it_again(
    office: Office,
) -> None:
    batch = share(office)
    with office.app.db.begin() as conn:
        observing.record_observed(
            conn, batch, batch.items[1], Observed(jobcode_id=101, name="A-1", active=True)
        )
    assert (spares(office, 1), spares(office, 2)) == ((), (Spare(201),))
    assert batch.items[2].observed.spares == (Spare(201),), "the same batch may send it next"


def test_a_job_that_keeps_a_shared_location_stays_on_record_of_the_other(office: Office) -> None:
    batch = share(office)
    with office.app.db.begin() as conn:
        observing.record_observed(conn, batch, batch.items[1], batch.items[1].observed)
    assert spares(office, 2) == (Spare(201, (101,)),)


def test_an_item_that_is_postponed_is_given_back_with_the_reason(office: Office) -> None:
    known(office, 1)
    batch = claim(office)
    item = batch.items[1]
    with office.app.db.begin() as conn:
        at = clock(conn) + MINUTE
        batch.postpone(conn, item, ErrorCode.NO_ANSWER, "x" * 1500, FULL, at=at, attempts=3)
    link = office.link(1)
    assert (link.state, link.lease, link.lease_until) == (LinkState.DUE, None, None)
    assert (link.next_attempt_at, link.attempts, link.verification) == (at, 3, FULL)
    assert (link.error_code, link.error_reason) == (ErrorCode.NO_ANSWER, "x" * 1000)
    assert [kind for kind, _ in history(office)] == ["retry"]
    assert (batch.items, batch.failed) == ({}, 1)


def test_an_item_that_waits_for_another_is_no_event_and_stays_unverified(office: Office) -> None:
    known(office, 1)
    batch = claim(office)
    with office.app.db.begin() as conn:
        leases.write(conn, 1, "a", {"verification": CHANGES, "attempts": 2})
        batch.items[1].attempts = 2
        batch.postpone(conn, batch.items[1], ErrorCode.WAITING, "for another")
    link = office.link(1)
    assert (link.error_code, link.attempts, link.verification) == (ErrorCode.WAITING, 2, CHANGES)
    assert history(office) == []


def test_an_item_that_is_parked_waits_for_a_person_with_the_reason(office: Office) -> None:
    known(office, 1)
    batch = claim(office)
    batch.record_intent([batch.items[1]], CREATE)
    with office.app.db.begin() as conn:
        batch.park(conn, batch.items[1], "refused_417", "y" * 1500, verification=FULL)
    link = office.link(1)
    assert (link.state, link.lease) == (LinkState.PARKED, None)
    assert (link.intent, link.verification) == (None, FULL)
    assert (link.error_code, link.error_reason, link.attempts) == ("refused_417", "y" * 1000, 1)
    assert [kind for kind, _ in history(office)] == ["parked"]
    assert (batch.items, batch.parked, batch.failed) == ({}, 1, 0)


def test_a_job_that_changed_meanwhile_is_neither_parked_nor_done_but_due(office: Office) -> None:
    known(office, 1, 2)
    batch = claim(office)
    first, second = batch.items[1], batch.items[2]
    office.record([job(1, "B-1"), job(2, "B-2")])
    with office.app.db.begin() as conn:
        batch.park(conn, first, "refused_417", "refused")
        batch.end(conn, [second])
    for n in (1, 2):
        assert (office.link(n).state, office.link(n).lease) == (LinkState.DUE, None)
        assert [kind for kind, _ in history(office, n)] == ["recorded"]
    assert (batch.items, batch.parked, batch.pushed) == ({}, 0, 0)


def test_the_last_parked_of_those_with_one_number_requeues_the_others(
    office: Office,
) -> None:
    office.record([job(n, "A-1") for n in (1, 2)])
    batch = claim(office)
    with office.app.db.begin() as conn:
        for n in (1, 2):
            batch.park(conn, batch.items[n], ErrorCode.DOUBLED_NUMBER, "the other one has it")
    assert (office.link(1).state, office.link(2).state) == (LinkState.DUE, LinkState.PARKED)


def test_what_is_done_is_in_sync_and_its_event_names_jobcode_and_location(office: Office) -> None:
    known(office, 1, 2)
    batch = claim(office)
    with office.app.db.begin() as conn:
        observed = Observed(jobcode_id=102, name="A-2", location_id=202, location_linked=True)
        observing.record_observed_each(
            conn, batch, [(batch.items[1], HELD), (batch.items[2], observed)]
        )
        batch.end(conn, [])
        batch.end(conn, list(batch.items.values()))
    for n in (1, 2):
        link = office.link(n)
        assert (link.state, link.lease, link.next_attempt_at) == (LinkState.IN_SYNC, None, None)
        assert link.pushed_at is not None
    assert history(office, 1) == [("pushed", "in step: jobcode 101, no location")]
    assert history(office, 2) == [("pushed", "in step: jobcode 102, location 202")]
    assert (batch.items, batch.pushed) == ({}, 2)


def test_what_is_left_at_the_end_is_given_back_as_it_was(office: Office) -> None:
    known(office, 1)
    batch = claim(office)
    batch.close()
    assert (office.link(1).state, office.link(1).lease, office.link(1).attempts) == ("due", None, 0)
