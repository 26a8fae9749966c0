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

from cprqueue import fuse, names, plan
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
from cprqueue.models import BATCH, Held, ItemResult, Json
from cprqueue.qbtime import QuickBooksTime
from cprqueue.records import (
    ErrorCode,
    Intent,
    LookKind,
    item_answered,
    refused,
)
from cprqueue.retry import Again, after_item_failure, backoff, before_a_look
from cprqueue.services import looks
from cprqueue.services.batch import Batch, Item
from cprqueue.store import jobs, links
from cprqueue.store.database import Database, clock

ROUNDS = 14
"""Most requests for one claim; a job needs five at the most."""

PASSING = frozenset({409, 423, 429})
CREATES = (plan.CreateJobcode, plan.CreateLocation)
ENDS = (plan.Done, plan.Park, plan.Wait)
AMBIGUOUS = (ServiceUnreachable, ServiceFailed, UnreadableAnswer)


@dataclass(slots=True, kw_only=True)
class Work:
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
            writes = [a for j in chosen if not isinstance(a := actions[j], plan.Look)]
            if writes:
                self._send(batch, items, writes)
            else:
                self.look(batch, items)
        error = UnreadableAnswer(f"not in step after {ROUNDS} requests: looking afresh")
        self._postpone_all(batch, list(batch.items.values()), error)

    def _plan(self, batch: Batch) -> dict[int, plan.Look | plan.Write]:
        """Decide the next step of each job; end those that have none.

        Reading and deciding hold no lock: the inserts go on meanwhile.
        """
        self._adopt(batch)
        with self.db.read() as conn:
            rivals = _rivals(conn, [item.key for item in batch.items.values()])
        rulings = {
            i.job_id: names.rule(_me(i), i.wanted.name, rivals) for i in batch.items.values()
        }
        self._take_over(batch, rulings)
        decided = [
            (item, plan.next_action(
                item.wanted, item.held, certain=item.certain, ruling=rulings[item.job_id]
            ))
            for item in batch.items.values()
        ]  # fmt: skip
        self._end(batch, decided)
        return {i.job_id: action for i, action in decided if not isinstance(action, ENDS)}

    def _end(self, batch: Batch, decided: list[tuple[Item, plan.Step]]) -> None:
        """Write down who is done, parked, or has to wait for another job."""
        done = [item for item, action in decided if isinstance(action, plan.Done)]
        parked = [(item, action) for item, action in decided if isinstance(action, plan.Park)]
        waits = [(item, action) for item, action in decided if isinstance(action, plan.Wait)]
        # Whoever waits stays in the batch while another one in it may still make way.
        if any(isinstance(action, plan.ChangeJobcode) for _, action in decided):
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
        without = [i for i in batch.items.values() if i.held.jobcode_id is None and i.certain]
        unlooked = [item for item in without if not item.looked_whole]
        with self.db.read() as conn:
            found = looks.adoptable(conn, unlooked)
        if not found:
            return
        with self.db.begin() as conn:
            for job_id, (held, sure) in found.items():
                item = batch.items[job_id]
                look = None if sure else LookKind.WHOLE
                batch.believe(conn, item, held, look=look)
                item.look = look

    def _take_over(self, batch: Batch, rulings: dict[int, names.Ruling]) -> None:
        """Make the jobcodes of jobs that are no longer active those of the jobs that follow.

        Nobody watched an idle job's jobcode, so it is looked at before anything is written.
        """
        for job_id, ruling in list(rulings.items()):
            item = batch.items[job_id]
            if not isinstance(ruling, names.TakeOver):
                continue
            rulings[job_id] = names.Free()
            if item.certain:
                with self.db.begin() as conn:
                    row = links.get(conn, ruling.job_id)
                    links.give_up(conn, ruling.job_id)
                    held = row.held if row else Held()
                    batch.believe(conn, item, held, look=LookKind.WHOLE)
                item.look = LookKind.WHOLE

    def _wait(self, conn: Connection, batch: Batch, item: Item, reason: str) -> None:
        attempts = item.attempts + 1
        at = clock(conn) + backoff(min(attempts, 4), base=self.retry_base, rng=self.rng)
        batch.postpone(conn, item, ErrorCode.WAITING, reason, at=at, attempts=attempts)

    def look(self, batch: Batch, items: list[Item]) -> None:
        try:
            looks.look(self.qbt, batch, items)
        except AMBIGUOUS as error:
            self._postpone_all(batch, items, error)
        fuse.point("looked")

    def _send(self, batch: Batch, items: list[Item], actions: list[plan.Write]) -> None:
        """Write down the intent, send one request, write down what came of it."""
        kind = actions[0].kind
        ours = batch.intend(items, kind)
        pairs = [(i, a) for i, a in zip(items, actions, strict=True) if i in ours]
        if not pairs:
            return
        fuse.point(f"before_{kind}")
        try:
            results = self._request(kind, [action.payload() for _, action in pairs])
        except AMBIGUOUS as error:
            self._postpone_all(batch, ours, error)
            return
        except (AccessStopped, RateLimited, OutOfCalls):
            batch.forget_intent(ours)
            raise
        except Refused as error:
            batch.forget_intent(ours)
            self._refused_whole(batch, pairs, error)
            return
        fuse.point(f"after_{kind}")
        self._record_all(batch, pairs, results)
        fuse.point(f"recorded_{kind}")

    def _request(self, kind: Intent, payloads: list[dict[str, Json]]) -> list[ItemResult]:
        send = {
            Intent.CREATE_JOBCODE: self.qbt.create_jobcodes,
            Intent.CHANGE_JOBCODE: self.qbt.change_jobcodes,
            Intent.CREATE_LOCATION: self.qbt.create_locations,
            Intent.CHANGE_LOCATION: self.qbt.change_locations,
        }[kind]
        return send(payloads)

    def _refused_whole(
        self, batch: Batch, pairs: list[tuple[Item, plan.Write]], error: Refused
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
        self, batch: Batch, pairs: list[tuple[Item, plan.Write]], results: list[ItemResult]
    ) -> None:
        outcomes = list(zip(pairs, results, strict=True))
        moved = [(*pair, result) for pair, result in outcomes if _moved(pair[1], result)]
        with self.db.begin() as conn:
            for _, action, _ in moved:
                _note_aside(conn, action)
            batch.believe_each(conn, [(i, plan.apply(i.held, a, r.id)) for i, a, r in moved])
            for (item, action), result in outcomes:
                if not _moved(action, result):
                    self._record_failure(conn, batch, item, action, result)

    def _record_failure(
        self,
        conn: Connection,
        batch: Batch,
        item: Item,
        action: plan.Write,
        result: ItemResult,
    ) -> None:
        if result.done or (result.exists and isinstance(action, CREATES)):
            self._ask_again(conn, batch, item, result)
        elif result.code >= 500 or result.code in PASSING:
            self._passing(conn, batch, item, result)
        elif item.looked_whole:
            reason = f"QuickBooks Time refuses to {action.kind.replace('_', ' a ')}: {result.text}"
            batch.park(conn, item, refused(result.code), reason)
        else:
            self._look_whole(conn, batch, item)

    def _ask_again(self, conn: Connection, batch: Batch, item: Item, result: ItemResult) -> None:
        """The jobcode is there, but its id is not known: look; give up when looking finds none."""
        if item.looked_whole:
            self._passing(conn, batch, item, result)
        else:
            self._look_whole(conn, batch, item)

    def _look_whole(self, conn: Connection, batch: Batch, item: Item) -> None:
        batch.believe(conn, item, item.held, look=LookKind.WHOLE)
        item.look = LookKind.WHOLE

    def _passing(self, conn: Connection, batch: Batch, item: Item, result: ItemResult) -> None:
        attempts = item.attempts + 1
        decision = after_item_failure(
            attempts, max_attempts=self.max_attempts, base=self.retry_base, rng=self.rng
        )
        code = item_answered(result.code)
        reason = f"QuickBooks Time answered {result.code}: {result.text}"
        if isinstance(decision, Again):
            at = clock(conn) + decision.delay
            batch.postpone(conn, item, code, reason, LookKind.WHOLE, at=at, attempts=attempts)
        else:
            reason = f"gave up after {attempts} tries: {reason}"
            batch.park(conn, item, code, reason, look=LookKind.WHOLE)

    def _postpone_all(self, batch: Batch, items: list[Item], error: CprqueueError) -> None:
        """No usable answer: its fate is unknown, so the intents stay and the next try looks."""
        with self.db.begin() as conn:
            now = clock(conn)
            for item in items:
                attempts = item.attempts + 1
                wait = before_a_look if item.intent else backoff
                at = now + wait(attempts, base=self.retry_base, rng=self.rng)
                code = ErrorCode.NO_ANSWER
                batch.postpone(conn, item, code, str(error), at=at, attempts=attempts)


