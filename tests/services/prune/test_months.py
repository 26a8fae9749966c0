"""Which month's prune is owed: each month once, whatever was down and whoever asks."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cprqueue.domain.states import RunKind, RunState
from cprqueue.services.prune import months, orders
from cprqueue.store import runs
from cprqueue.store.database import Database, clock

ZONE = "America/Los_Angeles"
QUIET = timedelta(seconds=60)


def set_up(db: Database, *, before_this_month: bool) -> None:
    """Put the system's first run on record: this month, or in the one before."""
    with db.begin() as conn:
        now = clock(conn)
        moment = months.month_start(now, ZONE) - timedelta(days=1) if before_this_month else now
        runs.create(conn, RunKind.FETCH, now=moment, state=RunState.DONE, complete=True)


def end(db: Database, run_id: int, state: RunState) -> None:
    with db.begin() as conn:
        runs.change(conn, run_id, state=state)


def prunes(db: Database) -> int:
    with db.read() as conn:
        return len(runs.newest_few(conn, RunKind.PRUNE, limit=100))


def test_a_month_that_began_before_the_system_was_set_up_is_not_owed(db: Database) -> None:
    assert months.owed(db, ZONE) is None
    set_up(db, before_this_month=False)
    assert months.owed(db, ZONE) is None
    assert prunes(db) == 0


def test_a_missed_month_is_owed_until_it_is_done_and_never_again(db: Database) -> None:
    set_up(db, before_this_month=True)
    run_id = months.owed(db, ZONE)
    assert run_id is not None
    assert months.owed(db, ZONE) == run_id
    end(db, run_id, RunState.DONE)
    assert months.owed(db, ZONE) is None
    assert prunes(db) == 1


def test_a_held_month_waits_for_a_person(db: Database) -> None:
    set_up(db, before_this_month=True)
    run_id = months.owed(db, ZONE)
    assert run_id is not None
    end(db, run_id, RunState.HELD)
    assert months.owed(db, ZONE) is None


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.RUNNING, RunState.QUEUED])
def test_a_month_that_failed_or_was_cut_off_is_taken_up_under_the_same_run(
    db: Database, state: RunState
) -> None:
    set_up(db, before_this_month=True)
    run_id = months.owed(db, ZONE)
    assert run_id is not None
    end(db, run_id, state)
    order = orders.prune(db, None, ZONE, quiet=QUIET)
    assert order is not None
    assert order.run_id == run_id
    with db.read() as conn:
        row = runs.get(conn, run_id)
    assert row is not None
    assert row.state == ("queued" if state == "failed" else state)


def test_a_month_that_is_under_way_is_not_ordered_beside_itself(db: Database) -> None:
    set_up(db, before_this_month=True)
    first = orders.prune(db, None, ZONE, quiet=QUIET)
    assert first is not None
    assert orders.prune(db, None, ZONE, quiet=QUIET) is None
    assert orders.prune(db, first.run_id, ZONE, quiet=QUIET) is not None
    later = orders.prune(db, None, ZONE, quiet=timedelta(0))
    assert later is not None
    assert later.run_id == first.run_id


def test_last_months_prune_does_not_settle_this_month(db: Database) -> None:
    set_up(db, before_this_month=True)
    with db.begin() as conn:
        before = months.month_start(clock(conn), ZONE) - timedelta(hours=1)
        runs.create(
            conn, RunKind.PRUNE, now=before, key=months.month_key(before, ZONE), state=RunState.DONE
        )
    assert months.owed(db, ZONE) is not None


def test_many_hosts_that_ask_at_once_owe_one_prune(db: Database, tmp_path: Path) -> None:
    set_up(db, before_this_month=True)
    found: list[int | None] = []
    gate = threading.Barrier(6)

    def ask() -> None:
        own = Database(f"sqlite:///{tmp_path / 'cpr.db'}")
        gate.wait()
        found.append(months.owed(own, ZONE))
        own.close()

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len({run_id for run_id in found if run_id}) == 1
    assert prunes(db) == 1


@pytest.mark.parametrize(
    ("moment", "key"),
    [
        (datetime(2026, 4, 1, 6, 59, tzinfo=UTC), "prune-2026-03"),
        (datetime(2026, 4, 1, 7, 0, tzinfo=UTC), "prune-2026-04"),
        (datetime(2026, 1, 1, 7, 59, tzinfo=UTC), "prune-2025-12"),
        (datetime(2026, 1, 1, 8, 0, tzinfo=UTC), "prune-2026-01"),
    ],
    ids=["summer before", "summer after", "winter before", "winter after"],
)
def test_a_month_begins_at_midnight_on_the_customers_calendar(moment: datetime, key: str) -> None:
    assert months.month_key(moment, ZONE) == key
    begins = months.month_start(moment, ZONE)
    assert begins <= moment
    assert months.month_key(begins, ZONE) == key
    assert months.month_key(begins - timedelta(seconds=1), ZONE) != key
