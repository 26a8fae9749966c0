"""What a person decides on plans: approve, dismiss, undo. Of two at once, one gets an effect."""

from __future__ import annotations

from cprqueue.bootstrap import Application
from cprqueue.errors import AlreadyDone, ServiceUnreachable
from cprqueue.operating import send
from cprqueue.operating.job_orders import rung
from cprqueue.services import push_brake
from cprqueue.services.prune import orders
from cprqueue.services.reports.words import counted


def approve_push(app: Application, run_id: int, *, by: str) -> str:
    """Let the workers push what a fetch holds; return what to say. Raises as ``push_brake``."""
    ids = push_brake.approve(app.db, run_id, by=by)
    return f"Approved: {counted(len(ids), 'job')} due now{rung(ids)}."


def dismiss_push(app: Application, run_id: int, *, by: str) -> str:
    """Park what a fetch holds; return what to say. Raises as ``push_brake``."""
    ids = push_brake.dismiss(app.db, run_id, by=by)
    return f"Dismissed: {counted(len(ids), 'job')} parked until a job changes again."


def approve_prune(app: Application, run_id: int, *, by: str) -> str:
    """Have a worker archive what a held plan holds and a fresh one too; return what to say.

    Raises ServiceUnreachable where no worker would take it, AlreadyDone where somebody was
    quicker, and what ``orders.approve`` raises.
    """
    send.require_workers(["maintenance"])
    if not orders.approve(app.db, run_id, by=by):
        raise AlreadyDone(f"prune {run_id} is approved already: it is planned afresh, then done")
    try:
        send.send("cpr.snapshot_and_prune", run_id=run_id, approve=True)
    except ServiceUnreachable:
        orders.withdraw(app.db, run_id, approval=True)
        raise
    return "Approved: a worker takes a fresh snapshot, then archives what both plans hold."


def undo(app: Application, run_id: int, *, by: str, keep: bool = False) -> int:
    """Have a worker restore what a prune or remove-all archived; return the run of the undo.

    ``keep``: what comes back stays, whatever the next prune plans. Raises what
    ``Undo.request`` raises, and ServiceUnreachable where the broker is away.
    """
    app.settings.require_services()
    undo_id = app.undo.request(run_id, by=by, keep_by=by if keep else "")
    try:
        send.send("cpr.undo", run_id=undo_id)
    except ServiceUnreachable:
        app.undo.stop(undo_id)
        raise
    return undo_id
