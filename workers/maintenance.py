"""Queue ``maintenance``: the sweep, snapshots, prunes and the emergency remove-all."""

from __future__ import annotations

from typing import Any

from celery import chain

from cprqueue.bootstrap import Application, application
from cprqueue.celery import LONG_TASK_SECONDS, app, ending
from cprqueue.domain.retry import countdown_seconds
from cprqueue.errors import CprqueueError, OutOfCalls, Transient
from cprqueue.services import gates
from cprqueue.services.fetch import closing
from cprqueue.services.prune import orders
from cprqueue.services.push import orphaned_creates
from cprqueue.services.snapshot import drift
from cprqueue.services.snapshot.snapshot import newest_run_id
from cprqueue.services.sweep import tidy
from workers.upsert import wake_up_due

LONG = {
    "soft_time_limit": LONG_TASK_SECONDS - 60,
    "time_limit": LONG_TASK_SECONDS,
    "bind": True,
    "max_retries": None,
}


@app.task(name="cpr.sweep")
def sweep() -> str:
    """Close finished runs, try a stopped push, take up what died, and ring for what is due.

    So nothing ever waits for a message that was lost.
    """
    here = application()
    here.fetch.close()
    tidy(here.db)
    resend_lost_orders(here)
    if not gates.probe_push(here.db, here.push.work.qbt, here.alert):
        return "the push is stopped"
    orphaned_creates.settle(here.db, here.push.work.qbt, quiet=here.settings.lease)
    return f"{wake_up_due()} batches are due"


@app.task(name="cpr.snapshot_export", **LONG)
def snapshot_export(self: Any, run_id: int | None = None, for_run: int | None = None) -> str:
    """Read all of QuickBooks Time into ``qbt_export``; have drift put right.

    ``for_run``: the prune that waits for it in the chain; it fails where this fails for good.
    """
    here = application()
    first = newest_run_id(here.db) is None
    try:
        done = here.snapshot.take(run_id, stop_asked=ending)
        run_id = done  # what is taken is not taken again, whatever the comparison meets
        drifted = drift.find(here.db, done)
    except CprqueueError as error:
        here.push.halted(error)
        if isinstance(error, Transient):
            raise again(self, error, run_id=run_id, for_run=for_run) from None
        if orders.note_failure(here.db, for_run, error):
            here.alert("prune failed", f"run {for_run}: its snapshot failed: {error}")
        raise
    if drifted or first:
        wake_up_due()
    return f"run {done}, {len(drifted)} drifted"


@app.task(name="cpr.snapshot_and_prune")
def snapshot_and_prune(run_id: int | None = None, approve: bool = False) -> str:
    """Enqueue the chain: snapshot, then prune. Without ``run_id``: if this month's is owed."""
    here = application()
    order = orders.prune(here.db, run_id, here.settings.timezone, quiet=here.settings.lease)
    if order is None:
        return "this month's prune is done or under way"
    chain(
        snapshot_export.si(run_id=order.snapshot_id, for_run=order.run_id),
        prune_inactive.si(run_id=order.run_id, snapshot_id=order.snapshot_id, approve=approve),
    ).apply_async()
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
        raise again(self, error) from None


@app.task(name="cpr.remove_all", **LONG)
def remove_all(self: Any, run_id: int) -> str:
    """Carry out a remove-all that was confirmed."""
    try:
        return application().remove_all.run(run_id)
    except Transient as error:
        raise again(self, error) from None


def resend_lost_orders(here: Application) -> None:
    """Send the orders again of runs whose messages or workers were lost."""
    for run in closing.lost_fetches(here.db, messages_in, quiet=here.settings.lease):
        app.send_task("cpr.fetch_jobs", kwargs={"full": run.complete, "run_id": run.run_id})
    for task, kwargs in orders.interrupted(here.db, quiet=here.settings.lease):
        app.send_task(task, kwargs=kwargs)


def messages_in(queue: str) -> int:
    """Count the messages that wait in a queue, on any broker."""
    with app.connection_for_write() as connection:
        try:
            with connection.channel() as channel:
                return int(channel.queue_declare(queue=queue, passive=True).message_count)
        except connection.channel_errors:
            return 0  # on Redis a queue without messages does not exist


def again(task: Any, error: CprqueueError, **kwargs: Any) -> Exception:
    """Have the task come again when it may succeed; never more than a minute ahead.

    With the same arguments, or with ``kwargs`` instead.
    """
    free_in = error.wait_seconds if isinstance(error, OutOfCalls) else None
    changed = {"args": (), "kwargs": kwargs} if kwargs else {}
    countdown = countdown_seconds(task.request.retries, call_free_in=free_in)
    found: Exception = task.retry(exc=error, countdown=countdown, throw=False, **changed)
    return found
