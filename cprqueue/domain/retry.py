"""Pure: when to try again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from random import Random

LONGEST_WAIT = timedelta(minutes=5)
"""However often a job failed, it is tried again after this at the latest."""

LONGEST_COUNTDOWN_SECONDS = 60.0
SEVERAL_CALLS_SECONDS = 15.0

SETTLING = 3
"""A write without an answer is given this many times the base, besides the jitter, to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """Try again after ``delay``."""

    delay: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUp:
    """A person must decide."""


def backoff(attempts: int, *, base: timedelta, rng: Random) -> timedelta:
    """Return how long to wait after the ``attempts``-th failure (1, 2, ...).

    Full jitter: anything between nothing and twice as much as the time before, so that
    jobs which failed together do not come back together.
    """
    ceiling = min(base * 2 ** min(attempts, 20), LONGEST_WAIT)
    return timedelta(seconds=ceiling.total_seconds() * rng.random())


def verification_delay(attempts: int, *, base: timedelta, rng: Random) -> timedelta:
    """Return how long to wait after a write without an answer before it is verified.

    The request may still be under way: whoever verifies at once finds nothing, writes
    again, and then has two.
    """
    return base * SETTLING + backoff(attempts, base=base, rng=rng)


def after_item_failure(
    attempts: int, *, max_attempts: int, base: timedelta, rng: Random
) -> Again | GiveUp:
    """Decide for one job whose own item failed in a way that may pass.

    A failure of the whole request (no answer, 5xx, 429) is nobody's fault in the batch and
    goes to ``backoff`` alone: an outage must never park every job.
    """
    if attempts >= max_attempts:
        return GiveUp()
    return Again(delay=backoff(attempts, base=base, rng=rng))


def countdown_seconds(retries: int, *, call_free_in: float | None = None) -> float:
    """Return after how many seconds a task that was tried ``retries`` times before comes again.

    Doubling, a minute at the most, however often it was tried. ``call_free_in``: the calls are
    used up, and the next is free in so many seconds; then it waits for several, because with
    one at a time it would only ask, and ask again.
    """
    if call_free_in is None:
        return min(2.0 ** min(retries + 1, 10), LONGEST_COUNTDOWN_SECONDS)
    return min(max(call_free_in, SEVERAL_CALLS_SECONDS), LONGEST_COUNTDOWN_SECONDS)
