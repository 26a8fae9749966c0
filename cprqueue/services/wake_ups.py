"""Wake-ups: messages that only say that something may be due; which ones to send, and when.

One that is lost costs time, never a job: the sweep sends one for each batch that is due.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import NamedTuple

from cprqueue.domain.models import BATCH, Job
from cprqueue.services.push.push import WakeUpResult
from cprqueue.store import app_state, push_queue
from cprqueue.store.database import Database, clock

LONGEST_COUNTDOWN = timedelta(seconds=60)
SHORTEST_COUNTDOWN = timedelta(seconds=0.5)


class WakeUp(NamedTuple):
    """One message. ``job_id`` and ``label`` are for people; it goes out in ``seconds``."""

    job_id: int | None
    label: str
    seconds: float = 0


def for_jobs(job: Job, job_ids: Iterable[int]) -> list[WakeUp]:
    """Return a wake-up for each job that is due since ``job`` was recorded."""
    return [WakeUp(n, job.label if n == job.job_id else f"RM job {n}") for n in job_ids]


def due(db: Database) -> list[WakeUp]:
    """Return a wake-up for each batch that is due."""
    with db.read() as conn:
        ids = push_queue.one_of_each_batch(conn, now=clock(conn), every=BATCH)
    return [WakeUp(job_id, f"RM job {job_id} and others") for job_id in ids]


def after(db: Database, result: WakeUpResult) -> list[WakeUp]:
    """Return the wake-up for the next job that is due; one serves all workers.

    The sweep sends those for whatever lies further ahead than a minute.
    """
    if result.next_in is None or result.next_in > LONGEST_COUNTDOWN:
        return []
    if result.pushed and not result.next_in:
        return [WakeUp(None, "more is due")]
    wait = max(result.next_in, SHORTEST_COUNTDOWN)
    with db.begin() as conn:
        now = clock(conn)
        first = app_state.claim_moment(conn, "wake", now=now, moment=now + wait)
    return [WakeUp(None, "wake-up", wait.total_seconds())] if first else []
