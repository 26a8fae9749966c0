"""The sweep, once a minute: whatever waits for a message or a worker that is gone goes on.

It closes fetches, tidies, sends lost orders again, probes a stopped push, settles orphaned
creates and says which wake-ups are due. Each part may run twice and on several hosts at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from cprqueue.clients.qbtime import QuickBooksTime
from cprqueue.domain.push_brake import PushLimits
from cprqueue.domain.states import RunKind, RunState
from cprqueue.services import gates, lost_requests, wake_ups
from cprqueue.services.fetch import closing
from cprqueue.services.prune import lost_orders
from cprqueue.services.push import orphaned_creates
from cprqueue.services.wake_ups import WakeUp
from cprqueue.store import clock_steps, events, runs
from cprqueue.store.app_state import claim_moment
from cprqueue.store.database import Database, clock

EVENTS_KEPT = timedelta(days=400)
STUCK_AFTER = timedelta(minutes=30)

Send = Callable[[str, Mapping[str, object]], None]
"""Sends a task with its keyword arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """The sweep of one installation. ``quiet``: what has not moved for so long is lost."""

    db: Database
    qbt: QuickBooksTime
    quiet: timedelta
    push_limits: PushLimits

    def run(self, *, waiting: Callable[[str], int], send: Send) -> list[WakeUp]:
        """Do all of it; return the wake-ups to send.

        ``waiting`` counts the messages in a queue; ``send`` is called for each lost order.
        """
        self._tidy()
        for run in closing.lost_fetches(self.db, waiting, quiet=self.quiet):
            send("cpr.fetch_jobs", {"full": run.complete, "run_id": run.run_id})
        for task, kwargs in lost_orders.find(self.db, quiet=self.quiet):
            send(task, kwargs)
        for task, asked in lost_requests.find(self.db, waiting, quiet=self.quiet):
            send(task, asked)
        if not gates.probe_push(self.db, self.qbt):
            return []
        orphaned_creates.settle(self.db, self.qbt, quiet=self.quiet)
        return wake_ups.due(self.db)

    def _tidy(self) -> None:
        """Close what ended or died; forget old events, at most once an hour."""
        with self.db.begin() as conn:
            now = clock(conn)
            clock_steps.mend_ahead(conn, lease=self.quiet)
            closing.close_finished(conn, self.push_limits, now=now)
            _close_dead(conn, now)
            if claim_moment(conn, "tidy", now=now, moment=now + timedelta(hours=1)):
                events.forget_before(conn, now - EVENTS_KEPT)


def _close_dead(conn: Connection, now: datetime) -> None:
    """Call runs failed that have not moved for long; the next one does their work."""
    note = "its worker died or its message was lost"
    for kind in (RunKind.SNAPSHOT, RunKind.RESYNC, RunKind.IMPORT):
        for run in runs.newest_few(conn, kind, RunState.QUEUED, RunState.RUNNING, limit=None):
            if run.moved < now - STUCK_AFTER and runs.unchanged(conn, run):
                runs.finish(conn, run.run_id, RunState.FAILED, note=note)
