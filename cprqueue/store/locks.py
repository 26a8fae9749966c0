"""Locks with a time limit, and small named values.

A lock is one row; taking it is one conditional UPDATE. A dead holder keeps it until its time
is up, never longer.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy import Connection, delete, insert, or_, select, update

from cprqueue.models import Json
from cprqueue.records import built
from cprqueue.tables import locks, state

T = TypeVar("T")

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


def get_value(conn: Connection, name: str) -> Json:
    """Return the value stored under ``name``, or None."""
    text = conn.execute(select(state.c.value).where(state.c.name == name)).scalar()
    found: Json = json.loads(text) if text else None
    return found


def get_built(conn: Connection, name: str, kind: Callable[..., T]) -> T | None:
    """Return the value that was stored as ``asdict`` of a ``kind``, or None."""
    found = get_value(conn, name)
    return built(kind, found) if isinstance(found, dict) else None


def set_value(conn: Connection, name: str, value: object, *, now: datetime) -> None:
    """Store ``value`` (plain JSON data) under ``name``."""
    values = {"value": json.dumps(value, ensure_ascii=False), "updated_at": now}
    if conn.execute(update(state).where(state.c.name == name).values(**values)).rowcount == 0:
        conn.execute(insert(state).values(name=name, **values))


def drop_value(conn: Connection, name: str) -> bool:
    """Forget the value; True if there was one."""
    return conn.execute(delete(state).where(state.c.name == name)).rowcount > 0


def claim_moment(conn: Connection, name: str, *, now: datetime, moment: datetime) -> bool:
    """Let one of many callers do something at ``moment`` that serves them all.

    True for whoever comes first, or names an earlier moment than the one that is claimed, or
    comes when the claimed one has passed. False for the others.
    """
    open_ = or_(state.c.updated_at <= now, state.c.updated_at > moment)
    statement = update(state).where(state.c.name == name, open_)
    if conn.execute(statement.values(updated_at=moment)).rowcount:
        return True
    if conn.execute(select(state.c.name).where(state.c.name == name)).scalar():
        return False
    conn.execute(insert(state).values(name=name, value=None, updated_at=moment))
    return True
