"""Locks with a time limit, and small named values.

A lock is one row; taking it is one conditional UPDATE. A dead holder keeps it until its time
is up, never longer.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, insert, or_, select, update

from cprqueue.store.tables import locks

FETCH = "fetch"
SNAPSHOT = "snapshot"
PRUNE = "prune"
TOKEN = "token"  # noqa: S105  (the name of a lock)


def take(conn: Connection, name: str, holder: str, *, now: datetime, limit: timedelta) -> bool:
    """Take or prolong the lock for ``limit``; False while somebody else holds it.

    The row must exist: ``ensure`` makes it once.
    """
    free = or_(locks.c.holder.is_(None), locks.c.holder == holder, locks.c.until < now)
    statement = update(locks).where(locks.c.name == name, free)
    return conn.execute(statement.values(holder=holder, until=now + limit)).rowcount == 1


def release(conn: Connection, name: str, holder: str) -> None:
    """Give the lock back, if it is still ours."""
    statement = update(locks).where(locks.c.name == name, locks.c.holder == holder)
    conn.execute(statement.values(holder=None, until=None))


def ensure(conn: Connection) -> None:
    """Make the rows of all locks; the migration calls it."""
    known = set(conn.execute(select(locks.c.name)).scalars())
    for name in (FETCH, SNAPSHOT, PRUNE, TOKEN):
        if name not in known:
            conn.execute(insert(locks).values(name=name))
