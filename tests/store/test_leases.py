"""Rows under a lease: a verification that somebody else requires is never taken back."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import Connection

from cprqueue.domain.states import LinkState, VerificationKind
from cprqueue.store import leases, links, push_queue
from cprqueue.store.database import Database, clock
from tests.office import Office, job

HOUR = timedelta(hours=1)
IN_SYNC: push_queue.LinkValues = {"state": LinkState.IN_SYNC, "lease_until": None}


def claim(conn: Connection, lease: str) -> VerificationKind | None:
    now = clock(conn) + HOUR * 2  # later than any lease of this test
    [row] = leases.claim(conn, lease, now=now, limit=9, until=now + HOUR)
    return row.verification


@pytest.fixture
def db(office: Office) -> Database:
    office.sandbox.rm.put_jobs([job(1, "A-1")])
    office.fetch()
    return office.app.db


def finish(conn: Connection, lease: str) -> set[int]:
    return leases.finish_each(conn, lease, {1: links.existing(conn, 1).desired_hash}, IN_SYNC)


def test_only_a_later_claim_clears_a_verification_that_is_required(db: Database) -> None:
    with db.begin() as conn:
        assert claim(conn, "present") is None
        push_queue.require_verification(conn, [1], now=clock(conn))
        leases.write(conn, 1, "present", {"verification": None})
        leases.write_each(conn, "present", [{"job_id": 1, "verification": None}])
        assert finish(conn, "present") == set()
        link = links.existing(conn, 1)
        assert (link.state, link.lease, link.verification) == ("due", None, "required")
        assert claim(conn, "later") is VerificationKind.FULL
        leases.write(conn, 1, "later", {"verification": None})
        assert finish(conn, "later") == {1}


def test_a_job_that_must_be_verified_is_not_parked(db: Database) -> None:
    with db.begin() as conn:
        claim(conn, "present")
        push_queue.require_verification(conn, [1], now=clock(conn))
        desired_hash = links.existing(conn, 1).desired_hash
        parked: push_queue.LinkValues = {"state": LinkState.PARKED, "lease": None}
        assert not leases.park(conn, 1, "present", desired_hash, parked)


def test_who_is_in_sync_or_parked_is_due_again_and_who_is_inactive_stays(db: Database) -> None:
    with db.begin() as conn:
        claim(conn, "present")
        assert finish(conn, "present") == {1}
        push_queue.require_verification(conn, [1], now=clock(conn))
        assert links.existing(conn, 1).state is LinkState.DUE
        push_queue.set_idle(conn, [1])
        push_queue.require_verification(conn, [1], now=clock(conn))
        assert links.existing(conn, 1).state is LinkState.IDLE
