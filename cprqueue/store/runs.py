"""Table ``runs``: one row for each fetch, resync, snapshot, prune, remove-all and undo.

The life of a run, one function for each step; the moments come from the database's clock::

    run_id = runs.create(conn, RunKind.PRUNE, requested_by="operator")   # queued
    runs.start(conn, run_id) or runs.progress(conn, run_id)              # running
    runs.progress(conn, run_id, recorded=50)                             # it moves: not dead
    runs.finish(conn, run_id, RunState.DONE, note="50 archived", recorded=73)
    runs.requeue(conn, run_id, note=str(error))                          # or: queued once more

Each writes in the caller's transaction and returns whether it found the run in one of the states
``only_from``. A fetch whose messages are out is "recording". A prune may be held, and approved
before it runs; a remove-all may be stopping, and then stopped. ``calls`` counts the calls to
QuickBooks Time that are made while the run is bound to the log (``log.bound(run_id=...)``).
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Collection
from datetime import datetime
from typing import TypedDict, Unpack

from sqlalchemy import ColumnElement, Connection, and_, false, func, insert, select, update

from cprqueue import log as logs
from cprqueue.domain.cutting import cut
from cprqueue.domain.records import Run
from cprqueue.domain.states import LinkState, RunKind, RunState
from cprqueue.store.database import clock, count
from cprqueue.store.row_locks import lock
from cprqueue.store.tables import jobs, links, runs

log = logging.getLogger(logs.RUNS)

OPEN = (RunState.QUEUED, RunState.RUNNING, RunState.RECORDING)
ENDED = (RunState.DONE, RunState.FAILED, RunState.HELD, RunState.STOPPED)
"""A run in one of these states does not go on without a person."""


class RunValues(TypedDict, total=False):
    """Columns to write; ``Run`` says what they are. ``detail``: plain JSON data."""

    state: RunState
    complete: bool
    started_at: datetime | None
    observed_at: datetime | None
    sighting: int
    touched_at: datetime | None
    finished_at: datetime | None
    since: datetime | None
    emitted: int
    recorded: int
    skipped: int
    note: str | None
    detail: object


def create(
    conn: Connection,
    kind: RunKind,
    *,
    now: datetime | None = None,
    key: str | None = None,
    state: RunState = RunState.QUEUED,
    requested_by: str = "",
    complete: bool = False,
) -> int:
    """Add a run and return its id. A ``key`` exists once: a second one raises IntegrityError."""
    now = now or clock(conn)
    values = {
        "key": key or str(uuid.uuid4()),
        "kind": kind,
        "state": state,
        "requested_by": cut(requested_by, 40),
        "complete": complete,
        "created_at": now,
        "touched_at": now,
    }
    conn.execute(insert(runs).values(**values).inline())  # see ``tables.metadata``
    return int(conn.execute(select(runs.c.run_id).where(runs.c.key == values["key"])).scalar_one())


def start(
    conn: Connection,
    run_id: int,
    *,
    only_from: tuple[RunState, ...] = (RunState.QUEUED,),
    **values: Unpack[RunValues],
) -> bool:
    """Let a run begin. One that always begins afresh names RUNNING in ``only_from`` too."""
    now = clock(conn)
    values |= {"state": RunState.RUNNING, "started_at": now, "touched_at": now}
    return change(conn, run_id, only_from=only_from, **values)


def progress(
    conn: Connection,
    run_id: int,
    *,
    only_from: tuple[RunState, ...] = (),
    **values: Unpack[RunValues],
) -> bool:
    """Note that the run moves, or waits for its turn: nobody need take it for dead."""
    values["touched_at"] = clock(conn)
    return change(conn, run_id, only_from=only_from, **values)


def finish(
    conn: Connection,
    run_id: int,
    state: RunState,
    /,
    *,
    only_from: tuple[RunState, ...] = (),
    **values: Unpack[RunValues],
) -> bool:
    """End the run: done, failed, held or stopped."""
    now = clock(conn)
    values |= {"state": state, "touched_at": now, "finished_at": now}
    return change(conn, run_id, only_from=only_from, **values)


def requeue(
    conn: Connection,
    run_id: int,
    *,
    only_from: tuple[RunState, ...] = (),
    **values: Unpack[RunValues],
) -> bool:
    """Queue the run once more; its message is the caller's to send."""
    values |= {"state": RunState.QUEUED, "touched_at": clock(conn), "finished_at": None}
    return change(conn, run_id, only_from=only_from, **values)


def get(conn: Connection, run_id: int, *, to_write: bool = False) -> Run | None:
    """Return the run, or None. ``to_write``: nobody else may change it before we have."""
    if to_write:
        lock(conn, runs.c.calls, runs.c.run_id == run_id)
    return _one(conn, runs.c.run_id == run_id)


def existing(conn: Connection, run_id: int, *, to_write: bool = False) -> Run:
    """Do ``get`` for a run that is on record: runs are never deleted."""
    run = get(conn, run_id, to_write=to_write)
    if run is None:
        raise LookupError(f"run {run_id} is not on record")
    return run


def unchanged(conn: Connection, run: Run) -> bool:
    """Tell whether the run is as it was read; nobody else may change it before we have."""
    return get(conn, run.run_id, to_write=True) == run


