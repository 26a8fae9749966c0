"""Let a worker end while its broker is away. For Celery 5.7.0 only.

The failure: broker and worker are asked to end at the same time (a host that shuts down, a
``docker compose down``), and the worker never ends, until it is killed.

How it was found: in containers, by stopping them all at once; a dump of the threads showed that
the pool's last timers had sent a heartbeat, which Celery sends with ``retry=True`` and no limit:
it waits for the broker for ever and holds the event dispatcher's lock, which the rest of the
shutdown needs too.

The cure: heartbeats are sent without retry, as all other events are. One that cannot be sent is
kept by the dispatcher and sent after the worker has connected again.

When it can go: with the first Celery whose heartbeats are not retried for ever.
tests/system/test_heartbeat_patch.py stops real workers, with the cure and without.
"""

from __future__ import annotations

from typing import Any

import celery
from celery.worker import heartbeat

GUARDED_VERSION = "5.7.0"


def install() -> bool:
    """Send heartbeats without retry from this process; safe to call again.

    Returns whether the cure is in place, which is False for other versions of Celery.
    """
    if celery.__version__ != GUARDED_VERSION:
        return False
    if not getattr(heartbeat.Heart._send, "guarded", False):
        heartbeat.Heart._send = _without_retry(heartbeat.Heart._send)
    return True


def _without_retry(original: Any) -> Any:
    def send(self: Any, event: str, retry: bool = False) -> Any:
        return original(self, event, retry=False)

    marked: Any = send
    marked.guarded = True
    return marked
