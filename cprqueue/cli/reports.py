"""``status``, ``failures``, ``retry``, ``history`` and ``explain``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from cprqueue.bootstrap import Application, application
from cprqueue.cli.console import (
    note,
    print_json,
    require_text,
    say,
    show_pairs,
    show_table,
    warn,
    when,
)
from cprqueue.cli.explained import show_choice, show_explanation
from cprqueue.domain.records import ClaimedLink, Run
from cprqueue.domain.states import LinkState
from cprqueue.errors import UsageError
from cprqueue.services import canaries
from cprqueue.services.reports import explain as explaining
from cprqueue.services.reports import overview, server_findings
from cprqueue.services.reports.words import counted
from cprqueue.store import schema

if TYPE_CHECKING:
    from cprqueue.operating import broker_state

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def ready() -> Application:
    """Return the application, once its database is known to have our tables."""
    made = application()
    schema.require_current(made.db)
    return made


def status(json: Json = False) -> None:
    """Show how things stand: jobs, queues, workers, calls left, last runs, warnings.

    Example:  cprqueue status --json
    """
    from cprqueue import celery  # slow to import, with what it needs
    from cprqueue.operating import broker_state
    from cprqueue.runtime import timetable

    app = ready()
    found = overview.read_status(app.db, app.budget, timetable.latest(celery.app))
    broker = broker_state.ask()
    warnings = [*found.warnings, *_broker_warnings(app, broker, found.jobs["due"])]
    warnings += [*filter(None, [app.settings.full_disk()]), *server_findings.log_warnings(app.db)]
    if json:
        print_json({**found.as_json(), "broker": asdict(broker), "warnings": warnings})
        return
    show_pairs(_status_rows(found, broker))
    for warning in warnings:
        warn(warning)


def _broker_warnings(app: Application, broker: broker_state.Broker, due: int) -> list[str]:
    if broker.problem:
        return [broker.problem]
    if not broker.workers:
        waiting = f", and due: {counted(due, 'job')}" if due else ""
        return [f"no worker answers{waiting}: {canaries.cure(app.db)}"]
    return []


_PUSH_WORDS = {"in_sync": "in step", "due": "due", "parked": "parked", "held": "held"}


def _status_rows(found: overview.Status, broker: broker_state.Broker) -> dict[str, str]:
    jobs = found.jobs
    lengths = ", ".join(f"{name} {n}" for name, n in broker.queues.items())
    return {
        "Jobs": f"{jobs['active']} active, {jobs['inactive']} inactive",
        **({"Kept": counted(found.kept, "job")} if found.kept else {}),
        "Push": ", ".join(
            f"{jobs[name]} {word}"
            for name, word in _PUSH_WORDS.items()
            if jobs[name] or name != LinkState.HELD
        ),
        "Queues": lengths or "not known: the broker does not answer",
        "Workers": ", ".join(broker.workers) or "none answers",
        "Calls": _calls(found, works=bool(broker.workers)),
        "Last fetch": _last_fetch(found),
        "Last snapshot": _last(found.snapshot),
    }


def _calls(found: overview.Status, *, works: bool) -> str:
    budget = found.budget
    text = f"{budget['free']:.0f} of {budget['limit']:.0f} free in {budget['window_seconds']:.0f} s"
    minutes = budget["minutes_for_due"]
    if not found.jobs["due"]:
        return text
    if found.push_halted or not works:
        return f"{text}; what is due waits: see the warnings"
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
    """List the jobs that are parked or held, or failed and are tried again, with the reason.

    Example:  cprqueue failures
    """
    found = overview.failures(ready().db)
    if json:
        print_json([overview.failure_json(row) for row in found])
    elif not found:
        say("no job is parked, held or failing")
    else:
        _show_failures(found)


def _show_failures(found: list[ClaimedLink]) -> None:
    rows = []
    for row in found:
        moment = overview.next_attempt_at(row)
        rows.append(
            (
                row.job_number or "no number",
                str(row.job_id),
                row.state,
                str(row.attempts),
                when(moment) if moment else "-",
                row.error_reason or "",
            )
        )
    show_table("Failures", ("Job", "Id", "State", "Tries", "Next", "Reason"), rows)
    note("Once the cause is gone:  cprqueue retry JOB  or  cprqueue retry --all")


def retry(
    jobs: Annotated[
        list[str] | None, typer.Argument(metavar="JOB", help="Job ids or job numbers.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All parked and waiting jobs, but those dismissed.")
    ] = False,
    json: Json = False,
) -> None:
    """Push parked and waiting jobs again, now.

    What was dismissed is pushed where it is named, and not by --all.

    Examples:  cprqueue retry BMS-25-00008M 4711   or   cprqueue retry --all
    """
    from cprqueue.operating import send

    if bool(jobs) == everything:
        raise UsageError("name the jobs to try again, or give --all")
    app = ready()
    ids = None if everything else known_ids(app, jobs or [])
    due = overview.make_due(app.db, ids)
    idle = [job_id for job_id in ids or [] if job_id not in due]
    if json:
        print_json({"due": due, "unchanged": idle})
    else:
        _show_retry(due, idle)
    dismissed = overview.dismissed(app.db) if everything else 0
    if dismissed:
        note(f"{counted(dismissed, 'job')} dismissed: `cprqueue retry JOB` pushes one after all")
    if due:
        send.send_wake_ups(due)


def _show_retry(due: list[int], idle: list[int]) -> None:
    for job_id in idle:
        note(f"RM job {job_id} is neither parked nor due: see `cprqueue explain {job_id}`")
    say(f"{len(due)} due now")


def known_ids(app: Application, texts: list[str]) -> list[int]:
    """Return the ids of these jobs, by id or number. Raises UsageError for an unknown one."""
    require_text(*texts)
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
    found = overview.history(ready().db, limit=limit)
    if json:
        print_json([overview.run_json(run) for run in found])
    elif not found:
        say("no run yet: start one with `cprqueue sync`")
    else:
        rows = [_history_row(run) for run in found]
        show_table("Runs", ("Run", "Kind", "State", "Began", "Counts", "Note"), rows)


def _history_row(run: Run) -> tuple[str, ...]:
    kind = run.kind + (" (all)" if run.complete else "")
    counts = ", ".join(f"{name} {n}" for name, n in overview.said_counts(run).items() if n)
    return (str(run.run_id), kind, run.state, when(run.began), counts, run.note or "")


def explain(
    job: Annotated[
        str, typer.Argument(metavar="JOB", help="Job id, number, name, or part of the street.")
    ],
    json: Json = False,
) -> None:
    """Say why a job is, or is not, in QuickBooks Time, with its history.

    Example:  cprqueue explain BMS-25-00008M
    """
    require_text(job)
    if not job.strip():
        raise UsageError("name a job: id, number, name, or part of the street")
    app = ready()
    found = explaining.search(app.db, job)
    if not found:
        raise UsageError(f"no job is known by {job!r}: neither id, number, name nor street")
    if len(found) > 1:
        show_choice(job, found, as_json=json)
        raise typer.Exit(1)
    timezone = app.settings.timezone
    explanation = explaining.explain(app.db, found[0].job_id, timezone=timezone)
    if json:
        print_json(explanation.as_json())
    else:
        show_explanation(explanation)
