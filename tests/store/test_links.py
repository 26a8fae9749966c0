"""What is on record as observed: who corrects it, when it is unverified, and the counts."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from cprqueue.domain.models import Jobcode, Observed
from cprqueue.domain.states import Intent, LinkState, VerificationKind
from cprqueue.store import links, push_queue
from cprqueue.store.database import Database, clock
from cprqueue.store.push_queue import LinkValues
from tests.linked import MINUTE, PARKED, claim, hold, know, link, now, write

FULL, REQUIRED = VerificationKind.FULL, VerificationKind.REQUIRED


def note_active(db: Database, *, active: bool, lease: str = "archive") -> datetime:
    with db.begin() as conn:
        at = clock(conn)
        links.note_active(
            conn, 101, active=active, assigned_to_all=True, verification=FULL, lease=lease,
            now=at, guard=5 * MINUTE,
        )  # fmt: skip
    return at


def test_an_archived_jobcode_of_an_inactive_job_is_noted_and_nothing_becomes_due(
    db: Database,
) -> None:
    know(db, 1)
    hold(db, 1, 101)
    know(db, 1, progress="Lost Lead")
    at = note_active(db, active=False)
    assert (link(db).state, link(db).pushed_at, link(db).verification) == (LinkState.IDLE, at, FULL)
    assert not link(db).observed.active


def test_an_archived_jobcode_of_an_active_job_is_verified_and_pushed(db: Database) -> None:
    know(db, 1)
    hold(db, 1, 101)
    at = note_active(db, active=False)
    assert (link(db).state, link(db).verification, link(db).next_attempt_at) == (
        LinkState.DUE,
        FULL,
        at,
    )


def test_a_push_that_has_the_job_all_the_same_loses_it_for_a_while(db: Database) -> None:
    know(db, 1)
    hold(db, 1, 101)
    with db.begin() as conn:
        push_queue.make_due(conn, 1, now=clock(conn))
    claim(db, "push")
    at = note_active(db, active=False)
    assert (link(db).lease, link(db).lease_until) == (None, None)
    assert link(db).next_attempt_at == at + 5 * MINUTE


def test_an_archives_own_lease_is_left_to_it(db: Database) -> None:
    know(db, 1)
    hold(db, 1, 101)
    with db.begin() as conn:
        push_queue.make_due(conn, 1, now=clock(conn))
    claim(db, "archive")
    at = note_active(db, active=True)
    assert (link(db).lease, link(db).next_attempt_at) == ("archive", at)


def test_a_jobcode_that_no_job_has_is_noted_nowhere(db: Database) -> None:
    know(db, 1)
    before = link(db)
    note_active(db, active=False)
    assert link(db) == before


def see(db: Database, **values: Any) -> None:
    """Let somebody have just seen job 1's jobcode."""
    plain = {"id": 101, "name": "A-1", "active": True, "assigned_to_all": True}
    with db.begin() as conn:
        links.refresh_observed(
            conn, 1, Jobcode(**{**plain, **values}), lease="reader", now=clock(conn)
        )


def test_a_jobcode_that_was_seen_as_it_is_on_record_changes_nothing(db: Database) -> None:
    know(db, 1)
    hold(db, 1, 101)
    see(db)
    assert link(db).state == LinkState.IN_SYNC


@pytest.mark.parametrize(
    "change", [{"name": "Shop"}, {"active": False}, {"assigned_to_all": False}], ids=str
)
def test_a_jobcode_that_was_seen_to_differ_is_on_record_and_due(
    db: Database, change: dict[str, Any]
) -> None:
    know(db, 1)
    hold(db, 1, 101)
    see(db, **change)
    assert link(db).state == LinkState.DUE
    assert {name: getattr(link(db).observed, name) for name in change} == change


def test_a_parked_job_whose_jobcode_was_seen_to_differ_stays_parked(db: Database) -> None:
    know(db, 1)
    hold(db, 1, 101)
    write(db, PARKED, 1)
    see(db, name="Shop")
    assert (link(db).state, link(db).observed.name) == (LinkState.PARKED, "Shop")


@pytest.mark.parametrize(
    ("holder", "verification"), [("reader", None), ("another", REQUIRED)], ids=str
)
def test_a_correction_by_somebody_without_the_lease_requires_a_verification(
    db: Database, holder: str, verification: VerificationKind | None
) -> None:
    know(db, 1)
    hold(db, 1, 101)
    with db.begin() as conn:
        push_queue.make_due(conn, 1, now=clock(conn))
    claim(db, holder)
    see(db, name="Shop")
    assert (link(db).observed.name, link(db).verification) == ("Shop", verification)


