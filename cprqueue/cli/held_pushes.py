"""``cprqueue plan show/approve/dismiss``: what the brake on pushes holds."""

from __future__ import annotations

from typing import Annotated

import typer

from cprqueue.bootstrap import Application, application
from cprqueue.cli.console import print_json, say, show_table
from cprqueue.domain.records import ClaimedLink
from cprqueue.services import push_brake
from cprqueue.services.reports.words import counted
from cprqueue.store import schema

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
RunId = Annotated[int, typer.Argument(metavar="RUN", help="The run that holds jobs: see `status`.")]


def _ready() -> Application:
    made = application()
    schema.require_current(made.db)
    return made


def show(run_id: RunId, json: Json = False) -> None:
    """Show what a fetch would change, which the brake holds: before and after.

    Example: cprqueue plan show 41
    """
    rows = push_brake.held(_ready().db, run_id)
    if json:
        print_json({"run_id": run_id, "jobs": [_as_json(row) for row in rows]})
        return
    if not rows:
        say(f"run {run_id} holds nothing any more")
        return
    shown = [(row.job_number, *_in_words(row)) for row in rows]
    show_table(f"Held by run {run_id}", ("Job", "Field", "Now", "Would be"), shown)
    say(f"{counted(len(rows), 'job')}: {rows[0].error_reason}")


def approve(run_id: RunId, json: Json = False) -> None:
    """Let the workers push what this run holds.

    Example: cprqueue plan approve 41
    """
    from cprqueue.operating import orders

    ids = orders.approve_push(_ready(), run_id)
    _report(run_id, ids, "approved", "due now", json=json)


def dismiss(run_id: RunId, json: Json = False) -> None:
    """Leave QuickBooks Time as it is: what this run holds is parked until a job changes again.

    Example: cprqueue plan dismiss 41
    """
    ids = push_brake.dismiss(_ready().db, run_id)
    _report(run_id, ids, "dismissed", "parked", json=json)


def _report(run_id: int, ids: list[int], outcome: str, state: str, *, json: bool) -> None:
    if json:
        print_json({"run_id": run_id, "outcome": outcome, "jobs": ids})
    else:
        say(f"run {run_id} is {outcome}: {counted(len(ids), 'job')} {state}")


def _as_json(row: ClaimedLink) -> dict[str, object]:
    before = {field.field: field.observed for field in push_brake.changes(row)}
    after = {field.field: field.desired for field in push_brake.changes(row)}
    names = {"job_id": row.job_id, "job_number": row.job_number}
    return {**names, "before": before, "after": after, "reason": row.error_reason}


def _in_words(row: ClaimedLink) -> tuple[str, str, str]:
    if row.observed.jobcode_id is None:
        return "jobcode", "none", "created"
    changes = push_brake.changes(row)
    fields, before, after = zip(
        *((field.field, field.observed or "-", field.desired or "-") for field in changes),
        strict=True,
    )
    return "\n".join(fields), "\n".join(before), "\n".join(after)
