"""Queue ``insert``: record RM jobs in the database, each message's and those it takes along."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from cprqueue import failpoints
from cprqueue.bootstrap import application
from cprqueue.celery import app
from cprqueue.domain.models import BATCH, Job
from cprqueue.domain.recording import Sighting
from cprqueue.errors import Transient
from cprqueue.services.record import record
from cprqueue.services.record_batch import Seen, record_batch
from workers import along, publish

LONGEST_COUNTDOWN_SECONDS = 60


class _Message(NamedTuple):
    """The arguments of a task, read."""

    job: Job
    run_id: int
    number: int
    complete: bool
    observed_at: datetime

    def seen(self) -> Seen:
        """Say how its fetch showed the job. Raises Transient where the database is away."""
        braked = application().is_braked(self.run_id)
        _, run_id, number, complete, moment = self
        return Seen(
            self.job,
            Sighting(
                run_id=run_id, number=number, complete=complete, observed_at=moment, braked=braked
            ),
        )


def _read(
    job: dict[str, Any], run_id: int, complete: bool, observed_at: str, number: int | None = None
) -> _Message:
    """Read the arguments; those of the version before have no number: then their run's counts."""
    moment = datetime.fromisoformat(observed_at)
    return _Message(
        Job.from_message(job), run_id, run_id if number is None else number, complete, moment
    )


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

    Up to 49 more messages that wait are recorded in the same transaction.
    """
    if along.is_done(self.request.id):
        return
    message = _read(job, run_id, complete, observed_at, number)
    try:
        with along.taken(self, BATCH - 1, _read) as others:
            due = _record(message, others)
    except Transient as error:
        wait = min(2**self.request.retries, LONGEST_COUNTDOWN_SECONDS)
        # A retry forgets how the message is shown, and then Flower would show the address.
        label = message.job.label
        raise self.retry(exc=error, countdown=wait, argsrepr=label, kwargsrepr="") from None
    publish.wake_ups(application().spared_wake_ups.choose(message.job, due))


def _record(message: _Message, others: along.Batch) -> list[int]:
    """Record the job, and those of the others; return the ids of the jobs to wake up for."""
    here, seen = application(), message.seen()
    if not others:
        return record(here.db, here.rules, *seen)
    rest = [_read(*task.args, **task.kwargs).seen() for task in others.requests]
    recorded = record_batch(here.db, here.rules, [seen, *rest])
    failpoints.point("recorded_batch")
    others.end({place - 1 for place in recorded if place})
    if 0 not in recorded:
        recorded[0] = record(here.db, here.rules, *seen)
    return [job_id for place in sorted(recorded) for job_id in recorded[place]]