def test_links_that_touch_a_jobcode_or_a_location_are_found_by_either(db: Database) -> None:
    know(db, 1, 2, 3)
    for n in (1, 2, 3):
        hold(db, n, 100 + n, location_id=200 + n)
    with db.begin() as conn:
        assert [row.job_id for row in links.touching(conn, [103], [201, 999])] == [1, 3]


def test_two_jobs_never_have_one_jobcode(db: Database) -> None:
    know(db, 1, 2)
    hold(db, 1, 101)
    with pytest.raises(IntegrityError):
        hold(db, 2, 101)


def mark_unverified(db: Database, observed: Observed, *, but: int) -> None:
    with db.begin() as conn:
        links.mark_unverified(conn, observed, but=but, now=clock(conn))


def test_a_job_on_record_with_anothers_jobcode_is_verified_before_a_write(
    db: Database,
) -> None:
    know(db, 1, 2, 3)
    hold(db, 1, 101)
    hold(db, 2, 102)
    hold(db, 3, 103)
    write(db, PARKED, 2)
    for code in (101, 102, 103):
        mark_unverified(db, Observed(jobcode_id=code), but=3)
    assert [(link(db, n).state, link(db, n).verification) for n in (1, 2, 3)] == [
        (LinkState.DUE, REQUIRED),
        (LinkState.DUE, REQUIRED),
        (LinkState.IN_SYNC, None),
    ]
    assert link(db, 1).jobcode_id == 101, "it is verified by its id"


def test_a_location_is_taken_at_once_off_whoever_else_has_it_on_record(db: Database) -> None:
    know(db, 1, 2)
    hold(db, 1, 101, location_id=201, location_linked=True)
    mark_unverified(db, Observed(jobcode_id=102, location_id=201), but=2)
    assert (link(db, 1).location_id, link(db, 1).jobcode_id) == (None, 101)
    assert (link(db, 1).state, link(db, 1).verification) == (LinkState.DUE, REQUIRED)


def test_a_reopened_jobs_jobcode_counts_as_archived(db: Database) -> None:
    know(db, 1)
    with db.begin() as conn:
        links.assume_archived(conn, 1)
        links.assume_archived(conn, 4711)
    assert link(db).jobcode_id is None
    hold(db, 1, 101)
    with db.begin() as conn:
        links.assume_archived(conn, 1)
    assert (link(db).observed.active, link(db).observed.jobcode_id) == (False, 101)


def test_a_correction_counts_only_where_nobody_pushes_and_nothing_has_moved(db: Database) -> None:
    know(db, 1)
    hold(db, 1, 101)
    was = link(db).observed_text
    other = Observed(jobcode_id=101, name="Shop")

    def correct(was: str | None) -> bool:
        with db.begin() as conn:
            return links.correct_observed(conn, 1, other, was=was, now=clock(conn))

    with db.begin() as conn:
        push_queue.make_due(conn, 1, now=clock(conn))
    claim(db, "push")
    assert not correct(was)
    with db.begin() as conn:
        push_queue.release(conn, "push")
    assert correct(was)
    assert not correct(was)
    assert link(db).observed.name == "Shop"


def test_a_jobcode_that_is_unlinked_leaves_nothing_uncertain(db: Database) -> None:
    know(db, 1)
    hold(db, 1, 101)
    sent: LinkValues = {"intent": Intent.CHANGE_JOBCODE, "intent_at": now(db), "verification": FULL}
    write(db, sent, 1)
    with db.begin() as conn:
        links.unlink(conn, 1)
    row = link(db)
    assert row.observed == Observed()
    assert (row.jobcode_id, row.intent, row.intent_at, row.verification) == (None,) * 4


def test_jobs_are_counted_by_the_state_of_their_push(db: Database) -> None:
    know(db, *range(1, 8))
    hold(db, 1, 101)
    hold(db, 2, 102)
    write(db, PARKED, 3)
    know(db, 6, 7, 8, progress="Lost Lead")
    with db.read() as conn:
        assert links.counts(conn) == {
            "active": 5, "in_sync": 2, "due": 2, "parked": 1, "held": 0, "inactive": 3
        }  # fmt: skip


def test_managed_are_the_jobs_with_a_jobcode_by_their_ids(db: Database) -> None:
    know(db, 1, 2, 3)
    hold(db, 3, 103)
    hold(db, 1, 101)
    with db.read() as conn:
        assert links.managed_ids(conn) == [1, 3]
        assert links.with_jobcodes(conn, [101, 102, 103]) == {101: 1, 103: 3}
