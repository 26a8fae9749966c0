"""Wake-ups: messages that only say that something may be due; which ones to send, and when.

One that is lost costs time, never a job: the sweep sends one for each batch that is due. Nor is
more than one sent for each batch, so that none is left to wait in the queue when nothing is due.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import NamedTuple

from cprqueue.domain.models import BATCH, Job
from cprqueue.services.push.push import WakeUpResult
from cprqueue.store import app_state, push_queue
from cprqueue.store.database import Database, clock

LONGEST_COUNTDOWN = timedelta(seconds=60)
LINGER_SECONDS = 1.0
SHORTEST_COUNTDOWN = timedelta(seconds=0.5)


class WakeUp(NamedTuple):
    """One message. ``job_id`` and ``label`` are for people; it goes out in ``seconds``."""

    job_id: int | None
    label: str
    seconds: float = 0


class Spared:
    """The wake-ups of one process that records jobs: one for each batch, not for each job.

    The first goes out at once. What is due within a second of it is served by the next, which
    goes out then; where a batch is full before, by one more at once. A wake-up runs after the
    commit of all that it serves, where the hosts' clocks agree. Where the process dies, what it did
    not send yet is the sweep's, and what it sent is with the broker.
    """

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._served_until = -LINGER_SECONDS
        self._jobs = 0

    def choose(self, job: Job, job_ids: Sequence[int]) -> list[WakeUp]:
        """Return the wake-up to send for what is due since ``job`` was recorded, if any."""
        if not job_ids:
            return []
        first = job_ids[0]
        label = job.label if first == job.job_id else f"RM job {first}"
        wait = self._wait(len(job_ids))
        return [] if wait is None else [WakeUp(first, label, wait)]

    def _wait(self, jobs: int) -> float | None:
        now = self._seconds()
        self._jobs += jobs
        if self._jobs >= BATCH:
            self._jobs = 0
            return 0
        if now < self._served_until:
            return None
        self._served_until = max(now, self._served_until + LINGER_SECONDS)
        return self._served_until - now


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
    if result.more:
        return [WakeUp(None, "more is due")]
    wait = max(result.next_in, SHORTEST_COUNTDOWN)
    with db.begin() as conn:
        now = clock(conn)
        first = app_state.claim_moment(conn, "wake", now=now, moment=now + wait)
    return [WakeUp(None, "wake-up", wait.total_seconds())] if first else []
