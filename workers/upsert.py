"""Queues ``upsert`` and ``urgent``: push what is due to QuickBooks Time."""

from __future__ import annotations

from datetime import timedelta

from cprqueue.bootstrap import application
from cprqueue.celery import app
from cprqueue.domain.models import BATCH
from cprqueue.services.push.push import WakeUpResult
from cprqueue.store import app_state, push_queue
from cprqueue.store.database import clock

LONGEST_COUNTDOWN = timedelta(seconds=60)
SHORTEST_COUNTDOWN = timedelta(seconds=0.5)


@app.task(name="cpr.upsert_job")
def upsert_job(job_id: int | None = None) -> str:
    """A doorbell: push up to 50 due jobs. ``job_id`` says who rang; it is not an order."""
    result = application().push.push_due()
    if result.export:
        app.send_task("cpr.snapshot_export", kwargs={"run_id": result.export})
    wake_up_later(result)
    return result.said


@app.task(name="cpr.resync_job")
def resync_job(job: str | int, run_id: int | None = None) -> str:
    """Resync one job, by id or number, ahead of everything else."""
    reports = application().resync.run(str(job), run_id)
    return "; ".join(report.steps[-1].text for report in reports)


def wake_up(job_id: int, label: str) -> None:
    """Ring the doorbell for one job."""
    upsert_job.apply_async((job_id,), argsrepr=label)


def wake_up_due() -> int:
    """Ring once for each batch that is due; return how often."""
    db = application().db
    with db.read() as conn:
        ids = push_queue.one_of_each_batch(conn, now=clock(conn), every=BATCH)
    for job_id in ids:
        wake_up(job_id, f"RM job {job_id} and others")
    return len(ids)


def wake_up_later(result: WakeUpResult) -> None:
    """Have the doorbell rung again when the next job is due; one wake-up serves all workers.

    The sweep rings for whatever lies further ahead than a minute.
    """
    if result.next_in is None or result.next_in > LONGEST_COUNTDOWN:
        return
    if result.pushed and not result.next_in:
        upsert_job.apply_async(argsrepr="more is due")
        return
    wait = max(result.next_in, SHORTEST_COUNTDOWN)
    with application().db.begin() as conn:
        now = clock(conn)
        if not app_state.claim_moment(conn, "wake", now=now, moment=now + wait):
            return
    upsert_job.apply_async(argsrepr="wake-up", countdown=wait.total_seconds())
