"""When the database's clock is stepped, everything on record moves along with it.

Leases, locks, call slots and next attempts are moments by the database's clock. Where it is set
by an hour, forward or back, each of them still has to mean what it meant: "in ten seconds", "two
minutes ago". So whoever takes a slot, a lease or a lock first compares that clock with the one of
its own machine since boot (table ``state``, one mark for each boot); where they have parted, the
step is put on record and every moment moves by it, in one transaction. It may be done by several
processes at once: the record of the steps is swapped, so each step counts once. If the process
dies before the commit, nothing was moved and the next one does it.

What is ahead of all that it could be, for whatever reason, ``mend_ahead`` cuts down.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Table, delete, select, update

from cprqueue.boot_clock import boot_id, boot_ms
from cprqueue.domain.clock_steps import Mark, Reading, step_since, step_while_away
from cprqueue.domain.models import built
from cprqueue.errors import Overtaken
from cprqueue.store import app_state
from cprqueue.store.database import Database, clock, moment, now_ms
from cprqueue.store.moved_by import moved_by
from cprqueue.store.patterns import begins_with
from cprqueue.store.tables import call_slots, links, locks, plan_items, runs, state

log = logging.getLogger(__name__)

STEPS = "clock"
MARK = "clock:"
MARK_EVERY_MS = 10_000
TOLD_MS = 1000
"""A shorter step is mended and not told of."""

SURE_MS = 50
"""A mark is only renewed by a reading that took less than this."""

READINGS = 5

AWAY_MS = 90_000
"""The sweep marks each minute: longer than this without a mark, and nobody was at work."""

SLOT_AHEAD_MS = 600_000
"""Furthest that a slot's stamp lies ahead: QuickBooks Time may have us wait for so long."""

PASSED = {
    runs: ("created_at", "started_at", "observed_at", "touched_at", "finished_at"),
    links: ("due_since", "intent_at", "pushed_at"),
    plan_items: ("outcome_at",),
}
AHEAD = {links: ("next_attempt_at", "lease_until"), locks: ("until",)}
LONGEST_ATTEMPT = timedelta(minutes=15)
LONGEST_LOCK = timedelta(minutes=5)
LONGEST_CLAIM = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """The steps so far: their sum, and of the last one how far and when (milliseconds)."""

    moved: int = 0
    last: int = 0
    at: int = 0

    @property
    def when(self) -> datetime:
        """The moment of the last one, by the clock after it."""
        return moment(self.at)


@dataclass(frozen=True, slots=True)
class _Look:
    reading: Reading
    mark: Mark | None
    steps: Steps | None

    @property
    def moved(self) -> int:
        return self.steps.moved if self.steps else 0

    @property
    def step(self) -> int:
        return step_since(self.mark, self.reading, self.moved) if self.mark else 0

    def as_mark(self, moved: int) -> Mark:
        return Mark(**asdict(self.reading), moved=moved)

    def steps_with(self, step: int) -> Steps:
        moved, was = self.moved + step, self.steps
        if was and abs(step) < TOLD_MS:
            return replace(was, moved=moved)
        return Steps(moved=moved, last=step, at=self.reading.shown)


def last(conn: Connection) -> Steps | None:
    """Return what is known of steps of the database's clock; None if there was none."""
    return app_state.get_built(conn, STEPS, Steps)


def stepped(conn: Connection) -> bool:
    """Tell whether the clock was stepped and nobody has put it on record."""
    return _look(conn).step != 0


def mend(conn: Connection) -> datetime:
    """Move what is on record along with the clock, if it was stepped; return what it shows.

    Raises Overtaken where other processes are quicker every time.
    """
    for _ in range(3):
        look = _look(conn)
        step = look.step if look.mark else _first_look(conn, look)
        if not step:
            _mark(conn, look)
        elif _recorded(conn, look, step):
            log.warning("the database's clock was stepped", extra={"seconds": step / 1000})
            _put_mark(conn, look, look.moved + step)
        else:
            continue
        return moment(look.reading.shown)
    raise Overtaken("the database's clock was stepped, and others mend it at this moment")


def watch(db: Database) -> None:
    """Do ``mend`` in a transaction of its own, where there is anything to mend."""
    with db.read() as conn:
        found = stepped(conn)
    if found:
        db.retrying(mend)


