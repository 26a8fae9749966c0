"""The broker from the terminal's side: connections that are used once, queues, workers.

Every question has a short time limit: a broker that is away is an answer, not a wait.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from cprqueue import log
from cprqueue.errors import ServiceUnreachable
from cprqueue.runtime import broker_link
from cprqueue.settings import broker_address

CONNECT_SECONDS = broker_link.QUICK_SECONDS
PING_SECONDS = 1.0
POLL_SECONDS = 1
"""How long Redis keeps the last poll of a question. Whoever closes the connection, or uses it on,
waits for the poll's end: a worker's takes longer than CONNECT_SECONDS."""
NOT_RUNNING = "the embedded broker is not running: start `cprqueue up`"
NOBODY_LISTENS = ("Connection refused", "No such file")


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """The broker's state. ``problem`` says why nothing else is known; "" where it answers."""

    problem: str = ""
    queues: dict[str, int] = field(default_factory=dict)
    workers: list[str] = field(default_factory=list)


def ask() -> Broker:
    """Ask the broker; never raises where it is away, and never takes more than seconds."""
    from cprqueue.celery import QUEUES, app

    try:
        with connection() as conn:
            raise_if_blocked(conn)
            lengths = broker_link.lengths(conn, QUEUES)
            answers = app.control.ping(timeout=PING_SECONDS, connection=conn)
    except ServiceUnreachable as error:
        return Broker(problem=str(error))
    return Broker(queues=lengths, workers=sorted(name for answer in answers for name in answer))


@contextmanager
def connection() -> Iterator[Any]:
    """Open a connection of one's own: it cannot have died while it lay in a pool.

    Raises ServiceUnreachable where the broker does not answer, also in the block.
    """
    from kombu.exceptions import OperationalError

    from cprqueue.celery import app

    conn = app.connection_for_write(
        connect_timeout=CONNECT_SECONDS, transport_options=_options(app.conf.broker_url)
    )
    try:
        with conn:
            conn.ensure_connection(max_retries=1, timeout=CONNECT_SECONDS, interval_start=0.1)
            yield conn
    except (OSError, OperationalError, *conn.connection_errors, *conn.channel_errors) as error:
        raise ServiceUnreachable(_away(error)) from None


def raise_if_blocked(conn: Any) -> None:
    """Send RabbitMQ a message for nobody: one that is short of memory or disk takes none.

    Whoever asks the workers then would hear nothing, and call that "no worker".
    """
    if conn.transport.driver_type == "amqp":
        conn.Producer().publish("", routing_key=f"nobody-{uuid.uuid4()}")


def _away(error: BaseException) -> str:
    """Return the reason that was observed, in the library's own words."""
    from cprqueue.celery import app, settings

    told = broker_link.described(error, settings.broker_url)
    cure = broker_link.cure(told, settings.broker_url)
    if settings.broker_is_embedded:
        gone = any(words in told for words in NOBODY_LISTENS)
        return NOT_RUNNING if gone else f"the embedded broker {told}: {cure}"
    return f"the broker {log.without_password(app.conf.broker_url)} {told}: {cure}"


def _options(url: str) -> dict[str, Any]:
    """Return short limits; what is sent has to be taken by the broker, or it raises."""
    address = broker_address.read(url)
    redis = {"retry_on_timeout": False, "polling_interval": POLL_SECONDS}
    sending = {"confirm_publish": True} if address.amqp else redis
    return broker_link.transport_options(address, seconds=CONNECT_SECONDS) | sending
