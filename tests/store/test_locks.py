"""Locks: who holds one, how long, and who does not."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete, select

from cprqueue.store import locks
from cprqueue.store.database import Database, clock
from cprqueue.store.tables import locks as lock_rows

SECOND = timedelta(seconds=1)


def test_every_lock_exists_and_is_made_only_once(db: Database) -> None:
    names = {locks.FETCH, locks.SNAPSHOT, locks.PRUNE, locks.TOKEN}
    with db.begin() as conn:
        locks.ensure(conn)
        assert set(conn.execute(select(lock_rows.c.name)).scalars()) == names
        conn.execute(delete(lock_rows).where(lock_rows.c.name == locks.PRUNE))
        locks.ensure(conn)
        assert set(conn.execute(select(lock_rows.c.name)).scalars()) == names


def test_a_lock_is_the_holders_up_to_the_very_end_of_its_time(db: Database) -> None:
    with db.begin() as conn:
        now = clock(conn)
        assert locks.take(conn, locks.FETCH, "a", now=now, limit=10 * SECOND)
        end = now + 10 * SECOND
        assert not locks.take(conn, locks.FETCH, "b", now=end, limit=SECOND)
        assert locks.take(conn, locks.FETCH, "b", now=end + SECOND, limit=SECOND)


def test_one_lock_keeps_nobody_from_another_one(db: Database) -> None:
    with db.begin() as conn:
        now = clock(conn)
        assert locks.take(conn, locks.FETCH, "a", now=now, limit=SECOND)
        assert locks.take(conn, locks.PRUNE, "b", now=now, limit=SECOND)
        locks.release(conn, locks.PRUNE, "b")
        assert not locks.take(conn, locks.FETCH, "b", now=now, limit=SECOND)
        assert locks.take(conn, locks.PRUNE, "c", now=now, limit=SECOND)
