"""Archive the items of a stored plan, 50 at a time; for the prune and for remove-all.

Only one process archives or restores at a time (``Archive.alone``), and it takes the jobs of a
batch under a lease, so that no push writes to the same jobcodes meanwhile. The plan with the
state before each jobcode is on record before the first request. What if the process dies
- before a request, or after it and before the outcome is written: its items are "sending". Who
  goes on looks at them first: what is archived is recorded, the others are planned as before.
- at any time: lock and leases end by themselves.
Nothing is ever archived that is not in the plan.
"""

from __future__ import annotations

import logging
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import Connection

from cprqueue import failpoints
from cprqueue.clients.listings import ANY, by_ids
from cprqueue.clients.qbtime import QuickBooksTime, whole
from cprqueue.domain.models import BATCH, ItemResult
from cprqueue.domain.records import Outcome, PlanItem, VerificationKind
from cprqueue.errors import (
    AccessStopped,
    AlreadyRunning,
    OutOfCalls,
    RateLimited,
    Transient,
    UnreadableAnswer,
)
from cprqueue.store import events, links, locks, plan_items, push_queue, runs
from cprqueue.store.database import Database, clock

log = logging.getLogger(__name__)

CLOCK_DAYS = 40
"""Running timesheets are looked for this far back; the listing demands a range of dates."""

ReasonToStay = Callable[[Connection, PlanItem], str | None]
"""Returns why an item must not leave after all, or None."""


