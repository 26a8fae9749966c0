"""Plans: what waits for a person, one plan with before and after, and those of the past."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection

from cprqueue.domain.models import Address
from cprqueue.domain.push_plan import Compared
from cprqueue.domain.records import ClaimedLink, PlanItem, Run
from cprqueue.domain.states import Outcome, RunKind, RunState
from cprqueue.services import push_brake
from cprqueue.services.prune import turns
from cprqueue.services.prune.undo_orders import UndoOrder
from cprqueue.services.push_brake import Decision
from cprqueue.store import held_pushes, plan_items, plan_pages, runs
from cprqueue.store.database import Database

PAST = 20
ROWS = 200
"""Rows of a plan that a page shows; the command line shows all."""

MOST_LOST = 200

LEAVING = tuple(outcome for outcome in Outcome if outcome is not Outcome.HELD_BACK)
BACK = (Outcome.SENDING, Outcome.ARCHIVED, Outcome.RESTORING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A plan that waits for a person. ``number``: of jobs, or jobcodes."""

    run: Run
    number: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A plan that was decided on, carried out or ended."""

    run: Run
    decision: Decision | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plans:
    """All plans of one page. ``live``: the order that is queued or at work; ``more``: to go on."""

    pushes: list[Waiting]
    prunes: list[Waiting]
    live: Run | None
    past: list[Past]
    more: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What happens to one job: the fields that change, or the jobcode that leaves."""

    job_id: int | None
    label: str
    changes: Sequence[Compared] = ()
    outcome: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One plan. ``total``: all its rows, ``rows`` the first; ``lost``: what came back not wholly.

    ``may``: what can be done with it now, of approve, dismiss and undo.
    """

    run: Run
    title: str
    rows: list[Row]
    total: int
    held_back: list[Row] = field(default_factory=list)
    counts: Mapping[str, int] = field(default_factory=dict)
    reason: str = ""
    may: frozenset[str] = frozenset()
    decision: Decision | None = None
    of_run: int | None = None
    lost: list[tuple[str, str]] = field(default_factory=list)
    undone_by: list[int] = field(default_factory=list)


def read_all(db: Database, *, before: int | None = None) -> Plans:
    """Read what waits, and what is past: before the run ``before``, where that is given."""
    with db.read() as conn:
        pushes = [
            _held_push(conn, run_id, number)
            for run_id, number in held_pushes.held_counts(conn).items()
        ]
        held = runs.newest_few(conn, RunKind.PRUNE, RunState.HELD, limit=PAST)
        prunes = [
            Waiting(run=run, number=run.emitted, text=str(run.details.get("tripped") or run.note))
            for run in held
        ]
        newest = runs.newest_few(conn, None, limit=1)
        start = before or (newest[0].run_id + 1 if newest else 1)
        past = plan_pages.past(conn, before=start, decided=push_brake.DECIDED, limit=PAST + 1)
        live = turns.live(conn)
    shown = past[:PAST]
    return Plans(
        pushes=pushes,
        prunes=prunes,
        live=live,
        past=[_past(run) for run in shown if run.state is not RunState.HELD],
        more=shown[-1].run_id if len(past) > PAST else None,
    )


def _held_push(conn: Connection, run_id: int, number: int) -> Waiting:
    first = plan_pages.held_jobs(conn, run_id, limit=1)
    text = _without_commands(first[0].error_reason or "") if first else ""
    return Waiting(run=runs.existing(conn, run_id), number=number, text=text)


def _without_commands(text: str) -> str:
    """Return why a push is held: the commands that decide on it are buttons here."""
    return text.partition(": `cprqueue")[0]


def _past(run: Run) -> Past:
    return Past(run=run, decision=push_brake.decision(run))


def read(db: Database, run_id: int) -> Plan | None:
    """Read one plan; None for a run that has none."""
    with db.read() as conn:
        run = runs.get(conn, run_id)
        if run is None:
            return None
        if run.kind in push_brake.FETCHES:
            return _of_fetch(conn, run)
        if run.kind in (RunKind.PRUNE, RunKind.REMOVE_ALL):
            return _of_prune(conn, run)
        return _of_undo(conn, run) if run.kind is RunKind.UNDO else None


def _of_fetch(conn: Connection, run: Run) -> Plan | None:
    """Return what a fetch holds; None where it never held anything."""
    rows, decision = plan_pages.held_jobs(conn, run.run_id, limit=ROWS), push_brake.decision(run)
    if not rows and decision is None:
        return None
    return Plan(
        run=run,
        title=f"Held push of {run.kind} {run.run_id}",
        rows=[_held_row(row) for row in rows],
        total=plan_pages.held_count(conn, run.run_id),
        reason=_without_commands(rows[0].error_reason or "") if rows else "",
        may=frozenset({"approve", "dismiss"} if rows else ()),
        decision=decision,
    )


def _held_row(row: ClaimedLink) -> Row:
    new = row.observed.jobcode_id is None
    return Row(
        job_id=row.job_id,
        label=row.job_number or f"RM job {row.job_id}",
        changes=push_brake.changes(row),
        outcome="would be created" if new else "would be changed",
    )


def _of_prune(conn: Connection, run: Run) -> Plan:
    counts = plan_items.counts(conn, run.run_id)
    leaving = plan_pages.items(conn, run.run_id, LEAVING, limit=ROWS)
    back = plan_pages.items(conn, run.run_id, (Outcome.HELD_BACK,), limit=ROWS)
    tripped = run.details.get("tripped") if run.state is RunState.HELD else None
    undos = runs.newest_few(conn, RunKind.UNDO, limit=100)
    return Plan(
        run=run,
        title="Prune" if run.kind is RunKind.PRUNE else "Remove-all",
        rows=[_item_row(item) for item in leaving],
        total=sum(number for outcome, number in counts.items() if outcome in LEAVING),
        held_back=[_item_row(item) for item in back],
        counts={outcome.value: number for outcome, number in counts.items()},
        reason=str(tripped or run.note or ""),
        may=_may(run, counts),
        undone_by=[undo.run_id for undo in undos if undo.details.get("of_run") == run.run_id],
    )


def _may(run: Run, counts: Mapping[Outcome, int]) -> frozenset[str]:
    if run.kind is RunKind.PRUNE and run.state is RunState.HELD:
        return frozenset({"approve", "dismiss"})
    live = run.state in turns.LIVE.get(run.kind, ())
    return frozenset({"undo"} if live or any(counts.get(o) for o in BACK) else ())


def _item_row(item: PlanItem) -> Row:
    before = item.state_before
    where = "; ".join(filter(None, (_line(place.address) for place in before.locations)))
    was = f"{before.name}, at {where}" if where else before.name
    change = Compared(field="jobcode", desired="archived", observed=was, equal=False)
    return Row(
        job_id=item.job_id,
        label=item.label,
        changes=[] if item.outcome is Outcome.HELD_BACK else [change],
        outcome=item.outcome.replace("_", " "),
        why=item.note or item.reason,
    )


def _line(address: Address) -> str:
    return ", ".join(filter(None, address.as_dict().values()))


def _of_undo(conn: Connection, run: Run) -> Plan:
    order = UndoOrder.of(run)
    restored = plan_pages.items(conn, order.of_run, (Outcome.RESTORED,), limit=ROWS)
    keys = set(order.numbers)
    rows = [item for item in restored if not keys or item.label in keys]
    return Plan(
        run=run,
        title=f"Undo of run {order.of_run}",
        rows=[_restored_row(item) for item in rows],
        total=run.recorded,
        reason=run.note or "",
        of_run=order.of_run,
        may=frozenset({"continue"} if run.state is RunState.STOPPED else ()),
        lost=[(entry["what"], entry["text"]) for entry in order.lost[:MOST_LOST]],
    )


def _restored_row(item: PlanItem) -> Row:
    name = item.state_before.name
    change = Compared(field="jobcode", desired=name, observed="archived", equal=False)
    return Row(
        job_id=item.job_id,
        label=item.label,
        changes=[change],
        outcome=item.outcome.value,
        why=item.note or "",
    )
