"""Queue ``fetch``: fetch the job list, one message for each job."""

from __future__ import annotations

from typing import Any

from cprqueue.bootstrap import application
from cprqueue.celery import LONG_TASK_SECONDS, app
from cprqueue.errors import AlreadyDone, AlreadyRunning
from cprqueue.services import wake_ups
from workers import publish

BUSY_SECONDS = 2


@app.task(
    name="cpr.fetch_jobs",
    bind=True,
    soft_time_limit=LONG_TASK_SECONDS - 60,
    time_limit=LONG_TASK_SECONDS,
)
def fetch_jobs(self: Any, full: bool = False, run_id: int | None = None) -> str:
    """Fetch from RM and send one ``cpr.insert_job`` for each job.

    While another fetch is under way, one that somebody asked for comes again; beat's own is
    dropped, because the next one is never far.
    """
    here = application()
    try:
        with here.fetch.running(run_id, complete=full) as run:
            publish.jobs(here.fetch.messages(run), **run.sighting())
    except AlreadyDone as over:
        return str(over)
    except AlreadyRunning as busy:
        if run_id is None:
            return str(busy)
        raise self.retry(exc=busy, countdown=BUSY_SECONDS) from None
    here.fetch.close_when_recorded()
    publish.missing_wake_ups(wake_ups.due(here.db))
    return f"run {run.run_id}: {run.emitted} jobs sent"