def with_key(conn: Connection, key: str) -> Run | None:
    """Return the run that was made with this key, or None."""
    return _one(conn, runs.c.key == key)


def _one(conn: Connection, where: ColumnElement[bool]) -> Run | None:
    row = conn.execute(select(runs).where(where)).mappings().first()
    return Run.from_row(row) if row else None


def change(
    conn: Connection,
    run_id: int,
    *,
    only_from: tuple[RunState, ...] = (),
    **values: Unpack[RunValues],
) -> bool:
    """Update a run, with ``only_from`` only while it is in one of these states: for the steps
    above, and for what is none of them.

    One that begins or ends by this is a line in the log.
    """
    statement = update(runs).where(runs.c.run_id == run_id)
    if only_from:
        statement = statement.where(runs.c.state.in_(only_from))
    if note := values.get("note"):
        values["note"] = cut(note, 1000)
    if "detail" in values:
        values["detail"] = json.dumps(values["detail"], ensure_ascii=False, default=str)
    changed = conn.execute(statement.values(**values)).rowcount == 1
    if changed and values.get("state") in (RunState.RUNNING, *ENDED):
        _log_state(conn, run_id)
    return changed


def _log_state(conn: Connection, run_id: int) -> None:
    run = get(conn, run_id)
    if run is None:
        return
    fields = {"run_id": run.run_id, "kind": run.kind}
    if run.state == RunState.RUNNING:
        log.info("run began", extra=fields)
        return
    seconds = None
    if run.finished_at is not None:
        seconds = round((run.finished_at - (run.started_at or run.created_at)).total_seconds(), 1)
    counts = {"emitted": run.emitted, "recorded": run.recorded, "skipped": run.skipped}
    level = logging.ERROR if run.state == RunState.FAILED else logging.INFO
    how = {"state": run.state, "calls": run.own_calls, "seconds": seconds, "outcome": run.note}
    told = {name: value for name, value in {**counts, **how}.items() if value is not None}
    log.log(level, "run ended", extra={**fields, **told})


def count_call(conn: Connection) -> None:
    """Count a call to QuickBooks Time for the run that is at work here; without one, nothing."""
    run_id = logs.current_run()
    if run_id is not None:
        one_more = update(runs).where(runs.c.run_id == run_id)
        conn.execute(one_more.values(calls=runs.c.calls + 1))


def set_detail(conn: Connection, run_id: int, detail: object) -> None:
    """Store the run's report (plain JSON data)."""
    change(conn, run_id, detail=detail)


def newest(
    conn: Connection, kind: RunKind, *states: RunState, complete: bool | None = None
) -> Run | None:
    """Return the newest run of ``kind`` in one of ``states`` (any if none is given)."""
    found = newest_few(conn, kind, *states, complete=complete, limit=1)
    return found[0] if found else None


def newest_few(
    conn: Connection,
    kind: RunKind | None,
    *states: RunState,
    complete: bool | None = None,
    before: int | None = None,
    limit: int | None,
) -> list[Run]:
    """Return the newest runs, newest first; with None as ``limit`` all of them.

    ``before``: only those older than this run.
    """
    statement = select(runs)
    if before is not None:
        statement = statement.where(runs.c.run_id < before)
    if kind:
        statement = statement.where(runs.c.kind == kind)
    if states:
        statement = statement.where(runs.c.state.in_(states))
    if complete is not None:
        statement = statement.where(runs.c.complete == complete)
    found = conn.execute(statement.order_by(runs.c.run_id.desc()).limit(limit)).mappings()
    return [Run.from_row(row) for row in found]


def next_done(
    conn: Connection, kinds: Collection[RunKind], *, after: int, complete: bool = False
) -> Run | None:
    """Return the first run of these kinds after this one that is done, or None.

    ``complete``: only one that read all jobs.
    """
    where = and_(runs.c.kind.in_(kinds), runs.c.state == RunState.DONE, runs.c.run_id > after)
    if complete:
        where = and_(where, runs.c.complete)
    first = select(func.min(runs.c.run_id)).where(where)
    found = conn.execute(first).scalar()
    return get(conn, found) if found is not None else None


def _shown_by(run: Run) -> ColumnElement[bool]:
    """Select the jobs that the run has shown and that are on record since.

    The number alone is not enough: a run that was asked for first may begin after another.
    """
    if run.observed_at is None:
        return false()
    return and_(jobs.c.seen_run_id >= run.run_id, jobs.c.sighting >= run.asking)


def recorded_count(conn: Connection, run: Run) -> int:
    """Count the jobs that the run has shown and that are on record since."""
    return count(conn, jobs, _shown_by(run))


def push_counts(conn: Connection, run: Run) -> dict[str, int]:
    """Count the active jobs that the run has shown, by the state of their push."""
    statement = (
        select(links.c.state, func.count())
        .select_from(jobs.join(links, jobs.c.job_id == links.c.job_id))
        .where(_shown_by(run), jobs.c.active)
        .group_by(links.c.state)
    )
    found = {state: int(number) for state, number in conn.execute(statement)}
    shown = (LinkState.IN_SYNC, LinkState.DUE, LinkState.PARKED, LinkState.HELD)
    return {state.value: found.get(state, 0) for state in shown}
