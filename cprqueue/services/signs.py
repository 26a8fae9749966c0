"""The signs by which ``health`` and the alerts tell whether the work goes on; from the database.

How late is too late is the timetable's to say: three of its turns, never less than some minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from cprqueue import config
from cprqueue.domain.records import Run
from cprqueue.domain.states import RunKind, RunState
from cprqueue.services import canaries, gates
from cprqueue.services.ticks import Ticks
from cprqueue.services.ticks import read as read_ticks
from cprqueue.store import runs
from cprqueue.store.database import clock

FETCH, SWEEP = "cpr.fetch_jobs", "cpr.sweep"
LEAST = {FETCH: timedelta(minutes=10), SWEEP: timedelta(minutes=5)}
MOVES = timedelta(minutes=5)
"""A run that noted anything within this is being carried out."""

REFUSED = "refused"
"""The detail of a fetch that RestorationManager refused."""

Latest = Callable[[str, datetime], datetime]
"""Says by when a task that was carried out at a moment should have been so again, at the latest."""


def at_once(_task: str, since: datetime) -> datetime:
    """Stand for a timetable that cannot be read: the least times alone count."""
    return since


LONG = {"fetch": RunKind.FETCH, "urgent": RunKind.RESYNC}
"""Queues whose one process may be at work for so long that it takes no canary meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """``taken``: when each queue's worker last took a message; ``moving``: kinds of runs at work.

    ``refused``: the fetch that RestorationManager refused, if none has succeeded since.
    """

    now: datetime
    ticks: Ticks | None
    taken: dict[str, datetime]
    good_fetch: Run | None
    failed_fetch: Run | None
    refused: Run | None
    moving: frozenset[RunKind]
    closed: str
    latest: Latest

    def is_late(self, task: str, since: datetime) -> bool:
        """Tell whether the task should have been carried out again since."""
        return is_late(task, since, self.now, self.latest)

    def took(self, queue: str, *, or_at: datetime | None = None) -> bool:
        """Tell whether a worker of the queue took a message lately, or is at a long one.

        ``or_at``: a moment that counts as such a message.
        """
        moments = [each for each in (self.taken.get(queue), or_at) if each is not None]
        if LONG.get(queue) in self.moving:
            return True
        return bool(moments) and not self.is_late(SWEEP, max(moments))


def is_late(task: str, since: datetime, now: datetime, latest: Latest) -> bool:
    """Tell whether the task should have been carried out again between ``since`` and ``now``."""
    least = config.test_hook("CPR_TEST_LATE_SECONDS")
    span = timedelta(seconds=float(least)) if least else LEAST[task]
    return now > max(since + span, latest(task, since))


def is_fetch_late(conn: Connection, good: Run, now: datetime, latest: Latest) -> bool:
    """Tell whether a fetch should have succeeded since ``good``, and none is under way."""
    ended = good.finished_at
    late = ended is not None and is_late(FETCH, ended, now, latest)
    return late and not _moves(conn, RunKind.FETCH, now)


def read(conn: Connection, latest: Latest) -> Signs:
    """Read all signs."""
    now = clock(conn)
    good = runs.newest(conn, RunKind.FETCH, RunState.DONE)
    failed = _failed_since(conn, good)
    return Signs(
        now=now,
        ticks=read_ticks(conn),
        taken=canaries.read(conn),
        good_fetch=good,
        failed_fetch=failed[0] if failed else None,
        refused=next((run for run in failed if run.details.get(REFUSED)), None),
        moving=frozenset(kind for kind in LONG.values() if _moves(conn, kind, now)),
        closed=gates.closed_because(conn),
        latest=latest,
    )


def _failed_since(conn: Connection, good: Run | None) -> list[Run]:
    """Return the newest fetches that failed after the last good one, newest first."""
    found = runs.newest_few(conn, RunKind.FETCH, RunState.FAILED, limit=5)
    return [run for run in found if good is None or run.run_id > good.run_id]


def _moves(conn: Connection, kind: RunKind, now: datetime) -> bool:
    run = runs.newest(conn, kind, RunState.RUNNING, RunState.RECORDING)
    return run is not None and run.moved > now - MOVES
