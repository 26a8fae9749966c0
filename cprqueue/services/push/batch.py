"""A claimed batch: up to 50 jobs under one lease, in memory, and how they are written back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from cprqueue.domain.models import Desired, Observed
from cprqueue.domain.records import (
    ClaimedLink,
    ErrorCode,
    Event,
    Intent,
    LinkState,
    VerificationKind,
)
from cprqueue.store import events, links, push_queue
from cprqueue.store.database import Database, clock
from cprqueue.store.push_queue import NO_INTENT, NO_LEASE, LinkValues


@dataclass(slots=True, kw_only=True)
class Item:
    """One claimed job: what it should be, what is held, and what is uncertain."""

    job_id: int
    number: str
    key: str
    seniority: tuple[int, int]
    desired: Desired
    observed: Observed
    attempts: int
    verification: VerificationKind | None
    intent: Intent | None
    intent_at: datetime | None
    desired_hash: str
    fully_verified: bool = False
    """True once this claim has looked at everything: a refusal after that is final."""

    @property
    def label(self) -> str:
        """What people call this job."""
        return f"RM job {self.job_id} ({self.number})"

    @property
    def names(self) -> list[str]:
        """The names under which this job's jobcode may be found while it has no id.

        Besides its number, the one that a create of unknown fate sent: the number may have
        changed since, and the jobcode of the old one must not be left behind.
        """
        sent = self.observed.name if self.intent is Intent.CREATE_JOBCODE else ""
        return list(dict.fromkeys(name for name in (sent, self.desired.name) if name))

    @property
    def certain(self) -> bool:
        """False while a request's fate is unknown or a look was asked for."""
        return self.verification is None and self.intent is None


def read_item(row: ClaimedLink) -> Item:
    """Build an item from a claimed link."""
    return Item(
        job_id=row.job_id,
        number=row.job_number,
        key=row.name_key,
        seniority=(row.first_run_id, row.job_id),
        desired=Desired(name=row.job_number, address=row.address),
        observed=row.observed,
        attempts=row.attempts,
        verification=row.verification or (VerificationKind.CHANGES if row.intent else None),
        intent=row.intent,
        intent_at=row.intent_at,
        desired_hash=row.desired_hash,
    )


