"""The prune: plan from a complete fetch and an export, then archive what is finished.

The plan is recorded with the state before each jobcode; only what is in it is ever archived.
What if the process is killed
- before the plan is on record: the next message for the run plans afresh.
- once it is: a plan that the brake refuses is recorded together with its run being held; any
  other is a ceiling. Whoever continues plans afresh and archives only what both plans contain,
  because the first one may be days old.
- while it archives: see ``services.prune.steps``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection

from cprqueue import failpoints
from cprqueue.clients.qbtime import QuickBooksTime
from cprqueue.domain.hierarchy import family_of
from cprqueue.domain.prune_plan import Limits, PrunePlan, common, plan_prune
from cprqueue.domain.states import Outcome, RunKind, RunState
from cprqueue.errors import (
    AccessStopped,
    AlreadyRunning,
    CprqueueError,
    NeedsApproval,
    Permanent,
    Transient,
)
from cprqueue.services import gates
from cprqueue.services.prune import facts, orders, steps
from cprqueue.services.prune.archive import Archive, Renew
from cprqueue.services.prune.facts import Facts, item_row, plan_summary
from cprqueue.services.prune.hours import QuietDays
from cprqueue.services.prune.staying import why_stay
from cprqueue.services.prune.turns import OPEN
from cprqueue.store import plan_items, runs
from cprqueue.store.database import Database, clock

log = logging.getLogger(__name__)

FOR_APPROVAL = (RunState.APPROVED, RunState.RUNNING)


@dataclass(slots=True, kw_only=True)
class Prune:
    """Plans and carries out prunes."""

    db: Database
    qbt: QuickBooksTime
    archive: Archive
    limits: Limits
    quiet: QuietDays

    # --- planning ---

    def facts(self, snapshot_id: int | None = None) -> Facts:
        """Read what a plan needs; see ``facts.read``."""
        with self.db.read() as conn:
            return facts.read(conn, snapshot_id, timezone=self.quiet.timezone)

    def plan(self, facts: Facts) -> PrunePlan:
        """Plan from the facts; only of what would leave QuickBooks Time is asked who uses it."""
        made = self._plan(facts, {})
        if not made.archive:
            return made
        with self.db.read() as conn:
            now = clock(conn)
        families = {x.jobcode_id: family_of(x.jobcode_id, facts.children) for x in made.archive}
        return self._plan(facts, self.quiet.in_use(self.qbt, families, now))

    def _plan(self, facts: Facts, in_use: Mapping[int, str]) -> PrunePlan:
        return plan_prune(
            facts.managed,
            facts.jobcodes,
            kept=facts.kept,
            in_use=in_use,
            active_jobs=facts.active_jobs,
            limits=self.limits,
        )

    # --- carrying out ---

    def run(self, run_id: int, snapshot_id: int | None) -> str:
        """Carry out the prune of ``run_id``: plan, then archive what its first plan allows.

        Returns one line. Raises NeedsApproval where the brake refuses the plan, Permanent where
        nothing may be planned, Transient where it should be called again: then it continues.
        """
        return self._carry_out(run_id, snapshot_id, OPEN)

    def approve(self, run_id: int, snapshot_id: int | None) -> str:
        """Plan afresh and archive only what both the approved plan and the fresh one contain.

        Raises as ``run`` does; a run whose approval failed for good is held again.
        """
        try:
            return self._carry_out(run_id, snapshot_id, FOR_APPROVAL)
        except (Permanent, AccessStopped) as error:
            orders.refuse_approval(self.db, run_id, str(error), RunState.FAILED)
            raise

    def _carry_out(self, run_id: int, snapshot_id: int | None, states: tuple[RunState, ...]) -> str:
        def work(renew: Renew) -> str:
            try:
                self._settle_plan(run_id, snapshot_id)
                return self._archive(run_id, renew)
            except CprqueueError as error:
                self._failed(run_id, error)
                raise

        return self.archive.carry_out(run_id, RunKind.PRUNE, states, work)

    def _settle_plan(self, run_id: int, snapshot_id: int | None) -> None:
        """Plan, and put the plan on record; one that is on record already only shrinks.

        What is in use is asked for a new plan only; before each batch it is asked again.
        """
        self.archive.settle(run_id)
        facts = self.facts(snapshot_id)
        with self.db.read() as conn:
            planned = bool(plan_items.counts(conn, run_id))
        if planned:
            self._shrink(run_id, self._plan(facts, {}), facts)
        else:
            self._store(run_id, self.plan(facts), facts)

    def _store(self, run_id: int, made: PrunePlan, facts: Facts) -> None:
        rows = [item_row(leaving, facts, Outcome.PLANNED) for leaving in made.archive]
        rows += [item_row(leaving, facts, Outcome.HELD_BACK) for leaving in made.held_back]
        text = f"held, nothing was archived: {made.tripped}. {orders.how_to_approve(run_id)}"
        with self.db.begin() as conn:
            detail = plan_summary(made, facts.snapshot_id)
            number, live = len(made.archive), (RunState.RUNNING,)
            if not runs.progress(conn, run_id, only_from=live, emitted=number, detail=detail):
                return  # an undo has ended the run
            plan_items.add(conn, run_id, rows)
            if made.tripped:
                runs.finish(conn, run_id, RunState.HELD, note=text)
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

    def _archive(self, run_id: int, renew: Renew) -> str:
        def stop_asked() -> bool:
            with self.db.read() as conn:
                return not _is_running(conn, run_id) or bool(gates.suspended(conn))

        finished = steps.execute(
            self.archive,
            run_id,
            renew,
            why_stay=partial(why_stay, timezone=self.quiet.timezone),
            in_use=self.quiet.in_use,
            stop_asked=stop_asked,
        )
        with self.db.begin() as conn:
            row = runs.existing(conn, run_id)
            if row.state is not RunState.RUNNING:
                return f"run {run_id} is {row.state} already"  # an undo has ended it
            if not finished:
                facts.refuse_suspended(conn)
                raise Transient(f"run {run_id} is not finished")
            text = outcome_text(plan_items.counts(conn, run_id))
            runs.finish(conn, run_id, RunState.DONE, note=text)
        return text

    def _failed(self, run_id: int, error: CprqueueError) -> None:
        if isinstance(error, (NeedsApproval, AlreadyRunning)):
            return
        running = (RunState.RUNNING,)
        if isinstance(error, Transient):
            with self.db.begin() as conn:
                runs.progress(conn, run_id, only_from=running, note=str(error))
            log.warning("prune interrupted", extra={"run_id": run_id, "reason": str(error)})
            return
        with self.db.begin() as conn:
            state, note = RunState.FAILED, str(error)
            runs.finish(conn, run_id, state, only_from=running, note=note)


def _is_running(conn: Connection, run_id: int) -> bool:
    row = runs.get(conn, run_id)
    return row is not None and row.state is RunState.RUNNING


def outcome_text(counts: dict[Outcome, int]) -> str:
    """Say what came of a plan in one line."""
    words = [f"{counts.get(Outcome.ARCHIVED, 0)} archived"]
    others = (Outcome.HELD_BACK, Outcome.DROPPED, Outcome.FAILED)
    words += [f"{counts[o]} {o.replace('_', ' ')}" for o in others if counts.get(o)]
    return ", ".join(words)
