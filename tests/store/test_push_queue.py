"""Who is due, who may claim it, what a lease keeps others from, and who is requeued."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cprqueue.domain.states import LinkState, VerificationKind
from cprqueue.store import leases, push_queue
from cprqueue.store.database import Database, clock
from cprqueue.store.push_queue import LinkValues
from tests.linked import MINUTE, PARKED, claim, hold, know, link, now, write

REQUIRED = VerificationKind.REQUIRED


def test_what_is_claimed_is_nobody_elses_until_its_lease_expires(db: Database) -> None:
    know(db, 1, 2)
    assert claim(db, "a") == [1, 2]
    assert claim(db, "b") == []
    with db.begin() as conn:
        at = clock(conn) + 2 * MINUTE
        rows = leases.claim(conn, "b", now=at, limit=50, until=at + MINUTE)
    assert [row.job_id for row in rows] == [1, 2]
    assert {link(db, n).lease for n in (1, 2)} == {"b"}


def test_a_claim_takes_what_is_due_longest_up_to_its_limit(db: Database) -> None:
    know(db, 1, 2, 3)
    with db.begin() as conn:
        push_queue.make_due(conn, 1, now=clock(conn) + timedelta(milliseconds=1))
    later = now(db) + MINUTE
    with db.begin() as conn:
        rows = leases.claim(conn, "a", now=later, limit=2, until=later + MINUTE)
    assert [row.job_id for row in rows] == [2, 3]


def test_a_claim_that_wants_more_than_is_due_takes_nothing(db: Database) -> None:
    know(db, 1, 2)
    assert claim(db, "a", at_least=3) == []
    assert link(db).lease is None
    assert claim(db, "a", at_least=2) == [1, 2]


def test_a_claim_of_one_job_leaves_the_others(db: Database) -> None:
    know(db, 1, 2)
    assert claim(db, "a", only=2) == [2]
    assert claim(db, "b", only=2) == []
    assert (link(db, 1).lease, link(db, 2).lease) == (None, "a")


@pytest.mark.parametrize("state", [LinkState.IN_SYNC, LinkState.PARKED, LinkState.IDLE])
def test_only_what_is_due_is_claimed(db: Database, state: LinkState) -> None:
    know(db, 1)
    write(db, {"state": state}, 1)
    assert claim(db, "a") == []


def test_what_waits_for_its_next_attempt_is_neither_claimed_nor_counted(db: Database) -> None:
    know(db, 1, 2)
    at = now(db)
    write(db, {"next_attempt_at": at + 5 * MINUTE}, 1)
    with db.begin() as conn:
        assert push_queue.due_now(conn, now=clock(conn))[0] == 1
        assert push_queue.due_now(conn, now=at + 6 * MINUTE)[0] == 2
        assert push_queue.next_due_in(conn, now=at + 6 * MINUTE) == timedelta(0)
    assert claim(db, "a") == [2]
    with db.begin() as conn:
        assert push_queue.next_due_in(conn, now=at) == 5 * MINUTE
        assert push_queue.due_now(conn, now=at + MINUTE / 2) == (0, None)


def test_what_is_due_is_counted_up_to_a_number_with_the_oldest(db: Database) -> None:
    know(db, 1, 2, 3)
    with db.begin() as conn:
        number, oldest = push_queue.due_now(conn, now=clock(conn), at_most=2)
        assert number == 2
        assert oldest is not None
        assert oldest <= clock(conn)


def test_nothing_due_has_no_next_time(db: Database) -> None:
    with db.begin() as conn:
        assert push_queue.next_due_in(conn, now=clock(conn)) is None


def test_there_is_one_wake_up_for_each_batch(db: Database) -> None:
    know(db, *range(1, 8))
    with db.begin() as conn:
        assert len(push_queue.one_of_each_batch(conn, now=clock(conn), every=3)) == 3
        assert len(push_queue.one_of_each_batch(conn, now=clock(conn), every=7)) == 1


def test_a_write_counts_only_under_the_lease(db: Database) -> None:
    know(db, 1)
    claim(db, "a")
    with db.begin() as conn:
        assert not leases.write(conn, 1, "b", {"attempts": 5})
        assert leases.write(conn, 1, "a", {"attempts": 4})
    assert link(db).attempts == 4


def test_a_job_is_parked_only_under_the_lease_and_as_it_was_claimed(db: Database) -> None:
    know(db, 1)
    claim(db, "a")
    desired = link(db).desired_hash
    with db.begin() as conn:
        assert not leases.park(conn, 1, "b", desired, PARKED)
        assert not leases.park(conn, 1, "a", "of an earlier record", PARKED)
        assert leases.park(conn, 1, "a", desired, PARKED)
        assert not leases.park(conn, 1, "a", desired, PARKED), "it is due no more"
    assert (link(db).state, link(db).attempts) == (LinkState.PARKED, 2)


def test_a_required_verification_is_cleared_by_the_next_claim_alone(db: Database) -> None:
    know(db, 1, 2)
    know(db, 2, progress="Lost Lead")
    claim(db, "a")
    later = now(db) + MINUTE
    with db.begin() as conn:
        push_queue.require_verification(conn, [1, 2], now=clock(conn), at=later)
        cleared: LinkValues = {"job_id": 1, "verification": None}
        leases.write(conn, 1, "a", {"verification": None, "attempts": 3})
        leases.write_each(conn, "a", [cleared])
        ended: LinkValues = {"state": LinkState.IN_SYNC}
        assert leases.finish_each(conn, "a", {1: link(db).desired_hash}, ended) == set()
        assert not leases.park(conn, 1, "a", link(db).desired_hash, PARKED)
    row = link(db)
    assert (row.state, row.verification, row.attempts) == (LinkState.DUE, REQUIRED, 3)
    assert (row.lease, row.next_attempt_at) == (None, later)
    assert (link(db, 2).state, link(db, 2).verification) == (LinkState.IDLE, REQUIRED)
    assert claim(db, "b") == []
    with db.begin() as conn:
        (claimed,) = leases.claim(conn, "b", now=later, limit=50, until=later + MINUTE)
    assert claimed.verification is VerificationKind.FULL


def test_a_batch_is_written_row_by_row_and_what_is_not_ours_stays(db: Database) -> None:
    know(db, 1, 2, 3)
    claim(db, "a", only=1)
    claim(db, "a", only=2)
    claim(db, "b", only=3)
    with db.begin() as conn:
        leases.write_each(conn, "a", [{"job_id": n, "attempts": n + 5} for n in (1, 2, 3)])
        leases.write_each(conn, "a", [])
    assert [link(db, n).attempts for n in (1, 2, 3)] == [6, 7, 0]


def test_a_lease_is_prolonged_for_all_that_it_covers_and_given_back_as_it_was(
    db: Database,
) -> None:
    know(db, 1, 2, 3)
    claim(db, "b", only=3)
    claim(db, "a")
    until = now(db) + 9 * MINUTE
    with db.begin() as conn:
        assert leases.renew(conn, "a", until) == {1, 2}
        assert leases.renew(conn, "nobody", until) == set()
    assert (link(db, 1).lease_until, link(db, 2).lease_until) == (until, until)
    assert until > (link(db, 3).lease_until or until)
    with db.begin() as conn:
        push_queue.release(conn, "a")
    assert [link(db, n).lease for n in (1, 2, 3)] == [None, None, "b"]
    assert (link(db, 1).state, link(db, 1).lease_until) == (LinkState.DUE, None)


def test_jobs_that_changed_while_they_were_pushed_are_given_back_due(db: Database) -> None:
    know(db, 1, 2, 3)
    claim(db, "b", only=3)
    claim(db, "a")
    hashes = {n: link(db, n).desired_hash for n in (1, 2, 3)}
    know(db, 2, number="B-2")
    with db.begin() as conn:
        values: LinkValues = {"state": LinkState.IN_SYNC, "lease_until": None}
        assert leases.finish_each(conn, "a", hashes, values) == {1}
    states = [link(db, n).state for n in (1, 2, 3)]
    assert states == [LinkState.IN_SYNC, LinkState.DUE, LinkState.DUE]
    assert [link(db, n).lease for n in (1, 2, 3)] == [None, None, "b"]
    assert link(db, 2).lease_until is None


def test_an_archive_leases_what_no_push_has_under_way(db: Database) -> None:
    know(db, 1, 2, 3)
    for n in (1, 2, 3):
        hold(db, n, 100 + n)
    with db.begin() as conn:
        push_queue.make_due(conn, 2, now=clock(conn))
    assert claim(db, "push") == [2]
    with db.begin() as conn:
        at = clock(conn)
        codes = [101, 102, 999]
        assert push_queue.lease_jobcodes(conn, "a", codes, now=at, until=at + MINUTE) == {101, 999}
        again = push_queue.lease_jobcodes(conn, "a", [101], now=at, until=at + 2 * MINUTE)
        assert again == {101}, "what is ours already is ours"
    assert [link(db, n).lease for n in (1, 2, 3)] == ["a", "push", None]
    assert link(db, 1).lease_until == at + 2 * MINUTE


def test_requeue_makes_due_who_is_parked_or_waits_and_nobody_else(db: Database) -> None:
    know(db, 1, 2, 3)
    write(db, PARKED, 1)
    write(db, {"next_attempt_at": now(db) + MINUTE, "attempts": 3, "error_code": "item_503"}, 2)
    hold(db, 3, 103)
    with db.begin() as conn:
        at = clock(conn)
        assert sorted(push_queue.requeue(conn, now=at)) == [1, 2]
    for n in (1, 2):
        row = link(db, n)
        assert (row.state, row.next_attempt_at) == (LinkState.DUE, at)
        assert (row.attempts, row.error_code) == (0, None)
    assert link(db, 3).state == LinkState.IN_SYNC


def test_requeue_of_some_leaves_the_others(db: Database) -> None:
    know(db, 1, 2)
    write(db, PARKED, 1, 2)
    with db.begin() as conn:
        assert push_queue.requeue(conn, now=clock(conn), job_ids=[2, 9]) == [2]
        assert push_queue.requeue(conn, now=clock(conn), job_ids=[]) == []
    assert (link(db, 1).state, link(db, 2).state) == (LinkState.PARKED, LinkState.DUE)


@pytest.mark.parametrize(
    ("code", "requeued"), [("doubled_number", True), ("refused_417", True), ("item_503", False)]
)
def test_a_number_that_is_free_requeues_who_was_parked_for_it(
    db: Database, code: str, requeued: bool
) -> None:
    know(db, 1, number="A-1")
    know(db, 2, number="A-2")
    write(db, {**PARKED, "error_code": code}, 1, 2)
    with db.begin() as conn:
        found = push_queue.requeue_name_conflicts(conn, "a-1", now=clock(conn))
    assert found == ([1] if requeued else [])
    assert link(db, 1).state == (LinkState.DUE if requeued else LinkState.PARKED)
    assert link(db, 2).state == LinkState.PARKED


def test_an_inactive_job_is_in_no_name_conflict(db: Database) -> None:
    know(db, 1)
    know(db, 1, progress="Lost Lead")
    write(db, PARKED, 1)
    with db.begin() as conn:
        assert push_queue.requeue_name_conflicts(conn, "a-1", now=clock(conn)) == []


def test_where_all_with_one_number_wait_for_another_the_others_are_requeued(
    db: Database,
) -> None:
    know(db, 1, 2, 3, number="A-1")
    know(db, 4, number="A-4")
    write(db, PARKED, 1, 2, 3, 4)
    with db.begin() as conn:
        push_queue.unpark_if_deadlocked(conn, "a-1", but=3, now=clock(conn))
    states = [link(db, n).state for n in (1, 2, 3, 4)]
    assert states == [LinkState.DUE, LinkState.DUE, LinkState.PARKED, LinkState.PARKED]


@pytest.mark.parametrize(
    "first", [{"state": LinkState.DUE}, {"state": LinkState.PARKED, "error_code": "refused_417"}]
)
def test_where_one_of_them_does_not_wait_for_another_nobody_is_requeued(
    db: Database, first: LinkValues
) -> None:
    know(db, 1, 2, 3, number="A-1")
    write(db, PARKED, 2, 3)
    write(db, first, 1)
    with db.begin() as conn:
        push_queue.unpark_if_deadlocked(conn, "a-1", but=3, now=clock(conn))
    assert link(db, 2).state == LinkState.PARKED


def test_failures_are_the_parked_and_those_that_failed_before_of_active_jobs(
    db: Database,
) -> None:
    know(db, 1, 2, 3, 4, 5)
    write(db, PARKED, 1, 5)
    write(db, {"error_code": "item_503"}, 2)
    hold(db, 3, 103)
    know(db, 5, progress="Lost Lead")
    with db.read() as conn:
        found = [(row.job_id, row.job_number) for row in push_queue.failing(conn)]
    assert found == [(1, "A-1"), (2, "A-2")]


def test_a_job_that_is_made_due_again_begins_afresh_and_keeps_its_lease(db: Database) -> None:
    know(db, 1, 2)
    write(db, {**PARKED, "verification": VerificationKind.CHANGES}, 1)
    with db.begin() as conn:
        at = clock(conn)
        push_queue.set_due(conn, 1, "hash", now=at)
    row = link(db)
    assert (row.state, row.desired_hash) == (LinkState.DUE, "hash")
    assert (row.due_since, row.next_attempt_at) == (at, at)
    assert (row.attempts, row.error_code, row.error_reason) == (0, None, None)
    assert row.verification is VerificationKind.CHANGES
    assert link(db, 2).desired_hash != "hash"
    claim(db, "a", only=1)
    with db.begin() as conn:
        push_queue.set_due(conn, 1, "hash", now=at, verification=VerificationKind.FULL)
    assert (link(db).lease, link(db).verification) == ("a", VerificationKind.FULL)
