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

One that comes again is never taken along, and takes none along: if it is what the process dies
of, it holds up nobody else.

The main process hands over what only it knows: see ``runtime.requests.Worker``. A message that it
would not run at once (revoked, expired, to be run later, unreadable, another task) is left to it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

from cprqueue import celery, errors, failpoints
from cprqueue.runtime.requests import WORKER, Request, Worker
from workers import publish
from workers.line import Line, run

log = logging.getLogger(__name__)

QUIET_SECONDS = 30
"""After the broker went away, or refused: so long each task does its own work alone."""

LONGEST_SECONDS = 20
"""How long after they were taken one may begin to record them one by one."""


class _Mine(threading.local):
    """What this thread keeps between its tasks, and of the one that it is at."""

    def __init__(self) -> None:
        self.line: Line | None = None
        self.alone = False
        self.not_before = 0.0
        self.done: set[str] | None = None


_mine = _Mine()


def is_done(task_id: str) -> bool:
    """Tell whether the work of this task is done already, by the one that took it along."""
    return task_id in (_mine.done or ())


class Batch:
    """The tasks that were taken along, in their order."""

    def __init__(self, line: Line | None, requests: Sequence[Request]) -> None:
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
            with _none_at_work(self.requests[0].task):
                ended = copy_context().run(self._run)  # what is bound for log lines stays its own
        finally:
            _mine.done = None
        failpoints.point("ended_batch")
        over, self.requests = self.requests[:ended], self.requests[ended:]
        with _or_again():
            self._line.acknowledge(over)
            failpoints.point("acknowledged_batch")
            self._line.flush()
        self.put_back()

    def _run(self) -> int:
        """Run them while nothing is about to end the task that took them; return how many."""
        for number, request in enumerate(self.requests):
            late = celery.ending() or time.monotonic() > self._until
            if late and not is_done(request.id):
                return number
            run(request)
        return len(self.requests)

    def put_back(self) -> None:
        """Let others have the messages."""
        if self._line is not None and self.requests:
            with _or_again():
                self._line.put_back(self.requests)
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
    delivery = task.request.delivery_info or {}
    queue = delivery.get("routing_key")
    if worker is None or worker["revoked"] is None or not queue or delivery.get("redelivered"):
        return Batch(None, ())
    if celery.ending() or time.monotonic() < _mine.not_before:
        return Batch(None, ())
    requests: list[Request] = []
    with _or_again():
        if _mine.line is not None and _mine.line.is_too_quiet():
            _close_line()
        _mine.line = _mine.line or Line(task, queue)
        requests = _mine.line.take(most, worker, readable)
    return Batch(_mine.line, requests)


@contextmanager
def _none_at_work(task: Any) -> Iterator[None]:
    """Put the request that is at work aside: Celery takes a task in a task for a plain call."""
    own = task.request_stack.pop()
    try:
        yield
    finally:
        task.request_stack.push(own)


@contextmanager
def _or_again() -> Iterator[None]:
    """Go on where the broker goes away in the block: what is not acknowledged comes again.

    Whatever else cuts the block off (a time limit) ends the connection too, or RabbitMQ would
    leave with it what it has handed out.
    """
    try:
        with publish.reachable():
            yield
    except errors.ServiceUnreachable as error:
        log.warning("what is not acknowledged comes again", extra={"reason": str(error)})
        _mine.not_before = time.monotonic() + QUIET_SECONDS
        _close_line()
    except BaseException:
        _close_line()
        raise


def _close_line() -> None:
    line, _mine.line = _mine.line, None
    if line is not None:
        line.close()
