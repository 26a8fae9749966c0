"""``cprqueue prune plan/run/show/approve``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from cprqueue.bootstrap import Application, application
from cprqueue.cli import waiting, watch
from cprqueue.cli.console import note, out, print_json, say_error, when
from cprqueue.cli.interrupted import interrupted
from cprqueue.cli.prune_report import report, show_plan
from cprqueue.cli.snapshot import Json, Timeout, Wait, queued, ready, take_snapshot
from cprqueue.domain.records import Run
from cprqueue.domain.states import RunState
from cprqueue.errors import UsageError
from cprqueue.services.prune import orders, turns
from cprqueue.services.prune.facts import plan_json, refuse
from cprqueue.services.prune.prune import outcome_text
from cprqueue.services.prune.undo_orders import KINDS
from cprqueue.services.reports.words import counted
from cprqueue.store import plan_items, runs, schema

RunId = Annotated[int, typer.Argument(metavar="RUN", help="A run id, see `cprqueue history`.")]

prune = typer.Typer(
    no_args_is_help=True,
    help="Archive the jobcodes of finished jobs: show the plan, run it, approve a held one.",
)


@prune.command("plan")
def plan(
    fresh: Annotated[
        bool, typer.Option("--snapshot/--no-snapshot", help="Read QuickBooks Time first.")
    ] = True,
    json: Json = False,
) -> None:
    """Show what a prune would archive now; it takes a snapshot, and changes nothing else.

    Example: cprqueue prune plan
    """
    app = ready()
    with app.db.read() as conn:
        refuse(conn)
    if fresh:
        take_snapshot(app, "prune plan")
    facts = app.prune.facts()
    note(f"planned on the snapshot of run {facts.snapshot_id}, taken {when(facts.snapshot_at)}")
    made = app.prune.plan(facts)
    if json:
        print_json(plan_json(made, None))
    else:
        show_plan(made)
    raise typer.Exit(1 if made.tripped else 0)


@prune.command("run")
def run(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    wait: Wait = True,
    timeout: Timeout = 3600,
    json: Json = False,
) -> None:
    """Take a snapshot and prune now. Ctrl-C withdraws it, unless something was archived.

    On a terminal it shows the plan first and asks, unless --yes or --json is
    given. Whoever says no has changed nothing, and it ends with 1.

    Example: cprqueue prune run
    """
    app = ready()
    waiting.for_workers(["maintenance"])
    if not (yes or json) and _is_person():
        _ask(app)
    run_id = orders.request_prune(app.db, "operator")
    _carry_out(app, run_id, timeout, approval=False, wait=wait, json=json)


def _is_person() -> bool:
    """Tell whether somebody sits there who can be asked."""
    return out.is_terminal and sys.stdin is not None and sys.stdin.isatty()


def _ask(app: Application) -> None:
    """Show what a prune would do now; end the command unless it is to be done."""
    with app.db.read() as conn:
        refuse(conn)
        turns.refuse_live(conn)
    take_snapshot(app, "prune run")
    made = app.prune.plan(app.prune.facts())
    show_plan(made)
    if not made.archive:
        raise typer.Exit(0)
    question = f"Archive {counted(len(made.archive), 'jobcode')} (planned afresh)?"
    if not typer.confirm(question, err=True):
        note("nothing was archived")
        raise typer.Exit(1)


@prune.command("approve")
def approve(run_id: RunId, wait: Wait = True, timeout: Timeout = 3600, json: Json = False) -> None:
    """Archive what a held plan holds and a fresh one holds too; never anything more.

    Example: cprqueue prune approve 41
    """
    app = ready()
    waiting.for_workers(["maintenance"])
    orders.approve(app.db, run_id)
    _carry_out(app, run_id, timeout, approval=True, wait=wait, json=json)


def _carry_out(
    app: Application, run_id: int, timeout: float, *, approval: bool, wait: bool, json: bool
) -> None:
    """Send an order that is on record, and follow it to its end."""
    from cprqueue.operating import orders as sending

    with interrupted(lambda: _withdraw(app, run_id, approval=approval)):
        sending.send_prune(app, run_id, approval=approval)
        if not wait:
            queued("prune", run_id, json=json)
        row = watch.until_ended(
            app, run_id, what=f"prune {run_id}", timeout_seconds=timeout, words=progress_of(app)
        )
    wrong = row.state in (RunState.HELD, RunState.FAILED)
    report(app, row, json=json, with_note=not wrong)
    if wrong:
        say_error(row.note or row.state)
    raise typer.Exit(0 if row.state is RunState.DONE else 1)


def _withdraw(app: Application, run_id: int, *, approval: bool) -> str:
    """Withdraw an order where that is still possible; say what became of it."""
    if orders.withdraw(app.db, run_id, approval=approval):
        return f"prune {run_id} is withdrawn: nothing was archived"
    with app.db.read() as conn:
        row = runs.existing(conn, run_id)
    if row.state in runs.ENDED:
        return f"prune {run_id} is {row.state}: see `cprqueue prune show {run_id}`"
    return (
        f"stopped waiting: prune {run_id} goes on: see `cprqueue prune show {run_id}`; "
        f"`cprqueue undo {run_id}` ends it and restores what it has archived"
    )


def progress_of(app: Application) -> Callable[[Run], str]:
    """Return what puts the progress of a prune into words."""

    def words(row: Run) -> str:
        with app.db.read() as conn:
            found = plan_items.counts(conn, row.run_id)
        text = outcome_text(found) if found else "snapshot and plan"
        return f"{text}; {row.note}" if row.note else text

    return words


@prune.command("show")
def show(
    run_id: RunId,
    all_rows: Annotated[bool, typer.Option("--all", help="Every row of a long plan.")] = False,
    json: Json = False,
) -> None:
    """Show the plan of a prune or remove-all, and what came of each jobcode.

    Example: cprqueue prune show 41
    """
    app = application()
    schema.require_current(app.db)
    with app.db.read() as conn:
        row = runs.get(conn, run_id)
    if row is None or row.kind not in KINDS:
        raise UsageError(f"run {run_id} is no prune and no remove-all: see `cprqueue history`")
    report(app, row, json=json, all_rows=all_rows)
