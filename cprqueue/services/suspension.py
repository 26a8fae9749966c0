"""The suspension: after a remove-all the ordinary sync must not bring the jobs back by itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sqlalchemy import Connection

from cprqueue.store import locks
from cprqueue.store.database import clock

NAME = "sync_suspended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspension:
    """Which remove-all suspends the sync, and since when."""

    run_id: int
    since: str


def suspended(conn: Connection) -> Suspension | None:
    """Return the suspension while there is one."""
    return locks.get_built(conn, NAME, Suspension)


def suspend(conn: Connection, run_id: int) -> None:
    """Suspend the push because of this remove-all run."""
    now = clock(conn)
    value = Suspension(run_id=run_id, since=now.isoformat())
    locks.set_value(conn, NAME, asdict(value), now=now)


def reason(conn: Connection) -> str:
    """Say why the sync is suspended and how it goes on, or ""."""
    found = suspended(conn)
    if found is None:
        return ""
    return (
        f"the sync is suspended by the remove-all of run {found.run_id}: "
        f"`cprqueue undo {found.run_id}` or `cprqueue sync --full`"
    )


def lift(conn: Connection) -> bool:
    """Let the push go on; True if it was suspended."""
    return locks.drop_value(conn, NAME)
