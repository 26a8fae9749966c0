"""``cprqueue undo``: restore what a prune or a remove-all archived."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from cprqueue.bootstrap import Application
from cprqueue.cli.console import err, note, print_json, say
from cprqueue.cli.interrupted import interrupted
from cprqueue.cli.keep import person
from cprqueue.cli.prune import RunId
from cprqueue.cli.snapshot import Json, Timeout, Wait, queued, ready
from cprqueue.errors import AlreadyRunning, LeaseExpired, OutOfCalls, ServiceUnreachable
from cprqueue.services.prune import turns
from cprqueue.services.prune.undo_orders import UndoResult
from cprqueue.store import runs

STEP_SECONDS = 2


def undo(
    run_id: RunId,
    jobs: Annotated[
        list[str] | None, typer.Argument(metavar="JOB", help="Only these job numbers.")
    ] = None,
    wait: Wait = True,
    timeout: Timeout = 3600,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep it: the next prunes leave it alone.")
    ] = False,
    json: Json = False,
) -> None:
    """Restore what a prune or a remove-all archived, as it was; one that is at work ends first.

    It waits for free calls, and for a step of others that is under way, as long
    as --timeout allows; a worker goes on with it then. With --no-wait a worker
    does all of it.

    Example: cprqueue undo 41  or, for a part, cprqueue undo 41 BMS-25-00008M
    """
    app = ready()
    with app.db.read() as conn:
        row = runs.get(conn, run_id)
    undo_id = app.undo.request(run_id, jobs or [], keep_by=person() if keep else "")
    if row is not None and row.state in turns.LIVE.get(row.kind, ()):
        note(f"{turns.title(row)} was {row.state}: it ends here, after the step under way")
    if not wait:
        from cprqueue.operating import orders

        orders.send_undo(app, undo_id)
        queued("undo", undo_id, json=json)
    with interrupted(lambda: _stop(app, undo_id, run_id, jobs or [])):
        undone = _restore(app, undo_id, timeout)
    lost = [{"job_number": name, "text": text} for name, text in undone.lost]
    if json:
        counts = {"restored": undone.restored, "kept": undone.kept}
        print_json({"run_id": undo_id, **counts, "lost": lost})
    else:
        say(f"undo {undo_id}: {undone.text()}")
        for item in lost:
            say(f"  {item['job_number']}: {item['text']}")
    raise typer.Exit(1 if lost else 0)


def _restore(app: Application, undo_id: int, timeout: float) -> UndoResult:
    deadline = time.monotonic() + timeout
    while True:
        try:
            with err.status("restoring jobcodes ..."):
                return app.undo.run(undo_id)
        except LeaseExpired:
            continue  # this process was suspended: nothing was sent
        except (OutOfCalls, AlreadyRunning) as other:
            left = deadline - time.monotonic()
            if left <= 0:
                raise ServiceUnreachable(
                    f"undo {undo_id} has not ended after {timeout:.0f} s ({other}); a worker goes "
                    "on with it: see `cprqueue history`"
                ) from None
            note(f"{other}: waiting for it")
            # Until a call is free again, or a step of others is over, which takes a few seconds.
            pause = other.wait_seconds + 0.1 if isinstance(other, OutOfCalls) else STEP_SECONDS
            time.sleep(min(pause, 60, left))


def _stop(app: Application, undo_id: int, run_id: int, jobs: list[str]) -> str:
    stopped = app.undo.stop(undo_id)
    command = " ".join(["cprqueue undo", str(run_id), *jobs])
    return f"undo {undo_id} stopped, {stopped.text()}: `{command}` continues it"
