"""``cprqueue snapshot``, ``prune plan/run/show/approve`` and ``undo``."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated

import typer
from rich.markup import escape

from cprqueue.bootstrap import Application, application
from cprqueue.cli import watch
from cprqueue.cli.console import err, note, out, print_json, say_error, table
from cprqueue.domain.prune_plan import PrunePlan
from cprqueue.domain.records import Outcome, PlanItem, Run, RunKind, RunState
from cprqueue.errors import AlreadyRunning, OutOfCalls, UsageError
from cprqueue.services.prune import orders as run_orders
from cprqueue.services.prune.facts import plan_json
from cprqueue.services.prune.prune import outcome_text
from cprqueue.services.prune.undo import KINDS, UndoResult
from cprqueue.store import plan_items, runs, schema
from cprqueue.store.database import clock

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Timeout = Annotated[float, typer.Option(min=0, metavar="S", help="Seconds to wait.")]
RunId = Annotated[int, typer.Argument(metavar="RUN", help="A run id, see `cprqueue history`.")]

ROWS_SHOWN = 60
STEP_SECONDS = 2

prune = typer.Typer(
    no_args_is_help=True,
    help="Archive the jobcodes of finished jobs: look at the plan, run it, approve a held one.",
)


def _ready() -> Application:
    app = application()
    app.settings.require_services()
    schema.require_current(app.db)
    return app


def snapshot(
    wait: Annotated[bool, typer.Option(help="Wait for its end.")] = True,
    timeout: Timeout = 900,
    json: Json = False,
) -> None:
    """Read all of QuickBooks Time into the table qbt_export; drift is found and put right.

    Example: cprqueue snapshot
    """
    from cprqueue.cli import send

    app = _ready()
    if wait:
        send.require_workers(["maintenance"])
    with app.db.begin() as conn:
        run_id = runs.create(conn, RunKind.SNAPSHOT, now=clock(conn), requested_by="operator")
    send.send("cpr.snapshot_export", run_id=run_id)
    if not wait:
        note(f"snapshot {run_id} is queued")
        return
    row = watch.until_ended(
        app, run_id, what="snapshot", timeout_seconds=timeout, said=lambda r: r.note or r.state
    )
    found = {"run_id": run_id, "state": row.state, "jobcodes": row.emitted, "note": row.note}
    if json:
        print_json(found)
    else:
        out.print(f"snapshot {run_id}: {escape(row.note or row.state)}")
    raise typer.Exit(0 if row.state is RunState.DONE else 1)


@prune.command("plan")
def plan(json: Json = False) -> None:
    """Show what a prune would archive now; writes nothing.

    Example: cprqueue prune plan
    """
    app = _ready()
    made = app.prune.plan(app.prune.facts())
    if json:
        print_json(plan_json(made, None))
    else:
        _show_plan("Would be archived", made)
    raise typer.Exit(1 if made.tripped else 0)


@prune.command("run")
def run(timeout: Timeout = 3600, json: Json = False) -> None:
    """Take a snapshot and prune now.

    Example: cprqueue prune run
    """
    from cprqueue.cli import send

    app = _ready()
    send.require_workers(["maintenance"])
    run_id = run_orders.request_prune(app.db, "operator")
    send.send("cpr.snapshot_and_prune", run_id=run_id)
    _follow(app, run_id, timeout, json=json)


@prune.command("approve")
def approve(run_id: RunId, timeout: Timeout = 3600, json: Json = False) -> None:
    """Archive what a held plan holds and a fresh one holds too; never anything more.

    Example: cprqueue prune approve 41
    """
    from cprqueue.cli import send

    app = _ready()
    with app.db.read() as conn:
        run_orders.require_held(conn, run_id)
    send.require_workers(["maintenance"])
    with app.db.begin() as conn:
        run_orders.note_approval(conn, run_id)
    send.send("cpr.snapshot_and_prune", run_id=run_id, approve=True)
    _follow(app, run_id, timeout, json=json)


def _follow(app: Application, run_id: int, timeout: float, *, json: bool) -> None:
    row = watch.until_ended(
        app, run_id, what=f"prune {run_id}", timeout_seconds=timeout, said=_progress(app)
    )
    wrong = row.state in (RunState.HELD, RunState.FAILED)
    _report(app, row, json=json, with_note=not wrong)
    if wrong:
        say_error(row.note or row.state)
    raise typer.Exit(0 if row.state is RunState.DONE else 1)


def _progress(app: Application) -> Callable[[Run], str]:
    def said(row: Run) -> str:
        with app.db.read() as conn:
            found = plan_items.counts(conn, row.run_id)
        return outcome_text(found) if found else "snapshot and plan"

    return said


@prune.command("show")
def show(run_id: RunId, json: Json = False) -> None:
    """Show the plan of a prune or remove-all, and what came of each jobcode.

    Example: cprqueue prune show 41
    """
    app = application()
    schema.require_current(app.db)
    with app.db.read() as conn:
        row = runs.get(conn, run_id)
    if row is None or row.kind not in KINDS:
        raise UsageError(f"run {run_id} is no prune and no remove-all: see `cprqueue history`")
    _report(app, row, json=json)


def _report(app: Application, row: Run, *, json: bool, with_note: bool = True) -> None:
    with app.db.read() as conn:
        items = plan_items.of_run(conn, row.run_id)
    if json:
        print_json(report_json(row, items))
    else:
        _show_report(row, items, with_note=with_note)


def report_json(row: Run, items: list[PlanItem]) -> dict[str, object]:
    """Return a carried-out or held plan as the command line prints it."""
    detail = row.details
    leaving, held_back = _parted(items)
    return {
        "run_id": row.run_id,
        "state": row.state,
        "note": row.note,
        "archive": [_item_json(item, item.reason) for item in leaving],
        "held_back": [_item_json(item, item.note) for item in held_back],
        "unmanaged": detail.get("unmanaged"),
        "limit": detail.get("limit"),
        "tripped": detail.get("tripped"),
    }


def _parted(items: list[PlanItem]) -> tuple[list[PlanItem], list[PlanItem]]:
    """Return the items that leave, or were to, and those that were held back."""
    held_back = [item for item in items if item.outcome is Outcome.HELD_BACK]
    return [item for item in items if item.outcome is not Outcome.HELD_BACK], held_back


def _item_json(item: PlanItem, reason: str | None) -> dict[str, object]:
    return {
        "job_id": item.job_id,
        "job_number": item.label,
        "jobcode_id": item.jobcode_id,
        "name": item.name,
        "reason": reason,
        "outcome": item.outcome,
        "note": item.note,
    }


def _show_plan(title: str, made: PrunePlan) -> None:
    leaving = table(f"{title}: {len(made.archive)}", "job", "jobcode", "reason")
    for row in made.archive[:ROWS_SHOWN]:
        leaving.add_row(row.job_number, str(row.jobcode_id), escape(row.reason))
    out.print(leaving)
    _show_rest(len(made.archive))
    _show_held_back([(row.job_number, row.jobcode_id, row.reason) for row in made.held_back])
    out.print(f"{made.unmanaged} unmanaged jobcodes are left alone; the limit is {made.limit}")
    if made.tripped:
        say_error(f"the brake would hold this: {made.tripped}")


def _show_rest(number: int) -> None:
    if number > ROWS_SHOWN:
        out.print(f"... and {number - ROWS_SHOWN} more: --json shows all")


def _show_held_back(rows: list[tuple[str, int, str]]) -> None:
    if rows:
        held = table(f"Held back: {len(rows)}", "job", "jobcode", "why")
        for number, jobcode_id, reason in rows[:ROWS_SHOWN]:
            held.add_row(number, str(jobcode_id), escape(reason))
        out.print(held)


def _show_report(row: Run, items: list[PlanItem], *, with_note: bool) -> None:
    leaving, held_back = _parted(items)
    found = table(f"Run {row.run_id}, {row.state}", "job", "jobcode", "outcome", "reason or note")
    for item in leaving[:ROWS_SHOWN]:
        text = escape(item.note or item.reason)
        found.add_row(item.label, str(item.jobcode_id), item.outcome, text)
    out.print(found)
    _show_rest(len(leaving))
    _show_held_back([(item.label, item.jobcode_id, item.note or "") for item in held_back])
    if with_note:
        out.print(escape(row.note or ""))


def undo(
    run_id: RunId,
    jobs: Annotated[
        list[str] | None, typer.Argument(metavar="[JOB...]", help="Only these job numbers.")
    ] = None,
    json: Json = False,
) -> None:
    """Bring back what a prune or a remove-all archived, as it was.

    Example: cprqueue undo 41  or, for a part, cprqueue undo 41 BMS-25-00008M
    """
    app = _ready()
    undo_id = app.undo.request(run_id, jobs or [])
    undone = _bring_back(app, undo_id)
    lost = [{"job_number": name, "text": text} for name, text in undone.lost]
    if json:
        print_json({"run_id": undo_id, "restored": undone.restored, "lost": lost})
    else:
        out.print(f"undo {undo_id}: {undone.text()}")
        for item in lost:
            out.print(f"  {escape(item['job_number'])}: {escape(item['text'])}")
    raise typer.Exit(1 if lost else 0)


def _bring_back(app: Application, undo_id: int) -> UndoResult:
    while True:
        try:
            with err.status("bringing jobcodes back ..."):
                return app.undo.run(undo_id)
        except OutOfCalls as wait:
            note(f"{wait}: going on then; Ctrl-C stops, the same command goes on")
            time.sleep(min(wait.wait_seconds + 0.1, 60))  # until a call is free again
        except AlreadyRunning as other:
            note(f"{other}: waiting for it; Ctrl-C stops, the same command goes on")
            time.sleep(STEP_SECONDS)  # a step takes a few seconds
