"""``status``, ``failures`` and ``history``: how things stand, from the database alone.

Answers may hold addresses: they are for the operator's own terminal, never for a log.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection

from cprqueue.clients.budget import Budget
from cprqueue.domain.models import BATCH
from cprqueue.domain.records import ClaimedLink, Link, Run
from cprqueue.domain.states import ErrorCode, LinkState, RunKind, RunState
from cprqueue.services import gates, signs
from cprqueue.services.reports import warnings
from cprqueue.store import clock_steps, events, jobs, keeps, links, push_queue, runs
from cprqueue.store.database import Database, clock

CALLS_FOR_A_BATCH = 2
"""A new job costs a jobcode and a location, and fifty jobs share each request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How things stand, as the database knows it."""

    jobs: dict[str, int]
    kept: int
    budget: dict[str, float]
    fetch_tried: Run | None
    fetch_succeeded: Run | None
    snapshot: Run | None
    push_stopped: gates.Stopped | None
    suspended: str
    warnings: list[str]

    @property
    def push_halted(self) -> bool:
        """True while nothing at all is pushed."""
        return self.push_stopped is not None or bool(self.suspended)

    def as_json(self) -> dict[str, object]:
        """Return what ``status --json`` prints."""
        return {
            "jobs": self.jobs,
            "kept": self.kept,
            "budget": self.budget,
            "fetch_tried": run_json(self.fetch_tried),
            "fetch_succeeded": run_json(self.fetch_succeeded),
            "snapshot": run_json(self.snapshot),
            "push_stopped": asdict(self.push_stopped) if self.push_stopped else None,
            "suspended": self.suspended or None,
            "warnings": self.warnings,
        }


def read_status(db: Database, budget: Budget, latest: signs.Latest) -> Status:
    """Read how things stand; ``latest`` says by the timetable when a fetch is overdue."""
    clock_steps.watch(db)
    with db.read() as conn:
        numbers = links.counts(conn)
        tried = runs.newest(conn, RunKind.FETCH)
        succeeded = runs.newest(conn, RunKind.FETCH, RunState.DONE)
        return Status(
            jobs=numbers,
            kept=len(keeps.standing(conn, clock(conn))),
            budget=_calls(conn, budget, numbers["due"]),
            fetch_tried=tried,
            fetch_succeeded=succeeded,
            snapshot=runs.newest(conn, RunKind.SNAPSHOT, RunState.DONE),
            push_stopped=gates.push_stopped(conn),
            suspended=gates.suspension_reason(conn),
            warnings=warnings.read(conn, tried, succeeded, parked=numbers["parked"], latest=latest),
        )


def _calls(conn: Connection, budget: Budget, due: int) -> dict[str, float]:
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


def failures(db: Database) -> list[ClaimedLink]:
    """Return the parked jobs, and those whose push failed and is tried again."""
    with db.read() as conn:
        return push_queue.failing(conn)


def dismissed(db: Database) -> int:
    """Count the jobs whose change a person dismissed."""
    return sum(row.error_code == ErrorCode.DISMISSED for row in failures(db))


def failure_json(row: ClaimedLink) -> dict[str, object]:
    """Return a failed push as the command line prints it."""
    return {
        "job_id": row.job_id,
        "job_number": row.job_number,
        "state": row.state,
        "code": row.error_code,
        "reason": row.error_reason,
        "attempts": row.attempts,
        "next_attempt_at": next_attempt_at(row),
    }


def next_attempt_at(row: Link) -> datetime | None:
    """Return when the push is tried again; None for a job that is not due."""
    return row.next_attempt_at if row.state is LinkState.DUE else None


def history(db: Database, *, limit: int) -> list[Run]:
    """Return the newest runs of every kind, newest first."""
    with db.read() as conn:
        return runs.newest_few(conn, None, limit=limit)


_RUN_FIELDS = ("run_id", "kind", "state", "complete", "requested_by")
_RUN_TIMES = ("created_at", "started_at", "finished_at")


def run_json(run: Run | None) -> dict[str, object] | None:
    """Return a run as the command line prints it: the counts that its kind has."""
    if run is None:
        return None
    names = (*_RUN_FIELDS, *_RUN_TIMES, "note")
    return {name: getattr(run, name) for name in names} | run_counts(run)


def run_counts(run: Run) -> dict[str, int]:
    """Return the counts of a run by name, as far as they mean something for its kind."""
    if run.kind in (RunKind.FETCH, RunKind.IMPORT):
        return {"emitted": run.emitted, "recorded": run.recorded, "skipped": run.skipped}
    calls = {"calls": run.calls}
    if run.kind is RunKind.SNAPSHOT:
        return {"jobcodes": run.emitted} | calls
    if run.kind in (RunKind.PRUNE, RunKind.REMOVE_ALL):
        return {"planned": run.emitted, "archived": run.recorded} | calls
    if run.kind is RunKind.UNDO:
        return {"planned": run.emitted, "restored": run.recorded} | calls
    return calls


def said_counts(run: Run) -> dict[str, int]:
    """Return the same in the words of people: what a fetch has emitted are the jobs in its list."""
    return {"jobs" if name == "emitted" else name: n for name, n in run_counts(run).items()}


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


def make_due(db: Database, ids: list[int] | None, *, requested_by: str = "") -> list[int]:
    """Make these jobs due now; return which were.

    Where None: all that wait or are parked, but what a person dismissed.
    """
    with db.begin() as conn:
        now = clock(conn)
        due = push_queue.requeue(conn, now=now, job_ids=ids)
        events.add(conn, events.ordered(due, "another try", requested_by, at=now))
    return due
