"""No wait on RabbitMQ's wire is longer than its limit, whatever the other side does."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from kombu.exceptions import OperationalError

from cprqueue.runtime import amqp_transport, broker_link
from tests.other_servers import url_of
from tests.silent_proxy import Proxy, proxy_to

SECONDS = 0.5


@pytest.fixture
def way() -> Iterator[tuple[Proxy, Any]]:
    """A proxy to RabbitMQ, and a connection through it."""
    parts = urlsplit(url_of("CPR_TEST_RABBITMQ_URL"))
    with proxy_to(parts.port or 0) as proxy:
        url = f"amqp://{parts.username}:{parts.password}@127.0.0.1:{proxy.port}//"
        with broker_link.connection(url, SECONDS) as connection:
            connection.connect()
            yield proxy, connection


def test_an_answer_that_does_not_come_is_a_lost_connection_and_closing_it_takes_no_time(
    way: tuple[Proxy, Any],
) -> None:
    proxy, connection = way
    channel = connection.channel()
    proxy.fall_silent()
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"no answer from RabbitMQ in 0\.5 s"):
        channel.queue_declare("nobody", passive=True)
    channel.close()
    connection.release()
    assert time.monotonic() - began < 3 * SECONDS
    with pytest.raises(OperationalError, match="timed out"):
        connection.ensure_connection(max_retries=1, timeout=SECONDS, interval_start=0)


def test_who_sends_on_a_way_that_fell_silent_notices_it(
    way: tuple[Proxy, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, connection = way
    monkeypatch.setattr(amqp_transport, "QUIET_SECONDS", 0.0)
    producer = connection.Producer()
    producer.publish("", routing_key="nobody")
    proxy.fall_silent()
    with pytest.raises(connection.connection_errors):
        producer.publish("", routing_key="nobody")
    proxy.recover()
    connection.collect()
    connection.Producer().publish("", routing_key="nobody")


def test_half_a_frame_is_kept_and_nobody_waits_for_the_rest() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        wire = amqp_transport._TcpWire("127.0.0.1:1")
        wire.sock = ours
        wire._setup_transport()
        ours.setblocking(False)
        theirs.sendall(b"\x08\x00\x00\x00\x00")
        for _ in range(2):
            with pytest.raises(TimeoutError):
                wire.read_frame()
        theirs.sendall(b"\x00\x01x\xce")
        assert wire.read_frame() == (8, 0, b"x")


def test_a_peer_that_takes_nothing_blocks_no_writer(way: tuple[Proxy, Any]) -> None:
    proxy, connection = way
    proxy.fall_silent()
    with pytest.raises(TimeoutError):
        connection.connection.transport.write(b"\x00" * 50_000_000)
