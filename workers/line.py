"""A connection of one thread to the queue of its task: what is taken from it becomes tasks again.

The tasks are Celery's own requests, run by its own tracer; so each has its log lines, its retry and
its events, and ends as it would in a worker's main process.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from celery.app import trace
from celery.exceptions import InvalidTaskError
from celery.utils.log import get_logger
from kombu.exceptions import KombuError

from cprqueue import celery, failpoints
from cprqueue.runtime.requests import Request, Worker
from cprqueue.runtime.taking import Message, Taking, taking
from cprqueue.services.record_batch import ODD_JOB

received_log = get_logger("celery.worker.strategy")

MOST_EVENTS = 1000
HEARTBEAT_SECONDS = 60
"""RabbitMQ takes messages back that this process has kept, without a word, for twice this."""

JSON = frozenset({"application/json"})
UNREADABLE = (KombuError, InvalidTaskError, RecursionError, *ODD_JOB)


class Line:
    """A connection of one thread to the queue of its task, and to those who watch."""

    def __init__(self, task: Any, queue: str) -> None:
        self._task = task
        self._connection = celery.app.connection_for_read(heartbeat=HEARTBEAT_SECONDS)
        self._used_at = time.monotonic()
        channel = self._connection.channel()
        self._messages: Taking = taking(channel, queue, task.name)
        self._watchers = celery.app.events.Dispatcher(
            channel=channel,
            hostname=task.request.hostname,
            buffer_group={"task"},
            buffer_limit=MOST_EVENTS,
            buffer_while_offline=False,
        )

    def is_too_quiet(self) -> bool:
        """Tell whether RabbitMQ may be about to give the connection up: nobody sends heartbeats."""
        patience = self._connection.get_heartbeat_interval() or math.inf
        return time.monotonic() - self._used_at > patience / 2

    def close(self) -> None:
        """Forget the connection, without a word to a broker that may be gone."""
        self._connection.collect()

    def take(self, most: int, worker: Worker, readable: Callable[..., object]) -> list[Request]:
        """Take messages; what is not readable or must not run is put back."""
        self._used_at = time.monotonic()
        self._watchers.enabled = worker["events"]
        celery.app.clock.adjust(worker["clock"])
        left = self._messages.take(most)
        failpoints.point("took")
        try:
            requests = [self._request(message, readable) for message in left]
            runnable = [r for r in requests if r and r.id not in (worker["revoked"] or ())]
            ours = {request.message.delivery_tag for request in runnable}
            left = [message for message in left if message.delivery_tag not in ours]
        finally:
            self._messages.put_back(left)
        return runnable

    def acknowledge(self, requests: Sequence[Request]) -> None:
        """End the messages of these tasks."""
        self._messages.acknowledge([request.message for request in requests])

    def put_back(self, requests: Sequence[Request]) -> None:
        """Let others have the messages of these tasks."""
        self._messages.put_back([request.message for request in requests])

    def flush(self) -> None:
        """Send the events of all tasks that were run, as one message."""
        self._watchers.flush()

    def _request(self, message: Message, readable: Callable[..., object]) -> Request | None:
        try:
            message.accept = JSON
            arguments, named, _ = message.payload
            readable(*arguments, **named)
            return Request(
                message,
                body=message.payload,
                decoded=True,
                app=celery.app,
                task=self._task,
                hostname=self._task.request.hostname,
                eventer=self._watchers,
            )
        except UNREADABLE:  # the worker's main process says what is wrong with it
            return None


def run(request: Request) -> None:
    """Run a task to its end, and note its events."""
    _tell_received(request)
    request.on_accepted(os.getpid(), time.monotonic())
    request.on_success(_traced(request))


def _traced(request: Request) -> tuple[int, Any, float]:
    tracer = trace.fast_trace_task if celery.app.use_fast_trace_task else trace.trace_task_ret
    ended: tuple[int, Any, float] = tracer(
        request.type,
        request.id,
        request.request_dict,
        request.body,
        request.content_type,
        request.content_encoding,
    )
    return ended


def _tell_received(request: Request) -> None:
    """Do what Celery's strategy does with a message that came."""
    what = {
        "id": request.id,
        "name": request.name,
        "args": request.argsrepr,
        "kwargs": request.kwargsrepr,
        "eta": None,
    }
    received_log.info(trace.LOG_RECEIVED, what, extra={"data": what})
    request.send_event(
        "task-received",
        name=request.name,
        args=request.argsrepr,
        kwargs=request.kwargsrepr,
        root_id=request.root_id,
        parent_id=request.parent_id,
        retries=request.request_dict.get("retries", 0),
        eta=None,
        expires=None,
    )
