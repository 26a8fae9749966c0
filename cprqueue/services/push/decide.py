"""Decide the next step of each job of a batch, and record the ends of those that have none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from random import Random

from sqlalchemy import Connection

from cprqueue.domain import naming, push_round
from cprqueue.domain.push_item import Item
from cprqueue.domain.push_round import Round, Rulings, Todo
from cprqueue.domain.retry import backoff
from cprqueue.domain.states import ErrorCode, VerificationKind
from cprqueue.services.push import verify
from cprqueue.services.push.batch import Batch
from cprqueue.services.push.observing import record_observed
from cprqueue.store import jobs, links
from cprqueue.store.database import Database, clock


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
            rivals = _claimants_of(conn, batch.items.values())
        rulings = push_round.rule_each(batch.items.values(), rivals)
        _take_over(batch, rulings)
        decided = push_round.decide_each(batch.items.values(), rulings)
        if decided.ends:
            self._end(batch, decided)
        return decided.todo

    def _end(self, batch: Batch, decided: Round) -> None:
        """Record who is done, parked, or has to wait for another job."""
        with batch.recording() as conn:
            batch.end(conn, batch.keep_ours(decided.done))
            for item, park in decided.parked:
                batch.park(conn, item, park.code, park.reason)
            for item, wait in decided.waits:
                self._wait(conn, batch, item, wait.reason)

    def _wait(self, conn: Connection, batch: Batch, item: Item, reason: str) -> None:
        attempts = item.attempts + 1
        at = clock(conn) + backoff(min(attempts, 4), base=self.retry_base, rng=self.rng)
        batch.postpone(conn, item, ErrorCode.WAITING, reason, at=at, attempts=attempts)


def _adopt(batch: Batch) -> None:
    without = [i for i in batch.items.values() if i.observed.jobcode_id is None and i.certain]
    unverified = [item for item in without if not item.fully_verified]
    with batch.db.read() as conn:
        found = verify.find_adoptable(conn, unverified)
        adopting = [item for item in unverified if item.job_id in found]
        rivals = _claimants_of(conn, adopting) if adopting else []
    adopting = [item for item in adopting if push_round.may_adopt(item, rivals)]
    if not adopting:
        return
    with batch.recording() as conn:
        for item in batch.keep_ours(adopting):
            observed, sure = found[item.job_id]
            verification = None if sure else VerificationKind.FULL
            record_observed(conn, batch, item, observed, verification=verification)


def _claimants_of(conn: Connection, items: Iterable[Item]) -> list[naming.Claimant]:
    keys = [item.key for item in items]
    return push_round.find_claimants(keys, lambda some: jobs.claimants(conn, some))


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
