"""What a prune is planned from, and what of a plan is recorded."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from cprqueue.domain.hierarchy import children_of, family_of, locations_by_jobcode
from cprqueue.domain.models import Jobcode, Json, Location
from cprqueue.domain.prune_plan import FRESH, FetchFact, Leaving, Managed, PrunePlan, why_not
from cprqueue.domain.records import NewPlanItem, Run, StateBefore
from cprqueue.domain.states import Outcome, RunKind, RunState
from cprqueue.errors import Permanent, Transient
from cprqueue.services import gates
from cprqueue.store import exports, keeps, plan_items, runs
from cprqueue.store.database import clock, count
from cprqueue.store.tables import jobs as jobs_table

FETCHES_COMPARED = 4


@dataclass(kw_only=True)
class Facts:
    """All that a plan is made from, read at one moment. ``kept``: why, by job id."""

    snapshot_id: int
    snapshot_at: datetime
    jobcodes: dict[int, Jobcode]
    locations: dict[int, Location]
    managed: list[Managed]
    active_jobs: int
    kept: dict[int, str]

    def __post_init__(self) -> None:
        """Index who is whose child, and which locations each jobcode has."""
        self.children = children_of(self.jobcodes.values())
        self.near = locations_by_jobcode(self.locations.values())


def read(conn: Connection, snapshot_id: int | None = None, *, timezone: str) -> Facts:
    """Read what a plan needs. Raises Permanent with one sentence where nothing may be planned.

    The newest complete snapshot is used, because the rows of older ones are deleted. It must be
    fresh, and not older than ``snapshot_id``, the one that was ordered for this plan. What was
    archived since it began counts as archived.
    """
    refuse(conn)
    run = newest_snapshot(conn, snapshot_id)
    codes, places = exports.read_whole(conn, run)
    for code in plan_items.archived_since(conn, run.began) & set(codes):
        codes[code] = replace(codes[code], active=False)
    return Facts(
        snapshot_id=run.run_id,
        snapshot_at=run.began,
        jobcodes=codes,
        locations=places,
        managed=plan_items.managed(conn),
        active_jobs=count(conn, jobs_table, jobs_table.c.active),
        kept={i: keep.text(timezone) for i, keep in keeps.standing(conn, clock(conn)).items()},
    )


def newest_snapshot(conn: Connection, at_least: int | None = None) -> Run:
    """Return the newest complete snapshot. Raises Permanent where nothing may be planned on it."""
    run = runs.newest(conn, RunKind.SNAPSHOT, RunState.DONE)
    cure = "run `cprqueue snapshot` first"
    if run is None or run.run_id < (at_least or 0):
        raise Permanent(f"there is no complete export of QuickBooks Time: {cure}")
    if clock(conn) - run.began > FRESH:
        raise Permanent(f"the export of run {run.run_id} is older than 24 hours: {cure}")
    refuse_older_than_undo(conn, run, cure)
    return run


def refuse_older_than_undo(conn: Connection, snapshot: Run, cure: str) -> None:
    """Raise Permanent where the snapshot is older than the end of the newest undo.

    An undo says that what was known before it was not to be acted upon.
    """
    undos = runs.newest_few(conn, RunKind.UNDO, limit=100)
    restoring = [undo for undo in undos if undo.recorded or undo.state is not RunState.DONE]
    newest = max(restoring, key=lambda undo: undo.moved, default=None)
    if newest is not None and snapshot.began <= newest.moved:
        raise Permanent(
            f"the export of run {snapshot.run_id} is older than the undo of run {newest.run_id}: "
            f"{cure}"
        )


def refuse(conn: Connection) -> None:
    """Raise Permanent, in one sentence, where no prune may be planned now.

    Raises Transient while a complete fetch is under way: it only has to end.
    """
    refuse_suspended(conn)
    states = (RunState.RUNNING, RunState.RECORDING, RunState.DONE, RunState.FAILED)
    rows = runs.newest_few(conn, RunKind.FETCH, *states, complete=True, limit=1)
    compared = FETCHES_COMPARED
    done = runs.newest_few(conn, RunKind.FETCH, RunState.DONE, complete=True, limit=compared)
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
    if reason and rows and rows[0].state in runs.OPEN:
        raise Transient(f"no prune: {reason}")
    if reason:
        raise Permanent(f"no prune: {reason}")


def refuse_suspended(conn: Connection) -> None:
    """Raise Permanent while a remove-all suspends the sync."""
    if gates.suspended(conn):
        raise Permanent("the sync is suspended by a remove-all: undo that or sync --full first")


def item_row(leaving: Leaving, facts: Facts, outcome: Outcome) -> NewPlanItem:
    """Build the item that the plan stores for one jobcode, with the state before."""
    code = facts.jobcodes[leaving.jobcode_id]
    family = family_of(code.id, facts.children)
    return NewPlanItem(
        job_id=leaving.job_id,
        job_number=leaving.job_number,
        jobcode_id=leaving.jobcode_id,
        name=leaving.name,
        reason=leaving.reason,
        state_before=StateBefore.of(code, facts.near.get(code.id, ()), family, ()),
        outcome=outcome,
        note=leaving.reason if outcome is Outcome.HELD_BACK else None,
    )


def plan_summary(made: PrunePlan, snapshot_id: int) -> dict[str, Json]:
    """Return the numbers of a plan for the run's detail."""
    return {
        "snapshot_id": snapshot_id,
        "unmanaged": made.unmanaged,
        "managed_active": made.managed_active,
        "limit": made.limit,
        "tripped": made.tripped,
    }


def plan_json(made: PrunePlan, run_id: int | None) -> dict[str, object]:
    """Return a plan as the command line prints it."""
    return {
        "run_id": run_id,
        "archive": [asdict(item) for item in made.archive],
        "held_back": [asdict(item) for item in made.held_back],
        "unmanaged": made.unmanaged,
        "limit": made.limit,
        "tripped": made.tripped,
    }
