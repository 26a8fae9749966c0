"""How many wake-ups a process sends for what it records: one for each batch, and a last one."""

from __future__ import annotations

from dataclasses import dataclass

from cprqueue.domain.models import BATCH, Address, Job
from cprqueue.services.wake_ups import LINGER_SECONDS, Spared

JOB = Job(
    job_id=1, job_number="A-1", job_name="", site_id=1, status="", progress="", address=Address()
)


@dataclass
class Hand:
    """A clock that a test sets."""

    seconds: float = 100.0

    def read(self) -> float:
        return self.seconds


def test_a_single_job_is_woken_up_for_at_once_and_a_quiet_second_later_again() -> None:
    hand = Hand()
    spared = Spared(hand.read)
    for _ in range(3):
        assert [(w.job_id, w.label, w.seconds) for w in spared.choose(JOB, [1])] == [
            (1, JOB.label, 0)
        ]
        hand.seconds += 2 * LINGER_SECONDS
    assert spared.choose(JOB, []) == []


def test_of_many_each_is_served_by_a_wake_up_that_runs_after_it_within_a_second() -> None:
    hand = Hand()
    spared = Spared(hand.read)
    due, runs_at, number = [], [], 10 * BATCH
    for job_id in range(number):
        due.append(hand.seconds)
        runs_at += [hand.seconds + wake_up.seconds for wake_up in spared.choose(JOB, [job_id])]
        hand.seconds += 0.05
    latest = [min((at for at in runs_at if at >= moment), default=None) for moment in due]
    assert all(at is not None for at in latest)
    waits = [at - moment for at, moment in zip(latest, due, strict=True) if at is not None]
    assert max(waits) <= LINGER_SECONDS
    assert len(runs_at) <= number / BATCH + number * 0.05 / LINGER_SECONDS + 1


def test_a_flood_has_one_for_each_batch() -> None:
    hand = Hand()
    spared = Spared(hand.read)
    sent = [w for job_id in range(10 * BATCH) for w in spared.choose(JOB, [job_id])]
    assert len(sent) == 10 + 2  # the first, and the one that comes a second later
