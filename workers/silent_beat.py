"""Where beat is silent, a worker sends the sweep: so people are told, and what is due goes on.

Each worker of the queue that gets sweeps listens for them, and sends one where none came for a
while. With several such workers one may hear nothing by chance: that is one sweep more.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from celery import signals

from cprqueue import config
from cprqueue.celery import app
from workers import publish

SWEEP = "cpr.sweep"
SILENT_SECONDS = 180.0

_heard_at = time.monotonic()


@signals.task_received.connect
def _hear(request: Any, **_: Any) -> None:
    global _heard_at
    if request.name == SWEEP:
        _heard_at = time.monotonic()


@signals.worker_ready.connect
def _start(sender: Any, **_: Any) -> None:
    """Listen in the worker's main process, which takes the messages."""
    if app.conf.task_routes[SWEEP]["queue"] in sender.app.amqp.queues.consume_from:
        threading.Thread(target=_listen, name="silent beat", daemon=True).start()


def _listen() -> None:
    global _heard_at
    _heard_at = time.monotonic()
    silence = float(config.test_hook("CPR_TEST_SILENT_SECONDS") or SILENT_SECONDS)
    while True:
        time.sleep(max(0.1, _heard_at + silence - time.monotonic()))
        if time.monotonic() - _heard_at >= silence:
            _heard_at = time.monotonic()
            publish.task(SWEEP, {"by_beat": False})
