"""Push: bring QuickBooks Time in step with the record, up to 50 jobs a request.

A wake-up only says that something may be due. What if the process dies, or is suspended for
longer than its lease
- before the claim: nothing happened; the rows are due.
- after the claim: the lease expires, then the rows are due again.
- after the intent is written, before or after the request: the next claimer sees the intent
  and verifies before it writes anything. A process that goes on under an expired lease sends
  nothing; a request that arrives late all the same is set right, see ``late_writes``.
- after the answer, before it is written down: the same.
- after it is written down: what is left for the job is done at the next claim.
Run twice or late, a claim finds nothing due and nothing is sent.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection

from cprqueue import failpoints
from cprqueue.clients.budget import Budget
from cprqueue.domain.models import BATCH
from cprqueue.domain.push_item import Item, read_item
from cprqueue.domain.states import RunKind, RunState, VerificationKind
from cprqueue.errors import AccessStopped, CprqueueError, DatabaseUnavailable, OutOfCalls
from cprqueue.services import gates
from cprqueue.services.push import first_export
from cprqueue.services.push.batch import Batch
from cprqueue.services.push.executor import Executor
from cprqueue.store import clock_steps, leases, push_queue, runs
from cprqueue.store.database import Database, clock

log = logging.getLogger(__name__)

LINGER = timedelta(seconds=1)
LISTING = (RunState.RUNNING, RunState.RECORDING)
PATIENCE = timedelta(seconds=10)
POLL_SECONDS = 0.1
AFTER_A_FAILURE = timedelta(seconds=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class WakeUpResult:
    """What a wake-up did. ``next_in``: send another after this, where something is due.

    ``export``: the snapshot to order now, the first one of the account.
    """

    text: str
    pushed: int = 0
    export: int | None = None
    next_in: timedelta | None = None

    @property
    def more(self) -> bool:
        """Tell whether some was pushed and more is due now."""
        return bool(self.pushed) and self.next_in == timedelta(0)


@dataclass(slots=True, kw_only=True)
class Push:
    """The push of one account. ``urgent`` may use the reserve of the call budget."""

    db: Database
    budget: Budget
    work: Executor
    lease_time: timedelta
    urgent: bool = False

    def push_due(self) -> WakeUpResult:
        """Push what is due, up to 50 jobs; return what was done, and when to come again."""
        clock_steps.watch(self.db)
        waiting = self._cannot_push_now()
        if waiting:
            return waiting
        at_least = self._wait_for_batch()
        if not at_least:
            return WakeUpResult(text="waiting to fill a batch", next_in=LINGER)
        with self.db.begin() as conn:
            batch = self._claim(conn, at_least=at_least)
        if not batch.items:
            return self._later("nothing due")
        failpoints.point("claimed")
        return self._finish(batch)

    def push_job(self, job_id: int, compared: Callable[[Item], None]) -> bool:
        """Push one job now, after a full verification.

        ``compared`` is called after it and before anything is written. False where the
        job is not due, or another worker holds it right now. Raises what stops the push.
        """
        with self.db.begin() as conn:
            batch = self._claim(conn, only=job_id)
        try:
            for item in list(batch.items.values()):
                item.verification = VerificationKind.FULL
                self.work.verify(batch, [item])
                if item.certain:
                    compared(item)
                self.work.do(batch)
                return True
        except CprqueueError as error:
            self.halted(error)
            raise
        finally:
            batch.close()
        return False

    def _cannot_push_now(self) -> WakeUpResult | None:
        with self.db.read() as conn:
            if closed := gates.closed_because(conn):
                return WakeUpResult(text=closed)
            due, _oldest = push_queue.due_now(conn, now=clock(conn), at_most=1)
            exported = first_export.taken(conn)
        if not due:
            return self._later("nothing due")
        if not exported:
            return self._missing_export()
        wait = self.budget.wait_seconds(urgent=self.urgent)
        return (
            WakeUpResult(text="out of calls", next_in=timedelta(seconds=wait)) if wait > 0 else None
        )

    def _missing_export(self) -> WakeUpResult:
        """Have the account's first export taken, so that what is there already is adopted."""
        run_id = first_export.order(self.db, quiet=self.lease_time)
        text = "waiting for the first export: a worker of the queue maintenance takes it"
        return WakeUpResult(text=text, export=run_id, next_in=first_export.RETRY_AFTER)

    def _wait_for_batch(self) -> int:
        """Return how many jobs a claim must find at least; 0 where it is too early to claim.

        While a fetch is still bringing jobs, wait at most a second for a full batch.
        """
        deadline = time.monotonic() + LINGER.total_seconds()
        while True:
            with self.db.read() as conn:
                now = clock(conn)
                due, oldest = push_queue.due_now(conn, now=now, at_most=BATCH)
                more = runs.newest(conn, RunKind.FETCH, *LISTING) is not None
            if not more or (oldest and oldest < now - PATIENCE):
                return 1
            if due >= BATCH:
                return BATCH
            if time.monotonic() > deadline:
                return 0
            time.sleep(POLL_SECONDS)  # filling a batch: fifty jobs cost the calls of one

    def _claim(self, conn: Connection, *, at_least: int = 1, only: int | None = None) -> Batch:
        now = clock(conn)
        lease = str(uuid.uuid4())
        until = now + self.lease_time
        rows = leases.claim(
            conn, lease, now=now, limit=BATCH, until=until, only=only, at_least=at_least
        )
        batch = Batch(db=self.db, lease=lease, lease_time=self.lease_time)
        for row in rows:
            batch.items[row.job_id] = read_item(row)
        return batch

    def _finish(self, batch: Batch) -> WakeUpResult:
        began, jobs = time.monotonic(), len(batch.items)
        try:
            self.work.do(batch)
        except CprqueueError as error:
            return self.halted(error)
        finally:
            batch.close()
        text = f"{batch.pushed} in step, {batch.parked} parked, {batch.failed} to try again"
        counts = {"in_step": batch.pushed, "parked": batch.parked, "to_try_again": batch.failed}
        seconds = round(time.monotonic() - began, 1)
        log.info("batch pushed", extra={"jobs": jobs, **counts, "seconds": seconds})
        return self._later(text, pushed=batch.pushed)

    def _later(self, text: str, *, pushed: int = 0) -> WakeUpResult:
        with self.db.read() as conn:
            wait = push_queue.next_due_in(conn, now=clock(conn))
        return WakeUpResult(text=text, pushed=pushed, next_in=wait)

    def halted(self, error: CprqueueError) -> WakeUpResult:
        """Decide what an error of a whole request means for the push.

        Raises DatabaseUnavailable again: the wake-up itself has to come again.
        """
        if isinstance(error, DatabaseUnavailable):
            raise error
        if isinstance(error, AccessStopped):
            gates.stop_push(self.db, error)
            return WakeUpResult(text=f"the push is stopped: {error}")
        if isinstance(error, OutOfCalls):
            return WakeUpResult(text=str(error), next_in=timedelta(seconds=error.wait_seconds))
        return WakeUpResult(text=str(error), next_in=AFTER_A_FAILURE)
