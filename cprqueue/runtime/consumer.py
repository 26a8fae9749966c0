"""Celery's consumer, with a pause where the broker refuses its connection.

A virtual host that is gone, or a right that was taken away: Celery itself tries again at once, and
so the workers of one `up` wrote some five thousand lines a minute.
"""

from __future__ import annotations

import time
from typing import Any

from celery.worker import consumer
from celery.worker.state import maybe_shutdown

REFUSED_SECONDS = 10


class Consumer(consumer.Consumer):  # type: ignore[misc]  # Celery ships no types
    """What takes a worker's messages."""

    def on_connection_error_before_connected(self, exc: BaseException) -> Any:
        """Say it, and wait; a worker that is asked to end does so meanwhile."""
        super().on_connection_error_before_connected(exc)
        for _ in range(REFUSED_SECONDS):
            maybe_shutdown()
            time.sleep(1)
