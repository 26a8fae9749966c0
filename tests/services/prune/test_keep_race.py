"""A keep and the archive of its jobcode, at the same moment, on every database."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, update

from cprqueue.domain.records import NewPlanItem, PlanItem, StateBefore
from cprqueue.domain.states import Outcome
from cprqueue.services.prune import keeps
from cprqueue.services.prune.staying import why_stay
from cprqueue.store import plan_items, push_queue, schema
from cprqueue.store.database import Database, clock
from cprqueue.store.tables import jobs
from tests.linked import hold, know
from tests.other_servers import DATABASES, new_database

TIMES = 25
BEFORE = StateBefore(name="A-1", parent_id=0, type="regular", assigned_to_all=True, short_code="")


def planned(db: Database, run_id: int) -> PlanItem:
    row = NewPlanItem(
        job_id=1, job_number="A-1", jobcode_id=101, name="A-1", reason="closed",
        state_before=BEFORE, outcome=Outcome.PLANNED,
    )  # fmt: skip
    with db.begin() as conn:
        plan_items.add(conn, run_id, [row])
        return plan_items.of_run(conn, run_id)[0]


def send(conn: Connection, item: PlanItem) -> Outcome:
    """Do as a step of a prune does before its request."""
    lease, now = str(uuid.uuid4()), clock(conn)
    until = now + timedelta(minutes=1)
    assert push_queue.lease_jobcodes(conn, lease, [101], now=now, until=until)
    stay = why_stay(conn, item, timezone="UTC")
    outcome = stay[0] if stay else Outcome.SENDING
    plan_items.set_outcome(conn, [item.item_id], outcome, now=now)
    push_queue.release(conn, lease)
    return outcome


def keep(db: Database) -> str | None:
    """Keep the job; return what is said of its jobcode."""
    (kept,) = keeps.keep(db, [1], requested_by="Anna", until=None, because="", timezone="UTC")
    return kept.note


@pytest.mark.parametrize("where", DATABASES)
def test_whichever_comes_second_knows_of_the_other(where: str, tmp_path: Path) -> None:
    with (
        new_database(where, tmp_path) as url,
        closing(Database(url)) as prune,
        closing(Database(url)) as person,
        ThreadPoolExecutor(1) as pool,
    ):
        schema.upgrade(prune)
        know(prune, 1)
        hold(prune, 1, 101)
        with prune.begin() as conn:
            conn.execute(update(jobs).values(active=False))
        for run_id in range(1, TIMES):
            item, meet = planned(prune, run_id), threading.Barrier(2, timeout=60)
            kept = pool.submit(lambda meet=meet: (meet.wait(), keep(person))[1])  # type: ignore[misc]
            meet.wait()
            outcome = prune.retrying(lambda conn, item=item: send(conn, item))  # type: ignore[misc]
            late = f"run {run_id} is archiving its jobcode right now"
            said = str(kept.result(60)).startswith(late)
            assert (outcome is Outcome.HELD_BACK) != said, (outcome, kept.result())
            keeps.unkeep(person, [1], requested_by="Anna")
            with prune.begin() as conn:
                plan_items.set_outcome(conn, [item.item_id], Outcome.FAILED, now=clock(conn))
