"""The call budget holds in every window, whoever calls, dies or changes the settings."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from cprqueue.clients.budget import LONGEST_BLOCK_MS, Budget
from cprqueue.errors import OutOfCalls, RateLimited
from cprqueue.store.database import Database, now_ms
from cprqueue.store.tables import call_slots
from tests.real_processes import wait_until


def budget(db: Database, limit: int = 10, seconds: float = 60) -> Budget:
    return Budget(db, limit=limit, window=timedelta(seconds=seconds))


def spend_all(made: Budget, *, urgent: bool) -> int:
    """Call until there are no calls left; return how many there were."""
    for number in range(1000):
        try:
            with made.call(urgent=urgent):
                pass
        except OutOfCalls:
            return number
    raise AssertionError("the budget has no bottom")


def age(db: Database, milliseconds: int) -> None:
    """Let all slots have been used longer ago."""
    older = update(call_slots).values(used_at_ms=call_slots.c.used_at_ms - milliseconds)
    with db.begin() as conn:
        conn.execute(older)


def hammer(url: str, limit: int, window: float, until: float, moments: list[float]) -> None:
    """Call as fast as the budget lets us; note when each call truly was."""
    own = Database(url)
    made = budget(own, limit, window)
    while time.time() < until:
        try:
            with made.call(urgent=True):
                moments.append(time.time())
        except OutOfCalls:
            time.sleep(0.005)  # the pace of the hammer, not a wait for a result
    own.close()


def test_four_hammers_never_exceed_the_limit_in_any_window(db: Database) -> None:
    limit, window = 12, 0.5
    url = db.engine.url.render_as_string(hide_password=False)
    moments: list[float] = []
    until = time.time() + 2.5
    threads = [
        threading.Thread(target=hammer, args=(url, limit, window, until, moments)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    moments.sort()
    assert len(moments) > 3 * limit, "the budget is also used up, not only kept"
    for first, beyond in zip(moments, moments[limit:], strict=False):
        assert beyond - first >= window - 0.002, "the database's clock counts milliseconds"


def test_bulk_work_leaves_a_tenth_to_urgent_work(db: Database) -> None:
    made = budget(db, limit=20)
    assert spend_all(made, urgent=False) == 18
    assert spend_all(made, urgent=True) == 2
    with db.read() as conn:
        assert (made.free(conn), made.calls_so_far(conn)) == (0, 20)


def test_urgent_work_alone_may_use_everything(db: Database) -> None:
    assert spend_all(budget(db), urgent=True) == 10


def test_out_of_calls_says_how_long(db: Database) -> None:
    made = budget(db, seconds=60)
    spend_all(made, urgent=True)
    with pytest.raises(OutOfCalls) as raised:
        made.take()
    assert 55 < raised.value.wait_seconds <= 60
    assert 55 < made.wait_seconds(urgent=True) <= 60
    age(db, 61_000)
    assert made.wait_seconds() == 0
    assert spend_all(made, urgent=True) == 10


def test_a_fresh_budget_has_nothing_to_wait_for(db: Database) -> None:
    assert budget(db).wait_seconds() == 0


def test_a_call_that_failed_counts(db: Database) -> None:
    made = budget(db)
    with pytest.raises(KeyError), made.call():
        raise KeyError
    with db.read() as conn:
        assert made.free(conn) == 9


def test_a_slot_whose_user_died_comes_back_but_not_too_early(db: Database) -> None:
    made = budget(db, limit=2, seconds=60)
    made.take(urgent=True)
    spend_all(made, urgent=True)
    age(db, 61_000)
    assert spend_all(made, urgent=True) == 1, "its request may only now have arrived"
    age(db, 60_000)
    assert spend_all(made, urgent=True) == 2


def test_after_a_429_nothing_is_free_for_a_whole_window(db: Database) -> None:
    made = budget(db, seconds=60)
    with made.call():
        pass
    made.block()
    assert spend_all(made, urgent=True) == 0
    age(db, 61_000)
    assert spend_all(made, urgent=True) == 10


@pytest.mark.parametrize(
    ("asked", "blocked"), [(None, 60), (7, 60), (200, 200), (1e9, LONGEST_BLOCK_MS / 1000)]
)
def test_a_429_blocks_for_as_long_as_it_asks_for_within_bounds(
    db: Database, asked: float | None, blocked: float
) -> None:
    made = budget(db, seconds=60)
    with pytest.raises(RateLimited), made.call():
        raise RateLimited("QuickBooks Time answered 429", asked)
    age(db, round(blocked * 1000) - 5_000)
    assert spend_all(made, urgent=True) == 0
    age(db, 6_000)
    assert spend_all(made, urgent=True) == 10


def test_a_429_before_the_first_call_blocks_as_well(db: Database) -> None:
    made = budget(db)
    made.block()
    assert spend_all(made, urgent=True) == 0


def test_a_block_never_frees_a_slot_that_is_in_use(db: Database) -> None:
    made = budget(db, limit=2, seconds=60)
    slot = made.take(urgent=True)
    made.block()
    age(db, 61_000)
    with db.read() as conn:
        used = select(call_slots.c.used_at_ms - now_ms()).where(call_slots.c.slot_id == slot)
        assert conn.execute(used).scalar_one() > -60_000


@pytest.mark.parametrize(("before", "after"), [(10, 4), (4, 10)])
def test_a_changed_limit_holds_at_once(db: Database, before: int, after: int) -> None:
    spent = spend_all(budget(db, limit=before), urgent=True)
    assert spent == before
    assert spend_all(budget(db, limit=after), urgent=True) == max(0, after - before)
    age(db, 61_000)
    assert spend_all(budget(db, limit=after), urgent=True) == after


def test_a_changed_window_holds_at_once(db: Database) -> None:
    spend_all(budget(db, seconds=1), urgent=True)
    age(db, 30_000)
    assert spend_all(budget(db, seconds=60), urgent=True) == 0
    assert spend_all(budget(db, seconds=1), urgent=True) == 10


def test_a_short_window_ends_by_itself(db: Database) -> None:
    made = budget(db, limit=2, seconds=0.5)
    made.block()
    wait_until(lambda: made.wait_seconds(urgent=True) == 0, timeout_seconds=5)
    with made.call(urgent=True):
        pass


def test_many_first_callers_make_the_slots_once(tmp_path: Path, db: Database) -> None:
    url = db.engine.url.render_as_string(hide_password=False)
    until = time.time() + 0.5
    moments: list[float] = []
    threads = [
        threading.Thread(target=hammer, args=(url, 30, 60, until, moments)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(moments) == 30
