"""Send orders to the workers, and find out whether any worker would take them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kombu.exceptions import OperationalError

from cprqueue import errors, log
from cprqueue.celery import app, settings
from cprqueue.runtime import broker

FOR_SYNC = ("fetch", "insert", "upsert")
FOR_FIRST_SYNC = (*FOR_SYNC, "maintenance")  # which takes the first export
ANSWER_SECONDS = 1.0
TRIES = 4
CREW = 5  # with as many answers as ``up`` has workers, waiting for more is idle


def send(task: str, **kwargs: object) -> None:
    """Send one order. Raises ServiceUnreachable, in one line, where the broker is away."""
    try:
        app.send_task(task, kwargs=kwargs)
    except OperationalError as error:
        raise _unreachable(error) from None


def require_workers(queues: Iterable[str]) -> None:
    """Raise ServiceUnreachable unless some worker takes from each of ``queues``."""
    _require_broker()
    missing = set(queues)
    for _ in range(TRIES):  # a busy machine may answer late
        missing -= _served()
        if not missing:
            return
    if missing == set(queues):
        raise errors.ServiceUnreachable("no worker is running: start `cprqueue up`")
    raise errors.ServiceUnreachable(
        f"no worker takes from the queue {', '.join(sorted(missing))}: "
        "start `cprqueue up`, or a Celery worker with -Q"
    )


def _require_broker() -> None:
    try:
        broker.wait_until_answering(str(app.conf.broker_url), timeout_seconds=3)
    except errors.ServiceUnreachable as error:
        raise _unreachable(error) from None


def _served() -> set[str]:
    try:
        asked = app.control.inspect(timeout=ANSWER_SECONDS, limit=CREW)
        answers: dict[str, list[dict[str, Any]]] = asked.active_queues() or {}
    except OperationalError as error:
        raise _unreachable(error) from None
    return {str(queue["name"]) for queues in answers.values() for queue in queues}


def _unreachable(error: Exception) -> errors.ServiceUnreachable:
    if settings.broker_is_embedded:
        return errors.ServiceUnreachable("the embedded broker is not running: start `cprqueue up`")
    text = log.without_password(str(error)).splitlines()[0]
    return errors.ServiceUnreachable(f"the broker cannot be reached: {text}")
