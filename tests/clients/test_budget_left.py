"""What the budget says of itself: how much is left, for whom, and how long until there is more."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cprqueue import log
from cprqueue.clients.budget import LONGEST_CALL_MS, Budget
from cprqueue.domain.states import RunKind
from cprqueue.errors import OutOfCalls
from cprqueue.store import runs
from cprqueue.store.database import Database, clock


def budget(db: Database, *, limit: int = 10, seconds: float = 60) -> Budget:
    return Budget(db, limit=limit, window=timedelta(seconds=seconds))


def free(made: Budget) -> tuple[int, int]:
    """Return how many calls are free for urgent work, and for the rest."""
    with made.db.read() as conn:
        return made.free(conn), made.free(conn, urgent=False)


def use(made: Budget, calls: int, *, urgent: bool = False) -> None:
    for _ in range(calls):
        with made.call(urgent=urgent):
            pass


@pytest.mark.parametrize(("limit", "reserve"), [(5, 1), (10, 1), (300, 30)])
def test_a_tenth_of_the_free_calls_is_for_urgent_work_alone(
    db: Database, limit: int, reserve: int
) -> None:
    assert free(budget(db, limit=limit)) == (limit, limit - reserve)


def test_what_is_used_is_not_free_and_the_reserve_is_left_for_urgent_work(db: Database) -> None:
    made = budget(db)
    use(made, 9)
    assert free(made) == (1, 0)
    with pytest.raises(OutOfCalls):
        use(made, 1)
    use(made, 1, urgent=True)
    assert free(made) == (0, 0)
    with pytest.raises(OutOfCalls):
        use(made, 1, urgent=True)


def test_an_unused_budget_has_no_wait_whether_its_slots_exist_yet_or_not(db: Database) -> None:
    made = budget(db)
    assert made.wait_seconds() == 0
    use(made, 1)
    assert made.wait_seconds() == 0


def test_the_wait_is_until_the_oldest_call_leaves_the_window(db: Database) -> None:
    made = budget(db, seconds=10_000_000)
    use(made, 9)
    assert 9_999_900 < made.wait_seconds() <= 10_000_000
    assert made.wait_seconds(urgent=True) == 0


def test_without_a_call_left_the_error_says_how_long_it_takes(db: Database) -> None:
    made = budget(db, seconds=100_000)
    use(made, 9)
    with pytest.raises(OutOfCalls) as raised:
        use(made, 1)
    assert 99_900 < raised.value.wait_seconds <= 100_000


def test_a_call_that_is_under_way_holds_its_slot_for_longer_than_any_request(db: Database) -> None:
    made = budget(db, limit=1, seconds=1)
    made.take(urgent=True)
    assert LONGEST_CALL_MS / 1000 - 30 < made.wait_seconds(urgent=True) <= 61


def test_a_slot_that_was_given_back_counts_from_its_answer_on(db: Database) -> None:
    made = budget(db, limit=1, seconds=1000)
    use(made, 1, urgent=True)
    assert made.wait_seconds(urgent=True) <= 1000


def test_each_call_is_counted_once(db: Database) -> None:
    made = budget(db)
    use(made, 4)
    with db.read() as conn:
        assert made.calls_so_far(conn) == 4


def test_a_429_takes_all_calls_of_the_window_but_prolongs_none_that_is_under_way(
    db: Database,
) -> None:
    made = budget(db, limit=10, seconds=1000)
    under_way = made.take()
    made.block()
    assert free(made) == (0, 0)
    assert 900 < made.wait_seconds() <= 1000
    made.stamp(under_way)
    assert free(made) == (0, 0)


def test_each_call_counts_for_the_run_that_is_at_work(db: Database) -> None:
    made = budget(db)
    with db.begin() as conn:
        run_id = runs.create(conn, RunKind.SNAPSHOT, now=clock(conn))
    use(made, 1)
    with log.bound(run_id=run_id):
        use(made, 2)
    with db.read() as conn:
        assert runs.existing(conn, run_id).calls == 2
