"""``cprqueue snapshot``, and what the commands about plans share with it."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from cprqueue.bootstrap import Application, application
from cprqueue.cli import waiting, watch
from cprqueue.cli.console import err, note, print_json, say
from cprqueue.cli.interrupted import interrupted, run_goes_on
from cprqueue.domain.records import Run
from cprqueue.domain.states import RunKind, RunState
from cprqueue.errors import AlreadyRunning, ServiceUnreachable
from cprqueue.services import lost_requests
from cprqueue.store import runs, schema

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Timeout = Annotated[float, typer.Option(min=0, metavar="S", help="Seconds to wait.")]
Wait = Annotated[bool, typer.Option(help="Wait for its end.")]

POLL_SECONDS = 1


def ready() -> Application:
    """Return the application. Raises SettingsError unless it can work."""
    app = application()
    app.settings.require_services()
    schema.require_current(app.db)
    return app


def snapshot(wait: Wait = True, timeout: Timeout = 900, json: Json = False) -> None:
    """Read all of QuickBooks Time into the table qbt_export; drift is found and put right.

    Example: cprqueue snapshot
    """
    from cprqueue.operating import send

    app = ready()
    if wait:
        waiting.for_workers(["maintenance"])
    with app.db.begin() as conn:
        run_id = runs.create(conn, RunKind.SNAPSHOT, requested_by=lost_requests.OPERATOR)
    with interrupted(lambda: run_goes_on(run_id, "snapshot")):
        try:
            send.send("cpr.snapshot_export", run_id=run_id)
        except ServiceUnreachable as error:
            lost_requests.withdraw(app.db, [run_id], f"not sent: {error}")
            raise
        if not wait:
            queued("snapshot", run_id, json=json)
        row = watch.until_ended(
            app,
            run_id,
            what="snapshot",
            timeout_seconds=timeout,
            words=lambda r: r.note or r.state,
        )
    row = served_by(app, row)
    run_id = row.run_id
    if json:
        found = {"run_id": run_id, "state": row.state, "jobcodes": row.emitted, "note": row.note}
        print_json(found)
    else:
        say(f"snapshot {run_id}: {row.note or row.state}")
    raise typer.Exit(0 if row.state is RunState.DONE else 1)


def served_by(app: Application, row: Run) -> Run:
    """Return the newer snapshot that took the place of an ordered one, or the row itself."""
    newer = row.details.get("served_by")
    if not isinstance(newer, int):
        return row
    with app.db.read() as conn:
        return runs.existing(conn, newer)


def queued(what: str, run_id: int, *, json: bool) -> None:
    """Report an order that nobody waits for, and end the command."""
    if json:
        print_json({"run_id": run_id, "state": RunState.QUEUED})
    else:
        note(f"{what} {run_id} is queued: see `cprqueue history`")
    raise typer.Exit(0)


def take_snapshot(app: Application, requested_by: str) -> int:
    """Take a snapshot in this command, within the call budget, and return its run id."""
    with err.status("reading QuickBooks Time ..."):
        while True:
            try:
                return app.snapshot.take(requested_by=requested_by)
            except AlreadyRunning:
                time.sleep(POLL_SECONDS)  # until the one that is being taken has ended
