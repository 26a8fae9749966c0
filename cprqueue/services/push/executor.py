"""The work on a claimed batch: one request after another until each job has come to an end.

What if the process dies: see ``services.push``; each ``fuse.point`` is a line that the tests
kill the process at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from random import Random

from sqlalchemy import Connection

from cprqueue import failpoints
from cprqueue.clients.qbtime import QuickBooksTime
from cprqueue.domain import naming, push_plan
from cprqueue.domain.models import BATCH, ItemResult, Json, Observed
from cprqueue.domain.records import ErrorCode, Intent, VerificationKind, item_answered, refused
from cprqueue.domain.retry import Again, after_item_failure, backoff, verification_delay
from cprqueue.errors import (
    AccessStopped,
    CprqueueError,
    OutOfCalls,
    RateLimited,
    Refused,
    ServiceFailed,
    ServiceUnreachable,
    UnreadableAnswer,
)
from cprqueue.services.push import verify
from cprqueue.services.push.batch import Batch, Item
from cprqueue.store import jobs, links
from cprqueue.store.database import Database, clock

ROUNDS = 14
"""Most requests for one claim; a job needs five at the most."""

PASSING = frozenset({409, 423, 429})
CREATES = (push_plan.CreateJobcode, push_plan.CreateLocation)
ENDS = (push_plan.Done, push_plan.Park, push_plan.Wait)
AMBIGUOUS = (ServiceUnreachable, ServiceFailed, UnreadableAnswer)


@dataclass(slots=True, kw_only=True)
class Executor:
    """Sends what a batch needs through ``qbt`` and writes down what came of it."""

    db: Database
    qbt: QuickBooksTime
    retry_base: timedelta
    max_attempts: int
    rng: Random

    def do(self, batch: Batch) -> None:
        """Send one request after another until each job is done, parked or postponed."""
        for _ in range(ROUNDS):
            actions = self._plan(batch)
            if not actions:
                return
            rank = min(action.rank for action in actions.values())
            chosen = _once_each(actions, rank)[:BATCH]
            items = [batch.items[j] for j in chosen]
            writes = [a for j in chosen if not isinstance(a := actions[j], push_plan.Verify)]
            if writes:
                self._send(batch, items, writes)
            else:
                self.verify(batch, items)
        error = UnreadableAnswer(f"not in step after {ROUNDS} requests: looking afresh")
        self._postpone_all(batch, list(batch.items.values()), error)

    def _plan(self, batch: Batch) -> dict[int, push_plan.Verify | push_plan.Write]:
        """Decide the next step of each job; end those that have none.

        Reading and deciding hold no lock: the inserts go on meanwhile.
        """
        self._adopt(batch)
        with self.db.read() as conn:
            rivals = _claimants_of(conn, [item.key for item in batch.items.values()])
        rulings = {
            i.job_id: naming.rule(_claimant_of_item(i), i.desired.name, rivals)
            for i in batch.items.values()
        }
        self._take_over(batch, rulings)
        decided = [
            (item, push_plan.next_action(
                item.desired, item.observed, certain=item.certain, ruling=rulings[item.job_id]
            ))
            for item in batch.items.values()
        ]  # fmt: skip
        self._end(batch, decided)
        return {i.job_id: action for i, action in decided if not isinstance(action, ENDS)}

    def _end(self, batch: Batch, decided: list[tuple[Item, push_plan.Step]]) -> None:
        """Write down who is done, parked, or has to wait for another job."""
        done = [item for item, action in decided if isinstance(action, push_plan.Done)]
        parked = [(item, action) for item, action in decided if isinstance(action, push_plan.Park)]
        waits = [(item, action) for item, action in decided if isinstance(action, push_plan.Wait)]
        # Whoever waits stays in the batch while another one in it may still make way.
        if any(isinstance(action, push_plan.ChangeJobcode) for _, action in decided):
            waits = []
        if not (done or parked or waits):
            return
        with self.db.begin() as conn:
            batch.done(conn, done)
            for item, park in parked:
                batch.park(conn, item, park.code, park.reason)
            for item, wait in waits:
                self._wait(conn, batch, item, wait.reason)

    def _adopt(self, batch: Batch) -> None:
        without = [i for i in batch.items.values() if i.observed.jobcode_id is None and i.certain]
        unverified = [item for item in without if not item.fully_verified]
        with self.db.read() as conn:
            found = verify.adoptable(conn, unverified)
        if not found:
            return
        with self.db.begin() as conn:
            for job_id, (observed, sure) in found.items():
                item = batch.items[job_id]
                verification = None if sure else VerificationKind.FULL
                batch.record_observed(conn, item, observed, verification=verification)
                item.verification = verification

    def _take_over(self, batch: Batch, rulings: dict[int, naming.Ruling]) -> None:
        """Make the jobcodes of jobs that are no longer active those of the jobs that follow.

        Nobody watched an idle job's jobcode, so it is looked at before anything is written.
        """
        for job_id, ruling in list(rulings.items()):
            item = batch.items[job_id]
            if not isinstance(ruling, naming.TakeOver):
                continue
            rulings[job_id] = naming.Free()
            if item.certain:
                with self.db.begin() as conn:
                    row = links.get(conn, ruling.job_id)
                    links.unlink(conn, ruling.job_id)
                    observed = row.observed if row else Observed()
                    batch.record_observed(conn, item, observed, verification=VerificationKind.FULL)
                item.verification = VerificationKind.FULL

    def _wait(self, conn: Connection, batch: Batch, item: Item, reason: str) -> None:
        attempts = item.attempts + 1
        at = clock(conn) + backoff(min(attempts, 4), base=self.retry_base, rng=self.rng)
        batch.postpone(conn, item, ErrorCode.WAITING, reason, at=at, attempts=attempts)

    def verify(self, batch: Batch, items: list[Item]) -> None:
        try:
            verify.verify(self.qbt, batch, items)
        except AMBIGUOUS as error:
            self._postpone_all(batch, items, error)
        failpoints.point("looked")

    def _send(self, batch: Batch, items: list[Item], actions: list[push_plan.Write]) -> None:
        """Write down the intent, send one request, write down what came of it."""
        kind = actions[0].kind
        ours = batch.record_intent(items, kind)
        pairs = [(i, a) for i, a in zip(items, actions, strict=True) if i in ours]
        if not pairs:
            return
        failpoints.point(f"before_{kind}")
        try:
            results = self._request(kind, [action.payload() for _, action in pairs])
        except AMBIGUOUS as error:
            self._postpone_all(batch, ours, error)
            return
        except (AccessStopped, RateLimited, OutOfCalls):
            batch.clear_intent(ours)
            raise
        except Refused as error:
            batch.clear_intent(ours)
            self._refused_whole(batch, pairs, error)
            return
        failpoints.point(f"after_{kind}")
        self._record_all(batch, pairs, results)
        failpoints.point(f"recorded_{kind}")

    def _request(self, kind: Intent, payloads: list[dict[str, Json]]) -> list[ItemResult]:
        send = {
            Intent.CREATE_JOBCODE: self.qbt.create_jobcodes,
            Intent.CHANGE_JOBCODE: self.qbt.change_jobcodes,
            Intent.CREATE_LOCATION: self.qbt.create_locations,
            Intent.CHANGE_LOCATION: self.qbt.change_locations,
        }[kind]
        return send(payloads)

    def _refused_whole(
        self, batch: Batch, pairs: list[tuple[Item, push_plan.Write]], error: Refused
    ) -> None:
        """The request did nothing: send it in halves until the item that was refused is alone.

        Each half is a request with an intent and a record of its own, so what the first one made
        is known whatever becomes of the second.
        """
        if len(pairs) == 1:
            self._record_all(batch, pairs, [ItemResult(code=error.status, extra=str(error))])
            return
        half = len(pairs) // 2
        for part in (pairs[:half], pairs[half:]):
            self._send(batch, [item for item, _ in part], [action for _, action in part])

    def _record_all(
        self, batch: Batch, pairs: list[tuple[Item, push_plan.Write]], results: list[ItemResult]
    ) -> None:
        outcomes = list(zip(pairs, results, strict=True))
        moved = [(*pair, result) for pair, result in outcomes if _moved(pair[1], result)]
        with self.db.begin() as conn:
            for _, action, _ in moved:
                _record_rename_of_other(conn, action)
            batch.record_observed_each(
                conn, [(i, push_plan.apply(i.observed, a, r.id)) for i, a, r in moved]
            )
            for (item, action), result in outcomes:
                if not _moved(action, result):
                    self._record_failure(conn, batch, item, action, result)

    def _record_failure(
        self,
        conn: Connection,
        batch: Batch,
        item: Item,
        action: push_plan.Write,
        result: ItemResult,
    ) -> None:
        if result.done or (result.exists and isinstance(action, CREATES)):
            self._find_created(conn, batch, item, result)
        elif result.code >= 500 or result.code in PASSING:
            self._retry_item(conn, batch, item, result)
        elif item.fully_verified:
            reason = f"QuickBooks Time refuses to {action.kind.replace('_', ' a ')}: {result.text}"
            batch.park(conn, item, refused(result.code), reason)
        else:
            self._verify_fully(conn, batch, item)

    def _find_created(self, conn: Connection, batch: Batch, item: Item, result: ItemResult) -> None:
        """The jobcode is there, but its id is not known: look; give up when looking finds none."""
        if item.fully_verified:
            self._retry_item(conn, batch, item, result)
        else:
            self._verify_fully(conn, batch, item)

    def _verify_fully(self, conn: Connection, batch: Batch, item: Item) -> None:
        batch.record_observed(conn, item, item.observed, verification=VerificationKind.FULL)
        item.verification = VerificationKind.FULL

    def _retry_item(self, conn: Connection, batch: Batch, item: Item, result: ItemResult) -> None:
        attempts = item.attempts + 1
        decision = after_item_failure(
            attempts, max_attempts=self.max_attempts, base=self.retry_base, rng=self.rng
        )
        code = item_answered(result.code)
        reason = f"QuickBooks Time answered {result.code}: {result.text}"
        if isinstance(decision, Again):
            at = clock(conn) + decision.delay
            batch.postpone(
                conn, item, code, reason, VerificationKind.FULL, at=at, attempts=attempts
            )
        else:
            reason = f"gave up after {attempts} tries: {reason}"
            batch.park(conn, item, code, reason, verification=VerificationKind.FULL)

    def _postpone_all(self, batch: Batch, items: list[Item], error: CprqueueError) -> None:
        """No usable answer: its fate is unknown, so the intents stay and the next try looks."""
        with self.db.begin() as conn:
            now = clock(conn)
            for item in items:
                attempts = item.attempts + 1
                wait = verification_delay if item.intent else backoff
                at = now + wait(attempts, base=self.retry_base, rng=self.rng)
                code = ErrorCode.NO_ANSWER
                batch.postpone(conn, item, code, str(error), at=at, attempts=attempts)


def _once_each(actions: Mapping[int, push_plan.Verify | push_plan.Write], rank: int) -> list[int]:
    """Choose the jobs with an action of this rank, one for each location.

    A location's links are replaced as a whole, so a second change in the same request would
    bring back what the first took off.
    """
    chosen, seen = [], set()
    for job_id, action in actions.items():
        place = getattr(action, "location_id", None)
        if action.rank == rank and (place is None or place not in seen):
            chosen.append(job_id)
            seen.add(place)
    return chosen


def _moved(action: push_plan.Write, result: ItemResult) -> bool:
    """Tell whether the step was done; a create counts only with the id of what it made."""
    return result.done and not (isinstance(action, CREATES) and result.id is None)


def _record_rename_of_other(conn: Connection, action: push_plan.Write) -> None:
    """Note on another job's link that its jobcode was renamed to make way."""
    if not isinstance(action, push_plan.ChangeJobcode):
        return
    owner = links.with_jobcodes(conn, [action.jobcode_id]).get(action.jobcode_id)
    row = links.get(conn, owner, to_write=True) if owner is not None else None
    if owner is not None and row is not None:
        links.set_observed(conn, owner, action.applied(row.observed))


def _claimant_of_item(item: Item) -> naming.Claimant:
    return naming.Claimant(
        job_id=item.job_id,
        label=item.label,
        desired_key=item.key,
        observed_key=links.observed_columns(item.observed)["observed_key"],
        jobcode_id=item.observed.jobcode_id,
        creating=item.intent is Intent.CREATE_JOBCODE,
        seniority=item.seniority,
    )


def _claimants_of(conn: Connection, keys: Sequence[str]) -> list[naming.Claimant]:
    """Return every job that touches these names, and those that touch theirs, and so on."""
    found: dict[int, naming.Claimant] = {}
    asked: set[str] = set()
    todo = set(keys)
    while todo - asked:
        claimants = jobs.claimants(conn, sorted(todo - asked))
        asked |= todo
        found |= {claimant.job_id: claimant for claimant in claimants}
        todo = {c.desired_key for c in found.values() if c.observed_key in asked and c.desired_key}
    return list(found.values())
