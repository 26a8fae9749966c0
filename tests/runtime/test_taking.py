"""Messages that are taken off a queue: which, in what order, and by which rights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from kombu import Connection, Exchange, Producer, Queue
from redis import Redis

from cprqueue.runtime.taking import MOST_BYTES, Taking, taking
from tests.other_servers import url_of
from tests.own_valkey import own_valkey

QUEUE = Queue("insert", Exchange("insert"), "insert")
RIGHTS = "on >hush ~* &* +@all -@dangerous +info"
"""What docs/operations.md asks for."""


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with own_valkey(tmp_path_factory.mktemp("valkey")) as running:
        yield running


class Line:
    """A queue, how it is taken from, and what is in it."""

    def __init__(self, port: int, channel: Any) -> None:
        self.redis = Redis(port=port, decode_responses=True)
        self.redis.flushall()
        self.channel, self.queue = channel, QUEUE(channel)
        self.queue.declare()
        self.taking = taking(channel, "insert", "t")

    def put(self, *numbers: int, task: str = "t", **headers: Any) -> None:
        producer = Producer(self.channel, self.queue.exchange, "insert")
        for number in numbers:
            producer.publish({"n": number}, headers={"task": task, **headers})

    def waiting(self) -> list[int]:
        """Return what waits, the next one first."""
        texts = self.redis.lrange("insert", 0, -1)
        bodies = [json.loads(text)["body"] for text in texts]
        return [self.read(body) for body in reversed(bodies)]

    def read(self, body: str) -> int:
        return int(json.loads(self.channel.decode_body(body, "base64"))["n"])

    def unacknowledged(self) -> tuple[int, int]:
        return self.redis.hlen("unacked"), self.redis.zcard("unacked_index")


@pytest.fixture
def line(port: int) -> Iterator[Line]:
    with Redis(port=port) as admin:
        admin.execute_command("ACL", "SETUSER", "worker", "reset", *RIGHTS.split())
    with (
        Connection(f"redis://worker:hush@127.0.0.1:{port}/0") as connection,
        connection.channel() as channel,
    ):
        made = Line(port, channel)
        yield made
        made.redis.close()


def numbers(messages: list[Any]) -> list[int]:
    return [message.payload["n"] for message in messages]


def test_the_oldest_are_taken_first_and_are_gone_once_acknowledged(line: Line) -> None:
    line.put(1, 2, 3, 4)
    found = line.taking.take(3)
    assert (numbers(found), line.waiting(), line.unacknowledged()) == ([1, 2, 3], [4], (3, 3))
    line.taking.acknowledge(found)
    assert (line.waiting(), line.unacknowledged()) == ([4], (0, 0))


def test_what_is_put_back_is_next_in_its_old_order(line: Line) -> None:
    line.put(1, 2, 3, 4)
    line.taking.put_back(line.taking.take(3))
    assert (line.waiting(), line.unacknowledged()) == ([1, 2, 3, 4], (0, 0))


def test_the_first_that_is_not_wanted_ends_it_and_stays(line: Line) -> None:
    line.put(1)
    line.put(2, task="other")
    line.put(3)
    assert numbers(line.taking.take(9)) == [1]
    assert line.waiting() == [2, 3]


def test_kombu_restores_what_was_taken_and_not_acknowledged(line: Line) -> None:
    """What a killed process had comes again, to whoever consumes."""
    line.put(1, 2)
    assert numbers(line.taking.take(9)) == [1, 2]
    for tag in line.redis.hkeys("unacked"):
        line.redis.zadd("unacked_index", {str(tag): 0.0})
    line.channel.qos.restore_visible(num=9, interval=1)
    assert sorted(line.waiting()) == [1, 2]
    assert line.unacknowledged() == (0, 0)


@pytest.mark.parametrize("name", ["eta", "expires"])
def test_a_message_of_another_time_stays(line: Line, name: str) -> None:
    line.put(1)
    line.put(2, **{name: "2026-03-01T12:00:00+00:00"})
    assert numbers(line.taking.take(9)) == [1]
    assert line.waiting() == [2]


def test_what_is_no_message_stays(port: int) -> None:
    with Connection(f"redis://127.0.0.1:{port}/0") as connection, connection.channel() as channel:
        line = Line(port, channel)
        headers = '"headers": {"task": "t"}'
        tagged = f'{headers}, "properties": {{"delivery_tag": "1", "body_encoding": "base64"}}'
        odd = (
            "no JSON",
            "[]",
            "{}",
            f'{{{headers}, "properties": {{}}}}',
            f"{{{tagged}}}",
            f'{{{tagged}, "body": "abc"}}',
            f'{{{tagged}, "body": "no base"}}',
            f'{{{tagged}, "body": "", "x": "\xff"}}'.encode("latin-1"),
        )
        for text in odd:
            line.redis.rpush("insert", text)
            assert line.taking.take(9) == []
        assert (line.redis.llen("insert"), line.unacknowledged()) == (len(odd), (0, 0))
        line.redis.close()


def test_what_comes_again_is_left_to_the_consumer(line: Line) -> None:
    """A process may have died of it, and would again, with all that it takes along."""
    line.put(1, 2, 3)
    line.taking.put_back(line.taking.take(1))
    assert line.taking.take(9) == []
    line.redis.rpop("insert")
    assert numbers(line.taking.take(9)) == [2, 3]


def test_what_is_taken_at_once_is_limited_in_bytes(line: Line) -> None:
    producer = Producer(line.channel, line.queue.exchange, "insert")
    for number in range(5):
        large = "x" * (MOST_BYTES // 3)
        producer.publish({"n": number, "text": large}, headers={"task": "t"})
    assert len(line.taking.take(9)) == 3
    assert line.unacknowledged() == (3, 3)


@pytest.fixture
def rabbit() -> Iterator[tuple[Producer, Taking]]:
    with Connection(url_of("CPR_TEST_RABBITMQ_URL")) as connection, connection.channel() as channel:
        queue = Queue(f"taking-{uuid4()}")(channel)
        queue.declare()
        yield Producer(channel, routing_key=queue.name), taking(channel, queue.name, "t")
        queue.delete()


def test_of_rabbitmq_too_what_comes_again_and_what_is_damaged_is_left(
    rabbit: tuple[Producer, Taking],
) -> None:
    producer, taken = rabbit
    for number in (1, 2):
        producer.publish({"n": number}, headers={"task": "t"})
    damaged = {"task": "t", "compression": "application/x-gzip"}
    producer.publish(b"no archive", headers=damaged, content_type="application/json")
    producer.publish({"n": 4}, headers={"task": "t"})
    found = taken.take(9)
    assert numbers(found) == [1, 2]
    taken.put_back(found)
    assert taken.take(9) == []


def test_of_rabbitmq_too_what_is_taken_at_once_is_limited_in_bytes(
    rabbit: tuple[Producer, Taking],
) -> None:
    producer, taken = rabbit
    for number in range(5):
        large = {"n": number, "text": "x" * (MOST_BYTES // 3)}
        producer.publish(large, headers={"task": "t"})
    assert len(taken.take(9)) == 3


def test_what_a_killed_process_took_comes_again_long_before_the_visibility_timeout(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    line.put(1, 2)
    line.taking.take(1)
    line.channel.qos.restore_visible(interval=1)
    assert line.waiting() == [2], "it may still be at work"
    monkeypatch.setenv("CPR_TESTING", "1")
    monkeypatch.setenv("CPR_TEST_AGAIN_SECONDS", "0")
    line.taking.take(1)
    line.channel.qos.restore_visible(interval=1)
    assert (line.waiting(), line.unacknowledged()) == ([2], (1, 1))
