"""``cprqueue resync``: one job now, ahead of everything else."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cprqueue.bootstrap import application
from cprqueue.cli import watch
from cprqueue.cli.console import note, out, print_json, table
from cprqueue.domain.push_plan import Compared
from cprqueue.services.resync import Report, reports_of
from cprqueue.store import schema


def resync(
    jobs: Annotated[list[str], typer.Argument(metavar="JOB...", help="Job ids or job numbers.")],
    wait: Annotated[bool, typer.Option(help="Wait and show the five steps.")] = True,
    timeout: Annotated[float, typer.Option(min=0, metavar="S", help="Seconds to wait.")] = 120,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Fetch one job again and put it right in QuickBooks Time, ahead of any backlog.

    Example: cprqueue resync BMS-25-00008M
    """
    from cprqueue.cli import send

    app = application()
    app.settings.require_services()
    schema.require_current(app.db)
    if wait:
        send.require_workers(["urgent"])
    run_ids = {job: app.resync.request(job, timeout) for job in jobs}
    for job, run_id in run_ids.items():
        send.send("cpr.resync_job", job=job, run_id=run_id)
    if not wait:
        note(f"{len(jobs)} resyncs are queued: see `cprqueue history`")
        return
    reports: list[Report] = []
    for job, run_id in run_ids.items():
        row = watch.until_ended(
            app,
            run_id,
            what=f"resync {job}",
            timeout_seconds=timeout,
            said=lambda r: r.note or r.state,
        )
        reports += reports_of(row)
    if json:
        print_json([asdict(report) for report in reports])
    for report in [] if json else reports:
        _show(report)
    raise typer.Exit(0 if all(report.ok for report in reports) else 1)


def _show(report: Report) -> None:
    title = report.job_number + (f" (RM job {report.job_id})" if report.job_id else "")
    steps = table(title, "", "step", "")
    for number, step in enumerate(report.steps, 1):
        sign = "[green]✓[/]" if step.ok else "[red]✗[/]"
        steps.add_row(f"{number}", step.step, f"{sign} {escape(step.text)}")
    out.print(steps)
    if report.fields:
        out.print(_fields(report.fields))
    out.print()


def _fields(rows: list[Compared]) -> Table:
    fields = table("Compared before the push", "field", "desired", "observed", "")
    for row in rows:
        sign = "" if row.equal else "[yellow]differed[/]"
        fields.add_row(row.field, escape(row.desired), escape(row.observed), sign)
    return fields
