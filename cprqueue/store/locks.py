"""Locks with a time limit.

A lock is one row; taking it is one conditional UPDATE. A dead holder keeps it until its time
is up, never longer.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from sqlalchemy import Connection, insert, or_, select, update

from cprqueue.errors import AlreadyRunning
from cprqueue.store.database import Database, clock
from cprqueue.store.tables import locks

FETCH = "fetch"
SNAPSHOT = "snapshot"
PRUNE = "prune"
TOKEN = "token"  # noqa: S105  (the name of a lock)


@contextmanager
def hold(db: Database, name: str, *, limit: timedelta, busy: str) -> Iterator[Callable[[], None]]:
    """Hold the lock in a ``with`` block; yields ``renew``, which prolongs it by ``limit``.

    Raises AlreadyRunning with the text ``busy`` where another holder has it, at the beginning
    and from ``renew``: then the lock has been lost, and nothing more may be done under it.
    """
    holder = str(uuid.uuid4())

    def renew() -> None:
        taken = db.retrying(lambda c: take(c, name, holder, now=clock(c), limit=limit))
        if not taken:
            raise AlreadyRunning(busy)

    renew()
    try:
        yield renew
    finally:
        db.retrying(lambda conn: release(conn, name, holder))


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


def serialize(conn: Connection, name: str) -> None:
    """Let one transaction at a time pass here, whoever holds the lock: until this one ends."""
    own = update(locks).where(locks.c.name == name)
    conn.execute(own.values(name=name))


def ensure(conn: Connection) -> None:
    """Make the rows of all locks; the migration calls it."""
    known = set(conn.execute(select(locks.c.name)).scalars())
    for name in (FETCH, SNAPSHOT, PRUNE, TOKEN):
        if name not in known:
            conn.execute(insert(locks).values(name=name))
