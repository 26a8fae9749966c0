"""That no worker answers is told as what it is: one may be connecting to the broker anew."""

from __future__ import annotations

from datetime import timedelta

from cprqueue.services import canaries
from cprqueue.store import app_state
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
    assert said.startswith("one took a message 7 s ago, and may be connecting to the broker anew")
    assert START in said
