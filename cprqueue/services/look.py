"""Look: what people ask of the record. Only reads; plain values out.

Answers may hold addresses: they are for the operator's own terminal, never for a log.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row

from cprqueue.budget import Budget
from cprqueue.models import BATCH
from cprqueue.services import closing, stop, suspension
from cprqueue.store import jobs, links, runs
from cprqueue.store.database import Database, clock

CALLS_FOR_A_BATCH = 2
"""A new job costs a jobcode and a location, and fifty jobs share each request."""

FETCH_OVERDUE = timedelta(minutes=30)
PROGRESS_IS_NEWS = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How things stand, as the database knows it."""

    jobs: dict[str, int]
    budget: dict[str, Any]
    fetch_tried: dict[str, Any] | None
    fetch_succeeded: dict[str, Any] | None
    snapshot: dict[str, Any] | None
    push_stopped: dict[str, Any] | None
    warnings: list[str]


def standing(db: Database, budget: Budget) -> Standing:
    """Read how things stand."""
    with db.read() as conn:
        now = clock(conn)
        counted = links.counts(conn)
        stopped = stop.stopped(conn)
        tried = runs.newest(conn, "fetch")
        succeeded = runs.newest(conn, "fetch", "done")
        return Standing(
            jobs=counted,
            budget=_calls(conn, budget, counted["due"]),
            fetch_tried=_run(tried),
            fetch_succeeded=_run(succeeded),
            snapshot=_run(runs.newest(conn, "snapshot", "done")),
            push_stopped=stopped,
            warnings=[
                *_halts(conn, stopped, now),
                *_warnings(counted, tried, succeeded, now),
            ],
        )


def _calls(conn: Connection, budget: Budget, due: int) -> dict[str, Any]:
    window_seconds = budget.window_ms / 1000
    minutes = minutes_for(
        due,
        free=budget.free(conn, urgent=False),
        for_bulk=budget.limit - budget.reserve,
        window_seconds=window_seconds,
    )
    return {
        "limit": budget.limit,
        "free": budget.free(conn),
        "reserve": budget.reserve,
        "window_seconds": window_seconds,
        "minutes_for_due": minutes,
    }


def minutes_for(due: int, *, free: int, for_bulk: int, window_seconds: float) -> float:
    """Return how long the call budget makes ``due`` jobs wait at most, in minutes.

    0 where the free calls are enough for all: then only the network takes time.
    """
    missing = math.ceil(due / BATCH) * CALLS_FOR_A_BATCH - free
    windows = max(0, math.ceil(missing / max(1, for_bulk)))
    return round(windows * window_seconds / 60, 1)


def _halts(conn: Connection, stopped: dict[str, Any] | None, now: datetime) -> list[str]:
    found = []
    if stopped:
        found.append(f"the push is stopped: {stopped['text']}")
    halted = suspension.reason(conn)
    if halted:
        found.append(halted)
    waiting = [run.run_id for run in runs.newest_few(conn, "prune", "held", limit=1)]
    found += [
        f"the prune of run {run_id} is held: `cprqueue prune show {run_id}`, then `cprqueue prune "
        f"approve {run_id}`, or put it away: `cprqueue undo {run_id}`"
        for run_id in waiting
    ]
    fresh = closing.new_progress_values(conn, since=now - PROGRESS_IS_NEWS)
    return found + [f"new progress {v!r} counts as active: see RM_INACTIVE_PROGRESS" for v in fresh]


def _warnings(
    counted: dict[str, int],
    tried: Row[Any] | None,
    succeeded: Row[Any] | None,
    now: datetime,
) -> list[str]:
    found = []
    if tried is not None and tried.state == "failed":
        found.append(f"the last fetch (run {tried.run_id}) failed: {tried.note}")
    if succeeded is None:
        found.append("no fetch has succeeded yet")
    elif succeeded.observed_at < now - FETCH_OVERDUE:
        minutes = (now - succeeded.observed_at) / timedelta(minutes=1)
        found.append(f"the last successful fetch is {minutes:.0f} minutes old: is beat running?")
    if succeeded is not None and succeeded.note:
        found.append(f"the last successful fetch (run {succeeded.run_id}): {succeeded.note}")
    if counted["parked"]:
        found.append(f"{counted['parked']} parked: see `cprqueue failures`")
    return found


def failures(db: Database) -> list[dict[str, Any]]:
    """Return the parked jobs, and those whose push failed and is tried again."""
    with db.read() as conn:
        return [_failure(row) for row in links.failing(conn)]


def _failure(row: Row[Any]) -> dict[str, Any]:
    return {
        "job_id": row.job_id,
        "job_number": row.job_number,
        "state": row.state,
        "code": row.error_code,
        "reason": row.error_reason,
        "attempts": row.attempts,
        "next_attempt_at": row.next_attempt_at if row.state == links.DUE else None,
    }


def history(db: Database, *, limit: int) -> list[dict[str, Any]]:
    """Return the newest runs of every kind, newest first."""
    with db.read() as conn:
        return [_run(row) or {} for row in runs.newest_few(conn, None, limit=limit)]


_RUN_FIELDS = (
    "run_id",
    "kind",
    "state",
    "complete",
    "requested_by",
    "created_at",
    "started_at",
    "finished_at",
    "emitted",
    "recorded",
    "skipped",
    "calls",
    "note",
)


def _run(row: Row[Any] | None) -> dict[str, Any] | None:
    return {name: getattr(row, name) for name in _RUN_FIELDS} if row is not None else None


def ids_of(db: Database, texts: list[str]) -> tuple[list[int], list[str]]:
    """Return the ids of the jobs with these ids or numbers, and the texts that no job has.

    A number that several jobs share means all of them. A text that is both a job's number and
    another job's id means the number.
    """
    found: list[int] = []
    unknown: list[str] = []
    with db.read() as conn:
        for text in texts:
            ids = _ids_of_one(conn, text)
            found += ids
            if not ids:
                unknown.append(text)
    return list(dict.fromkeys(found)), unknown


def _ids_of_one(conn: Connection, text: str) -> list[int]:
    ids = jobs.ids_of_number(conn, text)
    if not ids and text.strip().isdecimal() and len(text.strip()) < 19:
        ids = [int(text)] if jobs.get(conn, int(text)) else []
    return ids


def ring_again(db: Database, ids: list[int] | None) -> list[int]:
    """Make these jobs due now (all that wait or are parked where None); return which were."""
    with db.begin() as conn:
        return links.ring_again(conn, now=clock(conn), job_ids=ids)
