"""Table ``state``: small named values, as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from sqlalchemy import Connection, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from cprqueue.domain.models import Json, built
from cprqueue.store.patterns import begins_with
from cprqueue.store.tables import state

T = TypeVar("T")


def get(conn: Connection, name: str) -> Json:
    """Return the value stored under ``name``, or None."""
    return parsed(conn.execute(select(state.c.value).where(state.c.name == name)).scalar())


def parsed(text: str | None) -> Json:
    """Return a stored value from its text."""
    found: Json = json.loads(text) if text else None
    return found


def with_prefix(conn: Connection, prefix: str) -> dict[str, Json]:
    """Return the values whose names begin with ``prefix``, by name."""
    named = begins_with(state.c.name, prefix)
    found = conn.execute(select(state.c.name, state.c.value).where(named))
    return {name: json.loads(value) for name, value in found if value}


def get_built(conn: Connection, name: str, kind: Callable[..., T]) -> T | None:
    """Return the value that was stored as ``asdict`` of a ``kind``, or None."""
    found = get(conn, name)
    return built(kind, found) if isinstance(found, dict) else None


def put(conn: Connection, name: str, value: object, *, now: datetime) -> None:
    """Store ``value`` (plain JSON data) under ``name``."""
    values = {"value": json.dumps(value, ensure_ascii=False), "updated_at": now}
    statement = update(state).where(state.c.name == name).values(**values)
    if not conn.execute(statement).rowcount and not _added(conn, name=name, **values):
        conn.execute(statement)


def put_first(conn: Connection, name: str, value: object, *, now: datetime) -> bool:
    """Store the value unless there is one; True if it was stored."""
    text = json.dumps(value, ensure_ascii=False)
    return get(conn, name) is None and _added(conn, name=name, value=text, updated_at=now)


def swap(conn: Connection, name: str, was: object, value: object, *, now: datetime) -> bool:
    """Store ``value`` where ``was`` is still stored; True if it was."""
    before, after = (json.dumps(each, ensure_ascii=False) for each in (was, value))
    statement = update(state).where(state.c.name == name, state.c.value == before)
    return conn.execute(statement.values(value=after, updated_at=now)).rowcount == 1


def _added(conn: Connection, **values: object) -> bool:
    """Add a row; False where somebody else has added it since it was found missing."""
    try:
        with conn.begin_nested():
            conn.execute(insert(state).values(**values))
    except IntegrityError:
        return False
    return True


def drop(conn: Connection, name: str) -> bool:
    """Forget the value; True if there was one."""
    return conn.execute(delete(state).where(state.c.name == name)).rowcount > 0


def claim_moment(conn: Connection, name: str, *, now: datetime, moment: datetime) -> bool:
    """Let one of many callers do something at ``moment`` that serves them all.

    True for whoever comes first, or names an earlier moment than the one that is claimed, or
    comes when the claimed one has passed. False for the others.
    """
    open_ = or_(state.c.updated_at <= now, state.c.updated_at > moment)
    statement = update(state).where(state.c.name == name, open_).values(updated_at=moment)
    if conn.execute(statement).rowcount:
        return True
    if conn.execute(select(state.c.name).where(state.c.name == name)).scalar():
        return False
    return _added(conn, name=name, value=None, updated_at=moment) or bool(
        conn.execute(statement).rowcount
    )
