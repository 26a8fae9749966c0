"""Decide the next step of each job of a batch, and record the ends of those that have none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from random import Random

from sqlalchemy import Connection

from cprqueue.domain import naming, push_plan
from cprqueue.domain.push_item import Item
from cprqueue.domain.retry import backoff
from cprqueue.domain.states import ErrorCode, VerificationKind
from cprqueue.services.push import verify
from cprqueue.services.push.batch import Batch
from cprqueue.services.push.observing import record_observed
from cprqueue.store import jobs, links
from cprqueue.store.database import Database, clock

Rulings = dict[int, naming.Ruling]
Todo = push_plan.Verify | push_plan.Write
ENDS = (push_plan.Done, push_plan.Park, push_plan.Wait)


@dataclass(slots=True, kw_only=True)
class Decider:
    """Decides by the record alone; ``retry_base`` spreads those that wait for another job."""

    db: Database
    retry_base: timedelta
    rng: Random

    def decide(self, batch: Batch) -> dict[int, Todo]:
        """Return the next step of each job; those that have none are ended.

        Reading and deciding hold no lock: the inserts go on meanwhile.
        """
        _adopt(batch)
        with self.db.read() as conn:
            rivals = _claimants_of(conn, [item.key for item in batch.items.values()])
        rulings: Rulings = {
            item.job_id: naming.rule(item.claimant, item.desired.name, rivals)
            for item in batch.items.values()
        }
        _take_over(batch, rulings)
        decided = [(item, _next(item, rulings[item.job_id])) for item in batch.items.values()]
        self._end(batch, decided)
        return {i.job_id: action for i, action in decided if not isinstance(action, ENDS)}

    def _end(self, batch: Batch, decided: list[tuple[Item, push_plan.Step]]) -> None:
        """Record who is done, parked, or has to wait for another job."""
        done = [item for item, action in decided if isinstance(action, push_plan.Done)]
        parked = [(item, action) for item, action in decided if isinstance(action, push_plan.Park)]
        waits = [(item, action) for item, action in decided if isinstance(action, push_plan.Wait)]
        # Whoever waits stays in the batch while another one in it may still make way.
        if any(isinstance(action, push_plan.ChangeJobcode) for _, action in decided):
            waits = []
        if not (done or parked or waits):
            return
        with batch.recording() as conn:
            batch.end(conn, batch.keep_ours(done))
            for item, park in parked:
                batch.park(conn, item, park.code, park.reason)
            for item, wait in waits:
                self._wait(conn, batch, item, wait.reason)

    def _wait(self, conn: Connection, batch: Batch, item: Item, reason: str) -> None:
        attempts = item.attempts + 1
        at = clock(conn) + backoff(min(attempts, 4), base=self.retry_base, rng=self.rng)
        batch.postpone(conn, item, ErrorCode.WAITING, reason, at=at, attempts=attempts)


def _next(item: Item, ruling: naming.Ruling) -> push_plan.Step:
    return push_plan.next_action(item.desired, item.observed, certain=item.certain, ruling=ruling)


def _adopt(batch: Batch) -> None:
    without = [i for i in batch.items.values() if i.observed.jobcode_id is None and i.certain]
    unverified = [item for item in without if not item.fully_verified]
    with batch.db.read() as conn:
        found = verify.find_adoptable(conn, unverified)
    if not found:
        return
    with batch.recording() as conn:
        for item in batch.keep_ours(unverified):
            if item.job_id in found:
                observed, sure = found[item.job_id]
                verification = None if sure else VerificationKind.FULL
                record_observed(conn, batch, item, observed, verification=verification)


def _take_over(batch: Batch, rulings: Rulings) -> None:
    """Make the jobcodes of jobs that are no longer active those of the jobs that follow.

    Only while our own lease stands: the link is given up in the transaction that renews it.
    Nobody watched an inactive job's jobcode, so it is verified before anything is written.
    """
    for job_id, ruling in list(rulings.items()):
        if not isinstance(ruling, naming.TakeOver):
            continue
        rulings[job_id] = naming.Free()
        item = batch.items.get(job_id)  # the lease of an earlier one may be lost by now
        if item is None or not item.certain:
            continue
        with batch.recording() as conn:
            row = links.get(conn, ruling.job_id, to_write=True)
            if job_id in batch.items and row is not None:
                links.unlink(conn, ruling.job_id)
                record_observed(conn, batch, item, row.observed, verification=VerificationKind.FULL)


def _claimants_of(conn: Connection, keys: Sequence[str]) -> list[naming.Claimant]:
    """Return every job that claims these names, and those that claim theirs, and so on."""
    found: dict[int, naming.Claimant] = {}
    asked: set[str] = set()
    todo = set(keys)
    while todo - asked:
        claimants = jobs.claimants(conn, sorted(todo - asked))
        asked |= todo
        found |= {claimant.job_id: claimant for claimant in claimants}
        todo = {c.desired_key for c in found.values() if c.observed_key in asked and c.desired_key}
    return list(found.values())
