"""Record what came of one request, item by item: done, tried again, or parked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from random import Random

from sqlalchemy import Connection

from cprqueue.domain import push_plan
from cprqueue.domain.models import ItemResult
from cprqueue.domain.push_item import Item
from cprqueue.domain.retry import SETTLING, Again, after_item_failure, backoff, verification_delay
from cprqueue.domain.states import ErrorCode, VerificationKind, item_answered, refused
from cprqueue.errors import CprqueueError
from cprqueue.services.push import late_writes
from cprqueue.services.push.batch import Batch
from cprqueue.services.push.observing import record_observed, record_observed_each
from cprqueue.store import links
from cprqueue.store.database import clock

Pairs = list[tuple[Item, push_plan.Write]]

PASSING = frozenset({409, 423, 429})
CREATES = (push_plan.CreateJobcode, push_plan.CreateLocation)
UNLISTED = (
    "QuickBooks Time says that a jobcode of this name exists, but lists none: it may take another "
    "spelling, say without accents, for the same name: rename that jobcode, then retry"
)


@dataclass(slots=True, kw_only=True)
class Outcomes:
    """Records outcomes in a batch; ``max_attempts`` for an item whose failure may pass."""

    retry_base: timedelta
    max_attempts: int
    rng: Random

    def record(self, batch: Batch, pairs: Pairs, results: list[ItemResult]) -> Pairs:
        """Record the results; return the writes that arrived late, whose jobs are now marked."""

        def work(conn: Connection) -> Pairs:
            outcomes = list(zip(pairs, results, strict=True))
            # One that was there before was not made by us, so it is not ours to archive.
            lost = [row for row in outcomes if row[0][0].job_id not in batch.items]
            late = [pair for pair, result in lost if not result.exists]
            moved = [(*pair, result) for pair, result in outcomes if _moved(pair[1], result)]
            for _, action, _ in moved:
                _record_rename_of_other(conn, batch, action)
            ours = [row for row in moved if row[0].job_id in batch.items]
            record_observed_each(
                conn, batch, [(i, push_plan.apply(i.observed, a, r.id)) for i, a, r in ours]
            )
            for (item, action), result in outcomes:
                if item.job_id in batch.items and not _moved(action, result):
                    self._record_failure(conn, batch, item, action, result)
            late_writes.mark(conn, late)
            return late

        return batch.record(work)

    def record_no_answer(self, batch: Batch, pairs: Pairs, error: CprqueueError) -> Pairs:
        """Leave the intents, so that the next try verifies; return the writes that were late."""

        def work(conn: Connection) -> Pairs:
            late = [pair for pair in pairs if pair[0].job_id not in batch.items]
            self._postpone(conn, batch, [item for item, _ in pairs], error)
            late_writes.mark(conn, late, under_way=self.retry_base * SETTLING)
            return late

        return batch.record(work)

    def postpone(self, batch: Batch, items: list[Item], error: CprqueueError) -> None:
        """Give the items back for a later try."""
        with batch.recording() as conn:
            self._postpone(conn, batch, items, error)

    def _postpone(
        self, conn: Connection, batch: Batch, items: list[Item], error: CprqueueError
    ) -> None:
        now = clock(conn)
        for item in batch.keep_ours(items):
            attempts = item.attempts + 1
            wait = verification_delay if item.intent else backoff
            at = now + wait(attempts, base=self.retry_base, rng=self.rng)
            reason = str(error)
            batch.postpone(conn, item, ErrorCode.NO_ANSWER, reason, at=at, attempts=attempts)

    def _record_failure(
        self,
        conn: Connection,
        batch: Batch,
        item: Item,
        action: push_plan.Write,
        result: ItemResult,
    ) -> None:
        if result.done or (result.exists and isinstance(action, CREATES)):
            self._find_created(conn, batch, item, action, result)
        elif result.code >= 500 or result.code in PASSING:
            self._retry(conn, batch, item, result)
        elif item.fully_verified:
            reason = f"QuickBooks Time refuses to {action.kind.replace('_', ' a ')}: {result.text}"
            batch.park(conn, item, refused(result.code), reason)
        else:
            _verify_fully(conn, batch, item)

    def _find_created(
        self,
        conn: Connection,
        batch: Batch,
        item: Item,
        action: push_plan.Write,
        result: ItemResult,
    ) -> None:
        """What was to be created is there, but its id is not known: verify, once."""
        if not item.sought:
            item.sought = True
            _verify_fully(conn, batch, item)
        elif result.exists and isinstance(action, push_plan.CreateJobcode):
            batch.park(conn, item, refused(result.code), UNLISTED)
        else:
            self._retry(conn, batch, item, result)

    def _retry(self, conn: Connection, batch: Batch, item: Item, result: ItemResult) -> None:
        attempts = item.attempts + 1
        decision = after_item_failure(
            attempts, max_attempts=self.max_attempts, base=self.retry_base, rng=self.rng
        )
        code, full = item_answered(result.code), VerificationKind.FULL
        reason = f"QuickBooks Time answered {result.code}: {result.text}"
        if isinstance(decision, Again):
            at = clock(conn) + decision.delay
            batch.postpone(conn, item, code, reason, full, at=at, attempts=attempts)
        else:
            reason = f"gave up after {attempts} tries: {reason}"
            batch.park(conn, item, code, reason, verification=full)


def _verify_fully(conn: Connection, batch: Batch, item: Item) -> None:
    record_observed(conn, batch, item, item.observed, verification=VerificationKind.FULL)


def _moved(action: push_plan.Write, result: ItemResult) -> bool:
    """Tell whether the step was done; a create counts only with the id of what it made."""
    return result.done and not (isinstance(action, CREATES) and result.id is None)


def _record_rename_of_other(conn: Connection, batch: Batch, action: push_plan.Write) -> None:
    """Record on another job's link that its jobcode was renamed to make way."""
    if not isinstance(action, push_plan.ChangeJobcode):
        return
    for row in links.touching(conn, [action.jobcode_id], []):
        observed = action.applied(row.observed)
        links.set_observed_of_other(conn, row, observed, lease=batch.lease, now=clock(conn))
