"""Queues ``upsert`` and ``urgent``: push what is due to QuickBooks Time."""

from __future__ import annotations

from typing import Any

from cprqueue.bootstrap import application
from cprqueue.celery import LONG_TASK_SECONDS, app
from cprqueue.errors import DatabaseUnavailable
from cprqueue.services import wake_ups
from workers import publish


@app.task(name="cpr.upsert_job")
def upsert_job(job_id: int | None = None) -> str:
    """A wake-up: push up to 50 due jobs. ``job_id`` says for whom it was sent; it is no order."""
    here = application()
    result = here.push.push_due()
    if result.export:
        publish.task("cpr.snapshot_export", {"run_id": result.export})
    chosen = wake_ups.after(here.db, result)
    if result.more:
        publish.missing_wake_ups(chosen)
    else:
        publish.wake_ups(chosen)
    return result.text


@app.task(
    name="cpr.resync_job",
    bind=True,
    soft_time_limit=LONG_TASK_SECONDS - 60,
    time_limit=LONG_TASK_SECONDS,
)
def resync_job(self: Any, job: str | int, run_id: int | None = None) -> str:
    """Resync one job, by id or number, ahead of everything else."""
    resync = application().resync
    order = run_id or resync.request(str(job))
    try:
        reports = resync.run(str(job), order)
    except DatabaseUnavailable as error:
        raise publish.again(self, error, job=job, run_id=order) from None
    return "; ".join(report.steps[-1].text for report in reports)
