"""That no worker answers is told as what it is: one may be connecting to the broker anew."""

from __future__ import annotations

from datetime import timedelta

from cprqueue.domain.states import RunKind
from cprqueue.services import canaries
from cprqueue.store import app_state, runs
from cprqueue.store.database import Database, clock

START = "start `cprqueue up`"


def took(db: Database, ago: timedelta) -> None:
    with db.begin() as conn:
        now = clock(conn)
        app_state.put(conn, f"{canaries.PREFIX}fetch", (now - ago).isoformat(), now=now)


def test_where_no_worker_worked_lately_one_has_to_be_started(db: Database) -> None:
    assert canaries.cure(db) == START
    took(db, canaries.RECENT * 2)
    assert canaries.cure(db) == START
    took(db, -canaries.RECENT)
    assert canaries.cure(db) == START


def test_where_one_worked_just_now_it_may_be_connecting_anew(db: Database) -> None:
    took(db, timedelta(seconds=7))
    said = canaries.cure(db)
    assert said.startswith("one was at work 7 s ago, and may be connecting to the broker anew")
    assert START in said


def test_a_run_of_a_worker_shows_the_same_and_an_order_alone_does_not(db: Database) -> None:
    with db.begin() as conn:
        run_id = runs.create(conn, RunKind.FETCH)
    assert canaries.cure(db) == START
    with db.begin() as conn:
        runs.start(conn, run_id)
    assert "one was at work 0 s ago" in canaries.cure(db)
