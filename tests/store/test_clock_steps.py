"""What is on record moves along with a step of the database's clock, once, on every database."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from cprqueue.boot_clock import boot_id
from cprqueue.domain.clock_steps import Mark
from cprqueue.domain.states import RunKind
from cprqueue.store import app_state, clock_steps, locks, runs, schema, sightings
from cprqueue.store.clock_steps import MARK, SLOT_AHEAD_MS
from cprqueue.store.database import Database, clock, now_ms
from cprqueue.store.tables import call_slots, links, state
from cprqueue.store.tables import locks as locks_table
from cprqueue.store.tables import runs as runs_table
from tests.linked import know, link
from tests.other_servers import new_database

HOUR = timedelta(hours=1)
HOUR_MS = 3_600_000
CLOSE = timedelta(seconds=20)


@pytest.fixture(params=["sqlite", "POSTGRES", "MARIADB"])
def any_db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database with all tables, on each kind of server."""
    here = nullcontext(f"sqlite:///{tmp_path / 'cpr.db'}")
    name = str(request.param)
    with here if name == "sqlite" else new_database(f"CPR_TEST_{name}_URL") as url:
        made = Database(url)
        schema.upgrade(made)
        yield made
        made.close()


def step(db: Database, milliseconds: int) -> None:
    """Have the clock stepped: the mark says that it showed something else before."""
    name = MARK + boot_id()
    with db.begin() as conn:
        now, kept = clock(conn), app_state.get_built(conn, name, Mark)
        assert kept is not None
        before = replace(kept, shown=kept.shown - milliseconds)
        app_state.put(conn, name, asdict(before), now=now)


@pytest.mark.parametrize("hours", [-1, 1, -24, 24])
def test_leases_locks_slots_and_runs_keep_their_distance(any_db: Database, hours: int) -> None:
    db = any_db
    know(db, 1)
    with db.begin() as conn:
        now = clock(conn)
        conn.execute(update(links).values(lease="x", lease_until=now + timedelta(minutes=1)))
        assert locks.take(conn, locks.FETCH, "x", now=now, limit=timedelta(minutes=2))
        runs.create(conn, RunKind.FETCH)
        slot = {"slot_id": 1, "used_at_ms": now_ms() - 5000, "uses": 1}
        conn.execute(call_slots.insert().values(**slot))
    step(db, hours * HOUR_MS)
    both = [threading.Thread(target=lambda: clock_steps.watch(db)) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join()
    with db.begin() as conn:
        row, until = link(db), conn.execute(select(locks_table.c.until)).scalars().all()
        used = conn.execute(select(call_slots.c.used_at_ms)).scalar_one()
        created = conn.execute(select(runs_table.c.created_at)).scalar_one()
        told = clock_steps.last(conn)
    assert told is not None
    assert abs(told.moved - hours * HOUR_MS) < 1000
    ends = [row.lease_until, *filter(None, until), created, row.next_attempt_at]
    expected = [timedelta(minutes=1), timedelta(minutes=2), timedelta(0), timedelta(0)]
    for end, wish in zip(ends, expected, strict=True):
        assert end is not None
        assert abs(end - (now + hours * HOUR) - wish) < CLOSE
    if hours < 0:
        assert abs(used - _ms(now + hours * HOUR)) < 20_000


def test_what_lies_ahead_of_all_that_it_could_be_is_cut_down(any_db: Database) -> None:
    db = any_db
    know(db, 1)
    with db.begin() as conn:
        far = clock(conn) + timedelta(days=9)
        conn.execute(update(links).values(lease="x", lease_until=far, next_attempt_at=far))
        conn.execute(update(locks_table).values(holder="x", until=far))
        runs.create(conn, RunKind.FETCH, now=far)
        app_state.claim_moment(conn, "wake", now=far, moment=far)
        ahead = now_ms() + 2 * SLOT_AHEAD_MS
        conn.execute(call_slots.insert().values(slot_id=1, used_at_ms=ahead, uses=1))
    with db.begin() as conn:
        clock_steps.mend_ahead(conn, lease=timedelta(minutes=2))
        now = clock(conn)
        ends = conn.execute(select(links.c.lease_until, links.c.next_attempt_at)).one()
        moments = [*ends, *conn.execute(select(locks_table.c.until)).scalars()]
        moments += conn.execute(select(runs_table.c.created_at)).scalars()
        moments += conn.execute(select(state.c.updated_at)).scalars()
        used = conn.execute(select(call_slots.c.used_at_ms)).scalar_one()
    assert max(moments) <= now + clock_steps.LONGEST_LOCK
    assert used <= _ms(now)


def test_numbers_of_askings_rise_above_every_run(db: Database) -> None:
    with db.begin() as conn:
        assert sightings.next_number(conn) == 1
        for _ in range(5):
            runs.create(conn, RunKind.SNAPSHOT)
        assert [sightings.next_number(conn) for _ in range(2)] == [6, 7]


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
