"""``cprqueue resync``: one job now, ahead of everything else."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from cprqueue.bootstrap import application
from cprqueue.cli import console, waiting, watch
from cprqueue.cli.interrupted import interrupted, run_goes_on
from cprqueue.domain.records import Run
from cprqueue.services.reports.words import counted
from cprqueue.services.resync_report import Report, reports_of
from cprqueue.store import runs, schema


def resync(
    jobs: Annotated[list[str], typer.Argument(metavar="JOB", help="Job ids or job numbers.")],
    wait: Annotated[bool, typer.Option(help="Wait and show the five steps.")] = True,
    timeout: Annotated[float, typer.Option(min=0, metavar="S", help="Seconds to wait.")] = 120,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Fetch one job again and put it right in QuickBooks Time, ahead of any backlog.

    Example: cprqueue resync BMS-25-00008M
    """
    from cprqueue.operating import orders

    console.require_text(*jobs)
    app = application()
    app.settings.require_services()
    schema.require_current(app.db)
    if wait:
        waiting.for_workers(["urgent"])
    run_ids = orders.resync(app, jobs, timeout_seconds=timeout)
    if not wait:
        console.note(f"{counted(len(run_ids), 'resync')} queued: see `cprqueue history`")
    with interrupted(lambda: _go_on(list(run_ids.values()))):
        found = {job: _result(run_id, job, timeout, wait=wait) for job, run_id in run_ids.items()}
    if json:
        console.print_json([d for job, row in found.items() for d in documents(job, row)])
    reports = [report for row in found.values() for report in reports_of(row)]
    for report in [] if json else reports:
        _show(report)
    raise typer.Exit(0 if all(report.ok for report in reports) else 1)


def _go_on(run_ids: list[int]) -> str:
    if len(run_ids) == 1:
        return run_goes_on(run_ids[0], "resync")
    return f"stopped waiting: resyncs {run_ids[0]} to {run_ids[-1]} go on: see `cprqueue history`"


def _result(run_id: int, job: str, timeout: float, *, wait: bool) -> Run:
    app = application()
    if wait:
        return watch.until_ended(
            app,
            run_id,
            what=f"resync {job}",
            timeout_seconds=timeout,
            words=_words,
        )
    with app.db.read() as conn:
        return runs.existing(conn, run_id)


def _words(run: Run) -> str:
    return run.note or run.state


def documents(job: str, run: Run) -> list[dict[str, object]]:
    """Return what ``resync --json`` prints for one ``job``, as it was typed.

    That is a document for each job with this number, or one without a report: it waits.
    """
    of_run: dict[str, object] = {"run_id": run.run_id, "state": run.state, "job": job}
    empty = Report(job_id=None, job_number="")
    found = reports_of(run)
    reports = [asdict(report) for report in found] or [{**asdict(empty), "ok": None}]
    return [{**of_run, **report} for report in reports]


def _show(report: Report) -> None:
    title = report.job_number + (f" (RM job {report.job_id})" if report.job_id else "")
    steps = [
        (str(number), step.step, console.mark(good=step.ok), step.text)
        for number, step in enumerate(report.steps, 1)
    ]
    console.show_table(title, ("", "step", "", ""), steps)
    if report.fields:
        rows = [
            (row.field, row.desired, row.observed, "" if row.equal else "differed")
            for row in report.fields
        ]
        console.show_table("Compared before the push", ("field", "desired", "observed", ""), rows)
