"""Orders that a person gives: on record first, then sent, so that a lost message loses nothing.

Who is named as ``by`` stands in the history of each job that the order is about; the command line
names nobody. All raise ServiceUnreachable where the broker is away, and what their services raise.
"""

from __future__ import annotations

from collections.abc import Sequence

from cprqueue.bootstrap import Application
from cprqueue.errors import AlreadyDone, ServiceUnreachable
from cprqueue.operating import send
from cprqueue.services import lost_requests, push_brake
from cprqueue.services.prune import orders as prunes
from cprqueue.services.reports import overview

RESYNC_SECONDS = 120


def fetch(app: Application, *, by: str, complete: bool = False) -> int:
    """Have a worker fetch the changed jobs (or all), and push them; return the run."""
    app.settings.require_services()
    run_id = app.fetch.request(complete=complete, requested_by=by)
    send.send("cpr.fetch_jobs", full=complete, run_id=run_id)
    return run_id


def resync(
    app: Application, jobs: Sequence[str], *, by: str = "", timeout_seconds: float = RESYNC_SECONDS
) -> dict[str, int]:
    """Have a worker put these jobs (ids or numbers) right, before all else; return their runs."""
    app.settings.require_services()
    run_ids = {job: app.resync.request(job, timeout_seconds, ordered_by=by) for job in jobs}
    try:
        for job, run_id in run_ids.items():
            send.send("cpr.resync_job", job=job, run_id=run_id)
    except ServiceUnreachable as error:
        lost_requests.withdraw(app.db, run_ids.values(), f"not sent: {error}")
        raise
    return run_ids


def retry(app: Application, job_ids: Sequence[int] | None, *, by: str = "") -> list[int]:
    """Push parked and waiting jobs again, all where None; return those that are due now."""
    due = overview.make_due(app.db, list(job_ids) if job_ids is not None else None, requested_by=by)
    if due:
        send.send_wake_ups(due)
    return due


def approve_push(app: Application, run_id: int, *, by: str = "") -> list[int]:
    """Let the workers push what this fetch holds; return those jobs.

    Of two who approve or dismiss at once, the second gets AlreadyDone.
    """
    ids = push_brake.approve(app.db, run_id, requested_by=by or "a person")
    send.send_wake_ups(ids)
    return ids


def dismiss_push(app: Application, run_id: int, *, by: str = "") -> list[int]:
    """Park what this fetch holds; return those jobs. As ``approve_push``."""
    return push_brake.dismiss(app.db, run_id, requested_by=by or "a person")


def prune(app: Application, *, by: str) -> int:
    """Have a worker take a snapshot and prune; return the run."""
    app.settings.require_services()
    run_id = prunes.request_prune(app.db, by)
    send_prune(app, run_id, approval=False)
    return run_id


def approve_prune(app: Application, run_id: int, *, by: str = "") -> None:
    """Have a worker archive what a held plan and a fresh one both hold.

    Of two who approve at once, the second gets AlreadyDone.
    """
    app.settings.require_services()
    if not prunes.approve(app.db, run_id, requested_by=by):
        raise AlreadyDone(f"prune {run_id} is approved already: a worker takes a fresh snapshot")
    send_prune(app, run_id, approval=True)


def send_prune(app: Application, run_id: int, *, approval: bool) -> None:
    """Send an order for a prune that is on record; it is withdrawn where the broker is away."""
    try:
        send.send("cpr.snapshot_and_prune", run_id=run_id, approve=approval)
    except ServiceUnreachable:
        prunes.withdraw(app.db, run_id, approval=approval)
        raise


def undo(
    app: Application, run_id: int, numbers: Sequence[str] = (), *, by: str = "", keep: bool = False
) -> int:
    """Have a worker restore what a run archived, or a part of it; return the undo's run."""
    app.settings.require_services()
    keep_by = by if keep else ""
    undo_id = app.undo.request(run_id, numbers, keep_by=keep_by, requested_by=by)
    send_undo(app, undo_id)
    return undo_id


def send_undo(app: Application, undo_id: int) -> None:
    """Send the order; where the broker is away it is stopped, so that it keeps no other out."""
    try:
        send.send("cpr.undo", run_id=undo_id)
    except ServiceUnreachable:
        app.undo.stop(undo_id)
        raise
