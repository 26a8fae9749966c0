"""The prune: plan from a complete fetch and an export, then archive what is finished.

The plan is written down with the state before each jobcode; only what stands in it is ever
archived. A run that died is finished by the next order for it; see ``services.archive`` for
each line.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection

from cprqueue import fuse
from cprqueue.brake import (
    FetchFact,
    Leaving,
    Limits,
    Managed,
    PrunePlan,
    common,
    plan_prune,
    why_not,
)
from cprqueue.errors import AlreadyRunning, CprqueueError, Held, Permanent, Transient, UsageError
from cprqueue.models import Jobcode, Location
from cprqueue.qbtime import QuickBooksTime
from cprqueue.services import orders, suspension
from cprqueue.services.archive import Archive, clocked_in, state_before
from cprqueue.services.families import children_of, family_of
from cprqueue.store import exports, jobs, links, locks, plans, runs
from cprqueue.store.database import Database, clock, count
from cprqueue.tables import jobs as jobs_table

log = logging.getLogger(__name__)

LOCK_LIMIT = timedelta(seconds=90)
FETCHES_COMPARED = 4


@dataclass(kw_only=True)
class Facts:
    """All that a plan is made from, read at one moment."""

    snapshot_id: int
    jobcodes: dict[int, Jobcode]
    locations: dict[int, Location]
    managed: list[Managed]
    active_jobs: int

    def __post_init__(self) -> None:
        """Index who is whose child, and which locations each jobcode has."""
        self.children = children_of(self.jobcodes.values())
        self.near: dict[int, list[Location]] = {}
        for place in self.locations.values():
            for code in place.jobcode_ids:
                self.near.setdefault(code, []).append(place)


@dataclass(slots=True, kw_only=True)
class Prune:
    """Plans and carries out prunes."""

    db: Database
    qbt: QuickBooksTime
    archive: Archive
    limits: Limits
    alert: Callable[[str, str], None]
    lock_limit: timedelta = LOCK_LIMIT

    # --- planning ---

    def facts(self, snapshot_id: int | None = None) -> Facts:
        """Read what a plan needs. Raises Permanent with one sentence where nothing may be planned.

        The newest complete export is used, because the rows of older ones are forgotten. It must
        be fresh, and not older than ``snapshot_id``, the one that was ordered for this plan.
        """
        with self.db.read() as conn:
            refuse(conn)
            run = self._export(conn, snapshot_id)
            codes, places = exports.read_whole(conn, run)
            rows = plans.managed(conn)
            active = count(conn, jobs_table, jobs_table.c.active)
        managed = [
            Managed(
                job_id=row.job_id,
                job_number=row.job_number,
                jobcode_id=row.jobcode_id,
                job_active=row.active,
                rule=row.rule,
            )
            for row in rows
        ]
        return Facts(
            snapshot_id=run.run_id,
            jobcodes=codes,
            locations=places,
            managed=managed,
            active_jobs=active,
        )

    def _export(self, conn: Connection, snapshot_id: int | None) -> Any:
        run = runs.newest(conn, "snapshot", "done")
        cure = "run `cprqueue snapshot` first"
        if run is None or run.run_id < (snapshot_id or 0):
            raise Permanent(f"there is no complete export of QuickBooks Time: {cure}")
        if clock(conn) - run.started_at > timedelta(hours=24):
            raise Permanent(f"the export of run {run.run_id} is older than 24 hours: {cure}")
        return run

    def plan(self, facts: Facts) -> PrunePlan:
        """Plan from the facts, and hold back whoever has somebody on the clock right now."""
        made = plan_prune(
            facts.managed, facts.jobcodes, active_jobs=facts.active_jobs, limits=self.limits
        )
        return self._without_busy(made, facts)

    def _without_busy(self, made: PrunePlan, facts: Facts) -> PrunePlan:
        if not made.archive:
            return made
        with self.db.read() as conn:
            today = clock(conn).date()
        busy = clocked_in(self.qbt, [leaving.jobcode_id for leaving in made.archive], today)
        people = {
            leaving.jobcode_id: sum(
                busy.get(c, 0) for c in family_of(leaving.jobcode_id, facts.children)
            )
            for leaving in made.archive
        }
        held = [
            replace(leaving, reason=f"{people[leaving.jobcode_id]} on the clock right now")
            for leaving in made.archive
            if people[leaving.jobcode_id]
        ]
        return replace(
            made,
            archive=tuple(x for x in made.archive if not people[x.jobcode_id]),
            held_back=tuple(sorted([*made.held_back, *held])),
        )

    # --- carrying out ---

    def run(self, run_id: int, snapshot_id: int | None) -> str:
        """Carry out the prune of ``run_id``: plan if there is no plan yet, then archive.

        Returns one line. Raises Held where the brake refuses the plan, Permanent where nothing
        may be planned, Transient where it should be ordered again: then it goes on.
        """
        holder = str(uuid.uuid4())
        with self.db.begin() as conn:
            row = runs.get(conn, run_id)
            if row is None:
                raise UsageError(f"there is no run {run_id}")
            if row.state in ("done", "held"):
                return f"run {run_id} is {row.state} already"
            self._keep_lock(conn, holder)
            now = clock(conn)
            started = row.started_at or now
            runs.change(conn, run_id, state="running", started_at=started, touched_at=now)
        try:
            return self._run(run_id, snapshot_id, holder)
        except CprqueueError as error:
            self._failed(run_id, error)
            raise
        finally:
            with self.db.begin() as conn:
                locks.release(conn, locks.PRUNE, holder)

    def _keep_lock(self, conn: Connection, holder: str) -> None:
        if not locks.take(conn, locks.PRUNE, holder, now=clock(conn), limit=self.lock_limit):
            raise AlreadyRunning("another prune is running")

    def _run(self, run_id: int, snapshot_id: int | None, holder: str) -> str:
        with self.db.read() as conn:
            planned = bool(plans.counts(conn, run_id))
        if not planned:
            facts = self.facts(snapshot_id)
            made = self.plan(facts)
            with self.db.begin() as conn:
                self._keep_lock(conn, holder)
            self._store(run_id, made, facts)
            fuse.point("stored_plan")
            if made.tripped:
                self._hold(run_id, made)
        return self._carry_out(run_id, holder)

    def _store(self, run_id: int, made: PrunePlan, facts: Facts) -> None:
        rows = [item_row(leaving, facts, "planned") for leaving in made.archive]
        rows += [item_row(leaving, facts, "held_back") for leaving in made.held_back]
        with self.db.begin() as conn:
            plans.add(conn, run_id, rows)
            runs.set_detail(conn, run_id, plan_summary(made, facts.snapshot_id))
            runs.change(conn, run_id, emitted=len(made.archive), touched_at=clock(conn))

    def _hold(self, run_id: int, made: PrunePlan) -> None:
        text = (
            f"held, nothing was archived: {made.tripped}. To archive exactly these: "
            f"cprqueue prune approve {run_id}"
        )
        with self.db.begin() as conn:
            runs.change(conn, run_id, state="held", finished_at=clock(conn), note=text)
        self.alert("prune held", text)
        raise Held(text)

    def _carry_out(self, run_id: int, holder: str) -> str:
        def stop_asked() -> bool:
            with self.db.begin() as conn:
                self._keep_lock(conn, holder)
            return False

        finished = self.archive.execute(run_id, still_wanted=still_inactive, stop_asked=stop_asked)
        if not finished:
            raise Transient(f"run {run_id} is not finished")
        with self.db.begin() as conn:
            found = plans.counts(conn, run_id)
            text = outcome_text(found)
            runs.change(
                conn,
                run_id,
                state="done",
                finished_at=clock(conn),
                recorded=found.get("archived", 0),
                note=text,
            )
        log.info("prune ended", extra={"run_id": run_id, "outcome": text})
        return text

    def _failed(self, run_id: int, error: CprqueueError) -> None:
        if isinstance(error, (Held, AlreadyRunning)):
            return
        with self.db.begin() as conn:
            values: dict[str, Any] = {"note": str(error)}
            if not isinstance(error, Transient):
                values |= {"state": "failed", "finished_at": clock(conn)}
            runs.change(conn, run_id, only_from=("running",), **values)
        log.error("prune interrupted", extra={"run_id": run_id, "reason": str(error)})

    # --- approval ---

    def approve(self, run_id: int, snapshot_id: int | None) -> str:
        """Plan afresh and archive only what both the held plan and the fresh one contain.

        Raises as ``run`` does; a run whose approval failed for good stays held.
        """
        try:
            self._approve(run_id, snapshot_id)
        except Permanent as error:
            orders.refuse_approval(self.db, run_id, str(error))
            raise
        return self.run(run_id, snapshot_id)

    def _approve(self, run_id: int, snapshot_id: int | None) -> None:
        with self.db.read() as conn:
            row = runs.get(conn, run_id)
        if row is not None and row.kind == "prune" and row.state == "running":
            return  # approved before: its worker died, and this one goes on
        facts = self.facts(snapshot_id)
        fresh = self.plan(facts)
        with self.db.begin() as conn:
            row = runs.get(conn, run_id)
            if row is None or row.kind != "prune" or row.state != "held":
                raise UsageError(f"run {run_id} is not a held prune: see `cprqueue history`")
            items = plans.of_run(conn, run_id, *plans.OPEN)
            both = {x.jobcode_id for x in common((item.jobcode_id for item in items), fresh)}
            gone = [item.item_id for item in items if item.jobcode_id not in both]
            reason = "not in the fresh plan any more"
            plans.set_outcome(conn, gone, "dropped", now=clock(conn), note=reason)
            runs.change(conn, run_id, state="running", note="approved")


def refuse(conn: Connection) -> None:
    """Raise Permanent, in one sentence, where no prune may be planned now."""
    if suspension.suspended(conn):
        raise Permanent("the sync is suspended by a remove-all: undo that or sync --full first")
    states = ("running", "emitted", "done", "failed")
    rows = runs.newest_few(conn, "fetch", *states, complete=True, limit=1)
    done = runs.newest_few(conn, "fetch", "done", complete=True, limit=FETCHES_COMPARED)
    rows += [row for row in done if row.run_id != rows[0].run_id]
    facts = [
        FetchFact(
            run_id=row.run_id,
            state=row.state,
            observed_at=row.observed_at,
            jobs=row.emitted,
            note=row.note or "",
        )
        for row in rows
    ]
    reason = why_not(facts, now=clock(conn))
    if reason:
        raise Permanent(f"no prune: {reason}")


def still_inactive(conn: Connection, item: Any) -> str | None:
    """Return why a planned item must stay after all: its job is active again, or moved on."""
    row = jobs.get(conn, item.job_id)
    link = links.get(conn, item.job_id)
    if row is not None and row.active:
        return "the job is active again"
    if link is None or link.jobcode_id != item.jobcode_id:
        return "the jobcode belongs to another job now"
    return None


def item_row(leaving: Leaving, facts: Facts, outcome: str) -> dict[str, Any]:
    """Build the row that the plan stores for one jobcode, with the state before."""
    code = facts.jobcodes[leaving.jobcode_id]
    family = family_of(code.id, facts.children)
    return {
        "job_id": leaving.job_id,
        "job_number": leaving.job_number,
        "jobcode_id": leaving.jobcode_id,
        "name": leaving.name,
        "reason": leaving.reason,
        "state_before": state_before(code, facts.near.get(code.id, ()), family, ()),
        "outcome": outcome,
        "note": leaving.reason if outcome == "held_back" else None,
    }


def plan_summary(made: PrunePlan, snapshot_id: int) -> dict[str, Any]:
    """Return the numbers of a plan for the run's detail."""
    return {
        "snapshot_id": snapshot_id,
        "unmanaged": made.unmanaged,
        "managed_active": made.managed_active,
        "limit": made.limit,
        "tripped": made.tripped,
    }


def plan_json(made: PrunePlan, run_id: int | None) -> dict[str, Any]:
    """Return a plan as the command line prints it."""
    return {
        "run_id": run_id,
        "archive": _dicts(made.archive),
        "held_back": _dicts(made.held_back),
        "unmanaged": made.unmanaged,
        "limit": made.limit,
        "tripped": made.tripped,
    }


def _dicts(items: Iterable[Leaving]) -> list[dict[str, Any]]:
    return [asdict(item) for item in items]


def outcome_text(counts: dict[str, int]) -> str:
    """Say what came of a plan in one line."""
    words = [f"{counts.get('archived', 0)} archived"]
    for outcome, said in (("held_back", "held back"), ("dropped", "dropped"), ("failed", "failed")):
        if counts.get(outcome):
            words.append(f"{counts[outcome]} {said}")
    return ", ".join(words)
