"""``cprqueue plan``: what a sync would do to QuickBooks Time; nothing is written anywhere."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from cprqueue.bootstrap import application
from cprqueue.cli import held_pushes, plan_report
from cprqueue.cli.console import clean, err, note, print_json
from cprqueue.domain.sync_plan import Step
from cprqueue.errors import UsageError
from cprqueue.services.plan.plan import Made

plan = typer.Typer(invoke_without_command=True)
"""A command by itself; whatever is done with a plan that is on record is a command below it."""


for _decision in (held_pushes.show, held_pushes.approve, held_pushes.dismiss):
    plan.command()(_decision)


@plan.callback()
def make(
    context: typer.Context,
    only: Annotated[
        list[Step] | None, typer.Option(help="Only jobs with this action; may be repeated.")
    ] = None,
    all_rows: Annotated[
        bool, typer.Option("--all", help="Also jobs that are left as they are, and all names.")
    ] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print a row for each job, as CSV.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Say what a sync would do to QuickBooks Time as it is now; nothing is written anywhere.

    Reads RestorationManager and QuickBooks Time itself: no worker, no broker
    and no table is needed. Ends with 1 if some jobs would be parked, or held.

    Example: cprqueue plan --only rename
    """
    if context.invoked_subcommand is not None:
        return
    if csv and json:
        raise UsageError("choose --csv or --json: each is the whole of standard output")
    made = _make()
    jobs = [job for job in made.plan.jobs if not only or set(only) & set(job.actions)]
    if json:
        print_json(plan_report.document(made, jobs))
    elif csv:
        plan_report.print_csv(jobs)
    else:
        plan_report.show(made, jobs, all_rows=all_rows)
    for text in made.notes:
        note(f"note: {text}")
    raise typer.Exit(1 if made.held or made.plan.counts[Step.PARK] else 0)


def _make() -> Made:
    app = application()
    app.settings.require_services()
    planner = app.planner
    with err.status("planning ...") as status:
        return planner.make(lambda text: status.update(f"{escape(clean(text))} ..."))
