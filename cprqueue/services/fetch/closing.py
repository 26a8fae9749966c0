"""Close fetches: done when every message is recorded; taken up again when messages were lost.

Each function may run twice and on several hosts at once: a run's state decides.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from cprqueue.domain.records import Run, RunKind, RunState
from cprqueue.services.fetch.unread import is_blind
from cprqueue.store import app_state, events, jobs, push_queue, runs
from cprqueue.store.database import Database, clock

log = logging.getLogger(__name__)

STALLED_AFTER = timedelta(minutes=15)
MAX_RESENDS = 3
BLIND_LIMIT = 60
"""So many fetches back it is looked for two that could read every job: two months of nights."""
PROGRESS_SEEN = "progress_seen"


@dataclass(frozen=True, slots=True, kw_only=True)
class LostFetch:
    """A fetch to be sent again under the same run id."""

    run_id: int
    complete: bool


def lost_fetches(
    db: Database, waiting: Callable[[str], int], *, quiet: timedelta
) -> list[LostFetch]:
    """Put fetches back to "queued" whose messages were lost, and return them to be sent again.

    A fetch that has not moved for ``quiet``, with nothing in its queue, has lost messages;
    ``waiting`` counts what is in a queue: while messages wait there, they are only slow. A run
    is taken up again three times; then it fails by ``STALLED_AFTER``.
    """
    with db.begin() as conn:
        now = clock(conn)
        found = []
        for run in runs.newest_few(conn, RunKind.FETCH, *runs.OPEN, limit=20):
            queue = "insert" if run.state is RunState.RECORDING else "fetch"
            if run.moved < now - quiet and not waiting(queue):
                found += _requeue(conn, run, now)
    return found


def _requeue(conn: Connection, run: Run, now: datetime) -> list[LostFetch]:
    before = run.details.get("retakes")
    number = before if isinstance(before, int) else 0
    if number >= MAX_RESENDS:
        return []
    runs.set_detail(conn, run.run_id, {**run.details, "retakes": number + 1})
    runs.change(conn, run.run_id, only_from=runs.OPEN, state=RunState.QUEUED, touched_at=now)
    log.warning("fetch taken up again", extra={"run_id": run.run_id, "time": number + 1})
    return [LostFetch(run_id=run.run_id, complete=run.complete)]


def close_finished(conn: Connection, *, now: datetime) -> None:
    """Close fetches that are recorded to the end; call those failed that got stuck."""
    found = runs.newest_few(conn, RunKind.FETCH, *runs.OPEN, limit=20)
    moving = any(r.state is not RunState.QUEUED and r.moved >= now - STALLED_AFTER for r in found)
    for run in found:
        recorded = runs.recorded_count(conn, run) if run.state is RunState.RECORDING else 0
        if run.state is RunState.RECORDING and recorded >= run.emitted:
            _close(conn, run, recorded, now)
        elif recorded > run.recorded:
            runs.change(conn, run.run_id, recorded=recorded, touched_at=now)
        elif run.state is RunState.QUEUED and moving:
            _wait(conn, run, now)
        elif run.moved < now - STALLED_AFTER:
            runs.change(conn, run.run_id, state=RunState.FAILED, finished_at=now, note=_stuck(run))


def _wait(conn: Connection, run: Run, now: datetime) -> None:
    """Let a fetch wait behind another: its message may lie untouched until that one is over."""
    if run.moved < now - STALLED_AFTER / 2:
        runs.change(conn, run.run_id, only_from=(RunState.QUEUED,), touched_at=now)


def _stuck(run: Run) -> str:
    if run.state is RunState.QUEUED:
        return "never started: is a worker for the fetch queue running?"
    if run.state is RunState.RUNNING:
        return "the worker died in the middle: the next fetch starts from the same point"
    return (
        f"only {run.recorded} of {run.emitted} jobs were recorded: the next fetch sends all again"
    )


def _close(conn: Connection, run: Run, recorded: int, now: datetime) -> None:
    values: runs.RunValues = {"state": RunState.DONE, "finished_at": now, "recorded": recorded}
    if not runs.change(conn, run.run_id, only_from=(RunState.RECORDING,), **values):
        return
    _note_progress_values(conn, now)
    if run.complete:
        _note_vanished(conn, now)


def _note_progress_values(conn: Connection, now: datetime) -> None:
    """Tell once of each progress value that was never seen on an active job before.

    RM's list of values is not known, and a new way to say "closed" counts as active.
    """
    present = jobs.active_progress_values(conn)
    known = _progress_seen(conn)
    fresh = sorted(set(present) - set(known or {}))
    if not fresh:
        return
    for value in fresh if known is not None else ():
        log.warning("unknown progress counts as active", extra={"progress": value})
    seen = {value: now.isoformat() if known is not None else "" for value in fresh}
    app_state.put(conn, PROGRESS_SEEN, {**(known or {}), **seen}, now=now)


def new_progress_values(conn: Connection, *, since: datetime) -> list[str]:
    """Return the progress values that turned up after ``since``."""
    known = _progress_seen(conn) or {}
    return sorted(v for v, at in known.items() if at and datetime.fromisoformat(at) >= since)


def _progress_seen(conn: Connection) -> dict[str, str] | None:
    """Return when each progress value turned up; "" for those of the first fetch."""
    found = app_state.get(conn, PROGRESS_SEEN)
    return {name: str(at) for name, at in found.items()} if isinstance(found, dict) else None


def _note_vanished(conn: Connection, now: datetime) -> None:
    """Make inactive what two complete fetches in a row did not show, of those that see all."""
    newest = runs.newest_few(conn, RunKind.FETCH, RunState.DONE, complete=True, limit=BLIND_LIMIT)
    done = [run for run in newest if not is_blind(run)][:2]
    asked_at = done[0].observed_at if len(done) == 2 else None
    if asked_at is None or done[0] is not newest[0]:
        return
    rule = f"vanished: not in the complete fetches {done[1].run_id} and {done[0].run_id}"
    gone = jobs.mark_vanished(conn, done[1].run_id, observed_at=asked_at, now=now, rule=rule)
    for part in jobs.chunks(gone):
        push_queue.set_idle(conn, part)
        events.add(conn, [events.event(j, "recorded", rule, at=now) for j in part])
    for key in set(gone.values()):
        push_queue.requeue_name_conflicts(conn, key, now=now)