def _once_each(actions: Mapping[int, plan.Look | plan.Write], rank: int) -> list[int]:
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


def _moved(action: plan.Write, result: ItemResult) -> bool:
    """Tell whether the step was done; a create counts only with the id of what it made."""
    return result.done and not (isinstance(action, CREATES) and result.id is None)


def _note_aside(conn: Connection, action: plan.Write) -> None:
    """Note on another job's link that its jobcode was renamed to make way."""
    if not isinstance(action, plan.ChangeJobcode):
        return
    owner = links.with_jobcodes(conn, [action.jobcode_id]).get(action.jobcode_id)
    row = links.get(conn, owner, to_write=True) if owner is not None else None
    if owner is not None and row is not None:
        links.set_held(conn, owner, action.applied(row.held))


def _me(item: Item) -> names.Claimant:
    return names.Claimant(
        job_id=item.job_id,
        label=item.label,
        wanted_key=item.key,
        held_key=links.held_columns(item.held)["held_key"],
        jobcode_id=item.held.jobcode_id,
        creating=item.intent is Intent.CREATE_JOBCODE,
        seniority=item.seniority,
    )


def _rivals(conn: Connection, keys: Sequence[str]) -> list[names.Claimant]:
    """Return every job that touches these names, and those that touch theirs, and so on."""
    found: dict[int, names.Claimant] = {}
    asked: set[str] = set()
    todo = set(keys)
    while todo - asked:
        claimants = jobs.claimants(conn, sorted(todo - asked))
        asked |= todo
        found |= {claimant.job_id: claimant for claimant in claimants}
        todo = {c.wanted_key for c in found.values() if c.held_key in asked and c.wanted_key}
    return list(found.values())
