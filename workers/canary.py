"""Proof that a worker takes messages: each task that begins, and canaries where no work is."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from typing import Any

from celery import signals
from celery.worker import state as worker_state
from celery.worker.control import inspect_command

from cprqueue.bootstrap import application
from cprqueue.celery import CANARY, QUEUES, app
from cprqueue.errors import DatabaseUnavailable
from cprqueue.services import canaries

NOTE_EVERY_SECONDS = 20
_noted_at = -math.inf


@app.task(name=CANARY)
def canary(queue: str) -> None:
    """Record that this queue moves; sent by the sweep."""
    canaries.note(application().db, queue)


@signals.task_prerun.connect
def _note_task(task: Any, **_: Any) -> None:
    """Record that the queue moves, now and then: a queue with work gets no canary."""
    global _noted_at
    queue = (task.request.delivery_info or {}).get("routing_key")
    if queue not in QUEUES or time.monotonic() - _noted_at < NOTE_EVERY_SECONDS:
        return
    _noted_at = time.monotonic()
    with suppress(DatabaseUnavailable):  # the task meets it too, and says so
        canaries.note(application().db, queue)


@inspect_command()
def cprqueue_canary(_state: Any) -> dict[str, Any]:
    """Answer, in the worker's main process, whether it works and how many tasks it took so far."""
    return {
        "busy": bool(worker_state.active_requests),
        "taken": worker_state.all_total_count[0],
    }
