"""Table ``runs``: one row for each fetch, resync, snapshot, prune, remove-all and undo.

States: queued -> running -> emitted (a fetch whose messages are under way) -> done, or failed.
A prune may be held, and then approved before it runs; a remove-all may be stopping, and then
stopped.
"""

from __future__ import annotations

import json
import logging
import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, false, func, insert, select, update

from cprqueue import log as logs
from cprqueue.store.database import count
from cprqueue.tables import jobs, links, runs

log = logging.getLogger(logs.RUNS)

OPEN = ("queued", "running", "emitted")
ENDED = ("done", "failed", "held", "stopped")
"""Nothing goes on by itself from here."""


def create(
    conn: Connection,
    kind: str,
    *,
    now: datetime,
    key: str | None = None,
    state: str = "queued",
    requested_by: str = "",
    complete: bool = False,
) -> int:
    """Add a run and return its id. A ``key`` exists once: a second one raises IntegrityError."""
    values = {
        "key": key or str(uuid.uuid4()),
        "kind": kind,
        "state": state,
        "requested_by": requested_by,
        "complete": complete,
        "created_at": now,
        "touched_at": now,
    }
    result = conn.execute(insert(runs).values(**values))
    return int(result.inserted_primary_key[0])  # type: ignore[index]  # one column, always there


def get(conn: Connection, run_id: int) -> Row[Any] | None:
    """Return the run, or None."""
    return conn.execute(select(runs).where(runs.c.run_id == run_id)).first()


def change(
    conn: Connection, run_id: int, *, only_from: tuple[str, ...] = (), **values: Any
) -> bool:
    """Update a run; with ``only_from`` only while it is in one of these states.

    One that begins or ends by this is a line in the log.
    """
    statement = update(runs).where(runs.c.run_id == run_id)
    if only_from:
        statement = statement.where(runs.c.state.in_(only_from))
    if values.get("note"):
        values["note"] = str(values["note"])[:1000]
    changed = conn.execute(statement.values(**values)).rowcount == 1
    if changed and values.get("state") in ("running", *ENDED):
        _tell(conn, run_id)
    return changed


def _tell(conn: Connection, run_id: int) -> None:
    row: Any = get(conn, run_id)
    told = {"run_id": row.run_id, "kind": row.kind}
    if row.state == "running":
        log.info("run began", extra=told)
        return
    took = row.finished_at - (row.started_at or row.created_at) if row.finished_at else None
    told |= {name: getattr(row, name) for name in ("state", "emitted", "recorded", "skipped")}
    told |= {"calls": row.calls, "seconds": round(took.total_seconds(), 1) if took else None}
    level = logging.ERROR if row.state == "failed" else logging.INFO
    log.log(level, "run ended", extra={**told, "outcome": row.note})


def count_call(conn: Connection) -> None:
    """Count a call to QuickBooks Time for the run that is at work here; without one, nothing."""
    run_id = logs.current_run()
    if run_id is not None:
        one_more = update(runs).where(runs.c.run_id == run_id)
        conn.execute(one_more.values(calls=runs.c.calls + 1))


def set_detail(conn: Connection, run_id: int, detail: Any) -> None:
    """Store the run's report (plain JSON data)."""
    change(conn, run_id, detail=json.dumps(detail, ensure_ascii=False, default=str))


def detail(row: Row[Any]) -> Any:
    """Return the run's report, or None."""
    return json.loads(row.detail) if row.detail else None


def newest(
    conn: Connection, kind: str, *states: str, complete: bool | None = None
) -> Row[Any] | None:
    """Return the newest run of ``kind`` in one of ``states`` (any if none is given)."""
    found = newest_few(conn, kind, *states, complete=complete, limit=1)
    return found[0] if found else None


def newest_few(
    conn: Connection, kind: str | None, *states: str, complete: bool | None = None, limit: int
) -> list[Row[Any]]:
    """Return the newest runs, newest first."""
    statement = select(runs)
    if kind:
        statement = statement.where(runs.c.kind == kind)
    if states:
        statement = statement.where(runs.c.state.in_(states))
    if complete is not None:
        statement = statement.where(runs.c.complete == complete)
    return list(conn.execute(statement.order_by(runs.c.run_id.desc()).limit(limit)))


def _shown_by(run: Row[Any]) -> ColumnElement[bool]:
    """Select the jobs that the run has shown and that are on record since.

    The number alone does not tell: a run that was asked for first may begin after another.
    """
    if run.observed_at is None:
        return false()
    return and_(jobs.c.seen_run_id >= run.run_id, jobs.c.observed_at >= run.observed_at)


def recorded_count(conn: Connection, run: Row[Any]) -> int:
    """Count the jobs that the run has shown and that are on record since."""
    return count(conn, jobs, _shown_by(run))


def push_counts(conn: Connection, run: Row[Any]) -> dict[str, int]:
    """Count the active jobs that the run has shown, by the state of their push."""
    statement = (
        select(links.c.state, func.count())
        .select_from(jobs.join(links, jobs.c.job_id == links.c.job_id))
        .where(_shown_by(run), jobs.c.active)
        .group_by(links.c.state)
    )
    found = {str(state): int(number) for state, number in conn.execute(statement)}
    return {state: found.get(state, 0) for state in ("in_sync", "due", "parked")}
