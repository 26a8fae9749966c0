"""Queue ``maintenance``: the sweep, snapshots, prunes and the emergency remove-all."""

from __future__ import annotations

from cprqueue.bootstrap import application
from cprqueue.celery import LONG_TASK_SECONDS, app
from cprqueue.errors import Permanent
from cprqueue.services import stop
from cprqueue.services.tidy import tidy
from workers.upsert import ring_due


@app.task(name="cpr.sweep")
def sweep() -> str:
    """Close finished runs, try a stopped push, and ring for whatever is due.

    So nothing ever waits for a message that was lost.
    """
    here = application()
    here.pull.close()
    tidy(here.db)
    if not stop.probe(here.db, here.push.qbt, here.alert):
        return "the push is stopped"
    return f"{ring_due()} batches are due"


@app.task(
    name="cpr.snapshot_export", soft_time_limit=LONG_TASK_SECONDS - 60, time_limit=LONG_TASK_SECONDS
)
def snapshot_export(run_id: int | None = None) -> str:
    """Read all of QuickBooks Time into ``qbt_export``."""
    return f"run {application().snapshot.take(run_id)}"


@app.task(name="cpr.snapshot_and_prune")
def snapshot_and_prune() -> None:
    """The monthly chain."""
    raise Permanent("snapshot-and-prune is not built yet: nothing was archived")


@app.task(name="cpr.prune_inactive")
def prune_inactive() -> None:
    """Archive what is inactive."""
    raise Permanent("prune is not built yet: nothing was archived")


@app.task(name="cpr.remove_all")
def remove_all() -> None:
    """The emergency: archive all."""
    raise Permanent("remove-all is not built yet: nothing was archived")
