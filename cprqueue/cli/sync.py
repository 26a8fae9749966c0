"""``cprqueue sync``: fetch now, and watch until every job is pushed or parked."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from cprqueue.bootstrap import Application, application
from cprqueue.cli.console import note, print_json, say_error
from cprqueue.cli.progress_bar import SyncDisplay
from cprqueue.domain.records import RunState
from cprqueue.errors import ServiceUnreachable
from cprqueue.services.push import first_export
from cprqueue.services.reports import progress
from cprqueue.services.reports.progress import SyncProgress
from cprqueue.store import schema

POLL_SECONDS = 0.25
SILENCE_SECONDS = 15.0
"""After so long without any change somebody asks whether the workers are still there."""

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
    from cprqueue.cli import send  # not at the top: reads the settings at once

    app = application()
    app.settings.require_services()
    schema.require_current(app.db)
    if wait:
        _require_workers(app)
    with app.db.read() as conn:
        before = app.budget.calls_so_far(conn)
    run_id = app.fetch.request(complete=full, requested_by="sync")
    send.send("cpr.fetch_jobs", full=full, run_id=run_id)
    if wait:
        end = _watch(app, run_id, calls_before=before, timeout_seconds=timeout)
    else:
        end = progress.read_progress(app.db, app.budget, run_id, calls_before=before)
    if json:
        print_json(end.as_json())
    raise typer.Exit(_verdict(end) if wait else _queued(end))


def _require_workers(app: Application) -> None:
    """Raise ServiceUnreachable unless all that the sync needs is at work."""
    from cprqueue.cli import send

    with app.db.read() as conn:
        exported = first_export.taken(conn)
    send.require_workers(send.FOR_SYNC if exported else send.FOR_FIRST_SYNC)


def _watch(
    app: Application, run_id: int, *, calls_before: int, timeout_seconds: float
) -> SyncProgress:
    """Return the last look: all done, out of time, or nobody left to wait for."""
    deadline = time.monotonic() + timeout_seconds
    liveness, closer = _Liveness(app), _Closer(app)
    with SyncDisplay() as display:
        while True:
            current = progress.read_progress(app.db, app.budget, run_id, calls_before=calls_before)
            display.show(current)
            closer.see(current)
            if current.finished or time.monotonic() > deadline or not liveness.is_alive(current):
                return current
            if current.stopped and current.state is RunState.DONE:
                return current
            time.sleep(POLL_SECONDS)  # between two looks


class _Closer:
    """Has a run closed that is recorded to the end: by a worker, so that its log tells of it.

    The fetch worker does it in the first minute, later a sweep; we do it where neither does.
    """

    def __init__(self, app: Application) -> None:
        self._app = app
        self._recorded_at: float | None = None
        self._asked = False

    def see(self, current: SyncProgress) -> None:
        """Take a look; it may show the run as still open for the last time."""
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
            from cprqueue.cli import send

            self._asked = True
            send.send("cpr.sweep")


class _Liveness:
    """Tells whether it makes sense to go on waiting."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._last: SyncProgress | None = None
        self._quiet_since = time.monotonic()

    def is_alive(self, current: SyncProgress) -> bool:
        """True if something moved lately, or else if the workers answer."""
        if current != self._last:
            self._last, self._quiet_since = current, time.monotonic()
        elif time.monotonic() - self._quiet_since > SILENCE_SECONDS:
            self._quiet_since = time.monotonic()
            try:
                _require_workers(self._app)
            except ServiceUnreachable as error:
                say_error(str(error))
                return False
        return True


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
    if end.parked:
        note(f"{end.parked} jobs are parked: see `cprqueue failures`")
        return SOME_FAILED
    return DONE


def _queued(end: SyncProgress) -> int:
    note(f"run {end.run_id} is queued: see `cprqueue status`")
    return DONE
