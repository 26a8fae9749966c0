"""What the archive of a prune, of a remove-all and their undo have in common: the lock, the record.

Only one process archives or restores at a time, under the lock ``prune``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection

from cprqueue import log as logs
from cprqueue.clients.listings import ANY, by_ids
from cprqueue.clients.qbtime import QuickBooksTime
from cprqueue.domain.records import PlanItem
from cprqueue.domain.states import Outcome, RunKind, RunState, VerificationKind
from cprqueue.errors import UsageError
from cprqueue.services.prune import orders
from cprqueue.store import events, links, locks, plan_items, runs
from cprqueue.store.database import Database, clock

Renew = Callable[[], None]
"""Prolongs the lock. Raises AlreadyRunning where it was lost."""


@dataclass(slots=True, kw_only=True)
class Archive:
    """Archives jobcodes with ``qbt``. ``lease_time``: longer than any request may take."""

    db: Database
    qbt: QuickBooksTime
    lease_time: timedelta

    def alone(self) -> AbstractContextManager[Renew]:
        """Keep every other archive and undo out. Raises AlreadyRunning while one is at work."""
        busy = "another prune, remove-all or undo is at work"
        return locks.hold(self.db, locks.PRUNE, limit=self.lease_time, busy=busy)

    def carry_out(
        self, run_id: int, kind: RunKind, states: tuple[RunState, ...], work: Callable[[Renew], str]
    ) -> str:
        """Do ``work`` for a run that is in one of ``states``, alone; return one line.

        Raises UsageError for a run that is of another kind.
        """
        with self.db.begin() as conn:
            orders.end_too_old(conn, run_id)
            runs.progress(conn, run_id, only_from=states)  # waits for its turn: it is not lost
        with logs.bound(run_id=run_id), self.alone() as renew:
            with self.db.begin() as conn:
                row = runs.get(conn, run_id, to_write=True)
                if row is None or row.kind is not kind:
                    name = kind.replace("_", "-")
                    raise UsageError(f"run {run_id} is no {name}: see `cprqueue history`")
                if row.state not in states:
                    return f"run {run_id} is {row.state} already"
                if not runs.start(conn, run_id, note=None):
                    runs.progress(conn, run_id, note=None)
            return work(renew)

    def settle(
        self, run_id: int, refused: Mapping[int, str] | None = None, *, lease: str = ""
    ) -> None:
        """Verify the items of a request whose effect is not on record.

        What is archived is recorded. The others were ``refused`` (item ids, with the answer),
        or else they are planned again.
        """
        with self.db.read() as conn:
            items = plan_items.of_run(conn, run_id, Outcome.SENDING)
        found = by_ids(self.qbt.jobcodes, {item.jobcode_id for item in items}, **ANY)
        gone = {code.id for code in found if not code.active}
        notes = refused or {}
        with self.db.begin() as conn:
            now_at = plan_items.outcomes(conn, [item.item_id for item in items])
            for item in items:
                if now_at[item.item_id] is not Outcome.SENDING:
                    continue  # an undo was quicker
                if item.jobcode_id in gone:
                    self.note_archived(conn, item, lease)
                    continue
                after = Outcome.FAILED if item.item_id in notes else Outcome.PLANNED
                note, now = notes.get(item.item_id), clock(conn)
                plan_items.set_outcome(conn, [item.item_id], after, now=now, note=note)
            count_archived(conn, run_id)

    def note_archived(self, conn: Connection, item: PlanItem, lease: str) -> None:
        """Record that an item is archived, on the plan and on its job."""
        now = clock(conn)
        plan_items.set_outcome(conn, [item.item_id], Outcome.ARCHIVED, now=now)
        self.note_active(conn, item.jobcode_id, lease, active=False)
        if item.job_id is not None:
            text = f"jobcode {item.jobcode_id} archived: {item.reason}"[:900]
            event = events.event(item.job_id, "archived", text, at=now, run_id=item.run_id)
            events.add(conn, [event])

    def note_active(
        self,
        conn: Connection,
        jobcode_id: int,
        lease: str,
        *,
        active: bool,
        assigned_to_all: bool = False,
    ) -> None:
        """Record on the link that its jobcode was archived or restored; an active job is due."""
        links.note_active(
            conn,
            jobcode_id,
            active=active,
            assigned_to_all=assigned_to_all,
            verification=VerificationKind.FULL,
            lease=lease,
            now=clock(conn),
            guard=self.lease_time,
        )


def count_archived(conn: Connection, run_id: int) -> None:
    """Record how many items of the run are archived by now."""
    found = plan_items.counts(conn, run_id)
    runs.progress(conn, run_id, recorded=found.get(Outcome.ARCHIVED, 0))
