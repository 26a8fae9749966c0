"""The work on a claimed batch: one request after another until each job has come to an end.

What if the process dies, or is suspended: see ``services.push``; each ``failpoints.point`` is a
line that the tests do it at.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from random import Random

from cprqueue import failpoints
from cprqueue.clients.qbtime import QuickBooksTime
from cprqueue.domain import push_plan
from cprqueue.domain.models import ItemResult
from cprqueue.domain.push_item import Item
from cprqueue.domain.push_round import ROUNDS, Todo, first_request
from cprqueue.domain.states import Intent
from cprqueue.errors import (
    AccessStopped,
    DatabaseUnavailable,
    LeaseExpired,
    OutOfCalls,
    RateLimited,
    Refused,
    ServiceFailed,
    ServiceUnreachable,
    UnreadableAnswer,
)
from cprqueue.services.push import late_writes, verify
from cprqueue.services.push.batch import Batch
from cprqueue.services.push.decide import Decider
from cprqueue.services.push.outcomes import Outcomes, Pairs
from cprqueue.store.database import Database

AMBIGUOUS = (ServiceUnreachable, ServiceFailed, UnreadableAnswer)
NOT_DONE = (AccessStopped, RateLimited, OutOfCalls)


@dataclass(slots=True, kw_only=True)
class Executor:
    """Sends what a batch needs through ``qbt`` and records what came of it."""

    db: Database
    qbt: QuickBooksTime
    retry_base: timedelta
    max_attempts: int
    rng: Random

    def do(self, batch: Batch) -> None:
        """Send one request after another until each job is done, parked or postponed."""
        decider = Decider(db=self.db, retry_base=self.retry_base, rng=self.rng)
        for _ in range(ROUNDS):
            actions = decider.decide(batch)
            if not actions:
                return
            self._do_first(batch, actions)
        error = UnreadableAnswer(f"not in step after {ROUNDS} requests: verifying")
        self._outcomes.postpone(batch, list(batch.items.values()), error)

    def _do_first(self, batch: Batch, actions: dict[int, Todo]) -> None:
        """Do the actions that come first, in one request."""
        chosen = first_request(actions)
        items = [batch.items[job_id] for job_id in chosen if job_id in batch.items]
        pairs = [(i, a) for i in items if not isinstance(a := actions[i.job_id], push_plan.Verify)]
        if pairs:
            self._send(batch, pairs)
        elif items:
            self.verify(batch, items)

    def verify(self, batch: Batch, items: list[Item]) -> None:
        """Read back what QuickBooks Time holds for these items; no answer postpones them."""
        try:
            verify.verify(self.qbt, batch, items)
        except DatabaseUnavailable:
            raise
        except (*AMBIGUOUS, Refused) as error:
            self._outcomes.postpone(batch, items, error)
        failpoints.point("verified")

    @property
    def _outcomes(self) -> Outcomes:
        return Outcomes(retry_base=self.retry_base, max_attempts=self.max_attempts, rng=self.rng)

    def _send(self, batch: Batch, pairs: Pairs, *, again: bool = True) -> None:
        """Record the intent, send one request, record what came of it."""
        kind = pairs[0][1].kind
        batch.record_intent([item for item, _ in pairs], kind)
        pairs = [pair for pair in pairs if pair[0].job_id in batch.items]
        if not pairs:
            return
        items = [item for item, _ in pairs]
        failpoints.point(f"before_{kind}")
        try:
            results = self._request(kind, pairs, batch)
        except AMBIGUOUS as error:
            self._clear_up(self._outcomes.record_no_answer(batch, pairs, error))
            if isinstance(error, DatabaseUnavailable):
                raise
        except NOT_DONE:
            batch.clear_intent(items)
            raise
        except LeaseExpired:
            batch.clear_intent(items)
            if not again:
                raise
            self._send(batch, pairs, again=False)
        except Refused as error:
            self._refused_whole(batch, pairs, error)
        else:
            failpoints.point(f"after_{kind}")
            late = self._outcomes.record(batch, pairs, results)
            failpoints.point(f"recorded_{kind}")
            self._clear_up(late)

    def _clear_up(self, late: Pairs) -> None:
        if late:
            late_writes.clear_up(self.db, self.qbt)

    def _request(self, kind: Intent, pairs: Pairs, batch: Batch) -> list[ItemResult]:
        send = {
            Intent.CREATE_JOBCODE: self.qbt.create_jobcodes,
            Intent.CHANGE_JOBCODE: self.qbt.change_jobcodes,
            Intent.CREATE_LOCATION: self.qbt.create_locations,
            Intent.CHANGE_LOCATION: self.qbt.change_locations,
        }[kind]
        return send([action.payload() for _, action in pairs], batch.fence)

    def _refused_whole(self, batch: Batch, pairs: Pairs, error: Refused) -> None:
        """The request did nothing: send it in halves until the item that was refused is alone.

        Each half is a request with an intent and a record of its own, so what the first one made
        is known whatever becomes of the second.
        """
        if pairs[0][1].kind is Intent.CREATE_LOCATION:
            pairs = self._still_missing(batch, pairs)
        batch.clear_intent([item for item, _ in pairs])
        if len(pairs) == 1:
            self._outcomes.record(batch, pairs, [ItemResult(code=error.status, extra=str(error))])
            return
        half = len(pairs) // 2
        for part in filter(None, (pairs[:half], pairs[half:])):
            self._send(batch, part)

    def _still_missing(self, batch: Batch, pairs: Pairs) -> Pairs:
        """Return the creates that the refused request did not carry out all the same.

        Locations are not unique, so one that is created twice would stay twice.
        """
        self.verify(batch, [item for item, _ in pairs])
        kept = batch.keep_ours(item for item, _ in pairs)
        return [(i, a) for i, a in pairs if i in kept and i.observed.location_id is None]
