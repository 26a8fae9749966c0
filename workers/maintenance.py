"""Queue ``maintenance``: the sweep, snapshots, prunes and the emergency remove-all."""

from __future__ import annotations

from typing import Any

from celery import chain

from cprqueue.bootstrap import application
from cprqueue.celery import LONG_TASK_SECONDS, app, ending
from cprqueue.errors import CprqueueError, Transient
from cprqueue.runtime import timetable
from cprqueue.services import ticks, wake_ups
from cprqueue.services.prune import orders
from cprqueue.services.snapshot import geocoding
from workers import publish

LONG = {
    "soft_time_limit": LONG_TASK_SECONDS - 60,
    "time_limit": LONG_TASK_SECONDS,
    "bind": True,
}


@app.task(name="cpr.sweep")
def sweep(by_beat: bool = True) -> str:
    """Let whatever waits for a lost message or a dead worker go on; wake up for what is due.

    Then people are told what changed, however it went, and the monitor outside that it went well;
    of a sweep that beat did not send (``by_beat``) it hears nothing.
    """
    here = application()
    ticks.note(here.db, by_beat=by_beat)
    try:
        due = here.sweep.run(waiting=publish.messages_in, send=publish.task)
        publish.missing_wake_ups(due)
        publish.canaries()
    finally:
        here.alerting.tell(timetable.latest(app))
    if by_beat:
        here.call_monitor()
    return f"{len(due)} batches are due"


@app.task(name="cpr.snapshot_export", **LONG)
def snapshot_export(self: Any, run_id: int | None = None, for_run: int | None = None) -> str:
    """Read all of QuickBooks Time into ``qbt_export``; have drift put right.

    ``for_run``: the prune that waits for it in the chain; it fails where this fails for good.
    """
    here = application()
    if for_run is not None and not orders.is_live(here.db, for_run):
        return orders.drop_snapshot(here.db, run_id, for_run)
    try:
        done = here.snapshot.take(run_id, stop_asked=ending)
    except Transient as error:
        raise publish.again(self, error) from None
    except CprqueueError as error:
        orders.note_failure(here.db, for_run, error)
        raise
    publish.missing_wake_ups(wake_ups.due(here.db))
    return f"run {done}"


@app.task(name="cpr.read_geocoding")
def read_geocoding() -> str:
    """Ask QuickBooks Time which addresses it could not place; what fails waits a night."""
    here = application()
    return geocoding.read(here.db, here.qbt())


@app.task(name="cpr.snapshot_and_prune")
def snapshot_and_prune(run_id: int | None = None, approve: bool = False) -> str:
    """Enqueue the chain: snapshot, then prune. Without ``run_id``: if this month's is owed."""
    here = application()
    order = orders.prune(here.db, run_id, here.settings.timezone, quiet=here.settings.lease)
    if order is None:
        return "no prune is to be carried out now"
    snapshot = snapshot_export.si(run_id=order.snapshot_id, for_run=order.run_id)
    prune = prune_inactive.si(run_id=order.run_id, snapshot_id=order.snapshot_id, approve=approve)
    publish.canvas(chain(snapshot, prune))
    return f"run {order.run_id} after snapshot {order.snapshot_id}"


@app.task(name="cpr.prune_inactive", **LONG)
def prune_inactive(
    self: Any, run_id: int, snapshot_id: int | None = None, approve: bool = False
) -> str:
    """Archive what is finished: plan and carry out, or go on with a plan that was cut off."""
    prune = application().prune
    try:
        return prune.approve(run_id, snapshot_id) if approve else prune.run(run_id, snapshot_id)
    except Transient as error:
        raise publish.again(self, error) from None


@app.task(name="cpr.remove_all", **LONG)
def remove_all(self: Any, run_id: int) -> str:
    """Carry out a remove-all that was confirmed."""
    try:
        return application().remove_all.run(run_id)
    except Transient as error:
        raise publish.again(self, error) from None


@app.task(name="cpr.undo", **LONG)
def undo(self: Any, run_id: int) -> str:
    """Continue an undo whose command was killed, or that an archive overtook."""
    try:
        return application().undo.run(run_id).text()
    except Transient as error:
        raise publish.again(self, error) from None
