"""What people ask: ``status``, ``failures``, ``retry``, ``history``, ``explain``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape

from cprqueue.bootstrap import Application, application
from cprqueue.cli import broker_state
from cprqueue.cli.console import note, out, pairs, print_json, say, table, when
from cprqueue.cli.explained import show_choice, show_explanation
from cprqueue.domain.records import ClaimedLink, Run
from cprqueue.errors import UsageError
from cprqueue.services.reports import explain as explaining
from cprqueue.services.reports import overview
from cprqueue.store import schema

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def _ready() -> Application:
    """Return the application, once its database is known to have our tables."""
    made = application()
    schema.require_current(made.db)
    return made


def status(json: Json = False) -> None:
    """Show how things stand: jobs, queues, workers, calls left, last runs, warnings.

    Example:  cprqueue status --json
    """
    app = _ready()
    found = overview.read_status(app.db, app.budget)
    broker = broker_state.ask()
    warnings = [*found.warnings, *_broker_warnings(broker, found.jobs["due"])]
    warnings += filter(None, [app.settings.full_disk()])
    if json:
        print_json({**found.as_json(), "broker": asdict(broker), "warnings": warnings})
    else:
        _show_status(found, broker, warnings)


def _broker_warnings(broker: broker_state.Broker, due: int) -> list[str]:
    if broker.problem:
        return [broker.problem]
    if not broker.workers:
        waiting = f", and {due} jobs are due" if due else ""
        return [f"no worker answers{waiting}: start `cprqueue up`"]
    return []


def _show_status(found: overview.Status, broker: broker_state.Broker, warnings: list[str]) -> None:
    out.print(pairs(_status_rows(found, broker)), highlight=False)
    for warning in warnings:
        out.print(f"[bold yellow]warning:[/] {escape(warning)}", highlight=False)


def _status_rows(found: overview.Status, broker: broker_state.Broker) -> dict[str, str]:
    jobs = found.jobs
    lengths = ", ".join(f"{name} {n}" for name, n in broker.queues.items())
    return {
        "Jobs": f"{jobs['active']} active, {jobs['inactive']} inactive",
        "Push": f"{jobs['in_sync']} in step, {jobs['due']} due, {jobs['parked']} parked",
        "Queues": lengths or "not known: the broker does not answer",
        "Workers": ", ".join(broker.workers) or "none seen",
        "Calls": _calls(found.budget, jobs["due"]),
        "Last fetch": _last_fetch(found),
        "Last snapshot": _last(found.snapshot),
    }


def _calls(budget: dict[str, float], due: int) -> str:
    text = f"{budget['free']:.0f} of {budget['limit']:.0f} free in {budget['window_seconds']:.0f} s"
    minutes = budget["minutes_for_due"]
    if not due:
        return text
    return f"{text}; what is due " + (f"waits up to {minutes:g} min" if minutes else "goes at once")


def _last_fetch(found: overview.Status) -> str:
    tried, succeeded = found.fetch_tried, found.fetch_succeeded
    if tried and (not succeeded or tried.run_id != succeeded.run_id):
        return f"tried {_last(tried)} ({tried.state}); succeeded {_last(succeeded)}"
    return _last(succeeded)


def _last(run: Run | None) -> str:
    if run is None:
        return "never"
    moment = run.finished_at or run.began
    return f"{when(moment)}, run {run.run_id}"


def failures(json: Json = False) -> None:
    """List the jobs that are parked, or failed and are tried again, with the reason.

    Example:  cprqueue failures
    """
    found = overview.failures(_ready().db)
    if json:
        print_json([overview.failure_json(row) for row in found])
    elif not found:
        say("no job is parked or failing")
    else:
        _show_failures(found)


def _show_failures(found: list[ClaimedLink]) -> None:
    rows = table("Failures", "Job", "State", "Tries", "Next", "Reason")
    for row in found:
        moment = overview.next_try(row)
        name = f"{row.job_number or 'no number'}\n{row.job_id}"
        rows.add_row(
            escape(name),
            row.state,
            str(row.attempts),
            when(moment) if moment else "-",
            escape(row.error_reason or ""),
        )
    out.print(rows)
    note("Once the cause is gone:  cprqueue retry JOB  or  cprqueue retry --all")


def retry(
    jobs: Annotated[
        list[str] | None, typer.Argument(metavar="JOB", help="Job ids or job numbers.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All parked and waiting jobs.")] = False,
) -> None:
    """Push parked and waiting jobs again, now.

    Examples:  cprqueue retry BMS-25-00008M 4711   or   cprqueue retry --all
    """
    if bool(jobs) == everything:
        raise UsageError("name the jobs to try again, or give --all")
    app = _ready()
    ids = None if everything else _known_ids(app, jobs or [])
    result = overview.ring_again(app.db, ids)
    idle = [job_id for job_id in ids or [] if job_id not in result]
    for job_id in idle:
        note(f"RM job {job_id} is neither parked nor due: see `cprqueue explain {job_id}`")
    say(f"{len(result)} due now")
    if result:
        broker_state.send_wake_ups(result)


def _known_ids(app: Application, texts: list[str]) -> list[int]:
    ids, unknown = overview.ids_of(app.db, texts)
    if unknown:
        raise UsageError(f"no job is known as {', '.join(map(repr, unknown))}: nothing was changed")
    return ids


def history(
    json: Json = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many.")] = 20,
) -> None:
    """List the runs (fetches, imports, snapshots, ...) with their counts, newest first.

    Example:  cprqueue history --limit 5
    """
    found = overview.history(_ready().db, limit=limit)
    if json:
        print_json([overview.run_json(run) for run in found])
    elif not found:
        say("no run yet: start one with `cprqueue sync`")
    else:
        _show_history(found)


def _show_history(found: list[Run]) -> None:
    rows = table("Runs", "Run", "Kind", "State", "Began", "Jobs", "Recorded", "Note")
    for run in found:
        kind = run.kind + (" (all)" if run.complete else "")
        rows.add_row(
            str(run.run_id),
            kind,
            run.state,
            when(run.began),
            str(run.emitted),
            str(run.recorded),
            escape(run.note or ""),
        )
    out.print(rows)


def explain(
    job: Annotated[
        str, typer.Argument(metavar="JOB", help="Job id, number, name, or part of the street.")
    ],
    json: Json = False,
) -> None:
    """Say why a job is, or is not, in QuickBooks Time, with its history.

    Example:  cprqueue explain BMS-25-00008M
    """
    if not job.strip():
        raise UsageError("say which job: id, number, name, or part of the street")
    found = explaining.search(_ready().db, job)
    if not found:
        raise UsageError(f"no job is known by {job!r}: neither id, number, name nor street")
    if len(found) > 1:
        show_choice(job, found, as_json=json)
        raise typer.Exit(1)
    explanation = explaining.explain(application().db, found[0].job_id)
    if json:
        print_json(explanation.as_json())
    else:
        show_explanation(explanation)
