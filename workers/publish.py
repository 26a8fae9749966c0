"""What tasks send. The one place that knows what it means when the broker is away."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from kombu.exceptions import BatchPublishError, OperationalError

from cprqueue import errors, failpoints
from cprqueue.celery import CANARY, QUEUES, app, settings
from cprqueue.domain.models import Job
from cprqueue.domain.retry import countdown_seconds
from cprqueue.runtime import broker_link
from cprqueue.services.wake_ups import WakeUp

log = logging.getLogger(__name__)

BATCH_OF_MESSAGES = 500


def wake_ups(chosen: Iterable[WakeUp]) -> None:
    """Send wake-ups; where the broker is away, the sweep sends them again."""
    with _or_the_sweep():
        for job_id, label, seconds in chosen:
            failpoints.point("waking_up")
            args = () if job_id is None else (job_id,)
            app.send_task("cpr.upsert_job", args, argsrepr=label, countdown=seconds or None)


def missing_wake_ups(chosen: Sequence[WakeUp]) -> None:
    """Send those of ``chosen`` for which no message waits in the queue yet.

    One is sent even where one waits: that may be a canary.
    """
    with _or_the_sweep():
        waiting = messages_in("upsert") if chosen else 0
        wake_ups(chosen[waiting if waiting != 1 or len(chosen) > 1 else 0 :])


def task(name: str, kwargs: Mapping[str, object]) -> None:
    """Send a task whose order is on record: where the broker is away, the sweep sends it again."""
    with _or_the_sweep():
        app.send_task(name, kwargs=kwargs)


def canvas(signature: Any) -> None:
    """Send a chain whose order is on record, as ``task`` does."""
    with _or_the_sweep():
        signature.apply_async()


def jobs(found: Iterable[Job], **sighting: object) -> None:
    """Send a message for each job, many in one round trip.

    Raises ServiceUnreachable where the broker is away: nobody sends these again.
    """
    with (
        reachable(),
        app.connection_for_write() as connection,  # one of the pool may have died in it
        app.amqp.Producer(connection) as producer,
        producer.batch(max_size=BATCH_OF_MESSAGES),
    ):
        for job in found:
            app.send_task(
                "cpr.insert_job",
                kwargs={"job": job.as_message(), **sighting},
                argsrepr=job.label,
                kwargsrepr="",
                producer=producer,
            )


def canaries() -> None:
    """Send a canary message to each queue in which nothing waits."""
    with _or_the_sweep():
        with app.connection_for_write() as connection:
            waiting = broker_link.lengths(connection, QUEUES)
        for queue in (name for name in QUEUES if not waiting[name]):
            app.send_task(CANARY, kwargs={"queue": queue}, queue=queue)


def messages_in(queue: str) -> int:
    """Count the messages that wait in a queue, on any broker."""
    with reachable(), app.connection_for_write() as connection:
        try:
            with connection.channel() as channel:
                return int(channel.queue_declare(queue=queue, passive=True).message_count)
        except connection.channel_errors:
            return 0  # on Redis a queue without messages does not exist


def again(task: Any, error: errors.CprqueueError, **kwargs: Any) -> Exception:
    """Have the task come again when it may succeed; never more than a minute ahead.

    With the same arguments, or with ``kwargs`` instead.
    """
    free_in = error.wait_seconds if isinstance(error, errors.OutOfCalls) else None
    changed = {"args": (), "kwargs": kwargs} if kwargs else {}
    countdown = countdown_seconds(task.request.retries, call_free_in=free_in)
    found: Exception = task.retry(exc=error, countdown=countdown, throw=False, **changed)
    return found


@contextmanager
def _or_the_sweep() -> Iterator[None]:
    try:
        with reachable():
            yield
    except errors.ServiceUnreachable as error:
        log.warning("not sent: the next sweep does it", extra={"reason": str(error)})


@contextmanager
def reachable() -> Iterator[None]:
    """Raise ServiceUnreachable, in one line, where the broker goes away in the block."""
    try:
        yield
    except _away() as error:
        told = broker_link.described(error, settings.broker_url)
        raise errors.ServiceUnreachable(f"the broker {told}") from None


def _away() -> tuple[type[BaseException], ...]:
    """Return what a lost broker raises, or one that refuses; not every OSError is one."""
    used = app.connection_for_write()
    known = (*used.connection_errors, *used.channel_errors)
    return (
        OperationalError,
        BatchPublishError,
        ConnectionError,
        TimeoutError,
        *(kind for kind in known if not issubclass(OSError, kind)),
    )
