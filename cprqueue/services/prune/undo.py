"""Undo a prune or a remove-all: restore archived jobcodes as they were.

What a run archived is in its plan with the state before. The run itself is over from the moment
that its undo is on record: nobody continues it. Parents are restored first, then the locations'
links and the assignments of single people. What cannot be restored is reported, item by item,
and kept on record. What if the process is killed or suspended
- in the middle of a batch: its items are "restoring", and the next call does them again;
  restoring what is active changes nothing.
- between two batches: the next call continues with the items that are left. It is made by the
  same command, or by a worker once nobody has touched the run for a while.
A jobcode that an active job has by now is the sync's: it is left alone.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from sqlalchemy import Connection

from cprqueue import failpoints
from cprqueue.clients.fence import Fence, boot_seconds
from cprqueue.clients.qbtime import QuickBooksTime
from cprqueue.domain.models import BATCH
from cprqueue.domain.records import Link, PlanItem
from cprqueue.domain.states import LinkState, Outcome, RunKind, RunState
from cprqueue.errors import AlreadyRunning, Permanent, UsageError
from cprqueue.services import gates
from cprqueue.services.prune import late, turns, undo_orders
from cprqueue.services.prune.archive import Archive, Renew
from cprqueue.services.prune.keeps import keep_restored, note_kept
from cprqueue.services.prune.restore import Lost, Restorer, levels
from cprqueue.services.prune.undo_orders import KINDS, UndoOrder, UndoResult
from cprqueue.store import events, jobs, leases, links, plan_items, push_queue, runs
from cprqueue.store.database import Database, clock


@dataclass(slots=True, kw_only=True)
class Undo:
    """Undoes runs with ``qbt``."""

    db: Database
    qbt: QuickBooksTime
    archive: Archive
    timezone: str

    def request(
        self,
        of_run: int,
        numbers: Sequence[str] = (),
        *,
        keep_by: str = "",
        requested_by: str = "",
    ) -> int:
        """Put an undo on record and return its run id; one that was cut off is queued again.

        Without ``numbers`` the run itself is over: what it has not archived yet stays. With
        ``keep_by``, a person's name, that person keeps what has come back by its end. Raises
        UsageError for a run without a plan, and for a number that it did not archive;
        AlreadyRunning while another order is live.
        """
        order = UndoOrder(of_run=of_run, numbers=list(numbers), lost=[], keep_by=keep_by)
        with self.db.begin() as conn:
            row = runs.get(conn, of_run)
            if row is None or row.kind not in KINDS:
                raise UsageError(
                    f"run {of_run} is no prune and no remove-all: see `cprqueue history`"
                )
            items = undo_orders.chosen(conn, order)
            run_id = undo_orders.queue(conn, order, requested_by or "operator")
            ids = [item.job_id for item in items if item.job_id is not None]
            what, now = f"undo of run {of_run}", clock(conn)
            events.add(conn, events.ordered(ids, what, requested_by, at=now, run_id=run_id))
            if not numbers:
                undo_orders.end_undone(conn, of_run, run_id)
        return run_id

    def run(self, run_id: int) -> UndoResult:
        """Carry out the undo of ``run_id``, unless it has ended.

        Raises AlreadyRunning while the step of a prune or remove-all, or a push, is under way,
        and the client's errors; call it again to continue. One that stays stops it: then the
        same request does.
        """
        self.archive.carry_out(
            run_id, RunKind.UNDO, turns.OPEN, lambda renew: self._carry_on(run_id, renew)
        )
        with self.db.read() as conn:
            return UndoResult.of(runs.existing(conn, run_id))

    def stop(self, run_id: int) -> UndoResult:
        """Stop an undo that nobody carries out any more; the same request continues it."""
        with self.db.begin() as conn:
            result = UndoResult.of(runs.existing(conn, run_id))
            note = f"stopped: {result.text()}"
            runs.finish(conn, run_id, RunState.STOPPED, only_from=turns.OPEN, note=note)
        return result

    def _carry_on(self, run_id: int, renew: Renew) -> str:
        try:
            return self._restore_all(run_id, renew)
        except (Permanent, UsageError) as error:
            # It would meet the same each time, and keep every other order out for ever.
            with self.db.begin() as conn:
                of_run = UndoOrder.of(runs.existing(conn, run_id)).of_run
                note = f"stopped: {error}. To go on: cprqueue undo {of_run}"
                runs.finish(conn, run_id, RunState.STOPPED, only_from=turns.OPEN, note=note)
            raise

    def _restore_all(self, run_id: int, renew: Renew) -> str:
        while True:
            with self.db.begin() as conn:
                order = UndoOrder.of(runs.existing(conn, run_id))
                if not order.numbers:
                    undo_orders.end_undone(conn, order.of_run, run_id)
                items = undo_orders.chosen(conn, order)
                runs.progress(conn, run_id, emitted=len(items))
            for level in levels(items):
                for start in range(0, len(level), BATCH):
                    self._restore_batch(run_id, level[start : start + BATCH], renew)
            if ended := self._end(run_id):
                return ended

    def _restore_batch(self, run_id: int, items: list[PlanItem], renew: Renew) -> None:
        lease = str(uuid.uuid4())

        def fence() -> Fence:
            before = boot_seconds()
            renew()
            with self.db.begin() as conn:
                leases.renew(conn, lease, clock(conn) + self.archive.lease_time)
            return Fence.of(before, self.archive.lease_time)

        try:
            if mine := self._begin(run_id, lease, items):
                self._restore(run_id, lease, mine, Restorer(self.qbt, fence))
        finally:
            self.db.retrying(lambda conn: push_queue.release(conn, lease))

    def _begin(self, run_id: int, lease: str, items: list[PlanItem]) -> list[PlanItem]:
        """Lease the jobs of these jobcodes; leave to the sync what is the sync's by now."""
        with self.db.begin() as conn:
            now = clock(conn)
            ids = [item.jobcode_id for item in items]
            until = now + self.archive.lease_time
            free = push_queue.lease_jobcodes(conn, lease, ids, now=now, until=until)
            owners = _owned_by_the_sync(conn, ids)
            mine = [item for item in items if item.jobcode_id not in owners]
            if any(item.jobcode_id not in free for item in mine):
                raise AlreadyRunning("a push of one of these jobs is under way")
            owned = [item for item in items if item.jobcode_id in owners]
            self._leave_to_the_sync(conn, run_id, owned, owners)
            plan_items.set_outcome(conn, _ids(mine), Outcome.RESTORING, now=now)
        return mine

    def _leave_to_the_sync(
        self, conn: Connection, run_id: int, items: list[PlanItem], owners: dict[int, Link]
    ) -> None:
        """Let the sync restore these; one whose push waits for a person is not restored."""
        now = clock(conn)
        lost: Lost = []
        for item in items:
            link = owners[item.jobcode_id]
            if link.state is LinkState.PARKED:
                reason = f"its job is active but parked: {link.error_reason}"
                lost.append(_note_lost(conn, item, reason))
            else:  # what is on record of it may be older than the archive
                push_queue.require_verification(conn, [link.job_id], now=now)
                note = "its job is active: the sync restores it"
                plan_items.set_outcome(conn, [item.item_id], Outcome.RESTORED, now=now, note=note)
        _count(conn, run_id, len(items) - len(lost), lost)

    def _restore(self, run_id: int, lease: str, items: list[PlanItem], restorer: Restorer) -> None:
        refused = restorer.jobcodes(items)
        failpoints.point("after_restore")
        back = [item for item in items if item.jobcode_id not in refused]
        lost = restorer.locations(back) + restorer.people(back)
        with self.db.begin() as conn:
            for item in back:
                self._note(conn, lease, item)
            for item in items:
                if text := refused.get(item.jobcode_id):
                    lost.append(_note_lost(conn, item, f"stays archived: {text}"))
            _count(conn, run_id, len(back), lost)
            keep_restored(conn, run_id, back, self.timezone)
        failpoints.point("recorded_restore")

    def _note(self, conn: Connection, lease: str, item: PlanItem) -> None:
        now = clock(conn)
        plan_items.move(conn, [item], Outcome.RESTORING, Outcome.RESTORED)
        state = item.state_before
        to_all = state.assigned_to_all
        self.archive.note_active(conn, item.jobcode_id, lease, active=True, assigned_to_all=to_all)
        if item.job_id is not None:
            text = f"jobcode {item.jobcode_id} restored as {state.name}"
            events.add(conn, [events.event(item.job_id, "restored", text, at=now)])

    def _end(self, run_id: int) -> str | None:
        """End the undo; None where an archive that came late is still to be undone."""
        with self.db.begin() as conn:
            runs.progress(conn, run_id)
            row = runs.existing(conn, run_id)
            order = UndoOrder.of(row)
            if any(item.note == late.NOTE for item in undo_orders.chosen(conn, order)):
                return None
            if order.keep_by:
                note_kept(conn, run_id, order, self.timezone)
                row = runs.existing(conn, run_id)
            text = UndoResult.of(row).text()
            runs.finish(conn, run_id, RunState.DONE, note=text)
            suspension = gates.suspended(conn)
            if not order.numbers and suspension and suspension.run_id == order.of_run:
                gates.lift_suspension(conn)
        return text


