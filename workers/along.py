"""One task takes further waiting messages of its queue along, and does the work of all at once.

Each message stays a task of its own: Celery's tracer runs it, with its log lines, its retry and its
events, which go out together as one message. Only its work is done by then.

The messages are taken where the task runs: in a process of the pool, over a connection of its own.
What if that process dies, or is suspended, at each line of ``taken`` and ``Batch``:

* before they are taken, or while: see ``runtime.taking``;
* taken, but not recorded: they come again. Where the task fails, or its worker is asked to end
  before it has begun to record, they are put back at once;
* recorded, but not acknowledged (suspended: not in time): they come again, to whomever, and there
  is nothing to change any more. What is due by them is on record: the sweep wakes the push up;
* acknowledged, but the task that took them is not: it alone comes again, as if it had been alone;
* told (events) to nobody: Flower shows them as sent.

The main process hands over what only it knows: see ``runtime.requests.Worker``. A message that it
would not run at once (revoked, expired, to be run later, unreadable, another task) is left to it.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

from celery.app import trace
from celery.exceptions import InvalidTaskError
from celery.utils.log import get_logger
from kombu.exceptions import KombuError

from cprqueue import celery, errors, failpoints
from cprqueue.runtime.requests import WORKER, Request, Worker
from cprqueue.runtime.taking import Message, Taking, taking
from cprqueue.services.record_batch import ODD_JOB
from workers import publish

log = logging.getLogger(__name__)
received_log = get_logger("celery.worker.strategy")

MOST_EVENTS = 1000
QUIET_SECONDS = 30
"""After the broker went away, or refused: so long each task does its own work alone."""

HEARTBEAT_SECONDS = 60
"""RabbitMQ takes messages back that this process has kept, without a word, for twice this."""

LONGEST_SECONDS = 20
"""How long after they were taken one may begin to record them one by one."""

JSON = frozenset({"application/json"})
UNREADABLE = (KombuError, InvalidTaskError, RecursionError, *ODD_JOB)


class _Mine(threading.local):
    """What this thread keeps between its tasks, and of the one that it is at."""

    def __init__(self) -> None:
        self.line: _Line | None = None
        self.alone = False
        self.not_before = 0.0
        self.done: set[str] | None = None


_mine = _Mine()


def is_done(task_id: str) -> bool:
    """Tell whether the work of this task is done already, by the one that took it along."""
    return task_id in (_mine.done or ())


class Batch:
    """The tasks that were taken along, in their order."""

    def __init__(self, line: _Line | None, requests: Sequence[Request]) -> None:
        self._line, self.requests = line, requests
        self._until = time.monotonic() + LONGEST_SECONDS

    def __len__(self) -> int:
        return len(self.requests)

    def end(self, done: Collection[int]) -> None:
        """Run each task to its end, those at the places ``done`` without doing their work again."""
        if self._line is None or not self.requests:
            return
        _mine.done = {str(self.requests[place].id) for place in done}
        try:
            ended = copy_context().run(
                self._run
            )  # what is bound for log lines stays each one's own
        finally:
            _mine.done = None
        failpoints.point("ended_batch")
        over, self.requests = self.requests[:ended], self.requests[ended:]
        with _or_again():
            self._line.acknowledge([request.message for request in over])
            failpoints.point("acknowledged_batch")
            self._line.flush()
        self.put_back()

    def _run(self) -> int:
        """Run them while the limit of the task that took them is far off; return how many."""
        for number, request in enumerate(self.requests):
            if time.monotonic() > self._until and not is_done(request.id):
                return number
            _tell_received(request)
            request.on_accepted(os.getpid(), time.monotonic())
            request.on_success(_traced(request))
        return len(self.requests)

    def put_back(self) -> None:
        """Let others have the messages."""
        if self._line is not None and self.requests:
            with _or_again():
                self._line.put_back([request.message for request in self.requests])
        self.requests = ()


@contextmanager
def taken(task: Any, most: int, readable: Callable[..., object]) -> Iterator[Batch]:
    """Take up to ``most`` waiting messages of ``task`` along; what is not ended is put back.

    ``readable`` is called with the arguments of each; one for which it raises stays in the queue.
    After an error the next task takes none along, so that what is wrong is wrong once, not
    fifty times.
    """
    if _mine.done is not None:  # this task was taken along itself
        yield Batch(None, ())
        return
    batch = Batch(None, ()) if _mine.alone else _take(task, most, readable)
    _mine.alone = True
    try:
        if batch:
            failpoints.point("taken_along")
            if celery.ending():
                batch.put_back()
        yield batch
        _mine.alone = False
    finally:
        batch.put_back()


def _take(task: Any, most: int, readable: Callable[..., object]) -> Batch:
    worker: Worker | None = (task.request.properties or {}).get(WORKER)
    queue = (task.request.delivery_info or {}).get("routing_key")
    if worker is None or worker["revoked"] is None or not queue or celery.ending():
        return Batch(None, ())
    if time.monotonic() < _mine.not_before:
        return Batch(None, ())
    requests: list[Request] = []
    with _or_again():
        if _mine.line is not None and _mine.line.is_too_quiet():
            _mine.line.close()
            _mine.line = None
        _mine.line = _mine.line or _Line(task, queue)
        requests = _mine.line.take(most, worker, readable)
    return Batch(_mine.line, requests)


class _Line:
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
        self.acknowledge = self._messages.acknowledge
        self.put_back = self._messages.put_back
        self.flush = self._watchers.flush

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
        try:
            requests = [self._request(message, readable) for message in left]
            runnable = [r for r in requests if r and r.id not in (worker["revoked"] or ())]
            ours = {request.message.delivery_tag for request in runnable}
            left = [message for message in left if message.delivery_tag not in ours]
        finally:
            self.put_back(left)
        return runnable

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


@contextmanager
def _or_again() -> Iterator[None]:
    """Go on where the broker goes away in the block: what is not acknowledged comes again."""
    try:
        with publish.reachable():
            yield
    except errors.ServiceUnreachable as error:
        log.warning("what is not acknowledged comes again", extra={"reason": str(error)})
        line, _mine.line = _mine.line, None
        _mine.not_before = time.monotonic() + QUIET_SECONDS
        if line is not None:
            line.close()


def _traced(request: Request) -> tuple[int, Any, float]:
    run = trace.fast_trace_task if celery.app.use_fast_trace_task else trace.trace_task_ret
    ended: tuple[int, Any, float] = run(
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
