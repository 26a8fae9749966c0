"""Queue ``fetch``: pull the job list, one message for each job."""

from __future__ import annotations

import time
from typing import Any

from cprqueue import log
from cprqueue.bootstrap import application
from cprqueue.celery import LONG_TASK_SECONDS, app
from cprqueue.errors import AlreadyDone, AlreadyRunning, CprqueueError, Transient
from cprqueue.services.fetch.fetch import Fetch, FetchRun
from workers.insert import insert_job
from workers.upsert import wake_up_due

BUSY_SECONDS = 2
BATCH_OF_MESSAGES = 500
WATCH_SECONDS = 60


@app.task(
    name="cpr.fetch_jobs",
    bind=True,
    soft_time_limit=LONG_TASK_SECONDS - 60,
    time_limit=LONG_TASK_SECONDS,
    max_retries=None,
)
def fetch_jobs(self: Any, full: bool = False, run_id: int | None = None) -> str:
    """Fetch from RM and send one ``cpr.insert_job`` for each job.

    While another fetch is under way, one that somebody asked for comes again; beat's own is
    dropped, because the next one is never far.
    """
    fetch = application().fetch
    try:
        run = fetch.start(run_id, complete=full)
    except AlreadyDone as over:
        return str(over)
    except AlreadyRunning as busy:
        if run_id is None:
            return str(busy)
        raise self.retry(exc=busy, countdown=BUSY_SECONDS) from None
    except Transient as error:
        raise self.retry(exc=error, countdown=BUSY_SECONDS * 5) from None
    with log.bound(run_id=run.run_id):
        return _carry_out(fetch, run)


def _carry_out(fetch: Fetch, run: FetchRun) -> str:
    try:
        _send_all(fetch, run)
    except CprqueueError as error:
        fetch.failed(run, error)
        raise
    except Exception as error:
        # Nobody foresaw it, but whoever waits for the run must hear of its end.
        name = type(error).__name__
        fetch.failed(run, CprqueueError(f"unexpected {name}: see the log of the fetch worker"))
        raise
    fetch.sent(run)
    _watch(fetch)
    return f"run {run.run_id}: {run.emitted} jobs sent"


def _send_all(fetch: Fetch, run: FetchRun) -> None:
    """Send the messages in pipelined groups: one round trip for many."""
    sighting = {
        "run_id": run.run_id,
        "complete": run.complete,
        "observed_at": run.observed_at.isoformat(),
    }
    with app.producer_or_acquire() as producer, producer.batch(max_size=BATCH_OF_MESSAGES):
        for job in fetch.messages(run):
            insert_job.apply_async(
                kwargs={"job": job.as_message(), **sighting},
                argsrepr=job.label,
                kwargsrepr="",
                producer=producer,
            )


def _watch(fetch: Fetch) -> None:
    """Close the run as soon as it is recorded; the sweep closes one that takes longer."""
    deadline = time.monotonic() + WATCH_SECONDS
    while fetch.close():
        if time.monotonic() > deadline:
            return
        time.sleep(0.2)  # between two looks at the count of what is recorded
    wake_up_due()
