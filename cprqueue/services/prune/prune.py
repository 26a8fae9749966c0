"""The prune: plan from a complete fetch and an export, then archive what is finished.

The plan is written down with the state before each jobcode; only what stands in it is ever
archived. What if the process dies
- before the plan is on record: the next order for the run plans afresh.
- once it is: a plan that the brake refuses is on record together with its run being held; any
  other is a ceiling. Who goes on plans afresh and archives only what both plans contain,
  because the first one may be days old.
- while it archives: see ``services.archive``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from cprqueue import failpoints
from cprqueue import log as logs
from cprqueue.clients.qbtime import QuickBooksTime
from cprqueue.domain.hierarchy import family_of
from cprqueue.domain.prune_plan import Limits, PrunePlan, common, plan_prune
from cprqueue.domain.records import Outcome, PlanItem, RunKind, RunState
from cprqueue.errors import (
    AccessStopped,
    AlreadyRunning,
    CprqueueError,
    NeedsApproval,
    Permanent,
    Transient,
    UsageError,
)
from cprqueue.services import gates
from cprqueue.services.prune import facts, orders
from cprqueue.services.prune.archive import Archive, clock_reason, on_the_clock
from cprqueue.services.prune.facts import Facts, item_row, plan_summary
from cprqueue.store import jobs, links, plan_items, runs
from cprqueue.store.database import Database, clock

log = logging.getLogger(__name__)

FOR_RUN = (RunState.QUEUED, RunState.RUNNING)
FOR_APPROVAL = (RunState.APPROVED, RunState.RUNNING)


@dataclass(slots=True, kw_only=True)
class Prune:
    """Plans and carries out prunes."""

    db: Database
    qbt: QuickBooksTime
    archive: Archive
    limits: Limits
    alert: Callable[[str, str], None]

    # --- planning ---

    def facts(self, snapshot_id: int | None = None) -> Facts:
        """Read what a plan needs; see ``prune_facts.read``."""
        with self.db.read() as conn:
            return facts.read(conn, snapshot_id)

    def plan(self, facts: Facts) -> PrunePlan:
        """Plan from the facts, and hold back whoever has somebody on the clock right now."""
        return self._without_busy(self._plan(facts), facts)

    def _plan(self, facts: Facts) -> PrunePlan:
        return plan_prune(
            facts.managed, facts.jobcodes, active_jobs=facts.active_jobs, limits=self.limits
        )

    def _without_busy(self, made: PrunePlan, facts: Facts) -> PrunePlan:
        if not made.archive:
            return made
        with self.db.read() as conn:
            today = clock(conn).date()
        families = {x.jobcode_id: family_of(x.jobcode_id, facts.children) for x in made.archive}
        busy = on_the_clock(self.qbt, families, today)
        held = [
            replace(leaving, reason=clock_reason(busy[leaving.jobcode_id]))
            for leaving in made.archive
            if leaving.jobcode_id in busy
        ]
        return replace(
            made,
            archive=tuple(x for x in made.archive if x.jobcode_id not in busy),
            held_back=tuple(sorted([*made.held_back, *held])),
        )

    # --- carrying out ---

    def run(self, run_id: int, snapshot_id: int | None) -> str:
        """Carry out the prune of ``run_id``: plan, then archive what its first plan allows.

        Returns one line. Raises Held where the brake refuses the plan, Permanent where nothing
        may be planned, Transient where it should be ordered again: then it goes on.
        """
        return self._carry_out(run_id, snapshot_id, FOR_RUN)

    def approve(self, run_id: int, snapshot_id: int | None) -> str:
        """Plan afresh and archive only what both the held plan and the fresh one contain.

        Raises as ``run`` does; a run whose approval failed for good is held again.
        """
        with self.db.begin() as conn:
            orders.note_approval(conn, run_id)
        try:
            return self._carry_out(run_id, snapshot_id, FOR_APPROVAL)
        except (Permanent, AccessStopped) as error:
            orders.refuse_approval(self.db, run_id, str(error), also_from=(RunState.FAILED,))
            raise

    def _carry_out(self, run_id: int, snapshot_id: int | None, states: tuple[RunState, ...]) -> str:
        self.archive.touch(run_id)
        with logs.bound(run_id=run_id), self.archive.alone() as keep:
            with self.db.begin() as conn:
                row = runs.get(conn, run_id)
                if row is None or row.kind is not RunKind.PRUNE:
                    raise UsageError(f"run {run_id} is no prune: see `cprqueue history`")
                if row.state not in states:
                    return f"run {run_id} is {row.state} already"
                now = clock(conn)
                runs.change(conn, run_id, started_at=row.started_at or now, touched_at=now)
                runs.change(conn, run_id, only_from=(RunState.QUEUED,), state=RunState.RUNNING)
            try:
                self._settle_plan(run_id, snapshot_id)
                return self._archive(run_id, keep)
            except CprqueueError as error:
                self._failed(run_id, error)
                raise

    def _settle_plan(self, run_id: int, snapshot_id: int | None) -> None:
        """Plan, and put the plan on record; one that is on record already only shrinks.

        Who is on the clock is asked for a new plan only; before each batch it is asked anyway.
        """
        self.archive.settle(run_id)
        facts = self.facts(snapshot_id)
        with self.db.read() as conn:
            planned = bool(plan_items.counts(conn, run_id))
        if planned:
            self._shrink(run_id, self._plan(facts), facts)
        else:
            self._store(run_id, self.plan(facts), facts)

    def _store(self, run_id: int, made: PrunePlan, facts: Facts) -> None:
        rows = [item_row(leaving, facts, Outcome.PLANNED) for leaving in made.archive]
        rows += [item_row(leaving, facts, Outcome.HELD_BACK) for leaving in made.held_back]
        text = f"held, nothing was archived: {made.tripped}. {orders.how_to_approve(run_id)}"
        with self.db.read() as conn:
            wanted = _is_running(conn, run_id)
        if wanted and made.tripped:
            # Told first, so that a death right here tells twice, never not at all.
            self.alert("prune held", text)
        with self.db.begin() as conn:
            now, running = clock(conn), (RunState.RUNNING,)
            if not runs.change(conn, run_id, only_from=running, touched_at=now):
                return  # an undo has ended the run
            plan_items.add(conn, run_id, rows)
            runs.set_detail(conn, run_id, plan_summary(made, facts.snapshot_id))
            runs.change(conn, run_id, emitted=len(made.archive))
            if made.tripped:
                runs.change(conn, run_id, state=RunState.HELD, finished_at=now, note=text)
        failpoints.point("stored_plan")
        if made.tripped:
            raise NeedsApproval(text)

    def _shrink(self, run_id: int, fresh: PrunePlan, facts: Facts) -> None:
        """Take out of the plan on record what is not in the fresh one."""
        with self.db.begin() as conn:
            now = clock(conn)
            items = plan_items.of_run(conn, run_id, Outcome.PLANNED)
            both = {x.jobcode_id: x for x in common((i.jobcode_id for i in items), fresh)}
            held = {x.jobcode_id: x.reason for x in fresh.held_back}
            for item in items:
                leaving = both.get(item.jobcode_id)
                if leaving is not None and leaving.job_id == item.job_id:
                    state = item_row(leaving, facts, Outcome.PLANNED).state_before
                    plan_items.set_state_before(conn, item.item_id, state)
                    continue
                outcome = Outcome.HELD_BACK if item.jobcode_id in held else Outcome.DROPPED
                reason = held.get(item.jobcode_id, "not in the fresh plan any more")
                plan_items.set_outcome(conn, [item.item_id], outcome, now=now, note=reason)
            runs.change(conn, run_id, only_from=(RunState.APPROVED,), state=RunState.RUNNING)

    def _archive(self, run_id: int, keep: Callable[[], None]) -> str:
        def stop_asked() -> bool:
            keep()
            with self.db.read() as conn:
                return not _is_running(conn, run_id) or bool(gates.suspended(conn))

        finished = self.archive.execute(
            run_id, reason_to_stay=still_inactive, stop_asked=stop_asked
        )
        with self.db.begin() as conn:
            row = runs.existing(conn, run_id)
            if row.state is not RunState.RUNNING:
                return f"run {run_id} is {row.state} already"  # an undo has ended it
            if not finished:
                facts.refuse_suspended(conn)
                raise Transient(f"run {run_id} is not finished")
            found = plan_items.counts(conn, run_id)
            text = outcome_text(found)
            runs.change(
                conn,
                run_id,
                state=RunState.DONE,
                recorded=found.get(Outcome.ARCHIVED, 0),
                finished_at=clock(conn),
                note=text,
            )
        return text

    def _failed(self, run_id: int, error: CprqueueError) -> None:
        if isinstance(error, (NeedsApproval, AlreadyRunning)):
            return
        for_good = not isinstance(error, Transient)
        with self.db.begin() as conn:
            values: runs.RunValues = {"note": str(error)}
            if for_good:
                values |= {"state": RunState.FAILED, "finished_at": clock(conn)}
            changed = runs.change(conn, run_id, only_from=(RunState.RUNNING,), **values)
        if not for_good:
            log.warning("prune interrupted", extra={"run_id": run_id, "reason": str(error)})
        if for_good and changed:
            self.alert("prune failed", f"run {run_id}: {error}")


def _is_running(conn: Connection, run_id: int) -> bool:
    row = runs.get(conn, run_id)
    return row is not None and row.state is RunState.RUNNING


def still_inactive(conn: Connection, item: PlanItem) -> str | None:
    """Return why a planned item must stay after all: its job is active again, or moved on."""
    row = jobs.get(conn, item.job_id) if item.job_id is not None else None
    link = links.get(conn, item.job_id) if item.job_id is not None else None
    if row is not None and row.active:
        return "the job is active again"
    if link is None or link.jobcode_id != item.jobcode_id:
        return "the jobcode belongs to another job now"
    return None


def outcome_text(counts: dict[Outcome, int]) -> str:
    """Say what came of a plan in one line."""
    words = [f"{counts.get(Outcome.ARCHIVED, 0)} archived"]
    others = (Outcome.HELD_BACK, Outcome.DROPPED, Outcome.FAILED)
    words += [f"{counts[o]} {o.replace('_', ' ')}" for o in others if counts.get(o)]
    return ", ".join(words)
