"""When a job is tried again, and when a person must look."""

from __future__ import annotations

from datetime import timedelta
from random import Random

import pytest

from cprqueue.domain.retry import (
    LONGEST_WAIT,
    Again,
    GiveUp,
    after_item_failure,
    backoff,
    countdown_seconds,
    verification_delay,
)


class Fixed(Random):
    """Always the same draw."""

    def __init__(self, draw: float) -> None:
        super().__init__()
        self.draw = draw

    def random(self) -> float:
        return self.draw


@pytest.mark.parametrize(
    ("attempts", "seconds"),
    [(0, 2), (1, 4), (2, 8), (3, 16), (7, 256), (8, 300), (60, 300), (10_000, 300)],
)
def test_the_wait_doubles_up_to_the_longest(attempts: int, seconds: float) -> None:
    wait = backoff(attempts, base=timedelta(seconds=2), rng=Fixed(1.0))
    assert wait == timedelta(seconds=seconds)
    assert wait <= LONGEST_WAIT


def test_jitter_reaches_from_nothing_to_all() -> None:
    waits = [backoff(3, base=timedelta(seconds=1), rng=Random(n)) for n in range(300)]
    assert min(waits) < timedelta(seconds=0.5)
    assert max(waits) > timedelta(seconds=7.5)


@pytest.mark.parametrize(("draw", "seconds"), [(0.0, 6), (0.5, 8), (1.0, 10)])
def test_nobody_looks_at_once_after_a_write_without_an_answer(draw: float, seconds: float) -> None:
    wait = verification_delay(1, base=timedelta(seconds=2), rng=Fixed(draw))
    assert wait == timedelta(seconds=seconds)


@pytest.mark.parametrize(("attempts", "gives_up"), [(1, False), (2, False), (3, True), (4, True)])
def test_a_job_is_given_up_at_its_last_attempt(attempts: int, gives_up: bool) -> None:
    base = timedelta(seconds=2)
    decision = after_item_failure(attempts, max_attempts=3, base=base, rng=Fixed(0.5))
    expected = GiveUp() if gives_up else Again(delay=backoff(attempts, base=base, rng=Fixed(0.5)))
    assert decision == expected


def test_a_task_comes_again_within_a_minute_however_often_it_was_tried() -> None:
    waits = [countdown_seconds(retries) for retries in (0, 1, 2, 9, 5_000)]
    assert waits == [2, 4, 8, 60, 60]


@pytest.mark.parametrize(("free_in", "seconds"), [(0.5, 15), (20, 20), (300, 60)])
def test_a_task_that_is_out_of_calls_waits_for_several(free_in: float, seconds: float) -> None:
    assert countdown_seconds(3, call_free_in=free_in) == seconds
