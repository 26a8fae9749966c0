"""Which answers, and which silence, make a worker one that hangs."""

from __future__ import annotations

import pytest

from cprqueue.cli.canaries import MISSES, STARTING, Answer, BrokerNews, Worker, ask
from cprqueue.errors import ServiceUnreachable

WORKS, IDLE = (Answer(busy=busy, taken=7, waiting=3) for busy in (True, False))
NOTHING_WAITS = Answer(busy=False, taken=7, waiting=0)


def rounds(worker: Worker, *answers: Answer | None) -> list[str]:
    return [worker.judge(answer) for answer in answers]


def test_a_worker_hangs_after_some_unanswered_messages_in_a_row() -> None:
    worker = Worker(1, ready=True)
    assert not any(rounds(worker, *[None] * (MISSES - 1), WORKS, *[None] * (MISSES - 1)))
    assert worker.judge(None) == f"no answer to {MISSES} canary messages"


def test_a_worker_that_starts_gets_more_time_and_restarts_that_do_not_help_double_it() -> None:
    assert not any(rounds(Worker(1), *[None] * (MISSES * STARTING - 1)))
    again = Worker(1, ready=True, restarts=2)
    assert not any(rounds(again, *[None] * (4 * MISSES - 1)))
    assert again.judge(None)
    assert not any(rounds(Worker(1, ready=True, restarts=99), *[None] * (32 * MISSES - 1)))


@pytest.mark.parametrize("answer", [WORKS, NOTHING_WAITS])
def test_one_that_works_or_has_nothing_to_do_does_not_hang(answer: Answer) -> None:
    worker = Worker(1, ready=True, restarts=2)
    assert not any(rounds(worker, *[answer] * 100))
    assert worker.restarts == 0


def test_one_that_answers_and_leaves_its_messages_hangs() -> None:
    worker = Worker(1, ready=True)
    said = rounds(worker, *[IDLE] * (MISSES + 1))
    assert [bool(words) for words in said] == [False] * MISSES + [True]
    moving = (Answer(busy=False, taken=n, waiting=3) for n in range(100))
    assert not any(rounds(Worker(1, ready=True), *moving))


def test_a_broker_that_does_nothing_is_said_once_and_so_is_its_return() -> None:
    said: list[str] = []
    news = BrokerNews(said.append)
    for problem in ("", "it restarts", "", "it is away: start it", "away", "away", "", "", "away"):
        news.take(problem)
    assert said == ["away; what is owed is done when it is back", "the broker is back"]


def test_a_broker_that_is_away_is_told_with_its_cure_and_without_its_password() -> None:
    with pytest.raises(
        ServiceUnreachable, match=r"does not answer: .*: start it, or correct"
    ) as told:
        ask("redis://:hush@127.0.0.1:1/0", ("urgent",), 1)
    assert "hush" not in str(told.value)