@dataclass(slots=True, kw_only=True)
class Batch:
    """The items of one lease. Each write names the lease, so a lost one changes nothing."""

    db: Database
    lease: str
    lease_time: timedelta
    items: dict[int, Item] = field(default_factory=dict)
    pushed: int = 0
    parked: int = 0
    failed: int = 0

    def record_intent(self, items: list[Item], kind: Intent) -> list[Item]:
        """Write down what is about to be sent; return the items that are still ours."""
        with self.db.begin() as conn:
            now = clock(conn)
            push_queue.renew(conn, self.lease, now + self.lease_time)
            ours = push_queue.still_leased(conn, self.lease)
            rows = [self._intent(item, kind, now) for item in items if item.job_id in ours]
            push_queue.write_each(conn, self.lease, rows)
        for item in items:
            if item.job_id not in ours:
                self._leave(item)
        return [item for item in items if item.job_id in ours]

    def _intent(self, item: Item, kind: Intent, now: datetime) -> LinkValues:
        item.intent, item.intent_at = kind, now
        row: LinkValues = {"job_id": item.job_id, "intent": kind, "intent_at": now}
        if kind is Intent.CREATE_JOBCODE:
            item.observed = replace(item.observed, name=item.desired.name)
            row |= links.observed_columns(item.observed)
        return row

    def clear_intent(self, items: list[Item]) -> None:
        """The request was refused before it did anything: nothing is uncertain."""
        rows: list[LinkValues] = [{"job_id": item.job_id, **NO_INTENT} for item in items]
        with self.db.begin() as conn:
            push_queue.write_each(conn, self.lease, rows)
        for item in items:
            item.intent = item.intent_at = None

    def record_observed_each(self, conn: Connection, pairs: list[tuple[Item, Observed]]) -> None:
        """Do ``believe`` for many items that have just moved, in few statements."""
        settled: LinkValues = {**NO_INTENT, "verification": None, "attempts": 0}
        rows: list[LinkValues] = [
            {"job_id": item.job_id, **links.observed_columns(observed), **settled}
            for item, observed in pairs
        ]
        before = [(item, item.observed) for item, _ in pairs]
        try:
            with conn.begin_nested():
                push_queue.write_each(conn, self.lease, rows)
        except IntegrityError:
            before = [was for was, pair in zip(before, pairs, strict=True)
                      if self._write(conn, *pair, attempts=0)]  # fmt: skip
        else:
            for item, observed in pairs:
                item.attempts = 0  # it moves: what failed before counts no longer
                self._settle(item, observed)
        # Last, because what is held for each of them was built before the others were told.
        for item, was in before:
            self._detach_from_shared_location(conn, item, was)

    def record_observed(
        self,
        conn: Connection,
        item: Item,
        observed: Observed,
        *,
        verification: VerificationKind | None = None,
        attempts: int | None = None,
    ) -> None:
        """Write what QuickBooks Time holds for the item; its intent is settled by that.

        Where another job is linked to the jobcode or location, the database refuses; the item
        then leaves the batch, and both look again: one of the two records is out of date.
        """
        was = item.observed
        if self._write(conn, item, observed, verification=verification, attempts=attempts):
            self._detach_from_shared_location(conn, item, was)

    def _write(
        self,
        conn: Connection,
        item: Item,
        observed: Observed,
        *,
        verification: VerificationKind | None = None,
        attempts: int | None = None,
    ) -> bool:
        columns: LinkValues = {
            **links.observed_columns(observed),
            **NO_INTENT,
            "verification": verification,
        }
        if attempts is not None:
            columns["attempts"] = attempts
        try:
            with conn.begin_nested():
                push_queue.write(conn, item.job_id, self.lease, columns)
        except IntegrityError:
            links.mark_unverified(
                conn, observed, but=item.job_id, verification=VerificationKind.FULL, now=clock(conn)
            )
            reason = "another job is linked to the same jobcode"
            self.postpone(conn, item, ErrorCode.CONFLICT, reason, VerificationKind.FULL)
            return False
        self._settle(item, observed)
        return True

    def _settle(self, item: Item, observed: Observed) -> None:
        item.observed, item.intent, item.intent_at, item.verification = observed, None, None, None

    def _detach_from_shared_location(self, conn: Connection, item: Item, was: Observed) -> None:
        """Take the item's jobcode out of what others will send back for a location it left.

        A location's links are replaced as a whole: a job that sends back a link which is gone
        would bring it to life again.
        """
        kept = {spare.location_id for spare in item.observed.spares}
        left = [spare for spare in was.spares if spare.location_id not in kept]
        for spare in left if was.jobcode_id is not None else ():
            for job_id in links.with_jobcodes(conn, spare.others).values():
                row = links.get(conn, job_id, to_write=True)
                theirs = row.observed if row else Observed()
                theirs = theirs.without_sharer(spare.location_id, was.jobcode_id)
                links.set_observed(conn, job_id, theirs)
                if job_id in self.items:
                    self.items[job_id].observed = theirs

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
            "error_reason": reason[:1000],
            **NO_LEASE,
        }
        if verification:
            values["verification"] = verification
        if push_queue.write(conn, item.job_id, self.lease, values) and code != ErrorCode.WAITING:
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

        ``look``: what was sent may have had an effect all the same, so look before the next try.
        """
        now = clock(conn)
        values: LinkValues = {
            "state": LinkState.PARKED,
            "error_code": code,
            "error_reason": reason[:1000],
            "attempts": item.attempts + 1,
            **NO_LEASE,
            **NO_INTENT,
        }
        if verification:
            values["verification"] = verification
        if self._finish(conn, item, values):
            events.add(conn, [events.event(item.job_id, "parked", reason, at=now)])
            self.parked += 1
        if code == ErrorCode.DOUBLED_NUMBER:
            push_queue.unpark_if_deadlocked(conn, item.key, but=item.job_id, now=now)
        self._leave(item)

    def done(self, conn: Connection, items: list[Item]) -> None:
        """QuickBooks Time holds what is wanted for these items."""
        if not items:
            return
        now = clock(conn)
        values: LinkValues = {
            "state": LinkState.IN_SYNC,
            "pushed_at": now,
            "next_attempt_at": None,
            "lease_until": None,
            **push_queue.FRESH,
        }
        hashes = {item.job_id: item.desired_hash for item in items}
        ended = push_queue.finish_each(conn, self.lease, hashes, values)
        events.add(conn, [_in_step(item, now) for item in items if item.job_id in ended])
        self.pushed += len(ended)
        for item in items:
            self._leave(item)

    def _finish(self, conn: Connection, item: Item, values: LinkValues) -> bool:
        """End the item unless its job changed meanwhile; then it stays due and is given back."""
        where: LinkValues = {"state": LinkState.DUE, "desired_hash": item.desired_hash}
        if push_queue.write(conn, item.job_id, self.lease, values, only=where):
            return True
        push_queue.write(conn, item.job_id, self.lease, NO_LEASE)
        return False

    def _leave(self, item: Item) -> None:
        self.items.pop(item.job_id, None)

    def close(self) -> None:
        """Give back whatever is left; those rows are due as they were."""
        if self.items:
            with self.db.begin() as conn:
                push_queue.release(conn, self.lease)


def _in_step(item: Item, now: datetime) -> Event:
    observed = item.observed
    place = f"location {observed.location_id}" if observed.location_linked else "no location"
    return events.event(
        item.job_id, "pushed", f"in step: jobcode {observed.jobcode_id}, {place}", at=now
    )
