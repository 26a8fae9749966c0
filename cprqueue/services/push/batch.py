"""A claimed batch: up to 50 jobs under one lease, in memory, and how they are written back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy import Connection

from cprqueue.clients.fence import Fence, boot_seconds
from cprqueue.domain.cutting import cut
from cprqueue.domain.push_item import Item
from cprqueue.domain.records import Event
from cprqueue.domain.states import ErrorCode, Intent, LinkState, VerificationKind
from cprqueue.store import events, leases, links, push_queue
from cprqueue.store.database import Database, clock
from cprqueue.store.push_queue import NO_INTENT, NO_LEASE, LinkValues

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class Batch:
    """The items of one lease. Each write names the lease, so a lost one changes nothing.

    ``fence``: until when the lease stands, as of the last ``recording``.
    """

    db: Database
    lease: str
    lease_time: timedelta
    items: dict[int, Item] = field(default_factory=dict)
    fence: Fence | None = None
    rolled_back: bool = False
    pushed: int = 0
    parked: int = 0
    failed: int = 0

    @contextmanager
    def recording(self) -> Iterator[Connection]:
        """Open a transaction that renews the lease; items that it covers no more leave first."""
        before, self.rolled_back = boot_seconds(), True
        with self.db.begin() as conn:
            self._renew(conn)
            yield conn
        self.rolled_back = False
        self.fence = Fence.of(before, self.lease_time)

    def record(self, work: Callable[[Connection], T]) -> T:
        """Do ``work`` as in ``recording``, again where it loses a deadlock or its connection.

        For what may not be lost: an answer that only this process knows. Each time the items
        and the counts are as they were at the beginning. Where even this fails, and nothing of
        it is committed, the intents stand, and the next claim verifies.
        """
        items, copies = dict(self.items), [replace(item) for item in self.items.values()]
        counts = self.pushed, self.parked, self.failed
        before, self.rolled_back = boot_seconds(), True

        def attempt(conn: Connection) -> T:
            nonlocal before
            before, self.items = boot_seconds(), dict(items)
            self.pushed, self.parked, self.failed = counts
            for item, copy in zip(items.values(), copies, strict=True):
                item.become(copy)
            self._renew(conn)
            return work(conn)

        found = self.db.retrying(attempt)
        self.rolled_back = False
        self.fence = Fence.of(before, self.lease_time)
        return found

    def _renew(self, conn: Connection) -> None:
        until = clock(conn) + self.lease_time
        ours = leases.renew(conn, self.lease, until)
        for job_id in self.items.keys() - ours:
            del self.items[job_id]

    def keep_ours(self, items: Iterable[Item]) -> list[Item]:
        """Return those that are still under the lease, as of the last ``recording``."""
        return [item for item in items if item.job_id in self.items]

    def record_intent(self, items: list[Item], kind: Intent) -> None:
        """Write down what is about to be sent, under a lease that was just renewed."""
        with self.recording() as conn:
            now = clock(conn)
            rows = [self._intent(item, kind, now) for item in self.keep_ours(items)]
            leases.write_each(conn, self.lease, rows)

    def _intent(self, item: Item, kind: Intent, now: datetime) -> LinkValues:
        item.intent, item.intent_at, item.changed = kind, now, True
        row: LinkValues = {"job_id": item.job_id, "intent": kind, "intent_at": now}
        if kind is Intent.CREATE_JOBCODE:
            item.observed = replace(item.observed, name=item.desired.name)
            row |= links.observed_columns(item.observed)
        return row

    def clear_intent(self, items: list[Item]) -> None:
        """The request did nothing, or was not sent: nothing is uncertain."""
        rows: list[LinkValues] = [{"job_id": item.job_id, **NO_INTENT} for item in items]
        with self.db.begin() as conn:
            leases.write_each(conn, self.lease, rows)
        for item in items:
            item.intent = item.intent_at = None

    def postpone(
        self,
        conn: Connection,
        item: Item,
        code: str,
        reason: str,
        verification: VerificationKind | None = None,
        *,
        at: datetime | None = None,
        attempts: int | None = None,
    ) -> None:
        """Give the item back, due again at ``at`` (now where None)."""
        now = clock(conn)
        values: LinkValues = {
            "next_attempt_at": at or now,
            "attempts": item.attempts if attempts is None else attempts,
            "error_code": code,
            "error_reason": cut(reason, 1000),
            **NO_LEASE,
        }
        if verification:
            values["verification"] = verification
        if leases.write(conn, item.job_id, self.lease, values) and code != ErrorCode.WAITING:
            events.add(conn, [events.event(item.job_id, "retry", reason, at=now)])
        self._leave(item)
        self.failed += 1

    def park(
        self,
        conn: Connection,
        item: Item,
        code: str,
        reason: str,
        *,
        verification: VerificationKind | None = None,
    ) -> None:
        """Refused for good: the item waits for a person, or for its job to change.

        ``verification``: of what was sent, which may have had an effect all the same.
        """
        now = clock(conn)
        values: LinkValues = {
            "state": LinkState.PARKED,
            "due_run_id": None,
            "error_code": code,
            "error_reason": cut(reason, 1000),
            "attempts": item.attempts + 1,
            **NO_LEASE,
            **NO_INTENT,
        }
        if verification:
            values["verification"] = verification
        if leases.park(conn, item.job_id, self.lease, item.desired_hash, values):
            events.add(conn, [events.event(item.job_id, "parked", reason, at=now)])
            self.parked += 1
        else:
            leases.write(conn, item.job_id, self.lease, NO_LEASE)
        if code == ErrorCode.DOUBLED_NUMBER:
            push_queue.unpark_if_deadlocked(conn, item.key, but=item.job_id, now=now)
        self._leave(item)

    def end(self, conn: Connection, items: list[Item]) -> None:
        """End these items: QuickBooks Time holds what is desired for them."""
        if not items:
            return
        now = clock(conn)
        values: LinkValues = {
            "state": LinkState.IN_SYNC,
            "pushed_at": now,
            **push_queue.NOT_DUE,
            "lease_until": None,
            **push_queue.FRESH,
        }
        hashes = {item.job_id: item.desired_hash for item in items}
        ended = leases.finish_each(conn, self.lease, hashes, values)
        pushed = [(item, _pushed_event(item, now)) for item in items if item.job_id in ended]
        events.add(conn, [e for item, e in pushed if item.changed or _is_news(conn, e)])
        self.pushed += len(ended)
        for item in items:
            self._leave(item)

    def _leave(self, item: Item) -> None:
        self.items.pop(item.job_id, None)

    def close(self) -> None:
        """Give back whatever is left; those rows are due as they were."""
        if self.items or self.rolled_back:
            self.db.retrying(lambda conn: push_queue.release(conn, self.lease))


def _is_news(conn: Connection, event: Event) -> bool:
    """Tell whether the job's history does not end with just this."""
    last = events.of_job(conn, event.job_id, limit=1)
    return [(e.kind, e.text) for e in last] != [(event.kind, event.text)]


def _pushed_event(item: Item, now: datetime) -> Event:
    observed = item.observed
    place = f"location {observed.location_id}" if observed.location_linked else "no location"
    return events.event(
        item.job_id, "pushed", f"in step: jobcode {observed.jobcode_id}, {place}", at=now
    )
