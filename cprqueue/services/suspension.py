"""The suspension: after a remove-all the ordinary sync must not bring the jobs back by itself."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from cprqueue.store import locks
from cprqueue.store.database import clock

NAME = "sync_suspended"


def suspended(conn: Connection) -> dict[str, Any] | None:
    """Return ``{"run_id", "since"}`` while a remove-all suspends the sync."""
    found = locks.get_value(conn, NAME)
    return found if isinstance(found, dict) else None


def suspend(conn: Connection, run_id: int) -> None:
    """Suspend the push because of this remove-all run."""
    now = clock(conn)
    locks.set_value(conn, NAME, {"run_id": run_id, "since": now.isoformat()}, now=now)


def reason(conn: Connection) -> str:
    """Say why the sync is suspended and how it goes on, or ""."""
    found = suspended(conn)
    if found is None:
        return ""
    run_id = found["run_id"]
    return (
        f"the sync is suspended by the remove-all of run {run_id}: "
        f"`cprqueue undo {run_id}` or `cprqueue sync --full`"
    )


def lift(conn: Connection) -> bool:
    """Let the push go on; True if it was suspended."""
    return locks.drop_value(conn, NAME)
