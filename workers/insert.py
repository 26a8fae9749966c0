"""Queue ``insert``: record one RM job in the database."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from cprqueue.bootstrap import application
from cprqueue.celery import app
from cprqueue.domain.models import Job
from cprqueue.domain.recording import Sighting
from cprqueue.errors import Transient
from cprqueue.services.record import record
from workers import publish

LONGEST_COUNTDOWN_SECONDS = 60


@app.task(name="cpr.insert_job", bind=True)
def insert_job(
    self: Any,
    job: dict[str, Any],
    run_id: int,
    complete: bool,
    observed_at: str,
    number: int | None = None,
) -> None:
    """Record the job; wake up the push where QuickBooks Time should now hold something else.

    Messages of the version before have no ``number``: then their run's counts.
    """
    value, moment = Job.from_message(job), datetime.fromisoformat(observed_at)
    number = run_id if number is None else number
    try:
        braked = application().is_braked(run_id)
        sighting = Sighting(
            run_id=run_id, number=number, complete=complete, observed_at=moment, braked=braked
        )
        due = record(application().db, application().rules, value, sighting)
    except Transient as error:
        wait = min(2**self.request.retries, LONGEST_COUNTDOWN_SECONDS)
        # A retry forgets how the message is shown, and then Flower would show the address.
        raise self.retry(exc=error, countdown=wait, argsrepr=value.label, kwargsrepr="") from None
    publish.wake_ups(application().spared_wake_ups.choose(value, due))
