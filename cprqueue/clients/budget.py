"""The call budget: at most N calls to QuickBooks Time in any window, whatever process is killed.

A table of N slots, each usable once in any window. Before a call goes out, one conditional
UPDATE by the database's clock books a free slot; it is stamped again when the answer is there. In
between, the stamp lies ahead by the longest time that a request may be under way, so a slot
whose user died is never given out too early.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from random import Random
from typing import TypeVar

from sqlalchemy import ColumnElement, Connection, func, insert, select, update

from cprqueue.errors import OutOfCalls, Overtaken, RateLimited
from cprqueue.store import clock_steps
from cprqueue.store.database import Database, now_ms
from cprqueue.store.runs import count_call
from cprqueue.store.tables import call_slots

T = TypeVar("T")

LONGEST_CALL_MS = 60_000
"""Longest time between taking a slot and the request's arrival; above every timeout."""

LONGEST_BLOCK_MS = 900_000
"""However long QuickBooks Time asks us to wait, a call is tried after this at the latest."""

CANDIDATES = 8


class Budget:
    """The account's call budget, shared by all workers on all hosts through the database.

    One slot in ten is only for urgent work.
    """

    def __init__(
        self, db: Database, *, limit: int, window: timedelta, rng: Random | None = None
    ) -> None:
        self.db = db
        self.limit = limit
        self.window_ms = round(window.total_seconds() * 1000)
        self.reserve = max(1, limit // 10)
        self.rng = rng or Random()  # noqa: S311  (spreads load, guards nothing)
        self._ready = False

    @contextmanager
    def call(
        self, *, urgent: bool = False, pause: Callable[[float], None] | None = None
    ) -> Iterator[None]:
        """Hold a slot for one call. Without a ``pause``, raises OutOfCalls where none is free.

        A call that is answered 429 takes all slots along, see ``block``.
        """
        slot = self.take(urgent=urgent, pause=pause)
        try:
            try:
                yield
            finally:
                self.stamp(slot)
        except RateLimited as error:
            self.block(error.retry_after_seconds or 0)
            raise

    def take(self, *, urgent: bool = False, pause: Callable[[float], None] | None = None) -> int:
        """Take a free slot and return it; ``stamp`` it when the answer is there.

        While none is free, ``pause`` is called with the seconds until one is, and may raise.
        """
        self._prepare()
        while True:
            slot = self._by_one_clock(lambda conn: self._try(conn, urgent=urgent))
            if slot is not None:
                return slot
            wait = self.wait_seconds(urgent=urgent)
            if pause is None:
                text = f"all calls of this window are used; the next in {wait:.0f} s"
                raise OutOfCalls(text, wait)
            pause(wait)

    def stamp(self, slot: int) -> None:
        """Start the slot's window now, and count the call for the run that is at work."""

        def work(conn: Connection) -> None:
            own = update(call_slots).where(call_slots.c.slot_id == slot)
            conn.execute(own.values(used_at_ms=now_ms()))
            count_call(conn)

        self._by_one_clock(work)

    def block(self, at_least_seconds: float = 0) -> None:
        """Count all slots as used now: QuickBooks Time answered 429, so it knows better.

        The next call waits for a whole window, or for ``at_least_seconds`` (a quarter of an hour
        at most) where that is longer. Slots that are in use keep their later stamp.
        """
        self._prepare()
        wish = min(round(at_least_seconds * 1000), LONGEST_BLOCK_MS)
        until = now_ms() + max(0, wish - self.window_ms)

        def work(conn: Connection) -> None:
            older = update(call_slots).where(call_slots.c.used_at_ms < until)
            conn.execute(older.values(used_at_ms=until))

        self._by_one_clock(work)

    def free(self, conn: Connection, *, urgent: bool = True) -> int:
        """Count the slots that are free now; those that nobody has used yet are."""
        recent = call_slots.c.used_at_ms > now_ms() - self.window_ms
        statement = select(func.count()).select_from(call_slots).where(*self._mine(urgent), recent)
        size = self.limit if urgent else self.limit - self.reserve
        return size - int(conn.execute(statement).scalar_one())

    def calls_so_far(self, conn: Connection) -> int:
        """Return how many calls were ever made; the difference of two readings counts a span."""
        return int(conn.execute(select(func.coalesce(func.sum(call_slots.c.uses), 0))).scalar_one())

    def wait_seconds(self, *, urgent: bool = False) -> float:
        """Return how long until a slot is free; 0 if one is."""
        statement = select(func.min(call_slots.c.used_at_ms) + self.window_ms - now_ms())
        with self.db.read() as conn:
            found = conn.execute(statement.where(*self._mine(urgent))).scalar()
        return max(0.0, float(found or 0) / 1000)

    def _prepare(self) -> None:
        if not self._ready:
            self.db.retrying(self._ensure)
            self._ready = True

    def _by_one_clock(self, work: Callable[[Connection], T]) -> T:
        """Do ``work`` on stamps that a step of the clock has left right, and that it leaves so."""

        def tried(conn: Connection) -> T:
            clock_steps.mend(conn)
            done = work(conn)
            if clock_steps.stepped(conn):
                raise Overtaken("the database's clock was stepped at this moment")
            return done

        return self.db.retrying(tried)

    def _mine(self, urgent: bool) -> tuple[ColumnElement[bool], ...]:
        first = 1 if urgent else self.reserve + 1
        return (call_slots.c.slot_id.between(first, self.limit),)

    def _usable(self, urgent: bool) -> tuple[ColumnElement[bool], ...]:
        return (*self._mine(urgent), call_slots.c.used_at_ms <= now_ms() - self.window_ms)

    def _try(self, conn: Connection, *, urgent: bool) -> int | None:
        # Bulk work leaves the reserve alone; urgent work takes from the other end first.
        order = call_slots.c.slot_id.desc()
        free = select(call_slots.c.slot_id).where(*self._usable(urgent)).order_by(order)
        slots = list(conn.execute(free.limit(CANDIDATES)).scalars())
        self.rng.shuffle(slots)
        for slot in slots:
            take = update(call_slots).where(call_slots.c.slot_id == slot, *self._usable(urgent))
            values = {"used_at_ms": now_ms() + LONGEST_CALL_MS, "uses": call_slots.c.uses + 1}
            if conn.execute(take.values(**values)).rowcount == 1:
                return int(slot)
        clock_steps.mend_slots(conn)
        return None

    def _slots(self, conn: Connection) -> int:
        ours = call_slots.c.slot_id.between(1, self.limit)
        return int(conn.execute(select(func.count()).where(ours)).scalar_one())

    def _ensure(self, conn: Connection) -> None:
        if self._slots(conn) == self.limit:
            return
        known = set(conn.execute(select(call_slots.c.slot_id)).scalars())
        missing = [n for n in range(1, self.limit + 1) if n not in known]
        if missing:
            conn.execute(insert(call_slots), [{"slot_id": n} for n in missing])
