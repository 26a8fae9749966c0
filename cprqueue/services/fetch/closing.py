"""Close fetches: done when every message is recorded; requeued when messages were lost.

Each function may run twice and on several hosts at once: a run's state decides.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from sqlalchemy import Connection

from cprqueue.domain.push_brake import PushLimits
from cprqueue.domain.records import Run
from cprqueue.domain.states import RunKind, RunState
from cprqueue.services import progress_values, push_brake
from cprqueue.services.fetch.unread import is_blind
from cprqueue.store import events, jobs, push_queue, runs
from cprqueue.store.chunks import chunks
from cprqueue.store.database import Database, clock

log = logging.getLogger(__name__)

STALLED_AFTER = timedelta(minutes=15)
MAX_RESENDS = 3
LIMITED = "does the broker drop what its queues hold (`rabbitmqctl list_policies`)?"
BLIND_LIMIT = 60
"""Among so many fetches two are sought that could read every job: two months of nights."""


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
    is requeued three times. Then it fails, so that those behind it begin: at once where it was
    recording, by ``STALLED_AFTER`` where its worker or its message may only be slow.
    """
    waiting = cache(waiting)
    with db.begin() as conn:
        now = clock(conn)
        found = []
        for run in runs.newest_few(conn, RunKind.FETCH, *runs.OPEN, limit=None):
            queue = "insert" if run.state is RunState.RECORDING else "fetch"
            if run.moved < now - quiet and not waiting(queue):
                found += _requeue(conn, run)
    return found


def _requeue(conn: Connection, run: Run) -> list[LostFetch]:
    before = run.details.get("retakes")
    number = before + 1 if isinstance(before, int) else 1
    if not runs.unchanged(conn, run):
        return []
    if number > MAX_RESENDS:
        if run.state is RunState.RECORDING:
            note = f"{_stuck(run)}; its messages were lost {number} times: {LIMITED}"
            runs.finish(conn, run.run_id, RunState.FAILED, note=note)
        return []
    detail = {**run.details, "retakes": number}
    runs.requeue(conn, run.run_id, detail=detail)
    log.warning("fetch requeued", extra={"run_id": run.run_id, "time": number})
    return [LostFetch(run_id=run.run_id, complete=run.complete)]


def close_finished(conn: Connection, limits: PushLimits, *, now: datetime) -> None:
    """Close fetches that are recorded to the end; call those failed that got stuck.

    Then the brake decides on what they made due, in the same transaction.
    """
    found = runs.newest_few(conn, RunKind.FETCH, *runs.OPEN, limit=None)
    moving = any(r.state is not RunState.QUEUED and r.moved >= now - STALLED_AFTER for r in found)
    for run in found:
        recorded = runs.recorded_count(conn, run) if run.state is RunState.RECORDING else 0
        if run.state is RunState.RECORDING and recorded >= run.emitted:
            _close(conn, run, recorded, now)
        elif recorded > run.recorded:
            recording = (RunState.RECORDING,)
            runs.progress(conn, run.run_id, only_from=recording, recorded=recorded)
        elif run.state is RunState.QUEUED and moving:
            _wait(conn, run, now)
        elif run.moved < now - STALLED_AFTER and runs.unchanged(conn, run):
            runs.finish(conn, run.run_id, RunState.FAILED, note=_stuck(run))
    push_brake.settle(conn, limits, now=now)


def _wait(conn: Connection, run: Run, now: datetime) -> None:
    """Let a fetch wait behind another: its message may stay queued until that one is over."""
    if run.moved < now - STALLED_AFTER / 2:
        runs.progress(conn, run.run_id, only_from=(RunState.QUEUED,))


def _stuck(run: Run) -> str:
    if run.state is RunState.QUEUED:
        return "never started: is a worker for the fetch queue running?"
    if run.state is RunState.RUNNING:
        return "the worker died in the middle: the next fetch starts from the same point"
    return (
        f"only {run.recorded} of {run.emitted} jobs were recorded: the next fetch sends all again"
    )


def _close(conn: Connection, run: Run, recorded: int, now: datetime) -> None:
    only_from, done = (RunState.RECORDING,), RunState.DONE
    if not runs.finish(conn, run.run_id, done, only_from=only_from, recorded=recorded):
        return
    progress_values.note_new(conn, now)
    if run.complete:
        _note_vanished(conn, now)


def _note_vanished(conn: Connection, now: datetime) -> None:
    """Make inactive what two complete fetches in a row did not show, of those that see all."""
    newest = runs.newest_few(conn, RunKind.FETCH, RunState.DONE, complete=True, limit=BLIND_LIMIT)
    done = [run for run in newest if not is_blind(run)][:2]
    if len(done) < 2 or done[0] is not newest[0]:
        return
    rule = f"vanished: not in the complete fetches {done[1].run_id} and {done[0].run_id}"
    gone = jobs.mark_vanished(conn, done[1].run_id, asking=done[0].asking, now=now, rule=rule)
    for part in chunks(gone):
        push_queue.set_idle(conn, part)
        events.add(conn, [events.event(j, "recorded", rule, at=now) for j in part])
    for key in set(gone.values()):
        push_queue.requeue_name_conflicts(conn, key, now=now)
