"""Canary messages: proof that a worker takes messages, also where there is no work for it."""

from __future__ import annotations

from typing import Any

from celery.worker import state as worker_state
from celery.worker.control import inspect_command

from cprqueue.bootstrap import application
from cprqueue.celery import CANARY, app
from cprqueue.services import canaries


@app.task(name=CANARY)
def canary(queue: str) -> None:
    """Record that this queue moves; sent by the sweep."""
    canaries.note(application().db, queue)


@inspect_command()
def cprqueue_canary(_state: Any) -> dict[str, Any]:
    """Answer, in the worker's main process, whether it works and how many tasks it took so far."""
    return {
        "busy": bool(worker_state.active_requests),
        "taken": worker_state.all_total_count[0],
    }
