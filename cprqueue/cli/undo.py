"""``cprqueue undo``: restore what a prune or a remove-all archived."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from cprqueue.bootstrap import Application
from cprqueue.cli.console import err, note, print_json, say
from cprqueue.cli.interrupted import interrupted
from cprqueue.cli.prune import Json, RunId, ready
from cprqueue.errors import AlreadyRunning, LeaseExpired, OutOfCalls
from cprqueue.services.prune import turns
from cprqueue.services.prune.undo_orders import UndoResult
from cprqueue.store import runs

STEP_SECONDS = 2


def undo(
    run_id: RunId,
    jobs: Annotated[
        list[str] | None, typer.Argument(metavar="[JOB...]", help="Only these job numbers.")
    ] = None,
    json: Json = False,
) -> None:
    """Restore what a prune or a remove-all archived, as it was; one that is at work ends first.

    Example: cprqueue undo 41  or, for a part, cprqueue undo 41 BMS-25-00008M
    """
    app = ready()
    with app.db.read() as conn:
        row = runs.get(conn, run_id)
    undo_id = app.undo.request(run_id, jobs or [])
    if row is not None and row.state in turns.LIVE.get(row.kind, ()):
        note(f"{turns.title(row)} was {row.state}: it ends here, after the step under way")
    with interrupted(lambda: _stop(app, undo_id, run_id, jobs or [])):
        undone = _restore(app, undo_id)
    lost = [{"job_number": name, "text": text} for name, text in undone.lost]
    if json:
        print_json({"run_id": undo_id, "restored": undone.restored, "lost": lost})
    else:
        say(f"undo {undo_id}: {undone.text()}")
        for item in lost:
            say(f"  {item['job_number']}: {item['text']}")
    raise typer.Exit(1 if lost else 0)


def _restore(app: Application, undo_id: int) -> UndoResult:
    while True:
        try:
            with err.status("restoring jobcodes ..."):
                return app.undo.run(undo_id)
        except LeaseExpired:
            continue  # this process was suspended: nothing was sent
        except OutOfCalls as wait:
            note(f"{wait}: waiting for it")
            time.sleep(min(wait.wait_seconds + 0.1, 60))  # until a call is free again
        except AlreadyRunning as other:
            note(f"{other}: waiting for it")
            time.sleep(STEP_SECONDS)  # a step takes a few seconds


def _stop(app: Application, undo_id: int, run_id: int, jobs: list[str]) -> str:
    stopped = app.undo.stop(undo_id)
    command = " ".join(["cprqueue undo", str(run_id), *jobs])
    return f"undo {undo_id} stopped, {stopped.text()}: `{command}` continues it"