def _look(conn: Connection) -> _Look:
    """Read both clocks; again where that took long, because a step would hide in it."""
    looks = []
    for _ in range(READINGS):
        looks.append(_look_once(conn))
        if looks[-1].reading.after - looks[-1].reading.before < SURE_MS:
            break
    return min(looks, key=lambda look: look.reading.after - look.reading.before)


def _look_once(conn: Connection) -> _Look:
    before = boot_ms()
    values = [
        select(state.c.value).where(state.c.name == name).scalar_subquery()
        for name in (STEPS, MARK + boot_id())
    ]
    shown, steps, mark = conn.execute(select(now_ms(), *values)).one()
    reading = Reading(shown=int(shown), before=before, after=boot_ms())
    return _Look(
        reading,
        built(Mark, app_state.parsed(mark)) if mark else None,
        built(Steps, app_state.parsed(steps)) if steps else None,
    )


def _first_look(conn: Connection, look: _Look) -> int:
    """Compare with the marks of other boots: where the clock is behind them, it was set back.

    After a time without any mark, how long that was is not known: the calls count as just made.
    """
    marks = [built(Mark, each) for each in app_state.with_prefix(conn, MARK).values()]
    newest = max(marks, key=lambda mark: mark.shown, default=None)
    if newest is None:
        return 0
    away = look.reading.shown - newest.shown
    if away > AWAY_MS:
        _move_slots(conn, away)
    return step_while_away(newest, _look(conn).reading)  # no older than their marks


def _mark(conn: Connection, look: _Look) -> None:
    reading, mark = look.reading, look.mark
    sure = reading.after - reading.before < SURE_MS
    if mark is None or (sure and reading.before - mark.before > MARK_EVERY_MS):
        _put_mark(conn, look, look.moved)


def _put_mark(conn: Connection, look: _Look, moved: int) -> None:
    app_state.put(
        conn, MARK + boot_id(), asdict(look.as_mark(moved)), now=moment(look.reading.shown)
    )


def _recorded(conn: Connection, look: _Look, step: int) -> bool:
    """Put the step on record and move everything by it; False where another was quicker."""
    after = asdict(look.steps_with(step))
    now = moment(look.reading.shown)
    if look.steps is None:
        taken = app_state.put_first(conn, STEPS, after, now=now)
    else:
        taken = app_state.swap(conn, STEPS, asdict(look.steps), after, now=now)
    if taken:
        _move_slots(conn, step)
        for table, column in _moments():
            _update(conn, table, column, moved_by(column, step), column.is_not(None))
    return taken


def _moments() -> Iterator[tuple[Table, ColumnElement[datetime]]]:
    for table, names in [*PASSED.items(), *AHEAD.items()]:
        yield from ((table, table.c[name]) for name in names)
    yield state, state.c.updated_at


def _move_slots(conn: Connection, step: int) -> None:
    used = call_slots.c.used_at_ms
    _update(conn, call_slots, used, used + step, used > 0)
    mend_slots(conn)


def mend_slots(conn: Connection) -> None:
    """Count the slots as used now that are stamped further ahead than any call can be."""
    used = call_slots.c.used_at_ms
    _update(conn, call_slots, used, now_ms(), used > now_ms() + SLOT_AHEAD_MS)


def mend_ahead(conn: Connection, *, lease: timedelta) -> None:
    """Cut down whatever lies further ahead than it ever could, and forget old boots' marks.

    ``lease``: the longest that a lease is taken for. What has passed lies ahead by nothing, a
    lease and a lock end at the latest that they can; the rest is due now.
    """
    now = clock(conn)
    mend_slots(conn)
    longest = max(lease, LONGEST_LOCK)
    for column in (links.c.lease_until, locks.c.until):
        _update(conn, column.table, column, now + longest, column > now + longest)
    waits = links.c.next_attempt_at
    _update(conn, links, waits, now, waits > now + max(lease, LONGEST_ATTEMPT))
    claimed = state.c.updated_at
    _update(conn, state, claimed, now, claimed > now + max(lease, LONGEST_CLAIM))
    for table, names in PASSED.items():
        for name in names:
            _update(conn, table, table.c[name], now, table.c[name] > now)
    old = begins_with(state.c.name, MARK), state.c.updated_at < now - timedelta(1)
    conn.execute(delete(state).where(*old))


def _update(
    conn: Connection,
    table: Table,
    column: ColumnElement[datetime] | ColumnElement[int],
    value: object,
    where: ColumnElement[bool],
) -> None:
    conn.execute(update(table).where(where).values({column: value}))
