"""Push: bring QuickBooks Time in step with the record, up to 50 jobs a request.

A doorbell only says that something may be due. What if the process dies
- before the claim: nothing happened; the rows are due.
- after the claim: the lease ends by itself, then the rows are due again.
- after the intent is written, before or after the request: the next claimer sees the intent
  and looks at QuickBooks Time before it writes anything.
- after the answer, before it is written down: the same.
- after it is written down: what is left for the job is done at the next claim.
Run twice or late, a claim finds nothing due and nothing is sent.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from random import Random
from typing import Any

from sqlalchemy import Connection

from cprqueue import fuse, names, plan
from cprqueue.budget import Budget
from cprqueue.errors import (
    AccessStopped,
    AlreadyRunning,
    CprqueueError,
    OutOfCalls,
    RateLimited,
    Refused,
    ServiceFailed,
    ServiceUnreachable,
    UnreadableAnswer,
)
from cprqueue.models import BATCH, Held, ItemResult
from cprqueue.qbtime import QuickBooksTime
from cprqueue.retry import Again, after_item_failure, backoff
from cprqueue.services import looks, stop, suspension
from cprqueue.services.batch import WHOLE, Batch, Item, read_item
from cprqueue.services.snapshot import Snapshot
from cprqueue.store import jobs, links, runs
from cprqueue.store.database import Database, clock

log = logging.getLogger(__name__)

LINGER = timedelta(seconds=1)
PATIENCE = timedelta(seconds=10)
POLL_SECONDS = 0.03
ROUNDS = 14
PASSING = frozenset({409, 423, 429})
AMBIGUOUS = (ServiceUnreachable, ServiceFailed, UnreadableAnswer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """What a doorbell did. ``wake_in``: ring once more after this, where something is due."""

    said: str
    pushed: int = 0
    wake_in: timedelta | None = None


@dataclass(slots=True, kw_only=True)
class Push:
    """The push of one account. ``urgent`` may use the reserve of the call budget."""

    db: Database
    budget: Budget
    qbt: QuickBooksTime
    snapshot: Snapshot
    lease_time: timedelta
    retry_base: timedelta
    max_attempts: int
    rng: Random
    urgent: bool = False
    alert: Callable[[str, str], None] = lambda _title, _text: None

    # --- the doorbell ---

    def ring(self) -> Rung:
        """Push what is due, up to 50 jobs; say what was done and when to ring again."""
        waiting = self._not_now()
        if waiting:
            return waiting
        at_least = self._ripe()
        if not at_least:
            return Rung(said="waiting to fill a batch", wake_in=LINGER)
        with self.db.begin() as conn:
            batch = self._claim(conn, at_least=at_least)
        if not batch.items:
            return self._later("nothing due")
        fuse.point("claimed")
        return self._finish(batch)

    def push_job(self, job_id: int, compared: Callable[[Item], None]) -> bool:
        """Push one job now, from a fresh look at everything that QuickBooks Time holds for it.

        ``compared`` is called after the look and before anything is written. False where the
        job is not due, or another worker holds it right now. Raises what stops the push.
        """
        with self.db.begin() as conn:
            batch = self._claim(conn, only=job_id)
        try:
            for item in list(batch.items.values()):
                item.look = WHOLE
                self._look(batch, [item])
                if item.certain:
                    compared(item)
                self._work(batch)
                return True
        except CprqueueError as error:
            self._halted(error)
            raise
        finally:
            batch.close()
        return False

    def _not_now(self) -> Rung | None:
        with self.db.read() as conn:
            if stop.stopped(conn):
                return Rung(said="the push is stopped")
            if suspension.suspended(conn):
                return Rung(said="suspended by a remove-all: undo it, or sync --full")
            due, _oldest = links.due_now(conn, now=clock(conn), at_most=1)
        if not due:
            return self._later("nothing due")
        wait = self.budget.wait_seconds(urgent=self.urgent)
        if wait > 0:
            return Rung(said="out of calls", wake_in=timedelta(seconds=wait))
        return self._missing_export()

    def _missing_export(self) -> Rung | None:
        """Take the first export of the account, so that what is there already is adopted."""
        with self.db.read() as conn:
            if runs.newest(conn, "snapshot", "done") is not None:
                return None
        try:
            self.snapshot.take(requested_by="first push")
        except AlreadyRunning:
            return Rung(said="waiting for the first export", wake_in=timedelta(seconds=2))
        except CprqueueError as error:
            return self._halted(error)
        return None

    def _ripe(self) -> int:
        """Return how many jobs a claim must find at least; 0 where it is too early to claim.

        While a fetch is still bringing jobs, wait at most a second for a full batch.
        """
        deadline = time.monotonic() + LINGER.total_seconds()
        while True:
            with self.db.read() as conn:
                now = clock(conn)
                due, oldest = links.due_now(conn, now=now, at_most=BATCH)
                more = runs.newest(conn, "fetch", "running", "emitted") is not None
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
        rows = links.claim(
            conn, lease, now=now, limit=BATCH, until=until, only=only, at_least=at_least
        )
        batch = Batch(db=self.db, lease=lease, lease_time=self.lease_time)
        for row in rows:
            batch.items[row.job_id] = read_item(row)
        return batch

    def _finish(self, batch: Batch) -> Rung:
        try:
            self._work(batch)
        except CprqueueError as error:
            return self._halted(error)
        finally:
            batch.close()
        said = f"{batch.pushed} in step, {batch.parked} parked, {batch.failed} to try again"
        log.info("pushed", extra={"in_step": batch.pushed, "parked": batch.parked})
        return self._later(said, pushed=batch.pushed)

    def _later(self, said: str, *, pushed: int = 0) -> Rung:
        with self.db.read() as conn:
            wait = links.next_due_in(conn, now=clock(conn))
        return Rung(said=said, pushed=pushed, wake_in=wait)

    def _halted(self, error: CprqueueError) -> Rung:
        """Decide what an error of a whole request means for the push."""
        if isinstance(error, AccessStopped):
            stop.stop(self.db, error, self.alert)
            return Rung(said=f"the push is stopped: {error}")
        if isinstance(error, RateLimited):
            self.budget.block()
        wait = error.wait_seconds if isinstance(error, OutOfCalls) else 5.0
        return Rung(said=str(error), wake_in=timedelta(seconds=wait))

    # --- the work ---

    def _work(self, batch: Batch) -> None:
        """Send one request after another until each job is done, parked or postponed."""
        for _ in range(ROUNDS):
            actions = self._plan(batch)
            if not actions:
                return
            rank = min(action.rank for action in actions.values())
            chosen = _once_each(actions, rank)[:BATCH]
            items = [batch.items[j] for j in chosen]
            if isinstance(actions[chosen[0]], plan.Look):
                self._look(batch, items)
            else:
                self._send(batch, items, [actions[j] for j in chosen])
        error = UnreadableAnswer(f"not in step after {ROUNDS} requests: looking afresh")
        self._postpone_all(batch, list(batch.items.values()), error)

    def _plan(self, batch: Batch) -> dict[int, plan.Action]:
        """Decide the next step of each job; end those that have none."""
        actions: dict[int, plan.Action] = {}
        waits: list[tuple[Item, str]] = []
        with self.db.begin() as conn:
            self._adopt(conn, batch)
            rivals = _rivals(conn, [item.key for item in batch.items.values()])
            for item in list(batch.items.values()):
                action = self._decide(conn, batch, item, rivals)
                if isinstance(action, plan.Done):
                    batch.done(conn, item, changed=True)
                elif isinstance(action, plan.Park):
                    batch.park(conn, item, action.code, action.reason)
                elif isinstance(action, plan.Wait):
                    waits.append((item, action.reason))
                elif item.job_id in batch.items:
                    actions[item.job_id] = action
            # Whoever waits stays in the batch while another one in it may still make way.
            if not any(isinstance(action, plan.ChangeJobcode) for action in actions.values()):
                for item, reason in waits:
                    self._wait(conn, batch, item, reason)
        return actions

    def _adopt(self, conn: Connection, batch: Batch) -> None:
        without = [i for i in batch.items.values() if i.held.jobcode_id is None and i.certain]
        unlooked = [item for item in without if not item.looked_whole]
        for job_id, (held, sure) in looks.adoptable(conn, unlooked).items():
            item = batch.items[job_id]
            look = None if sure else WHOLE
            batch.believe(conn, item, held, look=look)
            item.look = look

    def _decide(
        self, conn: Connection, batch: Batch, item: Item, rivals: Sequence[names.Claimant]
    ) -> plan.Action:
        me = names.Claimant(
            job_id=item.job_id,
            label=item.label,
            wanted_key=item.key,
            held_key=links.held_columns(item.held)["held_key"],
            jobcode_id=item.held.jobcode_id,
            creating=item.intent == "create_jobcode",
            seniority=item.seniority,
        )
        ruling = names.rule(me, item.wanted.name, rivals)
        if isinstance(ruling, names.TakeOver) and item.certain:
            self._take_over(conn, batch, item, ruling.job_id)
            ruling = names.Free()
        return plan.next_action(item.wanted, item.held, certain=item.certain, ruling=ruling)

    def _take_over(self, conn: Connection, batch: Batch, item: Item, from_job: int) -> None:
        """Make the jobcode of a job that is no longer active this job's own.

        Nobody watched an idle job's jobcode, so it is looked at before anything is written.
        """
        row = links.get(conn, from_job)
        held = Held.from_json(row.held) if row else Held()
        links.give_up(conn, from_job)
        batch.believe(conn, item, held, look=WHOLE)
        item.look = WHOLE

    def _wait(self, conn: Connection, batch: Batch, item: Item, reason: str) -> None:
        attempts = item.attempts + 1
        at = clock(conn) + backoff(min(attempts, 4), base=self.retry_base, rng=self.rng)
        batch.postpone(conn, item, "waiting", reason, at=at, attempts=attempts)

    def _look(self, batch: Batch, items: list[Item]) -> None:
        try:
            looks.look(self.qbt, batch, items)
        except AMBIGUOUS as error:
            self._postpone_all(batch, items, error)
        fuse.point("looked")

    def _send(self, batch: Batch, items: list[Item], actions: list[plan.Action]) -> None:
        """Write down the intent, send one request, write down what came of it."""
        kind = actions[0].kind
        ours = batch.intend(items, kind)
        pairs = [(i, a) for i, a in zip(items, actions, strict=True) if i in ours]
        fuse.point(f"before_{kind}")
        try:
            results = self._request(kind, [action.payload() for _, action in pairs])  # type: ignore[attr-defined]  # only writes get here
        except AMBIGUOUS as error:
            self._postpone_all(batch, ours, error)
            return
        except (AccessStopped, RateLimited, OutOfCalls):
            batch.forget_intent(ours)
            raise
        fuse.point(f"after_{kind}")
        with self.db.begin() as conn:
            for (item, action), result in zip(pairs, results, strict=True):
                self._record(conn, batch, item, action, result)
        fuse.point(f"recorded_{kind}")

    def _request(self, kind: str, payloads: list[dict[str, Any]]) -> list[ItemResult]:
        send = {
            "create_jobcode": self.qbt.create_jobcodes,
            "change_jobcode": self.qbt.change_jobcodes,
            "create_location": self.qbt.create_locations,
            "change_location": self.qbt.change_locations,
        }[kind]
        try:
            return send(payloads)
        except Refused as error:
            if isinstance(error, AccessStopped):
                raise
            if len(payloads) == 1:
                return [ItemResult(code=error.status, extra=str(error))]
            # The whole batch was refused: find the item that did it.
            half = len(payloads) // 2
            return self._request(kind, payloads[:half]) + self._request(kind, payloads[half:])

    def _record(
        self,
        conn: Connection,
        batch: Batch,
        item: Item,
        action: plan.Action,
        result: ItemResult,
    ) -> None:
        creates = isinstance(action, (plan.CreateJobcode, plan.CreateLocation))
        if result.done and not (creates and result.id is None):
            self._apply(conn, batch, item, action, result)
        elif result.done or (result.exists and creates):
            self._ask_again(conn, batch, item, result)
        elif result.code >= 500 or result.code in PASSING:
            self._passing(conn, batch, item, result)
        elif item.looked_whole:
            reason = f"QuickBooks Time refuses to {action.kind.replace('_', ' a ')}: {result.text}"
            batch.park(conn, item, f"refused_{result.code}", reason)
        else:
            self._look_whole(conn, batch, item)

    def _apply(
        self, conn: Connection, batch: Batch, item: Item, action: plan.Action, result: ItemResult
    ) -> None:
        held = plan.apply(item.held, action, result.id)
        if isinstance(action, plan.ChangeJobcode) and action.jobcode_id != item.held.jobcode_id:
            _renamed_aside(conn, action)
        item.attempts = 0  # it moves: what failed before counts no longer
        batch.believe(conn, item, held, attempts=0)

    def _ask_again(self, conn: Connection, batch: Batch, item: Item, result: ItemResult) -> None:
        """The jobcode is there, but its id is not known: look; give up when looking finds none."""
        if item.looked_whole:
            self._passing(conn, batch, item, result)
        else:
            self._look_whole(conn, batch, item)

    def _look_whole(self, conn: Connection, batch: Batch, item: Item) -> None:
        batch.believe(conn, item, item.held, look=WHOLE)
        item.look = WHOLE

    def _passing(self, conn: Connection, batch: Batch, item: Item, result: ItemResult) -> None:
        attempts = item.attempts + 1
        decision = after_item_failure(
            attempts, max_attempts=self.max_attempts, base=self.retry_base, rng=self.rng
        )
        reason = f"QuickBooks Time answered {result.code}: {result.text}"
        if isinstance(decision, Again):
            at = clock(conn) + decision.delay
            batch.postpone(
                conn, item, f"item_{result.code}", reason, WHOLE, at=at, attempts=attempts
            )
        else:
            batch.park(
                conn, item, f"item_{result.code}", f"gave up after {attempts} tries: {reason}"
            )

    def _postpone_all(self, batch: Batch, items: list[Item], error: CprqueueError) -> None:
        """No usable answer: its fate is unknown, so the intents stay and the next try looks."""
        with self.db.begin() as conn:
            now = clock(conn)
            for item in items:
                attempts = item.attempts + 1
                at = now + backoff(attempts, base=self.retry_base, rng=self.rng)
                batch.postpone(conn, item, "no_answer", str(error), at=at, attempts=attempts)


def _once_each(actions: Mapping[int, plan.Action], rank: int) -> list[int]:
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


def _renamed_aside(conn: Connection, action: plan.ChangeJobcode) -> None:
    owner = links.with_jobcodes(conn, [action.jobcode_id]).get(action.jobcode_id)
    row = links.get(conn, owner) if owner is not None else None
    if owner is not None and row is not None:
        held = replace(Held.from_json(row.held), **dict(action.changes))
        links.set_held(conn, owner, held)


def _rivals(conn: Connection, keys: Sequence[str]) -> list[names.Claimant]:
    """Return every job that touches these names, and those that touch theirs, and so on."""
    found: dict[int, names.Claimant] = {}
    asked: set[str] = set()
    todo = set(keys)
    while todo - asked:
        rows = jobs.claimants(conn, sorted(todo - asked))
        asked |= todo
        for row in rows:
            found[row.job_id] = _claimant(row)
        todo = {c.wanted_key for c in found.values() if c.held_key in asked and c.wanted_key}
    return list(found.values())


def _claimant(row: Any) -> names.Claimant:
    return names.Claimant(
        job_id=row.job_id,
        label=f"RM job {row.job_id} ({row.job_number})",
        wanted_key=row.name_key if row.active else "",
        held_key=row.held_key or "",
        jobcode_id=row.jobcode_id,
        creating=row.intent == "create_jobcode",
        seniority=(row.first_run_id, row.job_id),
    )