@dataclass(slots=True, kw_only=True)
class Archive:
    """Archives jobcodes with ``qbt``. ``lease_time``: longer than any request may take."""

    db: Database
    qbt: QuickBooksTime
    lease_time: timedelta

    @contextmanager
    def alone(self) -> Iterator[Callable[[], None]]:
        """Keep every other archive and undo out; yields what prolongs that.

        Raises AlreadyRunning while another one is at work, and where the lock was lost.
        """
        holder = str(uuid.uuid4())

        def keep() -> None:
            with self.db.begin() as conn:
                now = clock(conn)
                if not locks.take(conn, locks.PRUNE, holder, now=now, limit=self.lease_time):
                    raise AlreadyRunning("another prune, remove-all or undo is at work")

        keep()
        try:
            yield keep
        finally:
            with self.db.begin() as conn:
                locks.release(conn, locks.PRUNE, holder)

    def touch(self, run_id: int) -> None:
        """Note that somebody is at the run, or waits for its turn: nobody need send it again."""
        with self.db.begin() as conn:
            runs.change(conn, run_id, touched_at=clock(conn))

    def execute(
        self, run_id: int, *, reason_to_stay: ReasonToStay, stop_asked: Callable[[], bool]
    ) -> bool:
        """Archive what is open in the plan; True when nothing is left open.

        Whoever is on the clock for an item holds it back; one that a push has under way waits
        for a later call. Raises the client's errors; run it again to go on. Call it ``alone``.
        """
        self.settle(run_id)
        while not stop_asked():
            lease = str(uuid.uuid4())
            try:
                if not self._step(run_id, lease, reason_to_stay):
                    return not self._open(run_id)
            finally:
                with self.db.begin() as conn:
                    push_queue.release(conn, lease)
        return False

    def _step(self, run_id: int, lease: str, reason_to_stay: ReasonToStay) -> bool:
        """Archive one batch; False where there is none."""
        batch = self._next(run_id, lease, reason_to_stay)
        if not batch:
            return False
        staying = self._on_the_clock(batch)
        with self.db.begin() as conn:
            for item in batch:
                if item.jobcode_id in staying:
                    reason = clock_reason(staying[item.jobcode_id])
                    self._hold_back(conn, item, reason)
        leaving = [item for item in batch if item.jobcode_id not in staying]
        if leaving:
            self._send(run_id, lease, leaving, reason_to_stay)
        return True

    def _open(self, run_id: int) -> bool:
        with self.db.read() as conn:
            return bool(plan_items.of_run(conn, run_id, *plan_items.OPEN))

    def settle(self, run_id: int) -> None:
        """Look what became of the items of a request whose answer was never recorded."""
        with self.db.read() as conn:
            items = plan_items.of_run(conn, run_id, Outcome.SENDING)
        found = by_ids(self.qbt.jobcodes, {item.jobcode_id for item in items}, **ANY)
        gone = {code.id for code in found if not code.active}
        with self.db.begin() as conn:
            for item in items:
                if item.jobcode_id in gone:
                    self._note_archived(conn, run_id, "", item)
                else:
                    self._not_sent(conn, [item])

    def _next(self, run_id: int, lease: str, reason_to_stay: ReasonToStay) -> list[PlanItem]:
        with self.db.begin() as conn:
            runs.change(conn, run_id, touched_at=clock(conn))
            items = plan_items.of_run(conn, run_id, Outcome.PLANNED)
            for start in range(0, len(items), BATCH):
                ours = self._ours(conn, lease, items[start : start + BATCH], reason_to_stay)
                if ours:
                    return ours
        return []

    def _ours(
        self, conn: Connection, lease: str, items: Sequence[PlanItem], reason_to_stay: ReasonToStay
    ) -> list[PlanItem]:
        """Lease these items; return those that are ours, and still to leave."""
        now = clock(conn)
        ids = [item.jobcode_id for item in items]
        free = push_queue.lease_jobcodes(conn, lease, ids, now=now, until=now + self.lease_time)
        ours = []
        for item in items:
            reason = reason_to_stay(conn, item) if item.jobcode_id in free else None
            if reason:
                plan_items.set_outcome(conn, [item.item_id], Outcome.DROPPED, now=now, note=reason)
            elif item.jobcode_id in free:
                ours.append(item)
        return ours

    def _on_the_clock(self, batch: Sequence[PlanItem]) -> dict[int, int]:
        """Count who is clocked in on each of these jobcodes, children included."""
        families = {i.jobcode_id: {i.jobcode_id, *i.state_before.family} for i in batch}
        with self.db.read() as conn:
            today = clock(conn).date()
        return on_the_clock(self.qbt, families, today)

    def _hold_back(self, conn: Connection, item: PlanItem, reason: str) -> None:
        now, ids, only_from = clock(conn), [item.item_id], (Outcome.PLANNED,)
        plan_items.set_outcome(
            conn, ids, Outcome.HELD_BACK, now=now, note=reason, only_from=only_from
        )

    def _send(
        self, run_id: int, lease: str, items: list[PlanItem], reason_to_stay: ReasonToStay
    ) -> None:
        leaving = self._record_intent(run_id, lease, items, reason_to_stay)
        if not leaving:
            return
        failpoints.point("before_archive")
        payload = [{"id": item.jobcode_id, "active": False} for item in leaving]
        try:
            results = self.qbt.change_jobcodes(payload)
        except (AccessStopped, RateLimited, OutOfCalls):
            with self.db.begin() as conn:
                self._not_sent(conn, leaving)
            raise
        except UnreadableAnswer as error:  # it may have been done: look, and go on
            raise Transient(str(error)) from None
        failpoints.point("after_archive")
        with self.db.begin() as conn:
            for item, result in zip(leaving, results, strict=True):
                self._record(conn, run_id, lease, item, result)
        failpoints.point("recorded_archive")

    def _record_intent(
        self, run_id: int, lease: str, items: list[PlanItem], reason_to_stay: ReasonToStay
    ) -> list[PlanItem]:
        """Write down what is about to be sent; an undo may have taken items out of the plan."""
        with self.db.begin() as conn:
            ids = [item.item_id for item in self._ours(conn, lease, items, reason_to_stay)]
            now = clock(conn)
            plan_items.set_outcome(
                conn, ids, Outcome.SENDING, now=now, only_from=(Outcome.PLANNED,)
            )
            sending = {item.item_id for item in plan_items.of_run(conn, run_id, Outcome.SENDING)}
        return [item for item in items if item.item_id in sending & set(ids)]

    def _not_sent(self, conn: Connection, items: Sequence[PlanItem]) -> None:
        """Note that nothing was done about these."""
        ids = [item.item_id for item in items]
        plan_items.set_outcome(
            conn, ids, Outcome.PLANNED, now=clock(conn), only_from=(Outcome.SENDING,)
        )

    def _record(
        self, conn: Connection, run_id: int, lease: str, item: PlanItem, result: ItemResult
    ) -> None:
        if result.done:
            self._note_archived(conn, run_id, lease, item)
            return
        note = f"QuickBooks Time answered {result.code}: {result.text}"
        plan_items.set_outcome(conn, [item.item_id], Outcome.FAILED, now=clock(conn), note=note)

    def _note_archived(self, conn: Connection, run_id: int, lease: str, item: PlanItem) -> None:
        now = clock(conn)
        plan_items.set_outcome(conn, [item.item_id], Outcome.ARCHIVED, now=now)
        self.note_active(conn, item.jobcode_id, lease, active=False)
        if item.job_id is not None:
            text = f"jobcode {item.jobcode_id} archived: {item.reason}"
            events.add(
                conn, [events.event(item.job_id, "archived", text[:900], at=now, run_id=run_id)]
            )

    def note_active(
        self,
        conn: Connection,
        jobcode_id: int,
        lease: str,
        *,
        active: bool,
        assigned_to_all: bool = False,
    ) -> None:
        """Note on the link that its jobcode was archived or restored; an active job becomes due."""
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


def on_the_clock(
    qbt: QuickBooksTime, families: Mapping[int, Iterable[int]], today: date
) -> dict[int, int]:
    """Count who is clocked in on each jobcode or one of its family; only where somebody is.

    The listing includes the children of the jobcodes that are asked for.
    """
    since = (today - timedelta(days=CLOCK_DAYS)).isoformat()
    ids = sorted(families)
    people: Counter[int] = Counter()
    for start in range(0, len(ids), BATCH):
        for sheet in qbt.on_the_clock(ids[start : start + BATCH], since=since):
            people[whole(sheet.get("jobcode_id"))] += 1
    found = {root: sum(people[code] for code in family) for root, family in families.items()}
    return {root: number for root, number in found.items() if number}


def clock_reason(people: int) -> str:
    """Say why somebody's jobcode stays."""
    return f"{people} on the clock right now"
