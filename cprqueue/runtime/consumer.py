"""Celery's consumer, which shows no message's body, with a pause where the broker refuses it.

Of a message that it cannot read, or whose task it does not know (one of a newer version), Celery
logs the whole body, and a customer's address with it.

A virtual host that is gone, or a right that was taken away: Celery itself tries again at once, and
so the workers of one `up` wrote some five thousand lines a minute.
"""

from __future__ import annotations

import time
from typing import Any

from celery.worker.consumer import consumer
from celery.worker.state import maybe_shutdown
from kombu.exceptions import DecodeError

REFUSED_SECONDS = 10


def _size(_message: object, body: object) -> str:
    return f"{len(body)} long" if isinstance(body, str | bytes | memoryview) else "not shown"


consumer.dump_body = _size


class Consumer(consumer.Consumer):  # type: ignore[misc]  # Celery ships no types
    """What takes a worker's messages."""

    def on_connection_error_before_connected(self, exc: BaseException) -> Any:
        """Say it, and wait; a worker that is asked to end does so meanwhile."""
        super().on_connection_error_before_connected(exc)
        for _ in range(REFUSED_SECONDS):
            maybe_shutdown()
            time.sleep(1)

    def on_decode_error(self, message: Any, exc: BaseException) -> Any:
        """Say it in the error's words: Celery shows it as Python code, with the body in it."""
        return super().on_decode_error(message, DecodeError(str(exc)))
