"""``cprqueue sync``: fetch now, and watch until every job is pushed or parked."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from cprqueue.bootstrap import Application, application
from cprqueue.cli import waiting
from cprqueue.cli.console import note, print_json, say_error
from cprqueue.cli.interrupted import interrupted, run_goes_on
from cprqueue.cli.progress_bar import SyncDisplay
from cprqueue.domain.states import RunState
from cprqueue.services.push import first_export
from cprqueue.services.reports import progress
from cprqueue.services.reports.progress import SyncProgress
from cprqueue.services.reports.words import counted
from cprqueue.store import schema

SILENCE_SECONDS = 15.0
"""After so long without any change the workers are asked for an answer."""

ASK_SECONDS, OURSELVES_SECONDS = 1.0, 10.0
"""After so long a worker is asked to close a run that is recorded, and then it is closed here."""

DONE, SOME_FAILED, TIMED_OUT = 0, 1, 3


def sync(
    full: Annotated[bool, typer.Option("--full", help="All jobs, not only changed ones.")] = False,
    wait: Annotated[bool, typer.Option(help="Watch until all is done.")] = True,
    timeout: Annotated[float, typer.Option(min=0, metavar="S", help="Seconds to watch.")] = 3600,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Fetch the jobs from RestorationManager and push them to QuickBooks Time.

    The workers do it: `cprqueue up` must be running.
    """
    from cprqueue.operating import send  # not at the top: reads the settings at once

    app = application()
    app.settings.require_services()
    schema.require_current(app.db)
    if wait:
        waiting.for_workers(_queues(app))
    with app.db.read() as conn:
        before = app.budget.calls_so_far(conn)
    run_id = app.fetch.request(complete=full, requested_by="sync")
    with interrupted(lambda: run_goes_on(run_id, "sync")):
        send.send("cpr.fetch_jobs", full=full, run_id=run_id)
        if wait:
            end = _watch(app, run_id, calls_before=before, timeout_seconds=timeout)
        else:
            end = progress.read_progress(app.db, app.budget, run_id, calls_before=before)
    if json:
        print_json(end.as_json())
    raise typer.Exit(_verdict(end) if wait else _queued(end))


def _queues(app: Application) -> tuple[str, ...]:
    """Return the queues that a sync sends to: a worker must take from each."""
    from cprqueue.operating import send

    with app.db.read() as conn:
        exported = first_export.taken(conn)
    return send.FOR_SYNC if exported else send.FOR_FIRST_SYNC


def _watch(
    app: Application, run_id: int, *, calls_before: int, timeout_seconds: float
) -> SyncProgress:
    """Return the last state: all done, stopped, or out of time."""
    workers, closer = _WorkerCheck(app), _Closer(app)
    with SyncDisplay() as display:

        def ended() -> SyncProgress | None:
            current = read()
            display.show(current)
            closer.see(current)
            workers.see(current)
            stopped = current.stopped and current.state is RunState.DONE
            return current if current.finished or stopped else None

        def read() -> SyncProgress:
            return progress.read_progress(app.db, app.budget, run_id, calls_before=calls_before)

        return waiting.until(ended, timeout_seconds=timeout_seconds) or read()


class _Closer:
    """Has a run closed once all of it is recorded: by a worker, whose log then has it.

    The fetch worker does so in the first minute, later a sweep; this process where neither does.
    """

    def __init__(self, app: Application) -> None:
        self._app = app
        self._recorded_at: float | None = None
        self._asked = False

    def see(self, current: SyncProgress) -> None:
        """Take the newest state of the run."""
        if current.state != RunState.RECORDING:
            self._app.fetch.close()
            return
        if current.recorded < current.emitted:
            return
        self._recorded_at = self._recorded_at or time.monotonic()
        waited = time.monotonic() - self._recorded_at
        if waited > OURSELVES_SECONDS:
            self._app.fetch.close()
        elif waited > ASK_SECONDS and not self._asked:
            from cprqueue.operating import send

            self._asked = True
            send.send("cpr.sweep")


class _WorkerCheck:
    """Asks the workers for an answer where nothing has changed for a while."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._last: SyncProgress | None = None
        self._quiet_since = time.monotonic()

    def see(self, current: SyncProgress) -> None:
        """Take the newest state. Raises ServiceUnreachable, again and again until they answer."""
        if current != self._last:
            self._last, self._quiet_since = current, time.monotonic()
        elif time.monotonic() - self._quiet_since > SILENCE_SECONDS:
            from cprqueue.operating import send

            send.require_workers(_queues(self._app))
            self._quiet_since = time.monotonic()


def _verdict(end: SyncProgress) -> int:
    """Say in one line what went wrong, if anything; return the exit code."""
    if end.state is RunState.FAILED:
        say_error(end.note)
        return SOME_FAILED
    if end.stopped:
        say_error(end.stopped)
        return TIMED_OUT
    if not end.finished:
        say_error(f"run {end.run_id} is not finished; it goes on: see `cprqueue status`")
        return TIMED_OUT
    if end.held:
        held = f"{counted(end.held, 'job')} held: nothing of it is written"
        note(f"{held}: see `cprqueue plan show {end.run_id}`")
    if end.parked:
        note(f"{counted(end.parked, 'job')} parked: see `cprqueue failures`")
    return SOME_FAILED if end.held or end.parked else DONE


def _queued(end: SyncProgress) -> int:
    note(f"run {end.run_id} is queued: see `cprqueue status`")
    return DONE