def _owned_by_the_sync(conn: Connection, jobcode_ids: Sequence[int]) -> dict[int, Link]:
    """Return the links of active jobs that have these jobcodes; none while it is suspended."""
    owners: dict[int, Link] = {}
    if gates.suspended(conn):
        return owners
    for jobcode_id, job_id in links.with_jobcodes(conn, jobcode_ids).items():
        job = jobs.get(conn, job_id)
        if job is not None and job.active:
            owners[jobcode_id] = links.existing(conn, job_id)
    return owners


def _note_lost(conn: Connection, item: PlanItem, text: str) -> tuple[str, str]:
    plan_items.set_outcome(conn, [item.item_id], Outcome.ARCHIVED, now=clock(conn), note=text)
    return item.label, text


def _count(conn: Connection, run_id: int, restored: int, lost: Lost) -> None:
    """Add to what the undo has done so far."""
    row = runs.existing(conn, run_id, to_write=True)
    order = UndoOrder.of(row)
    entries = [{"what": name, "text": text} for name, text in lost]
    detail = asdict(replace(order, lost=[*order.lost, *entries]))
    runs.progress(conn, run_id, recorded=row.recorded + restored, detail=detail)


def _ids(items: Sequence[PlanItem]) -> list[int]:
    return [item.item_id for item in items]
