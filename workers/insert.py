"""Queue ``insert``: record one RM job in the database."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from cprqueue.bootstrap import application
from cprqueue.celery import app
from cprqueue.domain.models import Job
from cprqueue.errors import Transient
from cprqueue.services.record import Sighting, record
from workers.upsert import wake_up

LONGEST_COUNTDOWN_SECONDS = 60


@app.task(name="cpr.insert_job", bind=True, max_retries=10)
def insert_job(
    self: Any, job: dict[str, Any], run_id: int, complete: bool, observed_at: str
) -> None:
    """Record the job, and ring for whatever QuickBooks Time should now hold differently."""
    value = Job.from_message(job)
    sighting = Sighting(
        run_id=run_id, complete=complete, observed_at=datetime.fromisoformat(observed_at)
    )
    try:
        due = record(application().db, application().rules, value, sighting)
    except Transient as error:
        wait = min(2**self.request.retries, LONGEST_COUNTDOWN_SECONDS)
        # A retry forgets how the message is shown, and then Flower would show the address.
        raise self.retry(exc=error, countdown=wait, argsrepr=value.label, kwargsrepr="") from None
    for job_id in due:
        wake_up(job_id, value.label if job_id == value.job_id else f"RM job {job_id}")
