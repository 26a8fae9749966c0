"""What needs a person's attention, a line each; from the database alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from cprqueue.domain.cutting import listed
from cprqueue.domain.records import Run
from cprqueue.domain.states import RunKind, RunState
from cprqueue.services import gates, progress_values, signs
from cprqueue.services.reports.findings import CLOCK_WARNING
from cprqueue.services.reports.words import counted
from cprqueue.store import clock_steps, held_pushes, namesakes, runs
from cprqueue.store.database import clock

NAMED = 5
PROGRESS_IS_NEWS = timedelta(days=7)
STEP_IS_NEWS = timedelta(days=1)


def read(
    conn: Connection,
    tried: Run | None,
    succeeded: Run | None,
    *,
    parked: int,
    latest: signs.Latest,
) -> list[str]:
    """Return all warnings. ``tried`` is the newest fetch, ``succeeded`` the newest that did."""
    now = clock(conn)
    overdue = succeeded is not None and signs.is_fetch_late(conn, succeeded, now, latest)
    closed = gates.closed_because(conn)
    return [
        *([closed] if closed else []),
        *_held_prune(conn),
        *held_pushes_texts(conn).values(),
        *_new_progress(conn, now - PROGRESS_IS_NEWS),
        *about_namesakes(conn),
        *_about_fetches(tried, succeeded, now, overdue=overdue),
        *about_steps(conn),
        *_other_time(now - datetime.now(UTC)),
        *([f"{counted(parked, 'job')} parked: see `cprqueue failures`"] if parked else []),
    ]


def worth_knowing(conn: Connection, succeeded: Run | None) -> list[str]:
    """Return those that say nothing of what stops or waits: for who is told of that elsewhere."""
    note = succeeded.note if succeeded else None
    return [
        *_new_progress(conn, clock(conn) - PROGRESS_IS_NEWS),
        *about_namesakes(conn),
        *about_steps(conn),
        *([f"the last fetch: {note}"] if note else []),
    ]


def _held_prune(conn: Connection) -> list[str]:
    held = runs.newest(conn, RunKind.PRUNE, RunState.HELD)
    if held is None:
        return []
    return [
        f"the prune of run {held.run_id} is held: `cprqueue prune show {held.run_id}`, then "
        f"`cprqueue prune approve {held.run_id}`, or drop it: `cprqueue undo {held.run_id}`"
    ]


def held_pushes_texts(conn: Connection) -> dict[int, str]:
    """Say of each run what the brake on pushes holds, and the commands that decide on it."""
    return {
        run_id: f"{counted(number, 'job')} held, the change of run {run_id} is too large: "
        f"`cprqueue plan show {run_id}`, then `cprqueue plan approve {run_id}` or "
        f"`cprqueue plan dismiss {run_id}`"
        for run_id, number in held_pushes.held_counts(conn).items()
    }


def _new_progress(conn: Connection, since: datetime) -> list[str]:
    new = progress_values.new_since(conn, since)
    return [f"new progress {v!r} counts as active: see RM_INACTIVE_PROGRESS" for v in new]


def about_namesakes(conn: Connection) -> list[str]:
    """Name the active jobs whose number a jobcode below a customer or project has."""
    found = namesakes.below_parents(conn)
    if not found:
        return []
    have = "has" if len(found) == 1 else "have"
    return [
        f"{counted(len(found), 'active job')} {have} a jobcode of the same name below a customer "
        f"or project in QuickBooks Time, which is not ours: {listed(found, NAMED)}"
    ]


def about_steps(conn: Connection) -> list[str]:
    """Say that the database's clock was stepped within the last day."""
    step, now = clock_steps.last(conn), clock(conn)
    if step is None or abs(step.last) < clock_steps.TOLD_MS or now - step.when > STEP_IS_NEWS:
        return []
    way = "went back" if step.last < 0 else "went ahead"
    minutes = (now - step.when) / timedelta(minutes=1)
    return [
        f"the database's clock {way} by {abs(step.last) / 1000:.0f} s {minutes:.0f} minutes ago: "
        "the work goes on; let its machine follow a time server"
    ]


def _other_time(ahead: timedelta) -> list[str]:
    if abs(ahead) < CLOCK_WARNING:
        return []
    side = "ahead of" if ahead > timedelta(0) else "behind"
    seconds = abs(ahead).total_seconds()
    return [f"the database's clock is {seconds:.0f} s {side} this machine's: see `cprqueue check`"]


def _about_fetches(
    tried: Run | None, succeeded: Run | None, now: datetime, *, overdue: bool
) -> list[str]:
    found = []
    if tried is not None and tried.state is RunState.FAILED:
        found.append(f"the last fetch (run {tried.run_id}) failed: {tried.note}")
    ended = succeeded.finished_at if succeeded else None
    if ended is None:
        found.append("no fetch has succeeded yet")
    elif overdue:
        minutes = (now - ended) / timedelta(minutes=1)
        found.append(f"the last successful fetch is {minutes:.0f} minutes old: is beat running?")
    if succeeded is not None and succeeded.note:
        found.append(f"the last successful fetch (run {succeeded.run_id}): {succeeded.note}")
    return found
