"""Archive the items of a stored plan, 50 at a time; for the prune and for remove-all.

The jobs of a batch are leased, so that no push writes to the same jobcodes meanwhile. The plan
with the state before each jobcode is on record before the first request. What if the process is
killed or suspended
- before a request, or after it and before the outcome is recorded: its items are "sending". The
  next process verifies them first: what is archived is recorded, the others are planned again.
- until the lock and the leases have expired: it sends nothing any more (``Fence``). A request
  that was on its way at that moment is recorded as late (``services.prune.late``).
Nothing is ever archived that is not in the plan.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from cprqueue import failpoints
from cprqueue.clients.fence import Fence, boot_seconds
from cprqueue.clients.qbtime import QuickBooksTime
from cprqueue.domain.models import BATCH, ItemResult
from cprqueue.domain.records import PlanItem
from cprqueue.domain.states import Outcome, RunState
from cprqueue.errors import (
    AccessStopped,
    CprqueueError,
    LeaseExpired,
    OutOfCalls,
    RateLimited,
    Transient,
    UnreadableAnswer,
)
from cprqueue.services.prune import late
from cprqueue.services.prune.archive import Archive, Renew, count_archived
from cprqueue.services.prune.staying import Stay
from cprqueue.store import plan_items, push_queue, runs
from cprqueue.store.database import clock

WhyStay = Callable[[Connection, PlanItem], Stay | None]
"""Returns why an item must not leave after all, or None."""

InUse = Callable[[QuickBooksTime, Mapping[int, Iterable[int]], datetime], dict[int, str]]
"""Asks QuickBooks Time why somebody needs these jobcodes, or one of their families, still."""

SETTLING_SHARE = 10
"""A request without an answer is given this share of a lease, nine seconds, to end."""

NOTHING_WAS_SENT = (AccessStopped, RateLimited, OutOfCalls, LeaseExpired)


def execute(
    archive: Archive,
    run_id: int,
    renew: Renew,
    *,
    why_stay: WhyStay,
    in_use: InUse,
    stop_asked: Callable[[], bool],
) -> bool:
    """Archive what is open in the plan; True when nothing is left open.

    One that is in use is held back, asked anew before each batch; one that a push has under way
    waits for a later call. Raises the client's errors; call it again to continue.
    """
    archive.settle(run_id)
    while not stop_asked():
        renew()
        step = _Step(archive, run_id, str(uuid.uuid4()), renew, why_stay, in_use)
        try:
            if not step.archive_batch():
                return not _open(archive, run_id)
        finally:
            _release(archive, step.lease)
    return False


def _release(archive: Archive, lease: str) -> None:
    archive.db.retrying(lambda conn: push_queue.release(conn, lease))


def _open(archive: Archive, run_id: int) -> bool:
    with archive.db.read() as conn:
        return bool(plan_items.of_run(conn, run_id, *plan_items.OPEN))


@dataclass(slots=True)
class _Step:
    """The archiving of one batch under one lease."""

    by: Archive
    run_id: int
    lease: str
    renew: Renew
    why_stay: WhyStay
    in_use: InUse

    def archive_batch(self) -> bool:
        """Archive the next batch; False where there is none."""
        batch = self._next()
        if not batch:
            return False
        busy = self._busy(batch)
        with self.by.db.begin() as conn:
            for item in batch:
                if note := busy.get(item.jobcode_id):
                    plan_items.move(conn, [item], Outcome.PLANNED, Outcome.HELD_BACK, note=note)
        self._send([item for item in batch if item.jobcode_id not in busy])
        return True

    def _next(self) -> list[PlanItem]:
        with self.by.db.begin() as conn:
            runs.progress(conn, self.run_id)
            items = plan_items.of_run(conn, self.run_id, Outcome.PLANNED)
            for start in range(0, len(items), BATCH):
                if ours := self._ours(conn, items[start : start + BATCH]):
                    return ours
        return []

    def _ours(self, conn: Connection, items: Sequence[PlanItem]) -> list[PlanItem]:
        """Lease these items; return those that are ours, and still to leave."""
        now = clock(conn)
        ids = [item.jobcode_id for item in items]
        until = now + self.by.lease_time
        free = push_queue.lease_jobcodes(conn, self.lease, ids, now=now, until=until)
        ours = []
        for item in items:
            if item.jobcode_id not in free:
                continue
            if stay := self.why_stay(conn, item):
                outcome, note = stay
                plan_items.move(conn, [item], Outcome.PLANNED, outcome, note=note)
            else:
                ours.append(item)
        return ours

    def _busy(self, batch: Sequence[PlanItem]) -> dict[int, str]:
        families = {i.jobcode_id: {i.jobcode_id, *i.state_before.family} for i in batch}
        with self.by.db.read() as conn:
            now = clock(conn)
        return self.in_use(self.by.qbt, families, now)

    def _send(self, items: list[PlanItem]) -> None:
        before = boot_seconds()
        self.renew()
        leaving = self._record_intent(items)
        if not leaving:
            return
        failpoints.point("before_archive")
        try:
            results = self._request(leaving, Fence.of(before, self.by.lease_time))
        except CprqueueError as error:
            self._note_error(leaving, error)
            raise
        failpoints.point("after_archive")
        refused = self._record(leaving, results)
        failpoints.point("recorded_archive")
        if refused:
            self.by.settle(self.run_id, refused, lease=self.lease)

    def _request(self, leaving: list[PlanItem], fence: Fence) -> list[ItemResult]:
        payload = [{"id": item.jobcode_id, "active": False} for item in leaving]
        try:
            return self.by.qbt.change_jobcodes(payload, fence)
        except UnreadableAnswer as error:  # it may have been done: verify, and continue
            raise Transient(str(error)) from None

    def _record_intent(self, items: list[PlanItem]) -> list[PlanItem]:
        """Record what is about to be sent; nothing where the run was ended meanwhile."""
        with self.by.db.begin() as conn:
            if not runs.progress(conn, self.run_id, only_from=(RunState.RUNNING,)):
                return []
            ours = self._ours(conn, items)
            return plan_items.move(conn, ours, Outcome.PLANNED, Outcome.SENDING)

    def _note_error(self, leaving: list[PlanItem], error: CprqueueError) -> None:
        with self.by.db.begin() as conn:
            if isinstance(error, NOTHING_WAS_SENT):
                plan_items.move(conn, leaving, Outcome.SENDING, Outcome.PLANNED)
            else:
                late.note_unknown(conn, leaving, under_way=self.by.lease_time / SETTLING_SHARE)

    def _record(self, leaving: list[PlanItem], results: list[ItemResult]) -> dict[int, str]:
        """Record what was archived; return the answers to the others, which are verified."""
        refused = {}
        with self.by.db.begin() as conn:
            overtaken = late.overtaken(conn, leaving)
            for item, result in zip(leaving, results, strict=True):
                if not result.done:
                    note = f"QuickBooks Time answered {result.code}: {result.text}"
                    refused[item.item_id] = note
                else:
                    self.by.note_archived(conn, item, self.lease)
            late.note(conn, [i for i in overtaken if i.item_id not in refused])
            count_archived(conn, self.run_id)
        return refused
